"""Plain views on Kubernetes objects, as the core reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

Manifest = dict[str, Any]
_MAPPINGS = (dict, Mapping)  # what is asked first is cheap


class Key(NamedTuple):
    """Names one object that is reconciled. A tuple, since it is hashed and compared all the time."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Meta:
    """The metadata of an object that decisions depend on."""

    name: str
    namespace: str
    uid: str
    generation: int
    deleting: bool = False

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Meta":
        """Read from an object's JSON."""
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata.get("namespace", ""),
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            deleting="deletionTimestamp" in metadata,
        )


def parse_time(text: str | None) -> datetime | None:
    """A Kubernetes timestamp as aware UTC; None for None."""
    return datetime.fromisoformat(text) if text else None


def dig(body: Mapping[str, Any] | None, *path: str, default: Any = None) -> Any:
    """The value at *path*, or *default* where any step is missing."""
    value: Any = body
    for step in path:
        if not isinstance(value, _MAPPINGS) or step not in value:
            return default
        value = value[step]
    return value


def owned_by(body: Mapping[str, Any], uid: str) -> bool:
    """Whether the object with this uid is an owner of *body*."""
    return any(owner.get("uid") == uid for owner in dig(body, "metadata", "ownerReferences", default=[]))


def contains(actual: Any, wanted: Any) -> bool:
    """
    Whether *actual* has everything that *wanted* says; what it has beyond that (defaults, others' fields) doesn't count.

    Lists must have the same length and contain each other position by position: the lists that we render are complete.
    """
    if isinstance(wanted, _MAPPINGS):
        if not isinstance(actual, _MAPPINGS):
            return not wanted and actual is None
        # A loop, since every pass over every endpoint comes here: half the time of all(…).
        for key, value in wanted.items():  # noqa: SIM110
            if not contains(actual.get(key), value):
                return False
        return True
    if wanted in ([], "") and actual is None:  # the API server drops what is empty
        return True
    if isinstance(wanted, list):
        return isinstance(actual, list) and len(actual) == len(wanted) and all(map(contains, actual, wanted))
    return bool(actual == wanted)
