"""The world of the benchmark with many endpoints: loads that are what they are said to be, and numbers that are right for them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.many_endpoints.fleets import Fleets
from benchmarks.many_endpoints.nodes import kwok_stages
from benchmarks.many_endpoints.population import CAPACITY, NAMESPACE, SORTS, Subject
from benchmarks.many_endpoints.traffic import Traffic
from sagebrush.api.scaling import Scaling
from sagebrush.core.naming import ENDPOINT
from sagebrush.core.resource import Manifest
from sagebrush.core.scaling.window import read
from sagebrush.metrics.answer import SeriesKey, parse_answer, parse_points, parse_values

NOW = 1_790_000_000.0
SUBJECTS = [Subject(number) for number in range(len(SORTS))]


def traffic(*, seconds: int, level: float = 1.0, pods: int = 3) -> Traffic:
    """What was scraped after this time of a load that doesn't change."""
    made = Traffic(SUBJECTS, scrape_seconds=15, history=1)
    for demand in made.demands.values():
        demand.level = level
        for number in range(pods):
            made.started(demand.subject.name, f"pod-{number}", ready=True)
    for second in range(seconds + 1):
        made.tick(NOW - seconds + second)
    return made


@pytest.mark.parametrize("level", [1.0, 1.8])
@pytest.mark.parametrize("subject", SUBJECTS, ids=SORTS)
def test_counters_must_tell_the_load(subject: Subject, level: float) -> None:
    """The operator reads out of the synthetic counters what the endpoint's load is, but for its noise."""
    answer = parse_answer(traffic(seconds=200, level=level).counters().encode(), http_status=200)
    series = answer.series[SeriesKey(NAMESPACE, subject.name, "AllTraffic")]
    ready = {f"pod-{number}": datetime.fromtimestamp(NOW - 200, UTC) for number in range(3)}
    long = read(series, ready_pods=ready, at=datetime.fromtimestamp(NOW, UTC)).long
    assert long.complete
    assert long.requests_per_minute == pytest.approx(subject.base * level, rel=0.03)


def test_load_must_stay_within_what_pods_can_do() -> None:
    """At the level of three replicas no replica is always busy: what it can do would be learned from a load that isn't real."""
    made = traffic(seconds=20)
    busy = parse_values(made.gauge("sagebrush_busy_seconds_total", now=NOW).encode(), http_status=200).values
    assert len(SUBJECTS) * 3 == len(busy)
    assert all(each.value < 0.8 for each in busy)


def test_busy_share_must_lag_as_a_rate_does() -> None:
    """Just after a step the replicas were not busy all the time: a share of the moment would teach too low a capacity."""
    made = traffic(seconds=60)
    for demand in made.demands.values():
        demand.level = 10.0
    shares = []
    for seconds in (1, 60):
        for second in range(seconds):
            made.tick(NOW + seconds + second)
        answer = made.gauge("sagebrush_busy_seconds_total", now=NOW).encode()
        shares.append([each.value for each in parse_values(answer, http_status=200).values])
    assert max(shares[0]) < 0.8
    assert min(shares[1]) == 1.0


def test_history_must_be_told_of_those_that_have_one() -> None:
    """Of an old endpoint a point for each step, of a new one nothing."""
    made = traffic(seconds=1)
    for subject, expected in zip(SUBJECTS, (4, 0), strict=False):
        text = made.history(f'x{{endpoint_name="{subject.name}"}}', start=NOW, end=NOW + 30, step=10)
        assert expected == len(parse_points(text.encode(), http_status=200))


@pytest.mark.parametrize("subject", SUBJECTS, ids=SORTS)
def test_right_number_must_follow_the_load(subject: Subject) -> None:
    """About three replicas at the beginning, more with more load, and all policies are ones that the API takes."""
    Scaling.model_validate(subject.scaling)
    assert 2 <= subject.right(1.0) <= 3
    assert subject.right(1.0) <= subject.right(1.8) < subject.right(3.24) <= 20
    assert subject.right(1.0) * CAPACITY * 60 >= subject.base


def seen(kind: str, name: str, *, endpoint: str = "endpoint-0000", **parts: Any) -> Manifest:
    """An object of an endpoint as a watch brings it."""
    return {
        "kind": kind,
        "metadata": {"name": name, "labels": {ENDPOINT: endpoint}, **parts.pop("metadata", {})},
        **parts,
    }


def pod(name: str, *, ready: bool, leaving: bool = False) -> Manifest:
    """A pod of the first endpoint."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    metadata = {"deletionTimestamp": "2026-08-01T12:00:00Z"} if leaving else {}
    return seen("Pod", name, metadata=metadata, status={"conditions": conditions})


def test_fleet_must_be_what_its_objects_say() -> None:
    """What is ready is scraped and carries load, what leaves does neither, and a number counts from when it was asked for."""
    made, times = Traffic(SUBJECTS, scrape_seconds=1, history=0), iter([100.0, 200.0])
    fleets = Fleets(Path("nowhere"), made, clock=lambda: next(times))
    fleets.deployment_seen(seen("Deployment", "endpoint-0000", spec={"replicas": 2}), deleted=False)
    fleet, demand = fleets.fleets["endpoint-0000"], made.demands["endpoint-0000"]
    for name in ("a", "b"):
        fleets.pod_seen(pod(name, ready=False), deleted=False)
    assert (2, 0, 0) == (len(demand.pods), fleet.ready, demand.serving)
    for name in ("a", "b"):
        fleets.pod_seen(pod(name, ready=True), deleted=False)
    assert (2, 2, True) == (fleet.ready, demand.serving, fleet.settled)
    fleets.deployment_seen(seen("Deployment", "endpoint-0000", spec={"replicas": 2}), deleted=False)
    assert 100.0 == fleet.asked_at
    fleets.deployment_seen(seen("Deployment", "endpoint-0000", spec={"replicas": 1}), deleted=False)
    assert (200.0, False) == (fleet.asked_at, fleet.settled)
    fleets.pod_seen(pod("b", ready=True, leaving=True), deleted=False)
    fleets.pod_seen(pod("b", ready=True), deleted=True)
    assert (["a"], 1, True) == (list(demand.pods), demand.serving, fleet.settled)


def test_pods_on_kwok_must_take_the_time_they_are_said_to() -> None:
    """The start-up that the operator measures is the one that was asked for; what is deleted goes at once."""
    stages = {each["metadata"]["name"]: each["spec"] for each in kwok_stages(2.5)}
    assert {"durationMilliseconds": 2500} == stages["pod-serves"]["delay"]
    assert "delay" not in stages["pod-gone"]
    assert stages["pod-gone"]["next"]["delete"]
