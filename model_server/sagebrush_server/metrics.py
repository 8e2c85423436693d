"""The server's counts as Prometheus text, made only when somebody asks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sagebrush_server.cells import Histogram
from sagebrush_server.counts import REASONS, RequestCounts

_LABELS: Final = ("endpoint_name", "variant_name")
_SHOWN_FROM_THE_START: Final = (200, 429, 503)
"""Codes that are exposed, at 0, before the first such answer: of a series that is born with a value, rates lose that
value, and the first refusals of all are the ones that matter."""


class RequestCollector(Collector):
    """Shows the counts of all workers, added up, under the names of docs/contract.md.

    `refresh` brings up to date what is measured only when somebody asks: unread requests and the time at work.
    """

    def __init__(
        self,
        counts: Sequence[RequestCounts],
        *,
        endpoint_name: str,
        variant_name: str,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._counts = counts
        self._labels = (endpoint_name, variant_name)
        self._refresh = refresh

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family; the counters are there, at 0, before the first request."""
        self._refresh()
        yield from self._counters()
        yield from self._gauges()
        for name, about, histograms in (
            (
                "sagebrush_request_duration_seconds",
                "Arrival to last byte handed to the kernel.",
                [c.duration for c in self._counts],
            ),
            (
                "sagebrush_queue_seconds",
                "Arrival to the beginning of the prediction.",
                [c.queue_seconds for c in self._counts],
            ),
            (
                "sagebrush_inference_seconds",
                "Decoding, prediction and encoding.",
                [c.inference_seconds for c in self._counts],
            ),
            ("sagebrush_batch_requests", "Requests predicted together.", [c.batch_requests for c in self._counts]),
            ("sagebrush_batch_rows", "Rows predicted together.", [c.batch_rows for c in self._counts]),
        ):
            yield self._histogram(name, about, histograms=histograms)

    def _counters(self) -> Iterator[Metric]:
        counts = self._counts
        for name, about, value in (
            (
                "sagebrush_invocations",
                "Requests that arrived, answered or refused.",
                sum(c.invocations for c in counts),
            ),
            (
                "sagebrush_busy_seconds",
                "Seconds at work, summed over the workers.",
                sum(c.busy_seconds for c in counts),
            ),
            ("sagebrush_request_bytes", "Bytes of requests' bodies.", sum(c.request_bytes for c in counts)),
            ("sagebrush_response_bytes", "Bytes of answers' bodies.", sum(c.response_bytes for c in counts)),
        ):
            family = CounterMetricFamily(name, about, labels=_LABELS)
            family.add_metric(self._labels, value)
            yield family
        codes = dict.fromkeys(_SHOWN_FROM_THE_START, 0.0)
        reasons = dict.fromkeys(REASONS, 0.0)
        for one in counts:
            for code, number in one.responses.items():
                codes[code] = codes.get(code, 0.0) + number
            for reason, number in one.refused():
                reasons[reason] += number
        responses = CounterMetricFamily(
            "sagebrush_responses", "Answers to invocations by status code.", labels=(*_LABELS, "code")
        )
        for code, number in sorted(codes.items()):
            responses.add_metric((*self._labels, str(code)), number)
        yield responses
        refused = CounterMetricFamily(
            "sagebrush_refused", "Requests that were not computed, by reason.", labels=(*_LABELS, "reason")
        )
        for reason, number in reasons.items():
            refused.add_metric((*self._labels, reason), number)
        yield refused

    def _gauges(self) -> Iterator[Metric]:
        counts = self._counts
        for name, about, value in (
            ("sagebrush_requests_waiting", "Requests that arrived and are not begun.", sum(c.waiting for c in counts)),
            ("sagebrush_queue_depth", "Requests that wait in the process.", sum(c.queued for c in counts)),
            (
                "sagebrush_requests_in_flight",
                "Requests being received or answered.",
                sum(c.in_flight + c.computing for c in counts),
            ),
            ("sagebrush_workers", "Requests that are worked on at the same time.", len(counts)),
            (
                "sagebrush_model_load_seconds",
                "Seconds the model took to load.",
                max(c.model_load_seconds for c in counts),
            ),
        ):
            gauge = GaugeMetricFamily(name, about, labels=_LABELS)
            gauge.add_metric(self._labels, value)
            yield gauge

    def _histogram(self, name: str, about: str, *, histograms: Sequence[Histogram]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, about, labels=_LABELS)
        bounds = [*(str(float(bound)) for bound in histograms[0].bounds), "+Inf"]
        total, buckets = 0.0, []
        for bound, numbers in zip(bounds, zip(*(h.buckets for h in histograms), strict=True), strict=True):
            total += sum(numbers)
            buckets.append((bound, total))
        family.add_metric(self._labels, buckets=buckets, sum_value=sum(h.sum for h in histograms))
        return family


def serve_metrics(collector: Collector, *, port: int, address: str) -> int:
    """Answer `GET /metrics` in a daemon thread and return the port taken (`port` 0: any). Raises OSError."""
    registry = CollectorRegistry()
    registry.register(collector)
    server, _ = start_http_server(port, addr=address, registry=registry)
    return int(server.server_port)
