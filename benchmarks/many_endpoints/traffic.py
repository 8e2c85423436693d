"""A Prometheus that scrapes pods that there are not: counters that rise with a load that can be set, and its answers."""

import json
import math
import random
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmarks.many_endpoints.population import CAPACITY, NAMESPACE, SERVICE_SECONDS, Subject

WINDOW_SECONDS = 120.0
BUSY_SECONDS = 60
"""What the operator's query for the busy share looks back over: four scrapes of 15 s."""
_NOISE = 0.02
_NAMED = re.compile(r'endpoint_name="([^"]+)"')


@dataclass(slots=True)
class PodCounter:
    """One pod as it is scraped."""

    name: str
    labels: str
    turn: int
    """In which second of the scrape interval it is scraped."""
    baseline: float | None = None
    """What a pod of its endpoint had counted when this one became ready."""
    samples: deque[str] = field(default_factory=deque)


@dataclass(slots=True)
class Demand:
    """The load of one endpoint."""

    subject: Subject
    level: float = 1.0
    daily: float = 1.0
    counted: float = 0.0
    """What a pod that was always there would have counted."""
    rate: float = 0.0
    """Requests per minute at this moment."""
    pods: dict[str, PodCounter] = field(default_factory=dict)
    serving: int = 0
    busy: deque[float] = field(default_factory=lambda: deque(maxlen=BUSY_SECONDS))
    """What share of its time a replica computed, second by second, over the newest of them."""


class Traffic:
    """The load of all endpoints, and what is known of it. *seed* decides the noise."""

    def __init__(self, subjects: Iterable[Subject], *, scrape_seconds: float, history: int, seed: int = 1) -> None:
        self.demands = {subject.name: Demand(subject) for subject in subjects}
        self._scrape = scrape_seconds
        self._history = history
        self._random = random.Random(seed)
        self._last: float | None = None
        self.day: tuple[float, float, float] | None = None
        """Begin, length in seconds and amplitude of the daily shape."""

    def started(self, endpoint: str, pod: str, *, ready: bool) -> None:
        """A pod is there, or ready."""
        demand = self.demands[endpoint]
        counter = demand.pods.get(pod)
        if counter is None:
            labels = {"namespace": NAMESPACE, "endpoint_name": endpoint, "variant_name": "AllTraffic", "pod": pod}
            counter = PodCounter(pod, json.dumps(labels), turn=self._random.randrange(max(1, int(self._scrape))))
            demand.pods[pod] = counter
        if ready and counter.baseline is None:
            counter.baseline = demand.counted
            demand.serving += 1

    def gone(self, endpoint: str, pod: str) -> None:
        """A pod is no more, and neither are its series."""
        demand = self.demands[endpoint]
        counter = demand.pods.pop(pod, None)
        if counter is not None and counter.baseline is not None:
            demand.serving -= 1

    def tick(self, now: float) -> None:
        """Time has passed: requests came, and some pods are scraped. Called once a second."""
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        second, every = int(now), max(1, int(self._scrape))
        kept = math.ceil(WINDOW_SECONDS / self._scrape) + 1
        for demand in self.demands.values():
            if self.day:
                begin, length, amplitude = self.day
                phase = (now - begin) / length + demand.subject.number / len(self.demands)
                demand.daily = 1 + amplitude * math.sin(2 * math.pi * phase)
            noise = self._random.gauss(1.0, _NOISE)
            demand.rate = max(0.0, demand.subject.base * demand.level * demand.daily * noise)
            demand.busy.append(min(1.0, demand.rate / 60 / max(1, demand.serving) / CAPACITY))
            if demand.serving:
                demand.counted += demand.rate / 60 * passed / demand.serving
            for pod in demand.pods.values():
                if (second - pod.turn) % every == 0:
                    count = 0.0 if pod.baseline is None else demand.counted - pod.baseline
                    pod.samples.append(f'[{now:.3f},"{count:.1f}"]')
                    if len(pod.samples) > kept:
                        pod.samples.popleft()

    def counters(self) -> str:
        """The raw samples of all pods, as a matrix."""
        rows = (f'{{"metric":{pod.labels},"values":[{",".join(pod.samples)}]}}' for pod in self._pods() if pod.samples)
        return _answer("matrix", rows)

    def gauge(self, query: str, *, now: float) -> str:
        """One of the operator's four queries for the load, as a vector."""
        rows = []
        for demand in self.demands.values():
            if "busy_seconds" in query:
                value = sum(demand.busy) / max(1, len(demand.busy))
            elif "in_flight" in query:
                value = demand.rate / 60 * SERVICE_SECONDS / max(1, demand.serving)
            elif "waiting" in query:
                value = 0.0
            else:  # nothing was refused: there are no such series
                continue
            rows += [
                f'{{"metric":{pod.labels},"value":[{now:.3f},"{value:.4f}"]}}'
                for pod in demand.pods.values()
                if pod.samples and pod.baseline is not None
            ]
        return _answer("vector", rows)

    def history(self, query: str, *, start: float, end: float, step: float) -> str:
        """The rate of one endpoint over days, in requests per second; nothing of those that are new."""
        found = _NAMED.search(query)
        demand = self.demands.get(found[1]) if found else None
        if demand is None or demand.subject.number >= self._history:
            return _answer("matrix", ())
        values = []
        for number in range(int((end - start) / step) + 1):
            at = start + number * step
            rate = demand.subject.base / 60 * (0.8 + 0.2 * math.sin(2 * math.pi * at / 86400))
            values.append(f'[{at:.0f},"{rate * self._random.gauss(1.0, _NOISE):.3f}"]')
        return _answer("matrix", [f'{{"metric":{{}},"values":[{",".join(values)}]}}'])

    def _pods(self) -> Iterator[PodCounter]:
        for demand in self.demands.values():
            yield from demand.pods.values()


def _answer(kind: str, rows: Iterable[str]) -> str:
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":[{",".join(rows)}]}}}}'
