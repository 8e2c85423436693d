"""The server's metrics: plain numbers on the request path, turned into Prometheus text only when scraped."""

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the duration histogram, from a tenth of a millisecond to the 60 s after which SageMaker gives up."""

_LABELS: Final = ("endpoint_name", "variant_name")


@dataclass(slots=True)
class RequestCounts:
    """What the request path counts. Written by the event loop only; a scrape in another thread may read at any time."""

    invocations: int = 0
    in_flight: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    duration_sum: float = 0.0
    duration_buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    model_load_seconds: float = 0.0

    def observe_duration(self, seconds: float) -> None:
        """Add one answered request, arrival to last byte handed to the kernel."""
        self.duration_sum += seconds
        self.duration_buckets[bisect.bisect_left(BUCKETS_SECONDS, seconds)] += 1


class RequestCollector(Collector):
    """Shows `RequestCounts` under the names of docs/contract.md."""

    def __init__(self, counts: RequestCounts, *, endpoint_name: str, variant_name: str) -> None:
        self._counts = counts
        self._labels = (endpoint_name, variant_name)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family; the counters are there, at 0, before the first request."""
        counts, labels = self._counts, self._labels
        invocations = CounterMetricFamily(
            "sagebrush_invocations", "Requests that arrived at /invocations, answered or refused.", labels=_LABELS
        )
        invocations.add_metric(labels, counts.invocations)
        yield invocations
        responses = CounterMetricFamily(
            "sagebrush_responses", "Answers to /invocations by status code.", labels=(*_LABELS, "code")
        )
        # A copy, because the event loop may add a code meanwhile. 200 is there from the start.
        for code, number in sorted({200: 0, **counts.responses.copy()}.items()):
            responses.add_metric((*labels, str(code)), number)
        yield responses
        yield self._durations()
        in_flight = GaugeMetricFamily("sagebrush_requests_in_flight", "Requests being answered.", labels=_LABELS)
        in_flight.add_metric(labels, counts.in_flight)
        yield in_flight
        load = GaugeMetricFamily("sagebrush_model_load_seconds", "Seconds the model took to load.", labels=_LABELS)
        load.add_metric(labels, counts.model_load_seconds)
        yield load

    def _durations(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "sagebrush_request_duration_seconds", "Arrival to last byte handed to the kernel.", labels=_LABELS
        )
        total, buckets = 0, []
        bounds = [*(str(bound) for bound in BUCKETS_SECONDS), "+Inf"]
        for bound, number in zip(bounds, list(self._counts.duration_buckets), strict=True):
            total += number
            buckets.append((bound, float(total)))
        family.add_metric(self._labels, buckets=buckets, sum_value=self._counts.duration_sum)
        return family


def serve_metrics(collector: Collector, *, port: int, address: str) -> int:
    """Answer `GET /metrics` in a daemon thread and return the port taken (`port` 0: any). Raises OSError."""
    registry = CollectorRegistry()
    registry.register(collector)
    server, _ = start_http_server(port, addr=address, registry=registry)
    return int(server.server_port)
