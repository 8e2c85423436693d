"""stepPolicy, scaleOutLimit and scaleInLimit, and the targets that are not requests per minute."""

from dataclasses import replace
from typing import Any

import pytest

from sagebrush.api.scaling_status import ScalingDecision
from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.compiled import StepRule
from sagebrush.core.scaling.decision import ScalingReason
from sagebrush.core.scaling.facts import Capacity, Knowledge
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.steps import step_at, stepped
from tests.unit.scaling.builders import NOON, QUICK, Loop, after, scaling

STEPS = [
    StepRule(1000, None, 1, None),
    StepRule(2000, None, None, 50),
    StepRule(None, 500, -1, None),
    StepRule(None, 100, None, -50),
]


@pytest.mark.parametrize(
    ("value", "replicas", "expected"),
    [(999, 4, 4), (1000, 4, 5), (2000, 4, 6), (2000, 5, 8), (500, 4, 4), (499, 4, 3), (99, 5, 2), (0, 1, 0)],
)
def test_steps_must_take_the_farthest_that_is_reached(value: float, replicas: int, expected: int) -> None:
    """From its bound upwards, under its bound downwards; percents are rounded away from 0."""
    step = step_at(STEPS, value=value)
    assert (replicas if step is None else stepped(step, replicas=replicas)) == expected


def stepping(**more: Any) -> Loop:
    steps = {"steps": [{"above": 900, "change": 3}, {"below": 300, "change": -1}], "cooldown": "60s"}
    return Loop(scaling(target={"requestsPerMinute": 10_000}, stepPolicy=steps, **more), replicas=2)


def test_step_must_scale_out_beside_the_target_and_wait_its_cooldown() -> None:
    """The target is far; the step counts, once a minute."""
    loop = stepping()
    decision = loop.tick(2_000)
    assert (decision.replicas, decision.reason) == (5, ScalingReason.STEP)
    assert loop.run(6_000, seconds=58).replicas == 5
    assert loop.run(6_000, seconds=4).replicas == 8


def test_step_must_scale_in_on_a_full_window_of_whole_data() -> None:
    """Sooner than scaleInCooldown, and never on less than a minute of good data."""
    loop = stepping()
    loop.tick(2_000)
    assert loop.run(500, seconds=58).replicas == 5
    assert loop.run(500, seconds=10).replicas == 4
    assert loop.run(None, seconds=120).replicas == 4


def test_scale_out_limit_must_bound_what_is_added_within_its_period() -> None:
    """The larger of replicas and percent, of what there was at the period's begin; a burst may exceed it."""
    loop = Loop(
        scaling(target={"requestsPerMinute": 100}, scaleOutLimit={"replicas": 2, "percent": 100, "period": "30s"}),
        replicas=3,
    )
    decision = loop.tick(5_000)
    assert (decision.replicas, decision.limited_by) == (6, "scaleOutLimit")
    decision = loop.run(5_000, seconds=28)
    assert (decision.replicas, decision.reason) == (6, ScalingReason.RATE_LIMITED)
    assert loop.tick(5_000).replicas == 12


def test_limits_must_go_on_after_a_restart() -> None:
    """What the operator before this one added counts: status.scaling.decisions tells it."""
    entry = ScalingDecision(time=after(-10), from_replicas=3, to_replicas=6, reason="")
    loop = Loop(
        scaling(target={"requestsPerMinute": 100}, scaleOutLimit={"percent": 100, "period": "30s"}),
        replicas=6,
        history=History.resumed(last_scale_time=after(-10), decisions=[entry]),
    )
    assert loop.tick(5_000).reason is ScalingReason.RATE_LIMITED
    assert loop.run(5_000, seconds=20).replicas == 12


def test_scale_in_limit_must_bound_what_is_removed_within_its_period() -> None:
    """Ten replicas too many go two at a time."""
    loop = Loop(
        scaling(
            target={"requestsPerMinute": 100}, scaleInCooldown="10s", scaleInLimit={"replicas": 2, "period": "60s"}
        ),
        replicas=10,
    )
    loop.run(90, seconds=14)
    assert loop.replicas == 8
    assert loop.run(90, seconds=56).replicas == 8
    assert loop.run(90, seconds=20).replicas == 6


def test_in_flight_must_follow_the_gauge_and_not_its_noise() -> None:
    """30 in flight at 10 each are three; a moment's 36 among them is chance, 90 is not."""
    loop = Loop(scaling(target={"inFlight": 10}))
    assert loop.run(600, seconds=30, in_flight=30.0).replicas == 3
    assert loop.tick(600, in_flight=36.0).replicas == 3
    decision = loop.tick(600, in_flight=90.0)
    assert (decision.replicas, decision.value) == (9, 90.0)
    assert "90 requests in flight over 3 replicas is above the target of 10 in flight per replica" in decision.message


def test_season_must_not_ask_for_fewer_in_flight_when_more_comes() -> None:
    """What a request is worth in flight, the last minute says: a moment within chance would make few requests dear."""
    season = (4400 / 60,) * 288
    knowledge = replace(QUICK, calibration=Calibration("", NOON, season=season, usual=season))
    numbers = []
    for rate, in_flight in ((100, 0.7), (4400, 30.8)):
        loop = Loop(scaling(target={"inFlight": 4}), knowledge=knowledge)
        loop.run(4400, seconds=30, in_flight=30.0)
        numbers.append(loop.tick(rate, in_flight=in_flight).replicas)
    assert numbers[0] <= numbers[1]


def test_in_flight_must_hold_where_nobody_says_how_many() -> None:
    """Requests per minute are no substitute."""
    loop = Loop(scaling(target={"inFlight": 10}), replicas=3)
    decision = loop.run(60_000, seconds=600)
    assert (decision.replicas, decision.reason) == (3, ScalingReason.METRICS_MISSING)
    assert "nobody says how many requests are in flight" in decision.message


@pytest.mark.parametrize("value", [None, float("nan"), -1.0, float("inf")])
def test_query_must_hold_where_it_gives_no_number(value: float | None) -> None:
    """None, NaN and infinity are unknown, not nothing."""
    loop = Loop(scaling(target={"query": {"expression": "x", "perReplica": 5}}), replicas=3)
    decision = loop.run(600, seconds=900, value=value, value_problem="two series, not one")
    assert (decision.replicas, decision.reason) == (3, ScalingReason.METRICS_MISSING)
    assert "two series, not one" in decision.message


def test_query_must_be_divided_by_what_a_replica_carries() -> None:
    """Whatever the requests do."""
    loop = Loop(scaling(target={"query": {"expression": "x", "perReplica": 5}}))
    assert loop.tick(None, value=21.0).replicas == 5
    assert loop.run(None, seconds=310, value=4.0).replicas == 1


def test_percent_of_capacity_must_use_the_capacity_measured() -> None:
    """70 % of 100 requests/s are 4200 a minute."""
    policy = scaling(target={"percentOfCapacity": 70})
    loop = Loop(policy, knowledge=Knowledge(capacity=Capacity(100, source="Tested")))
    assert loop.tick(4_200).replicas == 1
    assert loop.tick(4_300).replicas == 2
    assert "4200 per replica (70 % of its capacity)" in str(loop.last.target_words)
    assert Loop(policy).tick(4_300).reason is ScalingReason.CAPACITY_UNKNOWN


def test_peaks_must_be_forgotten_with_the_target_they_are_of() -> None:
    """3000 requests/min are not 3000 in flight."""
    loop = Loop(scaling(target={"requestsPerMinute": 100}), replicas=30)
    loop.run(3_000, seconds=400)
    other = Loop(scaling(target={"inFlight": 10}), replicas=30, history=loop.history)
    other.time = loop.time
    assert other.tick(3_000, in_flight=20.0).reason is ScalingReason.SCALE_IN_STABILIZING
    assert other.run(3_000, seconds=310, in_flight=20.0).replicas == 3


@pytest.mark.parametrize("factor", [1, 2, 10])
def test_burst_must_not_be_limited_where_the_target_wants_even_more(factor: float) -> None:
    """scaleOutLimit and scaleOutCooldown hold back what is beyond a burst, not the burst."""
    fields = {
        "target": {"latency": "500ms"},
        "capacity": {"requestsPerSecond": 20, "concurrency": 4},
        "scaleOutLimit": {"replicas": 2, "period": "20s"},
        "scaleOutCooldown": "60s",
    }
    loop = Loop(scaling(6, **fields), replicas=1)
    loop.tick(1_500)
    assert loop.tick(20_000 * factor).replicas == 6
