"""The operator's own metrics, in a registry of its own."""

from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sagebrush.core.scaling.policy import Decision, ScalingReason
from sagebrush.metrics.aws import AwsMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ENDPOINT = ("namespace", "endpoint")


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
        self._aws = AwsMetrics(registry)
        self._desired = Gauge(
            "sagebrush_scaler_desired_replicas", "Replicas that the scaler chose.", _ENDPOINT, registry=registry
        )
        self._observed = Gauge(
            "sagebrush_scaler_observed_requests_per_minute",
            "Requests per minute over all replicas; absent while nothing usable is measured.",
            _ENDPOINT,
            registry=registry,
        )
        self._target = Gauge(
            "sagebrush_scaler_target_requests_per_minute",
            "Requests per minute that each replica should carry.",
            _ENDPOINT,
            registry=registry,
        )
        self._age = Gauge(
            "sagebrush_scaler_metrics_age_seconds",
            "Age of the newest sample, by Prometheus' clock; absent where there is none.",
            _ENDPOINT,
            registry=registry,
        )
        self._decisions = Counter(
            "sagebrush_scaler_decisions",
            "Decisions of the scaler, by reason.",
            (*_ENDPOINT, "reason"),
            registry=registry,
        )

    def reconciled(self, kind: str, *, outcome: str, duration: timedelta) -> None:
        """A pass over an object of *kind* ended."""
        self._reconciles.labels(kind, outcome).inc()
        self._seconds.labels(kind).observe(duration.total_seconds())

    def failed(self, kind: str, *, error_class: str) -> None:
        """A pass ended in an error of the class."""
        self._errors.labels(kind, error_class).inc()

    def queued(self, depth: int, *, backend: str) -> None:
        """The number of objects of a backend that wait."""
        self._queue.labels(backend).set(depth)

    @property
    def aws(self) -> AwsMetrics:
        """What is told of calls to AWS."""
        return self._aws

    def decided(
        self,
        decision: Decision,
        *,
        namespace: str,
        endpoint: str,
        target_requests_per_minute: float | None,
        metrics_age: timedelta | None,
    ) -> None:
        """The scaler decided for an endpoint. What is unknown is absent, never 0."""
        self._desired.labels(namespace, endpoint).set(decision.replicas)
        _show(self._target, (namespace, endpoint), value=target_requests_per_minute)
        _show(self._observed, (namespace, endpoint), value=decision.requests_per_minute)
        _show(self._age, (namespace, endpoint), value=None if metrics_age is None else metrics_age.total_seconds())
        self._decisions.labels(namespace, endpoint, str(decision.reason)).inc()

    def forget(self, namespace: str, *, endpoint: str) -> None:
        """The endpoint is gone, or scales no more: so are its series. Harmless where there are none."""
        for gauge in (self._desired, self._observed, self._target, self._age):
            gauge.remove(namespace, endpoint)
        for reason in ScalingReason:
            self._decisions.remove(namespace, endpoint, str(reason))

    def render(self) -> bytes:
        """All of it as Prometheus text, of :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)


def _show(gauge: Gauge, labels: tuple[str, str], *, value: float | None) -> None:
    if value is None:
        gauge.remove(*labels)
    else:
        gauge.labels(*labels).set(value)
