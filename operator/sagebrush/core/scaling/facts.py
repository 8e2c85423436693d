"""What a scaling decision is made from: measured demand, the replicas there are, and what is known of them.

All are values: callers measure, keep in status and hand in; the policy only reads them.
"""

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Literal, Self

from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.window import Reading

__all__ = ["Cadence", "Calibration", "Capacity", "CapacitySource", "Fleet", "Knowledge", "Signals", "Startup"]

CapacitySource = Literal["Stated", "Tested", "Learned"]

STARTS_KEPT = 20
"""Start-up times that percentiles are taken of."""

UNKNOWN_STARTUP_SECONDS = 30.0
"""Start-up time taken until one was measured: a pod with its image on the node."""

UNKNOWN_STARTUP_SERIALISED_SECONDS = 420.0
"""The same for SageMaker's instances, which take 5 to 7 minutes."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What one moment shows of an endpoint or variant. None is unknown, never nothing."""

    short: Reading
    """Requests offered per minute, refused ones included, in the short window: for scaling out."""
    long: Reading
    """The same in the long window: for scaling in."""
    waiting: float | None = None
    """Requests that wait for a worker now, all replicas together."""
    in_flight: float | None = None
    """Requests that wait or are being answered now, all replicas together."""
    refused_per_minute: float | None = None
    """Requests refused per minute (429, 503), all replicas together, in the short window."""
    busy: float | None = None
    """Share of time, 0 to 1, in which the replicas' workers computed answers; the mean over the ready ones."""
    value: float | None = None
    """The user's own PromQL, where the target is one."""
    value_problem: str = ""
    """Why :attr:`value` is unknown, in words."""
    source: str = "Prometheus"
    """Where the newest of it was read: Prometheus or Pods."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The replicas there are."""

    replicas: int
    """Asked for at present."""
    ready: int
    """Those that serve."""
    starting: int = 0
    """Those on the way: launched, not ready yet. They count as capacity to come."""
    served_since: datetime | None = None
    """Since when one of those that serve has done so; None where nobody says. What came before may have found none."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica can do."""

    requests_per_second: float
    """Requests completed per second by a replica that is never idle."""
    concurrency: int = 1
    """Requests worked on at the same time."""
    source: CapacitySource = "Stated"
    measured_at: datetime | None = None
    revision: str | None = None
    """Revision of the endpoint that it was measured on."""


@dataclass(frozen=True, slots=True)
class Startup:
    """How long replicas take from the decision to Ready, of the newest :data:`STARTS_KEPT`."""

    p50_seconds: float
    p90_seconds: float
    recent: tuple[float, ...] = ()
    """Newest last."""

    @classmethod
    def of(cls, recent: tuple[float, ...]) -> Self:
        """From at least one measured time, newest last."""
        kept = recent[-STARTS_KEPT:]
        return cls(p50_seconds=_percentile(kept, 50), p90_seconds=_percentile(kept, 90), recent=kept)

    def with_sample(self, seconds: float) -> Self:
        """With one more measured time."""
        return self.of((*self.recent, seconds))


@dataclass(frozen=True, slots=True)
class Cadence:
    """How old what is seen may be when it is acted on."""

    interval_seconds: float = 2.0
    """Between two decisions."""
    scrape_seconds: float = 5.0
    """Between two samples."""
    lag_seconds: float = 1.0
    """Until a sample can be read."""

    @property
    def look_seconds(self) -> float:
        """
        Least time between two looks that a jump can be told from. Pods are read at slightly different moments: over the
        milliseconds between two of them, a handful of requests would be a flood.
        """
        return self.scrape_seconds / 2


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was measured or learned before, and is kept in status or computed seldom."""

    capacity: Capacity | None = None
    """As the last decision left it in :attr:`Decision.capacity`, or as tested; None: as stated, or learn it."""
    startup: Startup | None = None
    calibration: Calibration | None = None
    cadence: Cadence = Cadence()
    serialised: bool = False
    """Whether nothing can be changed while a start is under way, as with SageMaker."""
    revision: str | None = None
    """Revision that serves: a capacity learned on another one is not believed."""

    @property
    def startup_seconds(self) -> float:
        """Time to Ready to reckon with: nine of ten are faster."""
        if self.startup is not None:
            return self.startup.p90_seconds
        return UNKNOWN_STARTUP_SERIALISED_SECONDS if self.serialised else UNKNOWN_STARTUP_SECONDS

    @property
    def horizon_seconds(self) -> float:
        """From a change in demand to the moment at which a decision made for it helps.

        Where changes are serialised, the one under way may have to end first.
        """
        cadence = self.cadence
        starts = 2 if self.serialised else 1
        return self.startup_seconds * starts + cadence.interval_seconds + cadence.scrape_seconds + cadence.lag_seconds

    @property
    def lead_seconds(self) -> float:
        """How long before its begin a schedule's floor is asked for.

        The horizon; and half a start-up more where several replicas that start at once share a node's processors.
        """
        return self.horizon_seconds + (0.0 if self.serialised else self.startup_seconds / 2)


def _percentile(values: tuple[float, ...], percent: int) -> float:
    """The smallest value that *percent* of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]
