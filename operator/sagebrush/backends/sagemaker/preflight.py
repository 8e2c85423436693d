"""Checks a call's parameters against botocore's own model of the service, before anything is sent.

boto3 itself checks types and what is required, not patterns, lengths or enumerations; AWS does, after the plan's earlier
calls have been made. Instance types are left to AWS: it has new ones before botocore knows them.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

_LONGEST_SHOWN = 80


def violations(shape: Any, value: Any, *, path: str = "") -> list[str]:
    """What is wrong with *value* for a botocore input shape, as sentences that name the parameter and what is legal."""
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, value, path=path)
    found = _size(shape, value, path=path)
    if kind == "list":
        for index, item in enumerate(value):
            found += violations(shape.member, item, path=f"{path}[{index}]")
    elif kind == "map":
        for key, item in value.items():
            found += violations(shape.key, key, path=f"{path} key {key!r}")
            found += violations(shape.value, item, path=f"{path}.{key}")
    elif kind == "string":
        found += _text(shape, value, path=path)
    return found


def _structure(shape: Any, value: Mapping[str, Any], *, path: str) -> list[str]:
    prefix = f"{path}." if path else ""
    found = [f"{prefix}{name} is missing" for name in shape.required_members if name not in value]
    for name, item in value.items():
        if name not in shape.members:
            found.append(f"{prefix}{name} is not known to the installed botocore")
        else:
            found += violations(shape.members[name], item, path=f"{prefix}{name}")
    return found


def _size(shape: Any, value: Any, *, path: str) -> list[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is None and most is None:
        return []
    counted = isinstance(value, str | Sequence | Mapping)
    size = len(value) if counted else value
    what = (
        f"{path} has {size} {'characters' if isinstance(value, str) else 'entries'}" if counted else f"{path}: {size}"
    )
    if least is not None and size < least:
        return [f"{what}; at least {least}"]
    if most is not None and size > most:
        return [f"{what}; at most {most}"]
    return []


def _text(shape: Any, value: str, *, path: str) -> list[str]:
    shown = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"
    choices = shape.enum
    if choices and not shape.name.endswith("InstanceType") and value not in choices:
        return [f"{path}: {shown!r} is not one of {', '.join(choices)}"]
    pattern = shape.metadata.get("pattern")
    compiled = _compiled(pattern) if pattern else None
    if compiled and not compiled.fullmatch(value):
        return [f"{path}: {shown!r} does not match {pattern}"]
    return []


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    r"""
    The pattern; None where it is none to Python's re, which has no ``\p{…}`` and no surrogate pairs: those (of tags, and
    of Application Auto Scaling's names) allow nearly everything, and AWS checks them.
    """
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None
