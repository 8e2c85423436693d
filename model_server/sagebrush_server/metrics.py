"""The server's metrics: plain numbers on the request path, turned into Prometheus text only when scraped."""

import bisect
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
_SHOWN_FROM_THE_START: Final = (200, 429, 503)
"""Codes that are exposed, at 0, before the first such answer: of a series that is born with a value, rates lose that
value, and the first refusals of all are the ones that matter."""


@dataclass(slots=True)
class RequestCounts:
    """What the request path counts. Written by the event loop only; a scrape in another thread may read at any time."""

    invocations: int = 0
    in_flight: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    duration_sum: float = 0.0
    duration_buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    model_load_seconds: float = 0.0
    handling_seconds: float = 0.0
    """Wall seconds within the handling of what clients sent: parsing, answering, writing."""

    def observe_duration(self, seconds: float) -> None:
        """Add one answered request, arrival to last byte handed to the kernel."""
        self.duration_sum += seconds
        self.duration_buckets[bisect.bisect_left(BUCKETS_SECONDS, seconds)] += 1


class BusyTime:
    """How long the event loop was at work, in seconds: one number that only grows, brought up to date when it is read.

    Two measures each see a part of it, so the larger counts, from one look to the next: the wall time of handling what
    clients sent (which includes what a CPU limit holds up) and the CPU time of the loop's thread (which includes what
    goes on outside of that: accepting, polling, system calls). Made on the loop's thread; read on any.
    """

    def __init__(self, counts: RequestCounts) -> None:
        self._counts = counts
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._lock = threading.Lock()
        self._seen = self._measures()
        self._total = 0.0

    def seconds(self) -> float:
        """Return the time at work since this was made."""
        with self._lock:
            measures = self._measures()
            self._total += max(now - before for now, before in zip(measures, self._seen, strict=True))
            self._seen = measures
            return self._total

    def _measures(self) -> tuple[float, float]:
        return self._counts.handling_seconds, time.clock_gettime(self._clock)


class RequestCollector(Collector):
    """Shows `RequestCounts` under the names of docs/contract.md, and with them what is read only when scraped.

    `waiting` returns the number of requests that have arrived and are not begun, `busy_seconds` the time at work.
    """

    def __init__(
        self,
        counts: RequestCounts,
        *,
        endpoint_name: str,
        variant_name: str,
        waiting: Callable[[], int],
        busy_seconds: Callable[[], float],
        workers: int = 1,
    ) -> None:
        self._counts = counts
        self._labels = (endpoint_name, variant_name)
        self._waiting, self._busy_seconds, self._workers = waiting, busy_seconds, workers

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
        # A copy, because the event loop may add a code meanwhile.
        codes = {**dict.fromkeys(_SHOWN_FROM_THE_START, 0), **counts.responses.copy()}
        for code, number in sorted(codes.items()):
            responses.add_metric((*labels, str(code)), number)
        yield responses
        yield self._durations()
        busy = CounterMetricFamily(
            "sagebrush_busy_seconds", "Seconds at work, summed over the workers.", labels=_LABELS
        )
        busy.add_metric(labels, self._busy_seconds())
        yield busy
        for name, about, value in (
            ("sagebrush_requests_waiting", "Requests that arrived and are not begun.", self._waiting()),
            ("sagebrush_requests_in_flight", "Requests being received or answered.", counts.in_flight),
            ("sagebrush_workers", "Requests that are worked on at the same time.", self._workers),
            ("sagebrush_model_load_seconds", "Seconds the model took to load.", counts.model_load_seconds),
        ):
            gauge = GaugeMetricFamily(name, about, labels=_LABELS)
            gauge.add_metric(labels, value)
            yield gauge

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
