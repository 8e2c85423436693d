"""What CloudWatch would know of a variant: points of ten seconds, summed over longer periods on demand."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sagemaker_simulator.fleet import Variant

RESOLUTION = 10
POINTS_KEPT = 6 * 60 * 3


@dataclass(frozen=True)
class Point:
    """What a variant served in ten seconds; zero traffic gives points of value zero, as SageMaker emits them."""

    invocations: float
    per_instance: float
    concurrency: float


@dataclass
class Series:
    """The points of one variant, oldest first; starts anew with the variant's fleet's counters."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS_KEPT))
    _variant: "Variant | None" = None
    _invocations: float = 0.0
    _per_instance: float = 0.0

    def begin(self, variant: "Variant") -> None:
        """Points count from now on."""
        self._variant, self._invocations, self._per_instance = variant, variant.invocations, variant.per_instance

    def take(self, variant: "Variant", *, latency: float) -> None:
        """Add the point of the last ten seconds."""
        if variant is not self._variant:
            self._variant, self._invocations, self._per_instance = variant, 0.0, 0.0
        invocations = variant.invocations - self._invocations
        per_instance = variant.per_instance - self._per_instance
        self._invocations, self._per_instance = variant.invocations, variant.per_instance
        self.points.append(Point(invocations, per_instance, per_instance / RESOLUTION * latency))

    def values(self, metric: str, *, period: int, count: int) -> list[float] | None:
        """The last `count` values of full periods, oldest first; None while there aren't that many."""
        each = max(1, period // RESOLUTION)
        needed = each * count
        if len(self.points) < needed:
            return None
        recent = list(self.points)[-needed:]
        return [self._value(metric, recent[at : at + each]) for at in range(0, needed, each)]

    @staticmethod
    def _value(metric: str, points: list[Point]) -> float:
        match metric:
            case "Invocations":
                return sum(point.invocations for point in points)
            case "InvocationsPerInstance":
                return sum(point.per_instance for point in points)
            case "ConcurrentRequestsPerModel":
                return sum(point.concurrency for point in points) / len(points)
            case _:
                return 0.0
