"""What the scaler sees and does, as metrics of the operator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sagebrush.core.scaling.decision import Decision

_ENDPOINT = ("namespace", "endpoint")
_DECISION_SECONDS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.1)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown beside a decision. What is unknown is absent, never 0."""

    ready_replicas: int | None = None
    target_requests_per_minute: float | None = None
    metrics_age: timedelta | None = None
    startup_seconds: Mapping[str, float] = field(default_factory=dict)
    """By quantile."""
    cost_per_hour: float | None = None
    currency: str = ""


class ScalerMetrics:
    """The series of one endpoint appear with its first decision, and go with the endpoint."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._shown: dict[tuple[str, str], dict[tuple[Gauge, tuple[str, ...]], float]] = {}
        self._counted: dict[tuple[str, str], dict[tuple[Counter, str], Counter]] = {}
        gauge = self._gauge
        self._desired = gauge("desired_replicas", "Replicas that the scaler chose.")
        self._ready = gauge("ready_replicas", "Replicas that serve.")
        self._recommended = gauge(
            "recommended_replicas",
            "Replicas that mode Auto would have; in mode Recommend and while another scaler rules.",
        )
        self._proposed = gauge("proposed_replicas", "Replicas that a behaviour asks for.", "by")
        self._limited = gauge("limited", "1 for what bound the number of replicas, by field of spec.scaling.", "by")
        self._observed = gauge(
            "observed_requests_per_minute",
            "Requests per minute over all replicas; absent while nothing usable is measured.",
        )
        self._predicted = gauge(
            "predicted_requests_per_minute", "Most requests per minute expected until new replicas could be Ready."
        )
        self._target = gauge("target_requests_per_minute", "Requests per minute that each replica should carry.")
        self._capacity = gauge("capacity_requests_per_second", "Requests per second that one replica can answer.")
        self._startup = gauge("startup_seconds", "Time from the decision to Ready, of the newest starts.", "quantile")
        self._age = gauge(
            "metrics_age_seconds", "Age of the newest sample, by Prometheus' clock; absent where there is none."
        )
        self._cost = Gauge(
            "sagebrush_endpoint_cost_per_hour",
            "Estimated cost of the endpoint's instances per hour, where prices are known.",
            (*_ENDPOINT, "currency"),
            registry=registry,
        )
        self._decisions = Counter(
            "sagebrush_scaler_decisions",
            "Decisions of the scaler, by reason.",
            (*_ENDPOINT, "reason"),
            registry=registry,
        )
        self._changes = Counter(
            "sagebrush_scaler_changes",
            "Changes of the number of replicas, by direction: out or in.",
            (*_ENDPOINT, "direction"),
            registry=registry,
        )
        self._took = Histogram(
            "sagebrush_scaler_decision_duration_seconds",
            "Duration of a decision of the scaler.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"sagebrush_scaler_{name}", about, (*_ENDPOINT, *labels), registry=self._registry)

    def took(self, seconds: float) -> None:
        """A decision was made."""
        self._took.observe(seconds)

    def decided(self, decision: Decision, shown: Shown, *, namespace: str, endpoint: str) -> None:
        """The scaler decided for an endpoint."""
        prediction, capacity = decision.prediction, decision.capacity
        values: list[tuple[Gauge, str | None, float | None]] = [
            (self._desired, None, decision.replicas),
            (self._ready, None, shown.ready_replicas),
            (self._recommended, None, decision.recommended),
            (self._observed, None, decision.requests_per_minute),
            (self._predicted, None, prediction.requests_per_minute if prediction else None),
            (self._target, None, shown.target_requests_per_minute),
            (self._capacity, None, capacity.requests_per_second if capacity else None),
            (self._age, None, None if shown.metrics_age is None else shown.metrics_age.total_seconds()),
            *((self._startup, quantile, seconds) for quantile, seconds in shown.startup_seconds.items()),
            (self._cost, shown.currency, shown.cost_per_hour),
            *((self._proposed, each.by, float(each.replicas)) for each in decision.proposals),
            (self._limited, decision.limited_by, 1.0 if decision.limited_by else None),
        ]
        where = (namespace, endpoint)
        now: dict[tuple[Gauge, tuple[str, ...]], float] = {}
        for gauge, label, value in values:
            if value is not None:
                now[gauge, where if label is None else (*where, label)] = value
        before = self._shown.get(where, {})
        for (gauge, labels), value in now.items():
            if before.get((gauge, labels)) != value:  # most stay as they are, from one tick to the next
                gauge.labels(*labels).set(value)
        for gauge, labels in before.keys() - now.keys():
            gauge.remove(*labels)
        self._shown[where] = now
        counted = self._counted.setdefault(where, {})
        for counter, label in ((self._decisions, str(decision.reason)), *self._change(decision)):
            series = counted.get((counter, label))
            if series is None:
                series = counted[counter, label] = counter.labels(*where, label)
            series.inc()

    def _change(self, decision: Decision) -> tuple[tuple[Counter, str], ...]:
        if not decision.changed:
            return ()
        return ((self._changes, "out" if decision.replicas > decision.previous_replicas else "in"),)

    def forget(self, namespace: str, *, endpoint: str) -> None:
        """The endpoint is gone, or scales no more: so are its series. Harmless where there are none."""
        where = (namespace, endpoint)
        for gauge, labels in self._shown.pop(where, ()):
            gauge.remove(*labels)
        for counter, label in self._counted.pop(where, ()):
            counter.remove(*where, label)
