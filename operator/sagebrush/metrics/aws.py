"""The operator's metrics of its calls to AWS."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class AwsMetrics:
    """Counts calls by operation and result, and shows how long they took and how long they waited for the budget."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "sagebrush_aws_calls",
            "Calls to AWS, by result: ok, or the problem.",
            ("service", "operation", "result"),
            registry=registry,
        )
        self._seconds = Histogram(
            "sagebrush_aws_call_duration_seconds",
            "Duration of a call to AWS.",
            ("service", "operation"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._waited = Counter(
            "sagebrush_aws_budget_wait_seconds", "Seconds that calls waited for the budget.", registry=registry
        )

    def called(self, service: str, *, operation: str, result: str, seconds: float, waited: float) -> None:
        """A call has ended."""
        self._calls.labels(service, operation, result).inc()
        self._seconds.labels(service, operation).observe(seconds)
        self._waited.inc(waited)
