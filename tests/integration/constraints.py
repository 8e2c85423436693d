"""Cases for a schema's constraints: what is taken at each limit, and what is refused beyond it, in the API server's words."""

from typing import Any

import pytest

from sagebrush.api.meta import DURATION_PATTERN, ApiModel
from sagebrush.api.model_endpoint import ModelEndpointSpec
from sagebrush.api.training_job import TrainingJobSpec
from tests.integration.kube import Kube, RefusedError
from tests.integration.manifests import GONE, Manifest, changed

SPECS: dict[str, type[ApiModel]] = {"TrainingJob": TrainingJobSpec, "ModelEndpoint": ModelEndpointSpec}
ROLE = "arn:aws:iam::123456789012:role/sagebrush"


def shown(path: str) -> str:
    """A dotted path (numbers are list positions) as the API server writes it: spec.channels[0].name."""
    return "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in path.split("."))[1:]


class Cases:
    """Accepted and refused changes of one complete object; paths as in :func:`changed`."""

    def __init__(self, base: Manifest) -> None:
        self._base = base
        self.accepted: dict[str, Manifest] = {}
        self.refused: dict[str, tuple[Manifest, list[str]]] = {}

    def take(self, name: str, changes: dict[str, Any]) -> None:
        """These changes are accepted."""
        assert name not in self.accepted
        self.accepted[name] = changed(self._base, changes)

    def refuse(self, name: str, changes: dict[str, Any], *words: str) -> None:
        """These changes are refused, with all these words in the message."""
        assert name not in self.refused
        self.refused[name] = (changed(self._base, changes), list(words))

    def number(self, path: str, least: int | None, most: int | None) -> None:
        """The limits themselves are accepted, and nothing beyond."""
        for limit, step, words in ((least, -1, "greater"), (most, 1, "less")):
            if limit is not None:
                self.take(f"{path} of {limit}", {path: limit})
                said = f"{shown(path)} in body should be {words} than or equal to {limit}"
                self.refuse(f"{path} of {limit + step}", {path: limit + step}, said)

    def length(self, path: str, least: int | None, most: int | None, *, start: str = "", end: str = "") -> None:
        """Text of these lengths is accepted, and none that is shorter or longer; it begins and ends with what is given."""
        if least is not None:
            self.take(f"{path} of {least} characters", {path: start + "a" * (least - len(start + end)) + end})
            short = (start + "a" * least)[: least - 1]
            said = f"{shown(path)} in body should be at least {least} chars long"
            self.refuse(f"{path} of {least - 1} characters", {path: short}, said)
        if most is not None:
            fill = "a" * (most - len(start + end))
            self.take(f"{path} of {most} characters", {path: start + fill + end})
            said = (f"{shown(path)}: Too long", f"may not be more than {most} ")
            self.refuse(f"{path} of {most + 1} characters", {path: start + fill + "a" + end}, *said)

    def items(self, path: str, least: int | None, most: int, *, entries: list[Any]) -> None:
        """Lists of these lengths are accepted, and none that is shorter or longer. *entries*: one more than most."""
        assert len(entries) == most + 1
        if least is not None:
            self.take(f"{path} of {least} entries", {path: entries[:least]})
            said = f"{shown(path)} in body should have at least {least} items"
            self.refuse(f"{path} of {least - 1} entries", {path: entries[: least - 1]}, said)
        self.take(f"{path} of {most} entries", {path: entries[:most]})
        said = f"{shown(path)}: Too many: {most + 1}: must have at most {most} items"
        self.refuse(f"{path} of {most + 1} entries", {path: entries}, said)

    def choice(self, path: str, *values: Any, beside: dict[str, Any] | None = None) -> None:
        """Each of the values is accepted, and no other."""
        for value in values:
            self.take(f"{path} {value}", {path: value, **(beside or {})})
        other = 7 if isinstance(values[0], int) else "Other"
        listed = ", ".join(f'"{value}"' for value in values)
        said = (f"{shown(path)}: Unsupported value", listed)
        self.refuse(f"{path} another", {path: other, **(beside or {})}, *said)

    def pattern(self, path: str, pattern: str, *, good: list[str], bad: list[str]) -> None:
        """Texts that match and that don't; the refusal shows the pattern."""
        for text in good:
            self.take(f"{path} {text[:64]!r}", {path: text})
        for text in bad:
            said = f"{shown(path)} in body should match '{pattern}'"
            self.refuse(f"{path} {text[:64]!r}", {path: text}, said)

    def duration(self, path: str) -> None:
        """Hours, minutes and seconds are accepted."""
        self.pattern(path, DURATION_PATTERN, good=["60s", "1h", "1h30m5s"], bad=["600", "1d", "1h 5m", "-5s", "5s1h"])
        self.refuse(f"{path} empty", {path: ""}, f"{shown(path)} in body should be at least 2 chars long")
        self.refuse(f"{path} too long", {path: "00001h000001m0001s"}, f"{shown(path)}: Too long", "16")

    def needed(self, *paths: str) -> None:
        """None of these can be left out."""
        for path in paths:
            self.refuse(f"no {path}", {path: GONE}, f"{shown(path)}: Required value")

    def unique(self, path: str, entry: Any) -> None:
        """The list refuses the same entry twice."""
        self.refuse(f"{path} twice", {path: [entry, entry]}, f"{shown(path)}[1]: Duplicate value")

    def include(self, other: "Cases") -> None:
        """The other's cases too."""
        assert not self.accepted.keys() & other.accepted.keys()
        assert not self.refused.keys() & other.refused.keys()
        self.accepted |= other.accepted
        self.refused |= other.refused

    def known(self, *paths: str) -> None:
        """Fields that nobody knows are refused, wherever they stand."""
        for path in paths:
            self.refuse(f"unknown field in {path}", {f"{path}.surprise": 1}, f'unknown field "{shown(path)}.surprise"')


def environment(table: Cases, path: str) -> None:
    """Environment variables."""
    table.items(path, None, 100, entries=[{"name": f"N{number}"} for number in range(101)])
    table.unique(path, {"name": "A"})
    name = f"{shown(path)}[0].name"
    table.refuse("variable without a name", {path: [{"value": "x"}]}, f"{name}: Required value")
    table.take("variables", {path: [{"name": "a_B.c-1", "value": "ü" * 4096}, {"name": "N" * 512}]})
    table.refuse("empty name", {path: [{"name": ""}]}, f"{name} in body should be at least 1 chars long")
    table.refuse("name of 513", {path: [{"name": "N" * 513}]}, f"{name}: Too long", "512")
    table.refuse("name of digits", {path: [{"name": "1"}]}, f"{name} in body should match '^[A-Za-z_][A-Za-z0-9_.-]*$'")
    value = [{"name": "A", "value": "x" * 4097}]
    table.refuse("value of 4097", {path: value}, f"{shown(path)}[0].value: Too long", "4096")
    table.refuse(
        "variable's unknown field", {path: [{"name": "A", "valueFrom": {}}]}, f'unknown field "{shown(path)}[0].va'
    )


def check_accepted(kube: Kube, manifest: Manifest) -> None:
    """The API server takes it, and what it would store is what the operator's own models can read."""
    stored = kube.create(manifest, dryRun="All")
    SPECS[manifest["kind"]].model_validate(stored["spec"])


def check_refused(kube: Kube, manifest: Manifest, words: list[str]) -> None:
    """The API server refuses to create it, and its message has all the words."""
    with pytest.raises(RefusedError) as refusal:
        kube.create(manifest, dryRun="All")
    assert refusal.value.status in (400, 422)
    for word in words:
        assert word in refusal.value.message, f"{word!r} not in: {refusal.value.message}"
