"""Arithmetic of the report. Pure: times are simulated seconds."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

JOB, ENDPOINT, OTHER = "job", "endpoint", "other"
_NOT_SAGEMAKER = frozenset({"s3", "sts"})


@dataclass(frozen=True)
class Call:
    """A call as the simulator has answered it."""

    at: float
    operation: str
    resource: str
    code: str = "OK"


@dataclass(frozen=True)
class Change:
    """A thing of AWS has entered a state."""

    at: float
    state: str


@dataclass(frozen=True)
class Sighting:
    """What an object's status showed from this moment on; *step* counts the transitions of a job."""

    at: float
    state: str
    step: int = 0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Number, median, 95th percentile and maximum; only the number where there are none."""
    if not values:
        return {"count": 0}
    return {
        "count": len(values),
        "p50": round(percentile(values, 0.5), 2),
        "p95": round(percentile(values, 0.95), 2),
        "max": round(max(values), 2),
    }


def subject(call: Call) -> str:
    """The kind of object that a call was made for, by the names of the workload."""
    if "-job-" in call.resource:
        return JOB
    return ENDPOINT if "-endpoint-" in call.resource else OTHER


def between(calls: Iterable[Call], begin: float, end: float) -> list[Call]:
    """The calls of a span of time."""
    return [call for call in calls if begin <= call.at < end]


def by_operation(calls: Iterable[Call]) -> dict[str, int]:
    """How often each operation was called, the most frequent first."""
    return dict(Counter(call.operation for call in calls).most_common())


def by_subject(calls: Iterable[Call]) -> dict[str, dict[str, int]]:
    """The same for each kind of object."""
    parts: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        parts[subject(call)].append(call)
    return {kind: by_operation(part) for kind, part in sorted(parts.items())}


def peak(times: Iterable[float], *, window: float) -> int:
    """The most calls within any window of this length."""
    ordered, most, first = sorted(times), 0, 0
    for last, now in enumerate(ordered):
        while ordered[first] <= now - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def burst_needed(times: Iterable[float], *, rate: float) -> float:
    """The size of the smallest token bucket, filled at *rate*, that would have let these calls pass."""
    debt = most = 0.0
    before = None
    for now in sorted(times):
        debt = max(0.0, debt - (0.0 if before is None else now - before) * rate) + 1
        most, before = max(most, debt), now
    return most


def mean_present(spans: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """How many of the things that were there in these spans were there at once, in the mean of the time from begin to end."""
    total = sum(max(0.0, min(last, end) - max(first, begin)) for first, last in spans)
    return total / (end - begin)


def noticed_steps(changes: Sequence[Change], sightings: Sequence[Sighting]) -> list[float | None]:
    """Of a job, whose status lists all transitions: for each change the time until status had it; None if it never did."""
    return [
        next((max(0.0, seen.at - change.at) for seen in sightings if seen.step > number), None)
        for number, change in enumerate(changes)
    ]


def noticed_states(changes: Sequence[Change], sightings: Sequence[Sighting]) -> list[float | None]:
    """
    Of an endpoint, whose status shows one state: for each change the time until status showed it or a later one.

    *sightings*: what was shown after each write of the status, also where the state was the same as before.
    """
    return [_noticed(changes[number:], sightings) for number in range(len(changes))]


def _noticed(later: Sequence[Change], sightings: Sequence[Sighting]) -> float | None:
    first = later[0]
    for seen in sightings:
        shows = any(seen.state == change.state and change.at <= seen.at for change in later)
        if seen.at >= first.at and shows:
            return seen.at - first.at
    return None


def duplicates(calls: Iterable[Call], operation: str) -> dict[str, int]:
    """Names for which this operation succeeded more than once."""
    made = Counter(call.resource for call in calls if call.operation == operation and call.code == "OK")
    return {name: count for name, count in made.items() if count > 1}


def per_minute(count: float, *, objects: float, seconds: float) -> float:
    """Calls per object and minute; 0 where there were no objects."""
    return 0.0 if objects <= 0 or seconds <= 0 else count * 60 / seconds / objects


def grouped(values: Iterable[tuple[str, float | None]]) -> Mapping[str, list[float]]:
    """Lists of the values that there are, by key, in the order of the keys' first occurrence."""
    out: dict[str, list[float]] = {}
    for key, value in values:
        out.setdefault(key, [])
        if value is not None:
            out[key].append(value)
    return out
