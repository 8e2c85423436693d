"""What the scaler sees and does, as metrics of the operator."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sagebrush.core.scaling.decision import Decision

_ENDPOINT = ("namespace", "endpoint")
_VARIANT = (*_ENDPOINT, "variant")
_DECISION_SECONDS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.1)


@dataclass(frozen=True, slots=True)
class Shown:
    """A decision on one variant, and what is shown beside it. What is unknown is absent, never 0."""

    decision: Decision
    ready_replicas: int | None = None
    target_requests_per_minute: float | None = None
    metrics_age: timedelta | None = None
    startup_seconds: Mapping[str, float] = field(default_factory=dict)
    """By quantile."""


class Price(NamedTuple):
    """What an endpoint costs."""

    per_hour: float
    currency: str


class _Gauge(NamedTuple):
    name: str
    about: str
    values: Callable[[Shown], Iterable[tuple[str, float | None]]]
    """By the value of :attr:`label`."""
    label: str = ""


def _one(value: Callable[[Shown], float | None]) -> Callable[[Shown], Iterable[tuple[str, float | None]]]:
    return lambda shown: (("", value(shown)),)


_GAUGES = (
    _Gauge("desired_replicas", "Replicas that the scaler chose.", _one(lambda each: each.decision.replicas)),
    _Gauge("ready_replicas", "Replicas that serve.", _one(lambda each: each.ready_replicas)),
    _Gauge(
        "recommended_replicas",
        "Replicas that mode Auto would have; in mode Recommend and while another scaler rules.",
        _one(lambda each: each.decision.recommended),
    ),
    _Gauge(
        "proposed_replicas",
        "Replicas that a behaviour asks for.",
        lambda each: ((proposal.by, proposal.replicas) for proposal in each.decision.proposals),
        "by",
    ),
    _Gauge(
        "limited",
        "1 for what bound the number of replicas, by field of spec.scaling.",
        lambda each: ((each.decision.limited_by, 1.0 if each.decision.limited_by else None),),
        "by",
    ),
    _Gauge(
        "observed_requests_per_minute",
        "Requests per minute over all replicas; absent while nothing usable is measured.",
        _one(lambda each: each.decision.requests_per_minute),
    ),
    _Gauge(
        "predicted_requests_per_minute",
        "Most requests per minute expected until new replicas could be Ready.",
        _one(lambda each: each.decision.prediction.requests_per_minute if each.decision.prediction else None),
    ),
    _Gauge(
        "target_requests_per_minute",
        "Requests per minute that each replica should carry.",
        _one(lambda each: each.target_requests_per_minute),
    ),
    _Gauge(
        "capacity_requests_per_second",
        "Requests per second that one replica can answer.",
        _one(lambda each: each.decision.capacity.requests_per_second if each.decision.capacity else None),
    ),
    _Gauge(
        "startup_seconds",
        "Time from the decision to Ready, of the newest starts.",
        lambda each: each.startup_seconds.items(),
        "quantile",
    ),
    _Gauge(
        "metrics_age_seconds",
        "Age of the newest sample, by Prometheus' clock; absent where there is none.",
        _one(lambda each: None if each.metrics_age is None else each.metrics_age.total_seconds()),
    ),
)


@dataclass(slots=True)
class _Told:
    """What is kept of one endpoint."""

    variants: Mapping[str, Shown]
    cost: Price | None = None
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By variant and reason."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By variant and direction."""


class ScalerMetrics(Collector):
    """
    The series of an endpoint's variants appear with the first decision, and go with the endpoint.

    Of each variant the newest decision is kept; series are made of it when somebody asks, which is more seldom.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._told: dict[tuple[str, str], _Told] = {}
        self._took = Histogram(
            "sagebrush_scaler_decision_duration_seconds",
            "Duration of a decision of the scaler.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        registry.register(self)

    def took(self, seconds: float) -> None:
        """A decision was made."""
        self._took.observe(seconds)

    def decided(
        self, variants: Mapping[str, Shown], *, namespace: str, endpoint: str, cost: Price | None = None
    ) -> None:
        """The scaler decided for an endpoint, on these variants of it and no other."""
        told = self._told.get((namespace, endpoint))
        if told is None:
            told = self._told[namespace, endpoint] = _Told(variants)
        told.variants, told.cost = variants, cost
        for name, shown in variants.items():
            decision = shown.decision
            told.decisions[name, str(decision.reason)] += 1
            if decision.changed:
                told.changes[name, "out" if decision.replicas > decision.previous_replicas else "in"] += 1

    def forget(self, namespace: str, *, endpoint: str) -> None:
        """The endpoint is gone, or scales no more: so are its series. Harmless where there are none."""
        self._told.pop((namespace, endpoint), None)

    def collect(self) -> Iterable[Metric]:
        """All series as they are now."""
        yield from map(self._gauge, _GAUGES)
        cost = GaugeMetricFamily(
            "sagebrush_endpoint_cost_per_hour",
            "Estimated cost of the endpoint's instances per hour, where prices are known.",
            labels=(*_ENDPOINT, "currency"),
        )
        decisions = _counter("decisions", "Decisions of the scaler, by reason.", "reason")
        changes = _counter("changes", "Changes of the number of replicas, by direction: out or in.", "direction")
        for where, told in self._told.items():
            if told.cost is not None:
                cost.add_metric((*where, told.cost.currency), told.cost.per_hour)
            for family, counted in ((decisions, told.decisions), (changes, told.changes)):
                for labels, count in counted.items():
                    family.add_metric((*where, *labels), count)
        yield from (cost, decisions, changes)

    def _gauge(self, gauge: _Gauge) -> Metric:
        extra: Any = (gauge.label,) if gauge.label else ()
        family = GaugeMetricFamily(f"sagebrush_scaler_{gauge.name}", gauge.about, labels=(*_VARIANT, *extra))
        for where, told in self._told.items():
            for name, shown in told.variants.items():
                for label, value in gauge.values(shown):
                    if value is not None:
                        family.add_metric((*where, name, label) if extra else (*where, name), value)
        return family


def _counter(name: str, about: str, label: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"sagebrush_scaler_{name}", about, labels=(*_VARIANT, label))
