"""The simulated queue and its replicas."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.replay.autoscaler import CLOUDWATCH, PROMETHEUS_15S, Outage, View
from sagebrush.replay.queueing import Service
from sagebrush.replay.system import PATIENCE_SECONDS, Outcome, System, simulate
from sagebrush.replay.trace import Trace
from tests.unit.replay.builders import EACH_SECOND, SERVICE, scripted, sequence, steady

SYSTEM = System(startup_seconds=3, pipeline=EACH_SECOND)

SYSTEMS = st.builds(
    System,
    startup_seconds=st.integers(0, 8),
    serialised=st.booleans(),
    bounded_queue=st.booleans(),
    pipeline=st.just(EACH_SECOND),
    maximum=st.integers(3, 20),
)
RATES = st.lists(st.floats(0, 150), min_size=2, max_size=40)
WISHES = st.lists(st.integers(-2, 25), min_size=1, max_size=40)


def replayed(rates: list[float], wishes: list[int], system: System) -> Outcome:
    trace = Trace(name="any", rate=np.asarray(rates), service=SERVICE, noisy=False)
    return simulate(trace, sequence(wishes), system)


@settings(max_examples=50)
@given(rates=RATES, wishes=WISHES, system=SYSTEMS)
def test_queue_must_lose_no_request_without_counting_it(rates: list[float], wishes: list[int], system: System) -> None:
    """What arrived was completed, lost, or still waits; nobody is later than there are requests; the queue is bounded."""
    seen: list[View] = []
    trace = Trace(name="any", rate=np.asarray([*rates, 0.0]), service=SERVICE, noisy=False)

    def choose(view: View) -> int:
        seen.append(view)
        return wishes[min(view.now, len(wishes) - 1)]

    outcome = simulate(trace, scripted(choose), system)
    end = len(rates)
    view = seen[-1]
    assert view.queue is not None
    kept = view.completed(0, end) + view.rejected(0, end) + view.queue
    assert sum(rates) == pytest.approx(kept, abs=1e-6)
    assert (outcome.lost >= -1e-9).all()
    assert (outcome.late <= outcome.arrivals + 1e-9).all()
    assert (outcome.lost <= outcome.late + 1e-9).all()


@settings(max_examples=50)
@given(rates=RATES, wishes=WISHES, system=SYSTEMS)
def test_replicas_must_be_ready_only_after_their_start(rates: list[float], wishes: list[int], system: System) -> None:
    """Ready are at most those asked for a start-up ago and still wanted; and the bounds hold."""
    outcome = replayed(rates, wishes, system)
    for second, (asked, ready) in enumerate(zip(outcome.asked, outcome.ready, strict=True)):
        assert system.minimum <= asked <= system.maximum
        earliest = max(0, second - system.startup_seconds)
        # At the very first decision the replicas of the start are ready, whatever it asks for.
        before = outcome.asked[earliest : second + 1] if earliest else [system.maximum]
        assert ready <= max(before)
        assert ready <= asked


def test_start_must_take_its_time_and_be_paid_from_the_launch() -> None:
    """Launched at second 2, ready at 5, paid from 2."""
    outcome = simulate(steady((5, 10)), sequence([1, 1, 3]), SYSTEM)
    assert [1, 1, 3, 3, 3, 3, 3, 3, 3, 3] == outcome.asked.tolist()
    assert [1, 1, 1, 1, 1, 3, 3, 3, 3, 3] == outcome.ready.tolist()
    assert outcome.replica_seconds == 26
    assert outcome.changes == 1


def test_removal_must_take_replicas_that_still_start_first() -> None:
    """As a ReplicaSet does: those that serve are kept."""
    outcome = simulate(steady((5, 8)), sequence([1, 4, 2]), SYSTEM)
    assert [1, 1, 1, 1, 2, 2, 2, 2] == outcome.ready.tolist()


def test_serialised_system_must_refuse_changes_while_a_start_is_under_way() -> None:
    """Asked for at 1, ready at 4: what is wanted between is not done, in either direction."""
    outcome = simulate(steady((5, 8)), sequence([1, 2, 5, 1, 4]), replace(SYSTEM, serialised=True))
    assert [1, 2, 2, 2, 4, 4, 4, 4] == outcome.asked.tolist()


@pytest.mark.parametrize(
    ("bounded", "wait", "late_after_one_second"), [(False, PATIENCE_SECONDS, 15.0), (True, 0.5, 15.0)]
)
def test_overload_must_fill_the_queue_to_its_limit(bounded: bool, wait: float, late_after_one_second: float) -> None:
    """20 requests/s on one replica of 10: late is what finds half a second of work, the rest is lost at the limit."""
    system = replace(SYSTEM, bounded_queue=bounded, maximum=1)
    outcome = simulate(steady((5, 60), (20, 30)), sequence([1]), system)
    assert wait * SERVICE.capacity == pytest.approx(outcome.queue[-1])
    assert outcome.lost[-1] == pytest.approx(10.0)
    # The backlog reaches 5 requests, half a second of work, in the middle of the first second.
    assert outcome.late[60] == pytest.approx(late_after_one_second - 5.0)
    assert outcome.late[-1] == pytest.approx(20.0)


def test_wrong_capacity_must_reach_the_policy_and_not_the_replicas() -> None:
    """The policy is told 13, the replicas do 10."""
    told: list[Service] = []

    def make(situation: object, history: object) -> object:
        told.append(situation.service)
        return scripted(lambda view: 1)(situation, history)

    outcome = simulate(steady((12, 30)), make, replace(SYSTEM, stated_capacity=1.3, maximum=1))
    assert [13.0] == [service.capacity for service in told]
    assert outcome.queue[-1] > 0


def test_view_must_show_what_a_pipeline_would() -> None:
    """Prometheus: samples every 15 s, readable a second later; CloudWatch: minutes, readable a minute later."""
    looks: dict[str, list[tuple[int, int, float | None]]] = {}
    for pipeline in (PROMETHEUS_15S, CLOUDWATCH):
        seen = looks.setdefault(pipeline.name, [])

        def choose(view: View, seen: list[tuple[int, int, float | None]] = seen) -> int:
            seen.append((view.now, view.seen_until, view.rate(60)))
            return 1

        simulate(steady((2, 60), (8, 120)), scripted(choose, interval_seconds=30), replace(SYSTEM, pipeline=pipeline))
    assert [(0, 0, None), (30, 15, 2.0), (60, 45, 2.0)] == looks[PROMETHEUS_15S.name][:3]
    # At 90 s the samples of 30 and 75 s are in the window: 30 s of 2 requests/s and 15 s of 8.
    assert (90, 75, 4.0) == looks[PROMETHEUS_15S.name][3]
    assert [0, 0, 0, 0, 60, 60] == [until for _, until, _ in looks[CLOUDWATCH.name]]


def test_outage_must_blind_its_source_only_and_leave_a_gap() -> None:
    """Prometheus is away from 30 to 60: blind until the first sample after it; the history has no values there."""
    seen: dict[int, tuple[bool, float | None]] = {}
    bins: list[list[float]] = []

    def choose(view: View) -> int:
        seen[view.now] = (view.blind, view.rate(60))
        if view.now == 119:
            bins.append(view.history(0, 105, step=15).tolist())
        return 1

    system = replace(SYSTEM, pipeline=PROMETHEUS_15S, outages=(Outage(begin=30, end=60),))
    simulate(steady((4, 120)), scripted(choose), system)
    assert not seen[29][0]
    assert all(seen[second] == (True, None) for second in range(30, 61))
    assert seen[61] == (False, None)
    assert seen[76] == (False, 4.0)
    assert [True, True, False, False, True, True, True] == np.isfinite(bins[0]).tolist()
    direct: list[bool] = []
    simulate(
        steady((4, 120)), scripted(lambda view: direct.append(view.blind) or 1), replace(system, pipeline=EACH_SECOND)
    )
    assert not any(direct)


def test_simulation_must_give_the_same_bytes_for_the_same_seed() -> None:
    """Drawn arrivals and all that follows from them."""

    def run(seed: int) -> bytes:
        trace = Trace(name="noisy", rate=np.full(600, 40.0), service=SERVICE, dispersion=np.full(600, 4.0), seed=seed)
        outcome = simulate(trace, scripted(lambda view: 1 + int((view.rate(10) or 0) / 8)), SYSTEM)
        return outcome.arrivals.tobytes() + outcome.late.tobytes() + outcome.asked.tobytes()

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_noise_must_have_its_mean_and_dispersion() -> None:
    """Poisson without an index of dispersion, else with the variance that it says."""
    rate = np.full(200_000, 30.0)
    for dispersion in (None, 6.0):
        given_ = None if dispersion is None else np.full(len(rate), dispersion)
        drawn = Trace(name="noise", rate=rate, service=SERVICE, dispersion=given_).arrivals
        assert drawn.mean() == pytest.approx(30.0, rel=0.01)
        assert drawn.var() / drawn.mean() == pytest.approx(dispersion or 1.0, rel=0.03)
