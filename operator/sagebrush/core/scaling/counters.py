"""One pod's counter of arrivals, cleaned of what Prometheus and pods do to it.

Resets, duplicates, values that are no numbers and counters that were not 0 when first seen end here: what leaves is
a :class:`Track`, one per pod, that can be asked how many requests arrived between two times.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from operator import sub
from statistics import median
from typing import NamedTuple

UNKNOWN_INTERVAL_SECONDS = 15.0
"""Scrape interval taken where no pod has two samples yet: Prometheus deployments use 15 to 30 s."""

LONGEST_UNSEEN_SECONDS = 60.0
"""Most time between a pod's start and its first scrape for which the requests between are counted."""

CLOCK_SKEW_SECONDS = 5.0
"""Most by which a pod's start may seem to come after its first sample, for clocks that differ and times cut to seconds."""


class Sample(NamedTuple):
    """The value of a counter at a time of Prometheus' clock (the scrape's, in seconds since 1970)."""

    unix_seconds: float
    value: float


@dataclass(frozen=True, slots=True)
class PodSeries:
    """The raw samples of one series of a pod's counter, as the range vector has them."""

    pod: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """One pod's counter: at least one sample, times strictly rising, values finite and not negative."""

    pod: str
    samples: tuple[Sample, ...]
    unseen: float = 0.0
    """Requests before the first sample whose time is not known: they count in no window."""

    @property
    def first(self) -> float:
        """Time of the first sample, in seconds since 1970."""
        return self.samples[0].unix_seconds

    @property
    def last(self) -> float:
        """Time of the newest sample, in seconds since 1970."""
        return self.samples[-1].unix_seconds

    def arrivals(self, *, start: float, end: float) -> float:
        """Requests that arrived between the two times, as far as samples cover them.

        Arrivals are taken as even between two samples; nothing is extrapolated beyond the first and the last, unlike
        PromQL's ``increase()``, which invents requests at the birth of a series. After a restart of the process the
        counter begins at 0 again: a value below the one before it counts whole.
        """
        total = 0.0
        for (begun, low), (ended, high) in pairwise(self.samples):
            if ended <= start or begun >= end:
                continue
            grown = high - low if high >= low else high
            if begun < start or ended > end:
                grown *= (min(ended, end) - max(begun, start)) / (ended - begun)
            total += grown
        return total


def scrape_interval_seconds(series: Iterable[PodSeries]) -> float:
    """The usual time between two samples of one series, in seconds: the median, which missed scrapes do not move."""
    steps: list[float] = []
    for one in series:
        times = [time for time, _ in one.samples]
        found = list(map(sub, times[1:], times))
        if not all(step > 0 for step in found):
            times = sorted(set(times))
            found = list(map(sub, times[1:], times))
        steps += found
    return median(steps) if steps else UNKNOWN_INTERVAL_SECONDS


def tracks_of(
    series: Sequence[PodSeries], *, started: Mapping[str, datetime | None], interval_seconds: float
) -> tuple[Track, ...]:
    """One track per pod that has a usable sample, sorted by name.

    *started* says when a pod (of Kubernetes' clock) began to run, where known.
    """
    by_pod: dict[str, list[tuple[Sample, ...]]] = {}
    for one in series:
        samples = _cleaned(one.samples)
        if samples:
            by_pod.setdefault(one.pod, []).append(samples)
    return tuple(
        _from_birth(
            Track(pod=pod, samples=_best(found, interval_seconds=interval_seconds)),
            started=started.get(pod),
            interval_seconds=interval_seconds,
        )
        for pod, found in sorted(by_pod.items())
    )


def _cleaned(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """In order of time, one per time, without NaN, infinities and negative values, which no counter has."""
    if _is_clean(samples):
        return samples
    by_time = {
        sample.unix_seconds: sample
        for sample in sorted(samples)
        if math.isfinite(sample.unix_seconds) and math.isfinite(sample.value) and sample.value >= 0
    }
    return tuple(by_time.values())


def _is_clean(samples: Sequence[Sample]) -> bool:
    """Whether there is nothing to clean, as nearly always: every pod of every endpoint comes here every few seconds."""
    before = -math.inf
    for time, value in samples:
        if not (before < time < math.inf and 0 <= value < math.inf):  # no comparison with a NaN is true
            return False
        before = time
    return True


def _best(found: Sequence[tuple[Sample, ...]], *, interval_seconds: float) -> tuple[Sample, ...]:
    """The one series to believe where a pod is scraped by two jobs or two Prometheus replicas.

    They show the same counter, so adding them would double it; mixing them would show resets where two clocks differ.
    Of those that are up to date, the one that reaches farthest back.
    """
    newest = max(samples[-1].unix_seconds for samples in found)
    fresh = [samples for samples in found if samples[-1].unix_seconds >= newest - interval_seconds]
    return max(
        fresh, key=lambda samples: (samples[-1].unix_seconds - samples[0].unix_seconds, len(samples), samples[-1].value)
    )


def _from_birth(track: Track, *, started: datetime | None, interval_seconds: float) -> Track:
    """With the requests that came before the first scrape, where it is known that they came just then.

    Prometheus' own functions lose them (prometheus#3886), which hides the load exactly when new replicas take it. They
    are placed only if the pod began to run shortly before its first sample: a counter that already stands high when an
    old pod is first seen (Prometheus was down or is new) may have been counting for days.
    """
    first = track.samples[0]
    if first.value == 0:
        return track
    age = math.inf if started is None else first.unix_seconds - started.timestamp()
    # A process that began after the first sample, or after a reset, is not the one that counted up to the first sample.
    if (
        not -CLOCK_SKEW_SECONDS <= age <= LONGEST_UNSEEN_SECONDS
        or any(after.value < before.value for before, after in pairwise(track.samples))
    ):  # fmt: skip
        return Track(pod=track.pod, samples=track.samples, unseen=first.value)
    born = first.unix_seconds - (age if age > 0 else interval_seconds)
    return Track(pod=track.pod, samples=(Sample(unix_seconds=born, value=0.0), *track.samples))
