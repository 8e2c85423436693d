"""The operator's own metrics, in a registry of its own."""

from datetime import timedelta
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sagebrush.metrics.aws import AwsMetrics
from sagebrush.metrics.scaler import ScalerMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class OperatorMetrics:
    """Counts what the operator does and shows what its scaler sees.

    ``namespace`` and ``endpoint`` are those of the ModelEndpoint; a scrape that adds labels of these names itself needs
    ``honorLabels: true``.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        registry = self.registry
        self._reconciles = Counter(
            "sagebrush_reconciles", "Passes over one object, by outcome.", ("kind", "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "sagebrush_reconcile_duration_seconds",
            "Duration of a pass over one object.",
            ("kind",),
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "sagebrush_reconcile_errors", "Passes that failed, by class of error.", ("kind", "class"), registry=registry
        )
        self._queue = Gauge("sagebrush_queue_depth", "Objects that wait for a pass.", ("backend",), registry=registry)
        # What labels() gives is looked up at every pass, and always the same.
        self._passes = cache(lambda kind, outcome: (self._reconciles.labels(kind, outcome), self._seconds.labels(kind)))
        self._depth = cache(self._queue.labels)
        self._aws = AwsMetrics(registry)
        self._scaler = ScalerMetrics(registry)

    def reconciled(self, kind: str, *, outcome: str, duration: timedelta) -> None:
        """A pass over an object of *kind* ended."""
        counted, timed = self._passes(kind, outcome)
        counted.inc()
        timed.observe(duration.total_seconds())

    def failed(self, kind: str, *, error_class: str) -> None:
        """A pass ended in an error of the class."""
        self._errors.labels(kind, error_class).inc()

    def queued(self, depth: int, *, backend: str) -> None:
        """The number of objects of a backend that wait."""
        self._depth(backend).set(depth)

    @property
    def aws(self) -> AwsMetrics:
        """What is told of calls to AWS."""
        return self._aws

    @property
    def scaler(self) -> ScalerMetrics:
        """What is told of the scaler."""
        return self._scaler

    def render(self) -> bytes:
        """All of it as Prometheus text, of :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)
