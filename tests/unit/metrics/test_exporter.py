"""The operator's own metrics, as Prometheus reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sagebrush.core.scaling.decision import Decision, Predicted, Proposal, ScalingReason
from sagebrush.core.scaling.facts import Capacity
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.words import sentence
from sagebrush.metrics.exporter import OperatorMetrics
from sagebrush.metrics.scaler import Price, Shown

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
AT_START = {
    ("sagebrush_aws_budget_wait_seconds_total",): 0,
    ("sagebrush_scaler_decision_duration_seconds_count",): 0,
    ("sagebrush_scaler_decision_duration_seconds_sum",): 0,
}


def decision(*, rate: float | None = 6210, reason: ScalingReason = ScalingReason.ABOVE_TARGET, **more: Any) -> Decision:
    return Decision(
        replicas=4, previous_replicas=1, reason=reason, said="", history=History(), requests_per_minute=rate, **more
    )


def samples(metrics: OperatorMetrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


def decide(
    metrics: OperatorMetrics, made: Decision, *, endpoint: str = "kdd", cost: Price | None = None, **shown: Any
) -> None:
    seen = {"target_requests_per_minute": 2000.0, "metrics_age": timedelta(seconds=1.5), "ready_replicas": 3, **shown}
    variants = {"AllTraffic": Shown(made, **seen)}
    metrics.scaler.decided(variants, namespace="shop", endpoint=endpoint, cost=cost)


def test_metrics_must_count_passes_errors_and_the_queue() -> None:
    """What runs, how long, how it ends and what waits."""
    metrics = OperatorMetrics()
    metrics.reconciled("ModelEndpoint", outcome="Done", duration=timedelta(milliseconds=20))
    metrics.reconciled("ModelEndpoint", outcome="Done", duration=timedelta(milliseconds=30))
    metrics.failed("TrainingJob", error_class="Transient")
    metrics.queued(7, backend="Cluster")
    assert samples(metrics) == {
        ("sagebrush_reconciles_total", "kind=ModelEndpoint", "outcome=Done"): 2,
        ("sagebrush_reconcile_duration_seconds_count", "kind=ModelEndpoint"): 2,
        ("sagebrush_reconcile_duration_seconds_sum", "kind=ModelEndpoint"): 0.05,
        ("sagebrush_reconcile_errors_total", "class=Transient", "kind=TrainingJob"): 1,
        ("sagebrush_queue_depth", "backend=Cluster"): 7,
        **AT_START,
    }


def test_metrics_must_show_what_the_scaler_sees_and_does() -> None:
    """Desired, ready, observed, foreseen, proposed, what bound it, what one replica can do, and what it costs, by endpoint."""
    metrics = OperatorMetrics()
    made = decision(
        recommended=5,
        capacity=Capacity(80.0),
        prediction=Predicted(7000.0, NOON),
        limited_by="maxReplicas",
        proposals=(Proposal("Target", 5, sentence("")), Proposal("Prediction", 6, sentence(""))),
    )
    decide(metrics, decision())
    decide(metrics, made, startup_seconds={"0.5": 3.0, "0.9": 4.5}, cost=Price(0.92, "USD"))
    whose = ("endpoint=kdd", "namespace=shop")
    variant = "variant=AllTraffic"
    labels = (*whose, variant)
    assert samples(metrics) == {
        **AT_START,
        ("sagebrush_scaler_desired_replicas", *labels): 4,
        ("sagebrush_scaler_ready_replicas", *labels): 3,
        ("sagebrush_scaler_recommended_replicas", *labels): 5,
        ("sagebrush_scaler_proposed_replicas", "by=Target", *labels): 5,
        ("sagebrush_scaler_proposed_replicas", "by=Prediction", *labels): 6,
        ("sagebrush_scaler_limited", "by=maxReplicas", *labels): 1,
        ("sagebrush_scaler_observed_requests_per_minute", *labels): 6210,
        ("sagebrush_scaler_predicted_requests_per_minute", *labels): 7000,
        ("sagebrush_scaler_target_requests_per_minute", *labels): 2000,
        ("sagebrush_scaler_capacity_requests_per_second", *labels): 80,
        ("sagebrush_scaler_startup_seconds", *whose, "quantile=0.5", variant): 3,
        ("sagebrush_scaler_startup_seconds", *whose, "quantile=0.9", variant): 4.5,
        ("sagebrush_scaler_metrics_age_seconds", *labels): 1.5,
        ("sagebrush_scaler_decisions_total", *whose, "reason=AboveTarget", variant): 2,
        ("sagebrush_scaler_changes_total", "direction=out", *labels): 2,
        ("sagebrush_endpoint_cost_per_hour", "currency=USD", *whose): 0.92,
    }


def test_metrics_must_leave_out_what_is_unknown() -> None:
    """An outage is no load of 0, in a graph neither; and what asks or binds no more is gone."""
    metrics = OperatorMetrics()
    decide(metrics, decision(limited_by="maxReplicas", proposals=(Proposal("Burst", 5, sentence("")),)))
    decide(metrics, decision(rate=None, reason=ScalingReason.METRICS_MISSING), metrics_age=None)
    names = {key[0] for key in samples(metrics)}
    assert not names & {
        "sagebrush_scaler_observed_requests_per_minute",
        "sagebrush_scaler_metrics_age_seconds",
        "sagebrush_scaler_limited",
        "sagebrush_scaler_proposed_replicas",
    }
    assert "sagebrush_scaler_desired_replicas" in names


def test_metrics_must_show_each_variant_and_only_those_there_are() -> None:
    """An endpoint with two scaled variants has two numbers of everything; a variant that is taken away has none left."""
    metrics = OperatorMetrics()
    seen = {"blue": Shown(decision(rate=600)), "green": Shown(decision(rate=60))}
    metrics.scaler.decided(seen, namespace="shop", endpoint="kdd")
    name, whose = "sagebrush_scaler_observed_requests_per_minute", ("endpoint=kdd", "namespace=shop")
    found = samples(metrics)
    assert (600, 60) == (found[name, *whose, "variant=blue"], found[name, *whose, "variant=green"])
    metrics.scaler.decided({"green": Shown(decision(rate=60))}, namespace="shop", endpoint="kdd")
    assert {(name, *whose, "variant=green")} == {key for key in samples(metrics) if key[0] == name}


def test_metrics_must_forget_a_deleted_endpoint_and_no_other() -> None:
    """A deleted endpoint's last number would stand for ever; counters of what happened before go too."""
    metrics = OperatorMetrics()
    for reason in ScalingReason:
        for endpoint in ("kdd", "iris"):
            decide(metrics, decision(reason=reason), endpoint=endpoint)
    metrics.scaler.forget("shop", endpoint="kdd")
    metrics.scaler.forget("shop", endpoint="never seen")
    left = samples(metrics)
    assert not [key for key in left if "endpoint=kdd" in key]
    assert len(ScalingReason) == len([key for key in left if key[0] == "sagebrush_scaler_decisions_total"])


def test_metrics_must_not_share_a_registry() -> None:
    """Two operators in one process, as in tests, do not meet."""
    OperatorMetrics().queued(1, backend="Cluster")
    assert samples(OperatorMetrics()) == AT_START


def test_metrics_must_time_decisions() -> None:
    """How long decisions take is a histogram that shows a millisecond."""
    metrics = OperatorMetrics()
    metrics.scaler.took(0.0005)
    assert 1 == samples(metrics)["sagebrush_scaler_decision_duration_seconds_count",]
    assert 0.001 in {
        float(sample.labels["le"])
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name == "sagebrush_scaler_decision_duration_seconds_bucket"
    }
