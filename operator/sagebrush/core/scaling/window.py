"""From raw samples of all pods of an endpoint to a reading: requests per minute, and how far it may be believed.

The rule, in full:

- *Demand is what arrived at any pod within the window*, divided by the window, so that no request counts twice when
  load moves from one pod to another. The window of a pod that is still scraped ends at its own newest sample (nobody
  waits for the slowest scrape, and nothing is extrapolated); that of a pod that is gone at the newest sample of all.
- *Short window*, for scaling out: two scrape intervals, at least 6 s, at most the long one. Two true increments are
  enough because raw samples are read; PromQL's ``rate`` needs four. Noise of so short a window is the policy's to judge.
- *Long window*, for scaling in: 60 s.
- Where data begin within the window, the rate is that of the time covered, at least half a short window; the reading is
  then not complete.
- Samples are *stale* after three scrape intervals, at least 10 s. Age is judged by Prometheus' clock, not by ours.
- *Nothing is ever 0 for want of data*: no samples, or none usable, read as unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from sagebrush.core.scaling.counters import PodSeries, Sample, Track, scrape_interval_seconds, tracks_of

__all__ = [
    "LONG_WINDOW",
    "PodSeries",
    "Problem",
    "Reading",
    "Readings",
    "Sample",
    "read",
    "short_window",
    "stale_after_seconds",
    "unknown",
]

LONG_WINDOW = timedelta(seconds=60)
_SHORTEST_WINDOW_SECONDS = 6.0
_INTERVALS_IN_SHORT_WINDOW = 2
_INTERVALS_UNTIL_STALE = 3
_FRESH_SECONDS = 10.0
_SCRAPES_BEHIND = 1.5
_PODS_NAMED = 3


class Problem(StrEnum):
    """Why a reading is unknown, or known but not the whole truth."""

    SOURCE = "Source"
    """Prometheus could not be asked, or refused: unknown."""
    NO_DATA = "NoData"
    """Prometheus answered and has no usable sample of this endpoint: unknown, not zero."""
    STALE = "Stale"
    """The newest sample is too old: unknown."""
    TOO_SHORT = "TooShort"
    """The samples cover too little time to tell a rate: unknown."""
    PARTIAL = "Partial"
    """Requests may be missing: the truth is this much or more."""
    FILLING = "Filling"
    """The samples do not reach back over the whole window yet."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Requests per minute over all pods of an endpoint, within one window."""

    requests_per_minute: float | None
    """None: unknown, and then :attr:`problem` says why."""
    newest: datetime | None
    """Time of the newest sample, on Prometheus' clock."""
    complete: bool
    """Every ready pod is fresh and the whole window was seen: only then may replicas be removed."""
    problem: Problem | None = None
    message: str = ""
    """The problem in words; the same words for as long as the problem is the same."""
    span: timedelta = timedelta(0)
    """The time that the rate was measured over."""
    age: timedelta | None = None
    """Age of the newest sample, on Prometheus' clock."""


class Readings(NamedTuple):
    """What one moment shows: the short window for scaling out, the long one for scaling in."""

    short: Reading
    long: Reading


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is common to both windows."""

    tracks: tuple[Track, ...]
    serving: frozenset[str]
    """Pods whose windows end at their own newest sample."""
    missing: tuple[str, ...]
    nobody_ready: bool
    """Pods are known, and none of them takes requests."""
    interval_seconds: float
    begin: float
    """Time of the oldest sample of all, in seconds since 1970."""
    end: float
    """Time of the newest one."""
    age_seconds: float
    gaps: tuple[tuple[float, float], ...]
    """Spans in which no pod at all was scraped, longer than samples stay fresh."""

    @property
    def newest(self) -> datetime:
        return datetime.fromtimestamp(self.end, UTC)

    def end_of(self, track: Track) -> float:
        """
        Where the windows of one pod end: a pod that is gone has had no requests since. Else those of its last seconds
        would be added to the same load on its successor.
        """
        return track.last if track.pod in self.serving else self.end


def short_window(interval_seconds: float) -> timedelta:
    """Length of the window that scales out, for a scrape interval in seconds."""
    wanted = max(_SHORTEST_WINDOW_SECONDS, _INTERVALS_IN_SHORT_WINDOW * interval_seconds)
    return min(timedelta(seconds=wanted), LONG_WINDOW)


def unknown(problem: Problem, *, message: str) -> Readings:
    """Readings of a moment that shows nothing."""
    reading = Reading(requests_per_minute=None, newest=None, complete=False, problem=problem, message=message)
    return Readings(short=reading, long=reading)


def read(
    series: Sequence[PodSeries],
    *,
    ready_pods: Mapping[str, datetime | None] | None,
    at: datetime,
    interval_seconds: float | None = None,
) -> Readings:
    """Both readings of an endpoint.

    *ready_pods* are the pods that serve, with the time they began to run (Kubernetes' clock) where known: every one
    of them must be in the data. None: nobody knows what serves (instances in SageMaker), and then every series in the
    data must be fresh, since one that is not may be an instance whose requests are lost. *at* is the present time on Prometheus' clock; samples later than that are of age 0.
    *interval_seconds*: :func:`scrape_interval_seconds` of the series, for who has it already.
    """
    interval = scrape_interval_seconds(series) if interval_seconds is None else interval_seconds
    tracks = tracks_of(series, started=ready_pods or {}, interval_seconds=interval)
    if not tracks:
        return unknown(Problem.NO_DATA, message="Prometheus has no samples of sagebrush_invocations_total for it")
    end = max(track.last for track in tracks)
    age = max(0.0, at.timestamp() - end)
    limit = stale_after_seconds(interval)
    if age > limit:
        newest = datetime.fromtimestamp(end, UTC)
        message = f"the newest sample is from {newest:%H:%M:%S} UTC, which is more than {limit:.0f} s ago"
        stale = Reading(
            None, newest, complete=False, problem=Problem.STALE, message=message, age=timedelta(seconds=age)
        )
        return Readings(short=stale, long=stale)
    oldest = at.timestamp() - limit
    fresh = frozenset(track.pod for track in tracks if track.last >= oldest)
    seen = _Seen(
        tracks=tracks,
        serving=fresh
        & (ready_pods.keys() if ready_pods is not None else _keeping_up(tracks, end=end, interval=interval)),
        missing=tuple(
            sorted({track.pod for track in tracks} - fresh if ready_pods is None else ready_pods.keys() - fresh)
        ),
        nobody_ready=ready_pods is not None and not ready_pods,
        interval_seconds=interval,
        begin=min(track.first for track in tracks),
        end=end,
        age_seconds=age,
        gaps=_gaps(tracks, longest=limit),
    )
    return Readings(short=_reading(seen, window=short_window(interval)), long=_reading(seen, window=LONG_WINDOW))


def _gaps(tracks: Sequence[Track], *, longest: float) -> tuple[tuple[float, float], ...]:
    """Where more than *longest* seconds lie between two samples, of whatever pod."""
    times = sorted({time for track in tracks for time, _ in track.samples})
    return tuple(pair for pair in pairwise(times) if pair[1] - pair[0] > longest)


def _keeping_up(tracks: Sequence[Track], *, end: float, interval: float) -> frozenset[str]:
    """The pods that have missed no scrape, by their samples alone."""
    return frozenset(track.pod for track in tracks if end - track.last <= _SCRAPES_BEHIND * interval)


def stale_after_seconds(interval_seconds: float) -> float:
    """Age, in seconds, from which on samples are too old, for a scrape interval in seconds."""
    return max(_FRESH_SECONDS, _INTERVALS_UNTIL_STALE * interval_seconds)


def _reading(seen: _Seen, *, window: timedelta) -> Reading:
    length = window.total_seconds()
    covered = min(length, seen.end - seen.begin)
    age = timedelta(seconds=seen.age_seconds)
    if covered < short_window(seen.interval_seconds).total_seconds() / 2:
        message = "too few samples yet to tell a rate"
        return Reading(None, seen.newest, complete=False, problem=Problem.TOO_SHORT, message=message, age=age)
    arrived = 0.0
    for track in seen.tracks:
        end = seen.end_of(track)
        arrived += track.arrivals(start=end - length, end=end)
    problem, message = _shortcoming(seen, length_seconds=length, covered_seconds=covered)
    return Reading(
        requests_per_minute=arrived / covered * 60,
        newest=seen.newest,
        complete=problem is None,
        problem=problem,
        message=message,
        span=timedelta(seconds=covered),
        age=age,
    )


def _shortcoming(seen: _Seen, *, length_seconds: float, covered_seconds: float) -> tuple[Problem | None, str]:
    """Why the window does not show everything; the first that applies."""
    if seen.missing:
        return Problem.PARTIAL, f"no fresh samples of {_named(seen.missing)}"
    if seen.nobody_ready:
        return Problem.PARTIAL, "no pod is ready to take requests, and those that found none are counted nowhere"
    slack = seen.interval_seconds / 2
    reach = length_seconds - slack
    unseen = [track.pod for track in seen.tracks if track.unseen and track.first > seen.end_of(track) - reach]
    if unseen:
        return Problem.PARTIAL, f"it is not known when the first requests of {_named(unseen)} came"
    if covered_seconds < reach:
        return Problem.FILLING, f"the samples do not reach back {length_seconds:.0f} s yet"
    for before, after in seen.gaps:
        if after > seen.end - reach:
            at = datetime.fromtimestamp(before, UTC)
            return Problem.PARTIAL, f"no pod was scraped for {after - before:.0f} s from {at:%H:%M:%S} UTC"
    return None, ""


def _named(pods: Sequence[str]) -> str:
    """The pods in words, the first few by name."""
    if len(pods) == 1:
        return f"pod {pods[0]}"
    rest = len(pods) - _PODS_NAMED
    return f"{len(pods)} pods ({', '.join(pods[:_PODS_NAMED])}{f' and {rest} more' if rest > 0 else ''})"
