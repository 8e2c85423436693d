"""What one step of the load measured."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REFUSED = frozenset({429, 503})
"""A replica that says it has enough: it counts as late, and is no reason to stop."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What counts as good: at most *late_percent* of the requests take longer than *seconds*, or fail."""

    seconds: float
    late_percent: float

    def allowed(self, requests: int) -> int:
        """How many of so many requests may be late: one may always be, or a single hiccup would decide."""
        return max(1, math.floor(requests * self.late_percent / 100))


@dataclass(slots=True)
class Step:
    """One step: what was asked for and what came of it. Latencies are seconds from the intended moment of sending."""

    kind: str
    """`connections`: as fast as so many connections go; `rate`: requests sent at a fixed rate, whatever the answers."""
    rate: float
    """Requests per second asked for; 0 for `connections`."""
    concurrency: int
    """Connections; for `rate` the most requests that were on their way at once."""
    bound: Bound
    seconds: float = 0.0
    """Until the last answer."""
    due_seconds: float = 0.0
    """Until the last request was due, with `rate`."""
    over: int = 0
    """Requests over the bound so far, or without a good answer."""
    latencies: list[float] = field(default_factory=list)
    """Of the requests that were answered well."""
    lags: list[float] = field(default_factory=list)
    """How much later than it was due the generator came to a request: its own fault, not the replica's."""
    refused: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Other failures by what was said, the first words of it."""
    unsent: int = 0
    """Requests that waited for a connection when the step was broken off."""
    cpu_share: float = 0.0
    """CPU of this process, of one core."""
    broken_off: str = ""

    def answered(self, latency: float) -> None:
        """A good answer."""
        self.latencies.append(latency)
        self.over += latency > self.bound.seconds

    def refuse(self) -> None:
        """The replica had enough."""
        self.refused += 1
        self.over += 1

    def fail(self, words: str, *, number: int = 1) -> None:
        """Another failure."""
        self.errors[words] += number
        self.over += number

    @property
    def requests(self) -> int:
        """All that were due."""
        return len(self.latencies) + self.failed + self.unsent

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return self.refused + self.errors.total()

    @property
    def late(self) -> int:
        """Requests over the bound, failed and unsent ones included."""
        return self.over + self.unsent

    @property
    def answered_per_second(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def holds(self) -> bool:
        """Whether the bound held."""
        return bool(self.latencies) and self.late <= self.bound.allowed(self.requests)

    def quantile(self, share: float) -> float:
        """Latency that this share of the answered requests did not exceed; NaN without any."""
        return quantile(self.latencies, share)

    def late_at_most_percent(self) -> float:
        """Upper end of the 95 % confidence interval of the late share (Wilson's score interval)."""
        n, z = self.requests, 1.645
        if n == 0:
            return 100.0
        p = self.late / n
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return 100 * min(1.0, (middle + spread) / (1 + z * z / n))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; milliseconds."""
        return {
            "kind": self.kind,
            "requestsPerSecond": round(self.rate, 3),
            "concurrency": self.concurrency,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "answeredPerSecond": round(self.answered_per_second, 3),
            "late": self.late,
            "refused": self.refused,
            "errors": dict(self.errors),
            "unsent": self.unsent,
            "holds": self.holds,
            "p50Ms": milliseconds(self.quantile(0.5)),
            "p99Ms": milliseconds(self.quantile(0.99)),
            "maxMs": milliseconds(max(self.latencies, default=math.nan)),
            "generatorLagP99Ms": milliseconds(quantile(self.lags, 0.99)),
            "generatorCpuShare": round(self.cpu_share, 3),
            "brokenOff": self.broken_off,
        }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of *values* does not exceed; NaN without any."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def milliseconds(seconds: float) -> float | None:
    """Rounded to microseconds; None for NaN, which JSON does not know."""
    return None if math.isnan(seconds) else round(seconds * 1000, 3)
