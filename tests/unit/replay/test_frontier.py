"""``make bench-replay BENCH_FLAGS=--frontier``: its bound, and standing headroom."""

from dataclasses import replace

import numpy as np

from benchmarks.replay.frontier import BUDGET, bound_of, frontier
from benchmarks.replay.goals import SAGEMAKER
from tests.unit.replay.builders import steady

CALM = steady((50, 7200))
RISING = steady((50, 3600), (150, 3600))


def test_bound_must_be_what_the_rise_takes() -> None:
    """From 50 to 150 requests/s at once, replicas of 10: until a start-up is over fifteen or so must have stood there."""
    bound = bound_of(RISING, system=SAGEMAKER)
    assert bound.hours == 1.0
    assert bound.rise == 3.0
    assert 15 <= bound.stand <= 17
    assert bound.times > 2
    assert bound.late > 10 * BUDGET
    assert "3.0 times" in str(bound)


def test_calm_traffic_must_need_no_headroom() -> None:
    """Beyond what serves it."""
    bound = bound_of(CALM, system=SAGEMAKER)
    assert bound.stand <= bound.serve + 1
    assert bound.late < BUDGET / 1000


def test_standing_headroom_must_cost_what_it_stands_for() -> None:
    """Twice the demand costs about twice; less than the bound breaks the budget; the most seen never goes down."""
    known = replace(RISING, rate=np.concatenate((RISING.rate[::-1], RISING.rate)), evaluated_from=7200)
    rows, bound = frontier(lambda: known, system=SAGEMAKER)
    by_name = {row.policy: row for row in rows}
    twice = by_name["2 times the demand"]
    assert twice.cost_ratio > 1.8 * by_name["1 times the demand"].cost_ratio * 0.95
    assert twice.late_share > BUDGET
    assert by_name["3.5 times the demand"].late_share <= BUDGET
    assert f"{round(bound.times, 2):g} times the demand" in by_name
    assert by_name["the most ever seen"].late_share < twice.late_share / 10
    assert by_name["the most ever seen"].changes_per_hour <= 1
