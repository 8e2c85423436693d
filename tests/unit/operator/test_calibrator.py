"""Who is calibrated when, and what a failure costs: nothing but the lesson."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from sagebrush.api.scaling_status import ScalingStatus, StartupStatus
from sagebrush.backends.calibrator import SOONEST, Calibrator, subjects_of
from sagebrush.backends.scaling_knowledge import ScalingKnowledge, Variant
from sagebrush.core.resource import Key, Manifest
from sagebrush.core.scaling.calibrate import DemandHistory
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Cadence, Capacity
from sagebrush.core.scaling.history import History
from sagebrush.kube.cache import Cache
from sagebrush.metrics.history import HistoryError
from tests.unit.operator.builders import NOON, body, endpoint_document, scaling
from tests.unit.sagemaker.endpoint_builders import document, scaled

PERIOD = timedelta(hours=6)
VARIANT = Variant("uid-0", "AllTraffic")


class Histories:
    """A Prometheus with as many days of history as told, or an error."""

    def __init__(self, days: float = 14) -> None:
        self.days = days
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.steps: list[timedelta] = []
        self.scrape = 5.0

    async def fetch_history(
        self, namespace: str, *, endpoint: str, variant: str, span: timedelta, step: timedelta
    ) -> DemandHistory:
        self.asked.append(endpoint)
        self.steps.append(step)
        if self.error:
            raise self.error
        bins = int(span / step)
        rates = np.full(bins, np.nan)
        known = int(timedelta(days=self.days) / step)
        rates[bins - known :] = 5.0
        return DemandHistory(step.total_seconds(), datetime(2026, 8, 1, tzinfo=UTC), rates)

    def cadence(self, namespace: str, **_: Any) -> Cadence:
        return Cadence()

    def scrape_seconds(self, namespace: str, endpoint: str, variant: str) -> float:
        return self.scrape


class World:
    def __init__(self, *names: str, days: float = 0.01, span: timedelta = timedelta(days=1)) -> None:
        self.now, self.cache, self.knowledge, self.histories = NOON, Cache(), ScalingKnowledge(), Histories(days)
        for number, name in enumerate(names):
            found = body("ModelEndpoint", endpoint_document(scaling=scaling()), uid=f"uid-{number}")
            found["metadata"]["name"] = name
            self.cache.put(found)
        self.calibrator = Calibrator(
            cache=self.cache,
            knowledge=self.knowledge,
            histories=self.histories,
            span=span,
            period=PERIOD,
            clock=lambda: self.now,
            jitter=lambda: 0.0,
        )

    async def pass_time(self, time: timedelta) -> bool:
        self.now += time
        return await self.calibrator.once()

    def learned(self, uid: str = "uid-0") -> Any:
        found = self.knowledge.of(Variant(uid, "AllTraffic"), before=None, revision=None, cadence=Cadence())
        return found.calibration


async def test_each_endpoint_must_be_calibrated_in_turn() -> None:
    """At start one after the other, each once; a new one as soon as it is there."""
    world = World("a", "b")
    assert [True, True, False] == [await world.calibrator.once() for _ in range(3)]
    assert ["a", "b"] == sorted(world.histories.asked)
    assert world.learned() is not None
    assert NOON == world.learned().learned_at
    late = body("ModelEndpoint", endpoint_document(scaling=scaling()), uid="uid-9")
    late["metadata"]["name"] = "c"
    world.cache.put(late)
    assert await world.calibrator.once()
    assert "c" == world.histories.asked[-1]


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0.0, SOONEST), (0.25, timedelta(hours=1.5)), (1.0, PERIOD)],
)
async def test_short_history_must_be_looked_at_again_sooner(days: float, expected: timedelta) -> None:
    """What there is to learn grows fast at first: after a quarter more, and at last every period."""
    world = World("a", days=days)
    assert await world.calibrator.once()
    assert not await world.pass_time(expected - timedelta(seconds=60))
    assert await world.pass_time(timedelta(seconds=60))


@pytest.mark.parametrize(
    ("changed", "tested", "expected"),
    [(False, None, False), (True, None, True), (False, 52.0, False), (False, 80.0, True)],
)
async def test_change_of_policy_or_capacity_must_be_learned_from_soon(
    changed: bool, tested: float | None, expected: bool
) -> None:
    """What was learned for another target, or another capacity, may be wrong; small changes are noise."""
    world = World("a", days=1)
    first = Capacity(50.0, source="Learned", measured_at=NOON)
    world.knowledge.acted(VARIANT, Decision(1, 1, ScalingReason.WITHIN_TARGET, "", History(), capacity=first))
    assert await world.calibrator.once()
    if tested:
        found = Capacity(tested, source="Learned", measured_at=NOON)
        world.knowledge.acted(VARIANT, Decision(1, 1, ScalingReason.WITHIN_TARGET, "", History(), capacity=found))
    if changed:
        other = body("ModelEndpoint", endpoint_document(scaling=scaling(target=5)), uid="uid-0", version=2)
        other["metadata"]["name"] = "a"
        world.cache.put(other)
    assert not await world.pass_time(SOONEST / 2)
    assert expected is await world.pass_time(SOONEST / 2)


async def test_failure_must_be_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The policy goes on without; what was learned before stays."""
    world = World("a")
    await world.calibrator.once()
    before = world.learned()
    world.histories.error = HistoryError("Prometheus is away")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await world.pass_time(PERIOD)
    assert ["Prometheus is away" in record.getMessage() for record in caplog.records] == [True]
    assert before is world.learned()
    world.histories.error = None
    assert await world.pass_time(SOONEST)
    assert before is not world.learned()


async def test_one_that_fails_must_not_keep_the_others_waiting() -> None:
    """Also where it fails in a way that nobody foresaw."""
    world = World("a", "b")
    world.histories.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await world.calibrator.once()
    world.histories.error = None
    assert await world.calibrator.once()
    assert {"a", "b"} == set(world.histories.asked)


@pytest.mark.parametrize(
    ("seconds", "scrape", "expected"),
    [
        (5.0, 2.0, 5),
        (5.0, 5.3, 5),
        (5.0, 10.0, 10),
        (5.0, 15.2, 15),
        (5.0, 30.0, 30),
        (5.0, 45.0, 60),
        (400.0, 2.0, 60),
    ],
)
async def test_history_must_be_as_fine_as_replicas_and_scrapes_are_fast(
    seconds: float, scrape: float, expected: int
) -> None:
    """What takes minutes to start learns nothing from seconds, nor does what is looked at less often; no more is asked for."""
    world = World("a")
    world.histories.scrape = scrape
    startup = StartupStatus(p50_seconds=seconds, p90_seconds=seconds, recent=[seconds])
    before = ScalingStatus(desired_replicas=1, reason="", message="", startup=startup)
    world.knowledge.of(Variant("uid-0", "AllTraffic"), before=before, revision=None, cadence=Cadence())
    await world.calibrator.once()
    assert [timedelta(seconds=expected)] == world.histories.steps


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (endpoint_document(scaling=scaling()), [("AllTraffic", False)]),
        (endpoint_document(scaling={**scaling(), "mode": "Recommend"}), [("AllTraffic", False)]),
        (endpoint_document(scaling={**scaling(), "mode": "Off"}), []),
        (endpoint_document(), []),
        (document(more={"scaling": scaled()}), [("AllTraffic", True)]),
        (document(more={"scaling": scaled("ApplicationAutoScaling")}), []),
        ({"nonsense": True}, []),
    ],
)
def test_subjects_must_be_what_we_decide_on(spec: Manifest, expected: list[tuple[str, bool]]) -> None:
    """Both backends; not what AWS scales, nor what is switched off, nor what can't be read."""
    found = subjects_of(Key("ModelEndpoint", "demo", "kdd"), body("ModelEndpoint", spec))
    assert expected == [(each.variant.name, each.serialised) for each in found]
