"""The operator's own policy in the simulator."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.window import PodSeries, Readings, Sample, read
from sagebrush.replay.autoscaler import PODS, PROMETHEUS_5S, PROMETHEUS_15S, Outage, Pipeline, Situation, View
from sagebrush.replay.contenders import ours
from sagebrush.replay.production import CALIBRATION_SECONDS, Production, default_scaling
from sagebrush.replay.queueing import Floats
from sagebrush.replay.run import replay
from sagebrush.replay.shapes import article_spikes
from sagebrush.replay.system import System, simulate
from tests.unit.replay.builders import steady

SYSTEM = System(startup_seconds=10)


class Watched(Production):
    """Keeps what it was shown."""

    def __init__(self, situation: Situation) -> None:
        super().__init__(situation, scaling=default_scaling(situation))
        self.shown: list[tuple[int, int, Readings]] = []

    def look(self, view: View) -> int:
        if not view.blind:
            now = datetime.fromtimestamp(self.situation.start_unix + view.now, UTC)
            self.shown.append((view.now, view.seen_until, self._readings(view, now=now)))
        return super().look(view)


@pytest.mark.parametrize("pipeline", [PODS, PROMETHEUS_5S, PROMETHEUS_15S], ids=lambda each: each.name)
def test_readings_must_be_those_of_the_operator_for_the_same_samples(pipeline: Pipeline) -> None:
    """What the adapter shows decide() is what the operator's reading of the raw counters gives."""
    trace = steady((4, 60), (9, 90), (2, 60))
    made: list[Watched] = []

    def make(situation: Situation, _: Floats) -> Watched:
        made.append(Watched(situation))
        return made[-1]

    simulate(trace, make, replace(SYSTEM, pipeline=pipeline))
    counter = [0.0, *trace.arrivals.cumsum().tolist()]
    compared = 0
    for now, until, readings in made[0].shown:
        samples = tuple(Sample(float(at), counter[at]) for at in range(max(0, until - 120), until + 1, pipeline.step))
        if len(samples) < 5:
            continue
        true = read((PodSeries("pod", samples),), ready_pods={"pod": None}, at=datetime.fromtimestamp(now, UTC))
        for expected, found in zip(true, readings, strict=True):
            compared += 1
            assert expected.requests_per_minute == pytest.approx(found.requests_per_minute)
            assert (expected.complete, expected.problem) == (found.complete, found.problem)
            assert (expected.newest, expected.span, expected.age) == (found.newest, found.span, found.age)
    assert compared > 20


def test_default_scaling_must_be_one_configuration_for_all() -> None:
    """The bound and what a replica does, and nothing tuned: all else is as it comes."""
    made: list[Scaling] = []

    def make(situation: Situation, _: Floats) -> Production:
        made.append(default_scaling(situation))
        return Production(situation, scaling=made[-1])

    simulate(article_spikes(hours=1), make, replace(SYSTEM, stated_capacity=1.3))
    assert {
        "minReplicas": 1,
        "maxReplicas": 1000,
        "target": {"latency": "532ms"},
        "capacity": {"requestsPerSecond": 325.0, "concurrency": 8},
    } == made[0].model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def test_replay_must_give_the_same_row_every_time() -> None:
    """All but the CPU times."""
    first, second = (replay(article_spikes(hours=1), ours(), SYSTEM)[0].to_dict() for _ in range(2))
    assert first == second


def test_policy_must_not_scale_in_while_it_is_blind() -> None:
    """Prometheus is away while the load falls to nothing: the number holds until it is back."""
    trace = steady((30, 900), (1, 2400))
    system = replace(SYSTEM, pipeline=PROMETHEUS_15S, outages=(Outage(begin=880, end=2700),))
    row, outcome = replay(trace, ours(), system)
    assert row.scale_ins_blind == 0
    assert outcome.asked[2699] >= outcome.asked[879] > 1
    assert outcome.asked[-1] < outcome.asked[2699]


@pytest.mark.parametrize(("tells", "share"), [(True, 0.4), (False, None)])
def test_busy_share_must_be_told_only_where_replicas_tell_it(tells: bool, share: float | None) -> None:
    """Four requests/s on a replica of ten; other people's containers say nothing of it."""
    told: list[float | None] = []

    class Asked(Production):
        def look(self, view: View) -> int:
            told.append(self._signals(view, now=datetime.fromtimestamp(view.now, UTC)).busy)
            return 1

    def make(situation: Situation, _: Floats) -> Asked:
        return Asked(situation, scaling=default_scaling(situation))

    simulate(steady((4, 120)), make, replace(SYSTEM, tells_busy=tells))
    assert told[-1] == (None if share is None else pytest.approx(share))


def test_policy_must_be_calibrated_every_six_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start from the history, and then as the operator does it; here every ten minutes, so as not to wait."""
    assert CALIBRATION_SECONDS == 6 * 3600
    monkeypatch.setattr("sagebrush.replay.production.CALIBRATION_SECONDS", 600)
    made: list[Production] = []

    def make(situation: Situation, _: Floats) -> Production:
        made.append(Production(situation, scaling=default_scaling(situation)))
        return made[-1]

    simulate(steady((4, 9500), history=7200), make, replace(SYSTEM, pipeline=PROMETHEUS_15S))
    assert made[0].calibration_cost.calibrations == 4
    assert made[0].knowledge.calibration is not None
