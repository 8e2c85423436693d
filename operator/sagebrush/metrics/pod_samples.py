"""What the pods of one variant have told, kept for as long as the longest window needs it."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sagebrush.core.scaling.counters import Track, scrape_interval_seconds
from sagebrush.core.scaling.window import (
    PodSeries,
    Problem,
    Reading,
    Readings,
    Sample,
    read,
    short_window,
    stale_after_seconds,
    unknown,
)
from sagebrush.metrics.exposition import PodNumbers
from sagebrush.metrics.load import Load, load_of

KEPT_SECONDS = 120.0


@dataclass(slots=True)
class PodSamples:
    """One pod."""

    arrivals: deque[Sample] = field(default_factory=deque)
    busy: deque[Sample] = field(default_factory=deque)
    refused: deque[Sample] = field(default_factory=deque)
    newest: PodNumbers | None = None
    failure: str = ""
    """Why it could not be read the last time, reading on after its name."""
    time_outs: int = 0
    """In a row."""
    rounds: int = 0
    """Since it was asked."""

    def add(self, numbers: PodNumbers, *, unix_seconds: float) -> None:
        """What it answered; a time that does not come after the last one is no news."""
        if self.arrivals and unix_seconds <= self.arrivals[-1].unix_seconds:
            return
        self.arrivals.append(Sample(unix_seconds, numbers.arrivals))
        if numbers.busy_seconds is not None and numbers.workers:
            # By the number of workers at once, so that the growth of it is a share of the time.
            self.busy.append(Sample(unix_seconds, numbers.busy_seconds / numbers.workers))
        if numbers.refused is not None:
            self.refused.append(Sample(unix_seconds, numbers.refused))
        self.newest = numbers
        for samples in (self.arrivals, self.busy, self.refused):
            while samples and samples[0].unix_seconds < unix_seconds - KEPT_SECONDS:
                samples.popleft()

    @property
    def newest_at(self) -> float:
        """When it last answered, in seconds since 1970; 0 where it never did."""
        return self.arrivals[-1].unix_seconds if self.arrivals else 0.0

    def per_second(self, samples: Iterable[Sample], *, window: timedelta) -> float | None:
        """How fast a counter of it has grown in the window up to its newest sample; None where nobody knows."""
        kept = tuple(samples)
        if len(kept) < 2:
            return None
        track = Track(pod="", samples=kept)
        start = max(track.first, track.last - window.total_seconds())
        return track.arrivals(start=start, end=track.last) / (track.last - start)


@dataclass(slots=True)
class VariantSamples:
    """All pods of one variant."""

    pods: dict[str, PodSamples] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    """The pods that are asked at present."""
    left_out: frozenset[str] = frozenset()
    """The pods that are not, because there are too many."""

    def forget_old(self, *, unix_seconds: float) -> None:
        """Drop pods that are gone, once their last requests are beyond all windows."""
        self.pods = {
            name: pod
            for name, pod in self.pods.items()
            if name in self.asked or pod.newest_at >= unix_seconds - KEPT_SECONDS
        }

    def readings(self, *, ready_pods: Mapping[str, datetime | None], at: datetime) -> Readings:
        """Both windows at *at*, by the clock that the samples have; complete only if every ready pod that is asked has
        answered lately. Where there are too many pods to ask, those asked stand for all.
        """
        wanted = {pod: since for pod, since in ready_pods.items() if pod not in self.left_out}
        series = [PodSeries(pod=name, samples=tuple(pod.arrivals)) for name, pod in self.pods.items()]
        found = read(series, ready_pods=wanted, at=at)
        if found.long.problem is Problem.NO_DATA:
            return unknown(Problem.SOURCE, message=self.why_unread(wanted) or "the pods have not been read yet")
        why = self.why_unread(wanted)
        factor = len(ready_pods) / len(wanted) if wanted else 1.0
        return Readings(*(_told(each, factor=factor, why=why) for each in found))

    def load(self, *, ready_pods: Collection[str], at: datetime) -> Load:
        """How loaded the pods are, by their newest answers."""
        interval = scrape_interval_seconds(
            PodSeries(pod=name, samples=tuple(pod.arrivals)) for name, pod in self.pods.items()
        )
        window, limit = short_window(interval), stale_after_seconds(interval)
        fresh = {name: pod for name, pod in self.pods.items() if at.timestamp() - pod.newest_at <= limit}
        newest = {name: pod.newest for name, pod in fresh.items() if pod.newest is not None}
        ready = [pod for pod in ready_pods if pod not in self.left_out]
        load = load_of(
            waiting={name: told.waiting for name, told in newest.items() if told.waiting is not None},
            in_flight={name: told.in_flight for name, told in newest.items() if told.in_flight is not None},
            busy=_known({name: pod.per_second(pod.busy, window=window) for name, pod in fresh.items()}),
            refused_per_minute={
                name: 60 * rate
                for name, rate in _known(
                    {name: pod.per_second(pod.refused, window=window) for name, pod in fresh.items()}
                ).items()
            },
            pods=fresh.keys(),
            ready=ready,
        )
        return _times(load, len(ready_pods) / len(ready)) if ready else load

    def why_unread(self, wanted: Collection[str]) -> str:
        """The first of the wanted pods that could not be read, and why; empty where all could."""
        for name in sorted(wanted):
            pod = self.pods.get(name)
            if pod is not None and pod.failure:
                return f"pod {name} {pod.failure}"
        return ""


def at_of(unix_seconds: float) -> datetime:
    """A time of the samples' clock."""
    return datetime.fromtimestamp(unix_seconds, UTC)


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _told(reading: Reading, *, factor: float, why: str) -> Reading:
    """The reading for all pods, with the reason why one of them could not be read."""
    message = f"{reading.message}: {why}" if why and reading.problem in (Problem.PARTIAL, Problem.STALE) else None
    rate = reading.requests_per_minute
    if factor == 1.0 and message is None:
        return reading
    return replace(
        reading,
        requests_per_minute=None if rate is None else rate * factor,
        message=reading.message if message is None else message,
    )


def _times(load: Load, factor: float) -> Load:
    if factor == 1.0:
        return load
    return replace(
        load,
        waiting=None if load.waiting is None else load.waiting * factor,
        in_flight=None if load.in_flight is None else load.in_flight * factor,
        refused_per_minute=None if load.refused_per_minute is None else load.refused_per_minute * factor,
    )
