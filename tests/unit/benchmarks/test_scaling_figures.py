"""The figures of the scaling benchmark, from made-up runs."""

import math
from collections import Counter

import pytest

from benchmarks.scaling.driving import Driven
from benchmarks.scaling.options import parse
from benchmarks.scaling.results import Run, checks, figures, first_new_replica, latencies, replica_seconds
from benchmarks.scaling.shape import Part, Shape, article
from benchmarks.scaling.watching import Sample

BEGAN = 1_000_000.0
SHAPE = Shape((Part("base", 10, 20, 20), Part("spike", 10, 100, 100), Part("after", 5, 20, 20)))


def sample(at: float, asked: int, ready: int) -> Sample:
    return Sample(time=BEGAN + at, asked=asked, ready=ready, reason="", capacity=None)


SAMPLES = [sample(0, 1, 1), sample(5, 1, 1), sample(12, 3, 1), sample(14.5, 3, 2), sample(16, 3, 3), sample(25, 3, 3)]


def run(**changes: object) -> Run:
    driven = Driven(BEGAN, due=[1.0, 11.0, 12.0, 21.0], latencies=[0.05, 2.0, 0.1, 0.05])
    for name, value in changes.items():
        setattr(driven, name, value)
    return Run(source="Pods", shape=SHAPE, driven=driven, samples=SAMPLES, decisions=[{}], missed_looks=0)


def test_shape_must_send_its_rate():
    """Within chance (4 σ) as many requests in each part as its rate says; the same ones each time."""
    shape = Shape((Part("flat", 100, 30, 30), Part("ramp", 100, 30, 90)))
    moments = list(shape.moments())
    assert moments == list(shape.moments()) == sorted(moments)
    for begin, end, expected in ((0, 100, 3000), (100, 200, 6000)):
        count = sum(begin <= moment < end for moment in moments)
        assert abs(count - expected) < 4 * math.sqrt(expected)


def test_steps_must_be_those_upwards_at_once():
    """Spikes are steps; a ramp, its hold and the way down are none."""
    assert [part.name for part, _ in article(40, 5, quick=False).steps()] == ["spike of 2 min", "spike of 4 min"]
    assert [at for _, at in SHAPE.steps()] == [10]


def test_first_new_replica_must_be_timed_from_the_step():
    """Ready, not asked for, and more than there were at the step; none where none came in time."""
    assert first_new_replica(SAMPLES, step=BEGAN + 10, until=BEGAN + 20) == 4.5
    assert first_new_replica(SAMPLES, step=BEGAN + 10, until=BEGAN + 14) is None
    assert first_new_replica(SAMPLES, step=BEGAN + 16, until=BEGAN + 25) is None


def test_figures_must_tell_the_spike_apart():
    """Each part has its own latencies; a step its time to the first new replica."""
    told = figures(run(), latency_seconds=0.5, capacity=50)
    base, spike, _ = told["parts"]
    assert "firstNewReadySeconds" not in base
    assert (spike["firstNewReadySeconds"], spike["readyBefore"], spike["needed"], spike["mostReady"]) == (4.5, 1, 2, 3)
    assert (spike["requests"], spike["latePercent"], spike["p99Ms"]) == (2, 50.0, 2000.0)
    assert (told["failed"], told["wrongAnswers"]) == (0, 0)


def test_failed_requests_must_be_late_and_no_latency():
    """A request without an answer is late; percentiles are of the answered ones."""
    told = latencies([0.1, math.inf, 0.2], bound=0.5)
    assert (told["requests"], told["latePercent"], told["maxMs"]) == (3, 33.333, 200.0)
    assert latencies([], bound=0.5)["p99Ms"] is None


def test_replica_seconds_must_be_what_is_asked_for():
    """Paid from the moment of asking."""
    assert replica_seconds(SAMPLES, begin=BEGAN, end=BEGAN + 25) == 12 * 1 + 13 * 3


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"failures": Counter({"HTTP 500": 2})}, ["Pods: no failed request"]),
        ({"wrong": 1}, ["Pods: every answer right"]),
    ],
    ids=["fine", "failed", "wrong"],
)
def test_benchmark_must_fail_only_for_what_is_wrong(changes: dict[str, object], wrong: list[str]):
    """A failed request or a wrong answer is wrong; slowness is told and no failure."""
    document = {"runs": [figures(run(**changes), latency_seconds=0.5, capacity=50)]}
    assert [check["check"] for check in checks(document) if check["must"] and not check["passed"]] == wrong


def test_policy_must_take_changes():
    """--scaling replaces fields, and null removes one."""
    options = parse(["--scaling", '{"target": {"requestsPerMinute": 60}, "capacity": null}', "--sources", "Prometheus"])
    policy = options.scaling("Prometheus")
    assert policy["target"] == {"requestsPerMinute": 60}
    assert "capacity" not in policy
    assert "source" not in policy
    assert parse([]).scaling("Pods")["source"] == "Pods"
