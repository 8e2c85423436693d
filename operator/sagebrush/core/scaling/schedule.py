"""Floors and caps for hours known in advance: cron, time zone, duration, and a lead so that replicas are Ready in time.

Cron is Debian's, as cronsim reads it: a run in an hour that daylight saving leaves out comes at its end, and one in
an hour that comes twice is not repeated.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from sagebrush.api.meta import parse_duration
from sagebrush.api.scaling import Schedule

_HOUR = 3600


class Plan(NamedTuple):
    """One schedule, checked."""

    name: str
    cron: str
    zone: str
    seconds: int
    """How long it lasts."""
    minimum: int | None
    maximum: int | None
    lead_seconds: float | None
    """None: as long as replicas take, by what was measured."""


class Bounds(NamedTuple):
    """What the schedules ask for at one moment."""

    floor: int | None = None
    floor_by: str = ""
    """Name of the schedule."""
    cap: int | None = None
    cap_by: str = ""
    next_change: datetime | None = None
    """When a floor or cap begins or ends next."""


UNBOUND = Bounds()


def compile_schedules(schedules: Sequence[Schedule]) -> tuple[Plan, ...]:
    """The schedules, checked. Raises ValueError for a cron expression or time zone that means nothing."""
    return tuple(_compiled(schedule) for schedule in schedules)


def _compiled(schedule: Schedule) -> Plan:
    try:
        CronSim(schedule.cron, datetime.now(ZoneInfo(schedule.time_zone)))
    except CronSimError as error:
        raise ValueError(
            f"schedule {schedule.name}: cron {schedule.cron!r} means nothing ({error}): write minute, hour, day of "
            "month, month and day of week, such as 0 8 * * MON-FRI"
        ) from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"schedule {schedule.name}: there is no time zone {schedule.time_zone!r}: write an IANA name, such as "
            "Europe/Paris"
        ) from error
    return Plan(
        name=schedule.name,
        cron=schedule.cron,
        zone=schedule.time_zone,
        seconds=int(parse_duration(schedule.duration).total_seconds()),
        minimum=schedule.min_replicas,
        maximum=schedule.max_replicas,
        lead_seconds=None if schedule.lead is None else parse_duration(schedule.lead).total_seconds(),
    )


def bounds_at(plans: Sequence[Plan], *, now: datetime, lead_seconds: float) -> Bounds:
    """The highest floor and the lowest cap in force; a floor is in force a lead before its schedule begins."""
    if not plans:
        return UNBOUND
    time = now.timestamp()
    floors: list[tuple[int, str]] = []
    caps: list[tuple[int, str]] = []
    changes: list[float] = []
    for plan in plans:
        lead = lead_seconds if plan.lead_seconds is None else plan.lead_seconds
        for bound, found, ahead in ((plan.minimum, floors, lead), (plan.maximum, caps, 0.0)):
            if bound is None:
                continue
            until, begins = _state(plan, time=time, ahead=ahead)
            if until is not None:
                found.append((bound, plan.name))
                changes.append(until)
            elif begins is not None:
                changes.append(begins)
    floor, floor_by = max(floors, default=(None, ""), key=lambda each: each[0] or 0)
    cap, cap_by = min(caps, default=(None, ""), key=lambda each: each[0] or 0)
    soonest = datetime.fromtimestamp(min(changes), UTC) if changes else None
    return Bounds(floor=floor, floor_by=floor_by, cap=cap, cap_by=cap_by, next_change=soonest)


def _state(plan: Plan, *, time: float, ahead: float) -> tuple[float | None, float | None]:
    """The end of the run in force, if there is one; else the time from which the next is."""
    seen = time + ahead
    begins = _begins(plan.cron, plan.zone, int(seen // _HOUR))
    after = bisect_right(begins, seen)
    if after and begins[after - 1] + plan.seconds > time:
        return begins[after - 1] + plan.seconds, None
    return None, begins[after] - ahead if after < len(begins) else None


@lru_cache(maxsize=4096)
def _begins(cron: str, zone: str, hour: int) -> tuple[float, ...]:
    """Begins in the hour, counted since 1970, with the last before it and the first after it, as Unix times."""
    # From the earlier run onwards: a run at the very moment that is looked from is seen in neither direction.
    start = datetime.fromtimestamp(hour * _HOUR - 60, UTC).astimezone(ZoneInfo(zone))
    before = next(CronSim(cron, start, reverse=True), None)
    times = [] if before is None else [before.timestamp()]
    for begin in CronSim(cron, before or start):
        times.append(begin.timestamp())
        if times[-1] >= (hour + 1) * _HOUR:
            break
    return tuple(times)
