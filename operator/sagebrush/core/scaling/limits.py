"""scaleOutLimit and scaleInLimit: most by which the number may change within a period."""

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import NamedTuple

from sagebrush.core.scaling.compiled import Limit
from sagebrush.core.scaling.history import Change


class Allowed(NamedTuple):
    """How far a change may go now."""

    replicas: int
    """The farthest number allowed."""
    until: datetime | None
    """When more may be allowed; None where nothing was changed within the period."""


def farthest(limit: Limit, *, changes: Sequence[Change], replicas: int, out: bool, now: datetime) -> Allowed:
    """The number that a change in one direction may reach at most, *replicas* being the present one.

    The limit counts from the number at the period's begin, as Kubernetes' HPA does: what a change in the other
    direction took back may be given again.
    """
    recent = [change for change in changes if now - change.time < limit.period]
    begun = recent[0].before if recent else replicas
    most = max(limit.replicas, ceil(begun * limit.percent / 100))
    until = recent[0].time + limit.period if recent else None
    return Allowed(max(replicas, begun + most) if out else min(replicas, begun - most), until)
