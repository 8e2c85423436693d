"""The clairvoyant minimum."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sagebrush.replay.oracle import cheapest, optimum
from sagebrush.replay.queueing import replicas_needed
from sagebrush.replay.system import System, first_replicas, simulate
from tests.unit.replay.builders import EACH_SECOND, SERVICE, sequence, steady


def by_trial(needed: list[int], *, startup_seconds: int) -> float:
    """The least cost of all plans there are: what is launched in a second is ready a start-up later."""
    most, best = max(needed), float("inf")
    for asked in product(range(most + 1), repeat=len(needed)):
        # Those asked for at the first second were launched before it, as far as they are kept.
        if all(
            min(asked[max(0, second - startup_seconds) : second + 1]) >= wanted for second, wanted in enumerate(needed)
        ):
            best = min(best, sum(asked))
    return best


@settings(max_examples=50, deadline=None)
@given(needed=st.lists(st.integers(0, 2), min_size=1, max_size=7), startup_seconds=st.integers(0, 4))
def test_optimum_must_be_what_trying_everything_finds(needed: list[int], startup_seconds: int) -> None:
    """Exact, not a heuristic: equal to the best of all plans on small cases."""
    found = cheapest(np.asarray(needed), startup_seconds=startup_seconds)
    assert by_trial(needed, startup_seconds=startup_seconds) == found.replica_seconds


@pytest.mark.parametrize(
    ("needed", "startup_seconds", "cost"),
    [
        ([1, 1, 2, 2, 1, 1], 0, 8),
        ([1, 1, 2, 2, 1, 1], 1, 9),  # a launch one second ahead
        ([1, 1, 2, 2, 1, 1], 5, 10),  # no time to launch: it stood there from the start
        ([2, 1, 1, 2], 5, 8),  # the gap is cheaper to bridge
        ([2, 1, 1, 1, 1, 2], 2, 10),  # the gap is cheaper to leave
    ],
)
def test_optimum_must_pay_for_boots_and_bridges(needed: list[int], startup_seconds: int, cost: float) -> None:
    """By hand: boots cost, and a gap shorter than a boot is bridged."""
    assert cost == cheapest(np.asarray(needed), startup_seconds=startup_seconds).replica_seconds


@pytest.mark.parametrize(
    ("needed", "replicas"), [([2, 1, 1, 2], [2, 2, 2, 2]), ([2, 1, 1, 1, 2], [2, 1, 1, 1, 2]), ([1, 1, 2], [1, 1, 2])]
)
def test_plan_must_keep_what_is_bridged(needed: list[int], replicas: list[int]) -> None:
    """With a start-up of 3 s: a gap of two is kept, one of three is left, and nothing stands there before its time."""
    assert replicas == cheapest(np.asarray(needed), startup_seconds=3).replicas.tolist()


@settings(max_examples=40, deadline=None)
@given(
    rates=st.lists(st.sampled_from([2, 9, 15, 28]), min_size=2, max_size=30),
    spare=st.lists(st.integers(0, 3), min_size=30, max_size=30),
    startup_seconds=st.integers(0, 6),
)
def test_oracle_must_not_be_beaten_within_its_own_constraint(
    rates: list[int], spare: list[int], startup_seconds: int
) -> None:
    """A policy with enough replicas ready in every second never costs less, whatever it does."""
    trace = steady(*((rate, 1) for rate in rates))
    needed = replicas_needed(trace.judged, SERVICE)
    most = [int(needed[at : at + startup_seconds + 1].max()) + spare[at] for at in range(len(rates))]
    system = System(startup_seconds=startup_seconds, pipeline=EACH_SECOND)
    outcome = simulate(trace, sequence(most), system)
    assume((outcome.ready >= needed).all())
    best = optimum(trace.judged, SERVICE, startup_seconds=startup_seconds)
    # What stands ready at the first second cost nobody a boot; the replicas of the start are the same for all.
    assert outcome.replica_seconds >= best.replica_seconds - first_replicas(trace) * startup_seconds
    if (outcome.asked[0] >= needed[: startup_seconds + 1].max()) and outcome.asked[0] <= first_replicas(trace):
        assert outcome.replica_seconds >= best.replica_seconds


@settings(max_examples=40, deadline=None)
@given(needed=st.lists(st.integers(1, 6), min_size=1, max_size=60), startup_seconds=st.integers(0, 20))
def test_plan_must_hold_what_it_promises(needed: list[int], startup_seconds: int) -> None:
    """Never short, never cheaper than what is needed; a longer start-up never costs less."""
    plan = cheapest(np.asarray(needed), startup_seconds=startup_seconds)
    assert (plan.replicas >= np.asarray(needed)).all()
    assert plan.replica_seconds >= sum(needed)
    assert cheapest(np.asarray(needed), startup_seconds=startup_seconds + 1).replica_seconds >= plan.replica_seconds
