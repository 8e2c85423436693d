"""Schedules: floors that are Ready in time, caps, time zones and daylight saving."""

from datetime import UTC, datetime

import pytest

from sagebrush.api.scaling import Schedule
from sagebrush.core.scaling.decision import ScalingReason
from sagebrush.core.scaling.policy import compile_policy
from sagebrush.core.scaling.schedule import Bounds, bounds_at, compile_schedules
from tests.unit.scaling.builders import QUICK, Loop, scaling


def plan(**fields: object) -> Schedule:
    return Schedule.model_validate({"name": "noon", "cron": "0 12 * * *", "duration": "2h", "minReplicas": 5, **fields})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({}, "2026-08-01 11:58:59", None),
        ({}, "2026-08-01 11:59:00", 5),  # a minute before: the start-up takes one
        ({}, "2026-08-01 13:59:59", 5),
        ({}, "2026-08-01 14:00:00", None),
        ({"lead": "10m"}, "2026-08-01 11:50:00", 5),
        ({"lead": "0s"}, "2026-08-01 11:59:59", None),
        ({"timeZone": "Asia/Tokyo"}, "2026-08-01 03:00:00", 5),
        ({"cron": "0 12 * * MON-FRI"}, "2026-08-01 12:30:00", None),  # a Saturday
        ({"cron": "0 12 * * MON-FRI"}, "2026-08-03 12:30:00", 5),
        ({"cron": "0 23 * * *", "duration": "3h"}, "2026-08-01 01:30:00", 5),  # over midnight
        ({"cron": "59 11 * * *"}, "2026-08-01 12:30:00", 5),
        ({"cron": "*/10 * * * *", "duration": "1m"}, "2026-08-01 01:40:30", 5),
        ({"cron": "*/10 * * * *", "duration": "1m"}, "2026-08-01 01:45:30", None),
        # 8:00 in Paris is 7:00 UTC in winter, 6:00 in summer.
        ({"cron": "0 8 * * *", "timeZone": "Europe/Paris", "lead": "0s"}, "2026-03-28 06:30:00", None),
        ({"cron": "0 8 * * *", "timeZone": "Europe/Paris", "lead": "0s"}, "2026-03-29 06:30:00", 5),
        # 2:30 does not exist on the 29th: it comes at 3:00, which is 1:00 UTC.
        ({"cron": "30 2 * * *", "timeZone": "Europe/Paris", "lead": "0s"}, "2026-03-29 01:10:00", 5),
        (
            {"cron": "30 2 * * *", "timeZone": "Europe/Paris", "lead": "0s", "duration": "5h"},
            "2026-03-29 05:30:00",
            5,
        ),
    ],
)
def test_floor_must_be_in_force_a_lead_before_its_hours(
    fields: dict[str, object], now: str, expected: int | None
) -> None:
    """Replicas asked for at noon are Ready after noon: the floor holds from a start-up time before."""
    plans = compile_schedules([plan(**fields)])
    assert bounds_at(plans, now=at(now), lead_seconds=60).floor == expected


def test_cap_must_have_no_lead() -> None:
    """What is cut needs no time."""
    plans = compile_schedules([plan(minReplicas=None, maxReplicas=3)])
    assert bounds_at(plans, now=at("2026-08-01 11:59:30"), lead_seconds=60).cap is None
    assert bounds_at(plans, now=at("2026-08-01 12:00:00"), lead_seconds=60) == Bounds(
        cap=3, cap_by="noon", next_change=at("2026-08-01 14:00:00")
    )


def test_bounds_must_tell_when_they_change_next() -> None:
    """The begin of the lead, then the end."""
    plans = compile_schedules([plan()])
    assert bounds_at(plans, now=at("2026-08-01 09:30:00"), lead_seconds=60).next_change == at("2026-08-01 11:59:00")
    assert bounds_at(plans, now=at("2026-08-01 12:30:00"), lead_seconds=60).next_change == at("2026-08-01 14:00:00")


def test_highest_floor_and_lowest_cap_must_count() -> None:
    """Schedules may overlap."""
    plans = compile_schedules([plan(), plan(name="b", minReplicas=8), plan(name="c", minReplicas=None, maxReplicas=9)])
    bounds = bounds_at(plans, now=at("2026-08-01 12:30:00"), lead_seconds=0)
    assert (bounds.floor, bounds.floor_by, bounds.cap, bounds.cap_by) == (8, "b", 9, "c")


@pytest.mark.parametrize(
    "fields", [{"cron": "0 25 * * *"}, {"cron": "0 0 30 2 *"}, {"cron": "a b c d e"}, {"timeZone": "Mars/Olympus"}]
)
def test_schedule_must_be_refused_with_its_name_where_it_means_nothing(fields: dict[str, object]) -> None:
    """The schema checks the form; what only cron and the time zones know comes as an error with the name in it."""
    policy = scaling(target={"requestsPerMinute": 60}, schedules=[plan(**fields).to_dict()])
    with pytest.raises(ValueError, match="schedule noon: "):
        compile_policy(policy)


def test_decide_must_follow_floor_and_cap_whatever_the_data() -> None:
    """The floor lifts at once and is left by the usual way in; the cap cuts at once."""
    schedules = [
        {"name": "lunch", "cron": "1 12 * * *", "duration": "1m", "minReplicas": 6},
        {"name": "quiet", "cron": "10 12 * * *", "duration": "5m", "maxReplicas": 2},
    ]
    loop = Loop(scaling(target={"requestsPerMinute": 600}, schedules=schedules), knowledge=QUICK)
    loop.run(100, seconds=50)
    assert loop.replicas == 1
    decision = loop.tick(None)  # 12:00:52: a start-up and a half, a look and a sample before
    assert (decision.replicas, decision.reason, decision.limited_by) == (6, ScalingReason.SCHEDULED, "schedule lunch")
    assert loop.run(100, seconds=66).replicas == 6
    assert loop.run(100, seconds=310).replicas == 1
    loop.run(6_000, seconds=100)
    assert loop.replicas == 10
    loop.run(6_000, seconds=80)
    assert (loop.replicas, loop.last.limited_by) == (2, "schedule quiet")
