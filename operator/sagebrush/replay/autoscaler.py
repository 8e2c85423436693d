"""What a policy sees of the simulated system, and what it must be able to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sagebrush.replay.queueing import Floats, Service


@dataclass(frozen=True, slots=True)
class Outage:
    """Seconds, by the trace's own count, in which a source of metrics answers nothing."""

    begin: int
    end: int
    """The first second after it."""
    prometheus: bool = True
    pods: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """How requests become numbers that a policy can read."""

    name: str
    step: int
    """Seconds between two samples of the counter."""
    lag: int
    """Seconds until a sample can be read."""
    pods: bool = False
    """Whether the pods are asked, so that an outage of Prometheus is none."""


QUEUE_PROXIES = Pipeline(name="queue proxies 1 s", step=1, lag=0, pods=True)
"""Knative's: beside each pod."""
PODS = Pipeline(name="pods 1 s", step=1, lag=0, pods=True)
PROMETHEUS_5S = Pipeline(name="Prometheus 5 s", step=5, lag=1)
PROMETHEUS_15S = Pipeline(name="Prometheus 15 s", step=15, lag=1)
CLOUDWATCH = Pipeline(name="CloudWatch 1 min", step=60, lag=60)
CLOUDWATCH_HIGH_RESOLUTION = Pipeline(name="CloudWatch 10 s", step=10, lag=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known before the first decision."""

    service: Service
    """With the capacity that the policy is told, which may be wrong."""
    latency_seconds: float
    """The users' bound: the wait allowed, and the time that a request takes by itself."""
    startup_seconds: int
    """From a decision to Ready."""
    serialised: bool
    """Whether nothing can be changed while a start is under way, as with SageMaker."""
    bounded_queue: bool
    """Whether replicas refuse what would wait longer than the bound."""
    tells_busy: bool
    """Whether replicas say what share of their time they compute."""
    minimum: int
    maximum: int
    replicas: int
    """Replicas at the first decision, all ready."""
    first_second: int
    """:attr:`View.now` of the first decision: as many seconds of history are known."""
    start_unix: int
    """Time, since 1970, of second 0."""
    pipeline: Pipeline


class View:
    """The moment of one decision. The simulator owns it and moves it on; nothing in it is to be kept.

    Times are whole seconds since the beginning of the history. ``now`` is the time of the decision: everything before
    it has happened, and what the metrics show of it ends at ``seen_until``.
    """

    __slots__ = (
        "_able",
        "_arrived",
        "_begin",
        "_completed",
        "_outages",
        "_queue",
        "_rejected",
        "_since",
        "blind",
        "now",
        "pipeline",
        "ready",
        "replicas",
        "seen_until",
        "service",
        "starting",
        "updating",
    )

    def __init__(
        self, arrived: list[float], *, begin: int, service: Service, pipeline: Pipeline, outages: tuple[Outage, ...]
    ) -> None:
        """*arrived* are the requests before each second; *begin* is the first second that is simulated."""
        self._arrived = arrived
        self._begin = begin
        self._outages = outages
        self._queue: list[float] = [0.0]
        self._completed: list[float] = [0.0]
        self._rejected: list[float] = [0.0]
        self._able: list[float] = [0.0]
        self._since = 0
        self.service = service
        self.pipeline = pipeline
        self.now = begin
        self.replicas = self.ready = 1
        """Replicas asked for; those of them that serve."""
        self.starting = 0
        """Replicas launched and not ready yet."""
        self.updating = False
        """Whether a change would be refused at present."""
        self.seen_until = begin
        """Time of the newest sample."""
        self.blind = False
        """Whether the source of metrics answers nothing at present."""

    def count(self, begin: int, end: int) -> float:
        """Requests that arrived from *begin* up to before *end*, as the counter's samples have it; both within data."""
        return self._arrived[min(end, self.seen_until)] - self._arrived[max(begin, self._since)]

    @property
    def seen_from(self) -> int:
        """The first sample without a gap up to now: 0, or the end of the last outage."""
        return self._since

    def rate(self, window: int) -> float | None:
        """Requests per second over the last *window* seconds, as PromQL sees them without extrapolation.

        The first and the last sample within the window that ends now; None in an outage or with fewer than two.
        """
        step = self.pipeline.step
        first = max(-((window - self.now) // step) * step, self._since)
        if self.blind or self.seen_until - first < step:
            return None
        return (self._arrived[self.seen_until] - self._arrived[first]) / (self.seen_until - first)

    def rate_to_newest(self, window: int) -> float | None:
        """Requests per second over the *window* seconds before the newest sample; over fewer if data are shorter."""
        end = self.seen_until
        first = max(end - window, self._since)
        if self.blind or first >= end:
            return None
        return (self._arrived[end] - self._arrived[first]) / (end - first)

    def _at(self, series: list[float], time: int) -> float:
        return series[max(0, time - self._begin)]

    @property
    def queue(self) -> float | None:
        """Requests that wait, at the newest sample; None in an outage."""
        return None if self.blind else self._at(self._queue, self.seen_until)

    def completed(self, begin: int, end: int) -> float:
        """Requests taken up by workers from *begin* to before *end*; none before the simulation began."""
        end = min(end, self.seen_until)
        return self._at(self._completed, end) - self._at(self._completed, begin)

    def rejected(self, begin: int, end: int) -> float:
        """Requests refused or dropped from *begin* to before *end*."""
        end = min(end, self.seen_until)
        return self._at(self._rejected, end) - self._at(self._rejected, begin)

    def in_flight(self, window: int = 1) -> float | None:
        """Requests waiting or being worked on, by Little's law over the last *window* seconds; None in an outage."""
        waiting = self.queue
        if waiting is None:
            return None
        end = self.seen_until
        busy_seconds = self.service.workers / self.service.capacity
        return waiting + self.completed(end - window, end) / window * busy_seconds

    def busy(self, begin: int, end: int) -> float | None:
        """Share of the ready replicas' time, 0 to 1, that went into requests; None where none is known."""
        end = min(end, self.seen_until)
        able = self._at(self._able, end) - self._at(self._able, begin)
        return self.completed(begin, end) / able if able > 0 and not self.blind else None

    def history(self, begin: int, end: int, *, step: int) -> Floats:
        """Requests per second in bins of *step* seconds from *begin*, as Prometheus answers a range query.

        NaN where Prometheus was away; bins that are not over yet are left out.
        """
        end = min(end, self.seen_until if not self.blind else self.now - self.pipeline.lag)
        times = np.arange(max(begin, 0), end + 1, step)
        marks = np.asarray([self._arrived[time] for time in times.tolist()])
        rates: Floats = np.diff(marks) / step
        for outage in self._outages:
            if outage.prometheus:
                rates[(times[:-1] < outage.end) & (times[1:] > outage.begin)] = np.nan
        return rates


class Autoscaler(Protocol):
    """A policy as the simulator drives it: made for a situation, asked at its own interval."""

    interval_seconds: int
    """Seconds between two looks."""

    def look(self, view: View) -> int:
        """The replicas to have from now on; the simulator bounds them."""
        ...


Maker = Callable[[Situation, Floats], Autoscaler]
"""Makes a policy for a situation; the array has the arrivals of each second of the history."""
