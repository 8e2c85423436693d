"""From models to CRDs: what Kubernetes can't say is translated or refused."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from sagebrush import __version__
from sagebrush.api.meta import parse_duration
from sagebrush.api.schema import NotStructuralError, definitions, structural
from sagebrush.cli import main

ROOT = Path(__file__).parents[3]


class Inner(BaseModel):
    """An inner model."""

    note: str | None = None
    size: int = 3


def field_schema(annotation: Any, default: Any = ...) -> dict[str, Any]:
    model = type(
        "Outer",
        (BaseModel,),
        {"__annotations__": {"field": annotation}} | ({} if default is ... else {"field": default}),
    )
    return structural(model)["properties"]["field"]


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (int | None, None, {"type": "integer"}),
        (Annotated[float, Field(gt=0)], ..., {"type": "number", "minimum": 0, "exclusiveMinimum": True}),
        (Annotated[float, Field(lt=5)], ..., {"type": "number", "maximum": 5, "exclusiveMaximum": True}),
        (Annotated[int, Field(multiple_of=8)], ..., {"type": "integer", "multipleOf": 8}),
        (Literal["one"], ..., {"type": "string", "enum": ["one"]}),
        (bool, False, {"type": "boolean", "default": False}),
        (list[str], [], {"type": "array", "items": {"type": "string"}}),
        (dict[str, str], {}, {"type": "object", "additionalProperties": {"type": "string"}}),
    ],
)
def test_schema_must_translate(annotation: Any, default: Any, expected: dict[str, Any]) -> None:
    """Nullable unions, numeric exclusive bounds and constants become what a structural schema knows; empty defaults go."""
    assert expected == field_schema(annotation, default)


def test_schema_must_inline_references_and_drop_nested_null_defaults() -> None:
    """No $ref survives, and a default object carries no null, which the API server would refuse."""
    schema = field_schema(Inner, Inner())
    assert {"size": 3} == schema["default"]
    assert "An inner model." == schema["description"]
    assert {"note", "size"} == set(schema["properties"])


def test_schema_must_refuse_unions_with_the_path() -> None:
    """A union of two types has no structural form: the error names the field, however deep."""

    class Deep(BaseModel):
        entries: list[dict[str, int | str]]

    with pytest.raises(NotStructuralError, match=r"^Deep\.entries\[\]\.\*: a union of 2 types"):
        structural(Deep)


def test_schema_must_refuse_what_has_no_type() -> None:
    """A field of any type would be dropped by the API server without a word."""
    with pytest.raises(NotStructuralError, match=r"Outer\.field: has no type"):
        field_schema(Any)


def walk(schema: dict[str, Any], path: str):
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], path + mark)


def schemas() -> dict[str, dict[str, Any]]:
    return {name: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for name, crd in definitions().items()}


@pytest.mark.parametrize("name", definitions())
def test_crds_must_be_structural(name: str) -> None:
    """Every node has one type and none of JSON Schema's words that Kubernetes refuses."""
    forbidden = {"$ref", "anyOf", "allOf", "oneOf", "const", "title", "$defs"}
    bad = [
        path for path, node in walk(schemas()[name], "") if forbidden & node.keys() or not isinstance(node["type"], str)
    ]
    assert [] == bad
    exclusive = [
        node[key]
        for _, node in walk(schemas()[name], "")
        for key in ("exclusiveMinimum", "exclusiveMaximum")
        if key in node
    ]
    assert [] == [value for value in exclusive if value is not True]


REPEATED = (
    ".spec.sageMaker.variants[].model",
    ".spec.sageMaker.variants[].scaling",
    ".status.sageMaker.variants[].scaling",
)


@pytest.mark.parametrize("name", definitions())
def test_crds_must_describe_every_property(name: str) -> None:
    """kubectl explain has a sentence for every field; what repeats elsewhere is described there once."""
    silent = []
    for path, node in walk(schemas()[name], ""):
        if path.startswith(REPEATED):
            continue
        for field, child in node.get("properties", {}).items():
            if not child.get("description") and (path, field) not in {
                ("", "apiVersion"),
                ("", "kind"),
                ("", "metadata"),
            }:
                silent.append(f"{path}.{field}")
    assert [] == silent


def test_crds_must_be_those_committed(tmp_path: Path) -> None:
    """crds/ and the chart's copy are what the models say: else run make crds."""
    main(["crds", str(tmp_path)])
    stale = [
        str(folder / made.name)
        for made in sorted(tmp_path.iterdir())
        for folder in (ROOT / "crds", ROOT / "charts/sagebrush/files/crds")
        if not (folder / made.name).exists() or (folder / made.name).read_text() != made.read_text()
    ]
    assert [] == stale, "the models have changed: run make crds"


def test_crds_must_stay_small(tmp_path: Path) -> None:
    """Each file stays below 60 KB: kubectl apply's annotation and etcd have limits."""
    main(["crds", str(tmp_path)])
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert {} == {name: size for name, size in sizes.items() if size >= 60_000}
    assert 2 == len(sizes)


def test_crds_must_be_yaml_without_aliases() -> None:
    """People read them: what repeats is spelt out."""
    for file in (ROOT / "crds").iterdir():
        text = file.read_text()
        assert yaml.load(text, Loader=yaml.CSafeLoader) in definitions().values()
        assert "&id0" not in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("24h", 86400), ("0s", 0), ("2m5s", 125), ("672h", 2419200), ("9999999s", 9999999)],
)
def test_duration_must_parse(text: str, seconds: int) -> None:
    """Hours, minutes and seconds, each at most once, in this order."""
    assert timedelta(seconds=seconds) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "s", "1s1m", "-1s", "1.5h", "1d", " 1s", "1s\n", "999999999999999h", "١h"])
def test_duration_must_refuse(text: str) -> None:
    """What the schema's pattern refuses raises ValueError, never anything else."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99999), st.integers(0, 999999), st.integers(0, 9999999))
def test_duration_must_add_up(hours: int, minutes: int, seconds: int) -> None:
    """The parts add up, and fit the 32 bits of Kubernetes' deadlines."""
    found = parse_duration(f"{hours}h{minutes}m{seconds}s")
    assert timedelta(hours=hours, minutes=minutes, seconds=seconds) == found
    assert found.total_seconds() < 2**31


def test_version_must_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line says which version it is."""
    assert 0 == main(["version"])
    assert f"{__version__}\n" == capsys.readouterr().out
