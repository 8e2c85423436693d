"""Request metrics of one number, for kinds that are tested without any Prometheus."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sagebrush.backends.scaling_knowledge import ScalingKnowledge
from sagebrush.backends.scaling_sources import ScalingSources
from sagebrush.core.scaling.facts import Cadence, Signals
from sagebrush.core.scaling.window import Reading

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


class FakeMetrics:
    """The same rate for every endpoint; None: nothing is known."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self.asked: list[tuple[str, str, str]] = []

    def signals(self, namespace: str, *, endpoint: str, variant: str, **_: Any) -> Signals:
        self.asked.append((namespace, endpoint, variant))
        one = reading(self.rate)
        return Signals(one, one)

    def cadence(self, namespace: str, **_: Any) -> Cadence:
        return Cadence()


def reading(rate: float | None) -> Reading:
    """A minute of good data; None: nothing is known."""
    return Reading(rate, NOON, complete=rate is not None, span=timedelta(seconds=60))


def sources(metrics: FakeMetrics | None = None, **more: Any) -> ScalingSources:
    """What a kind scales by, with an empty memory."""
    return ScalingSources(metrics=metrics or FakeMetrics(), knowledge=ScalingKnowledge(), **more)
