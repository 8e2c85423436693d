"""Application Auto Scaling kept in step with the spec. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sagebrush.api.scaling import Scaling
from sagebrush.core.sagemaker.calls import Account, Call


@dataclass(frozen=True, slots=True)
class Registered:
    """What Application Auto Scaling and CloudWatch have for one endpoint, as their Describe calls show it."""

    targets: tuple[Mapping[str, Any], ...] = ()
    policies: tuple[Mapping[str, Any], ...] = ()
    actions: tuple[Mapping[str, Any], ...] = ()
    alarms: tuple[Mapping[str, Any], ...] = ()


def in_step(
    endpoint: str, *, account: Account, wanted: Mapping[str, Scaling], registered: Registered
) -> tuple[Call, ...]:
    """The calls that make what is registered what is wanted: variant name → policy."""
    raise NotImplementedError


def released(
    endpoint: str, *, account: Account, variants: Collection[str] | None, registered: Registered
) -> tuple[Call, ...]:
    """The calls that take these variants (None: all) out of scaling, before they change instance type or go."""
    raise NotImplementedError
