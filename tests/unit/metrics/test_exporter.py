"""The operator's own metrics, as Prometheus reads them."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, ScalingReason
from sagebrush.metrics.exporter import OperatorMetrics


def decision(*, rate: float | None = 6210, reason: ScalingReason = ScalingReason.ABOVE_TARGET) -> Decision:
    return Decision(
        replicas=4, previous_replicas=1, reason=reason, message="", history=History(), requests_per_minute=rate
    )


def samples(metrics: OperatorMetrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


def decide(metrics: OperatorMetrics, made: Decision, *, endpoint: str = "kdd", age: float | None = 1.5) -> None:
    metrics.decided(
        made,
        namespace="shop",
        endpoint=endpoint,
        target_requests_per_minute=2000,
        metrics_age=None if age is None else timedelta(seconds=age),
    )


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
        ("sagebrush_aws_budget_wait_seconds_total",): 0,
    }


def test_metrics_must_show_what_the_scaler_sees() -> None:
    """Desired, observed, target, age and the reasons, by endpoint."""
    metrics = OperatorMetrics()
    decide(metrics, decision())
    decide(metrics, decision())
    labels = ("endpoint=kdd", "namespace=shop")
    assert samples(metrics) == {
        ("sagebrush_aws_budget_wait_seconds_total",): 0,
        ("sagebrush_scaler_desired_replicas", *labels): 4,
        ("sagebrush_scaler_observed_requests_per_minute", *labels): 6210,
        ("sagebrush_scaler_target_requests_per_minute", *labels): 2000,
        ("sagebrush_scaler_metrics_age_seconds", *labels): 1.5,
        ("sagebrush_scaler_decisions_total", *labels, "reason=AboveTarget"): 2,
    }


def test_metrics_must_leave_out_what_is_unknown() -> None:
    """An outage is no load of 0, in a graph neither."""
    metrics = OperatorMetrics()
    decide(metrics, decision())
    decide(metrics, decision(rate=None, reason=ScalingReason.METRICS_MISSING), age=None)
    names = {key[0] for key in samples(metrics)}
    assert "sagebrush_scaler_observed_requests_per_minute" not in names
    assert "sagebrush_scaler_metrics_age_seconds" not in names
    assert "sagebrush_scaler_desired_replicas" in names


def test_metrics_must_forget_a_deleted_endpoint_and_no_other() -> None:
    """A deleted endpoint's last number would stand for ever."""
    metrics = OperatorMetrics()
    for reason in ScalingReason:
        decide(metrics, decision(reason=reason))
        decide(metrics, decision(reason=reason), endpoint="iris")
    metrics.forget("shop", endpoint="kdd")
    metrics.forget("shop", endpoint="never seen")
    left = samples(metrics)
    assert not [key for key in left if "endpoint=kdd" in key]
    assert len([key for key in left if "endpoint=iris" in key]) == 4 + len(ScalingReason)


def test_metrics_must_not_share_a_registry() -> None:
    """Two operators in one process, as in tests, do not meet."""
    OperatorMetrics().queued(1, backend="Cluster")
    assert samples(OperatorMetrics()) == {("sagebrush_aws_budget_wait_seconds_total",): 0}


def test_metrics_must_do_without_a_target() -> None:
    """A policy whose target is not known costs its gauge, never the pass."""
    metrics = OperatorMetrics()
    metrics.decided(decision(), namespace="shop", endpoint="kdd", target_requests_per_minute=None, metrics_age=None)
    assert "sagebrush_scaler_target_requests_per_minute" not in {key[0] for key in samples(metrics)}
