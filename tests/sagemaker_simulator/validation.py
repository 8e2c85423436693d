"""Checks a request against botocore's own model of the operation, in AWS's sentences (reference §1.4)."""

import functools
import re
from typing import Any

import botocore.session

from tests.sagemaker_simulator.errors import AwsError, invalid

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
    "blob": (str,),
}
_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{P}": r"!-/:-@", r"\p{M}": r"\w", r"\p{S}": r"$+<-~"}


@functools.cache
def service_model(service: str) -> Any:
    """Botocore's model of a service, as boto3 itself uses it."""
    return botocore.session.get_session().get_service_model(service)


@functools.cache
def operation_model(service: str, operation: str) -> Any | None:
    """The operation's model, or None where the service has none of that name."""
    model = service_model(service)
    return model.operation_model(operation) if operation in model.operation_names else None


def check(service: str, operation: str, request: dict[str, Any]) -> None:
    """Raise SerializationException for a wrong type, ValidationException naming all constraints that fail."""
    model = operation_model(service, operation)
    if model is None or model.input_shape is None:
        return
    failures: list[str] = []
    _structure(model.input_shape, request, "", failures)
    if failures:
        plural = "" if len(failures) == 1 else "s"
        raise invalid(f"{len(failures)} validation error{plural} detected: {'; '.join(failures)}")


def _structure(shape: Any, value: dict[str, Any], path: str, failures: list[str]) -> None:
    for name in shape.required_members:
        if value.get(name) is None:
            where = _join(path, name)
            failures.append(f"Value null at '{where}' failed to satisfy constraint: Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            _any(member, value[name], _join(path, name), failures)


def _check_type(shape: Any, value: Any) -> None:
    expected = _PYTHON_TYPES[shape.type_name]
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        raise AwsError("SerializationException", f"{type(value).__name__} can not be converted to {shape.type_name}")


def _any(shape: Any, value: Any, path: str, failures: list[str]) -> None:
    _check_type(shape, value)
    failures += [
        f"Value '{_shown(value)}' at '{path}' failed to satisfy constraint: {constraint}"
        for constraint in _violated(shape, value)
    ]
    if shape.type_name == "structure":
        _structure(shape, value, path, failures)
    elif shape.type_name == "list":
        for number, item in enumerate(value, start=1):
            _any(shape.member, item, f"{path}.{number}.member", failures)
    elif shape.type_name == "map":
        _map(shape, value, path, failures)


def _map(shape: Any, value: dict[str, Any], path: str, failures: list[str]) -> None:
    shown = _shown(value)
    for key, item in value.items():
        if constraints := _violated(shape.key, key):
            inner = ", ".join(constraints)
            failures.append(
                f"Value '{shown}' at '{path}' failed to satisfy constraint: Map keys must satisfy constraint: [{inner}]"
            )
        if shape.value.type_name != "string":
            _any(shape.value, item, f"{path}.{key}.member", failures)
        elif not isinstance(item, str):
            raise AwsError("SerializationException", f"{type(item).__name__} can not be converted to string")
        elif constraints := _violated(shape.value, item):
            inner = ", ".join(constraints)
            failures.append(
                f"Value '{shown}' at '{path}' failed to satisfy constraint: "
                f"Map value must satisfy constraint: [{inner}]"
            )


def _violated(shape: Any, value: Any) -> list[str]:
    metadata, kind = shape.metadata, shape.type_name
    found = []
    if kind in {"string", "list", "map", "blob"}:
        found += _range(metadata, len(value), "length")
    elif kind in {"integer", "long", "float", "double"}:
        found += _range(metadata, value, "value")
    if kind == "string":
        allowed = metadata.get("enum")
        if allowed and value not in allowed:
            found.append(f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        pattern = metadata.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            found.append(f"Member must satisfy regular expression pattern: {pattern}")
    return found


def _range(metadata: dict[str, Any], value: float, what: str) -> list[str]:
    found = []
    if "max" in metadata and value > metadata["max"]:
        found.append(f"Member must have {what} less than or equal to {metadata['max']}")
    if "min" in metadata and value < metadata["min"]:
        found.append(f"Member must have {what} greater than or equal to {metadata['min']}")
    return found


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        return re.compile(r"[\s\S]*")


def _join(path: str, name: str) -> str:
    camel = name[0].lower() + name[1:]
    return f"{path}.{camel}" if path else camel


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
