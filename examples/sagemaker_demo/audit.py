"""What the simulator's log says of the operator: which calls, how fast, and what was left."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEAST_LEVEL = -2.0
"""Tokens. The log has the time at which a call arrived, the bucket that at which it was let go: a thread in between may be slow."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The operator's conduct over the whole run."""

    operations: Mapping[str, int]
    """Calls by operation, most first."""
    answers: Mapping[str, int]
    """Calls by AWS' answer: OK, or an error code."""
    peak_per_second: int
    """Most calls within a second."""
    rate: float
    """The operator's budget: calls per second."""
    burst: int
    lowest_level: float
    """Lowest level of a token bucket of the operator's rate and size that these calls would have left."""
    violations: Sequence[str] = ()
    orphans: Sequence[str] = ()
    leftovers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names of what SageMaker still has, by kind."""

    @property
    def calls(self) -> int:
        """All calls."""
        return sum(self.operations.values())


def audit_of(
    log: Mapping[str, Any],
    *,
    key: str,
    state: Mapping[str, Any],
    orphans: Sequence[str],
    rate: float,
    burst: int,
) -> Audit:
    """Read the simulator's log: the calls that were made with an access key."""
    calls = [entry for entry in log["calls"] if entry["access_key"] == key]
    times = sorted(entry["wall_time"] for entry in calls)
    return Audit(
        operations=dict(Counter(f"{entry['service']}.{entry['operation']}" for entry in calls).most_common()),
        answers=dict(Counter(entry["code"] for entry in calls).most_common()),
        peak_per_second=peak(times),
        rate=rate,
        burst=burst,
        lowest_level=lowest_level(times, rate=rate, burst=burst),
        violations=[
            f"{each['rule']}: {each['operation']} {each['resource']}: {each['detail']}" for each in log["violations"]
        ],
        orphans=list(orphans),
        leftovers=leftovers(state),
    )


def peak(times: Iterable[float]) -> int:
    """Return the most calls within any second."""
    window: deque[float] = deque()
    most = 0
    for now in times:
        window.append(now)
        while window[0] <= now - 1:
            window.popleft()
        most = max(most, len(window))
    return most


def lowest_level(times: Iterable[float], *, rate: float, burst: int) -> float:
    """Return the lowest level of a token bucket that gives a token for each of these calls; below 0: it could not have."""
    level = lowest = float(burst)
    last: float | None = None
    for now in times:
        level = min(burst, level + rate * (now - last if last is not None else 0)) - 1
        lowest, last = min(lowest, level), now
    return round(lowest, 2)


def leftovers(state: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of what is there, by kind; kinds of which there is nothing are left out."""
    found: dict[str, list[str]] = {}
    for region in state.values():
        for kind, things in region.items():
            if things:
                found.setdefault(kind, []).extend(sorted(things))
    return found
