"""How many requests a number of replicas carries within a latency bound.

Replicas of an endpoint are one pool: N replicas that work on c requests each are a queue with N·c servers. The share
of requests that wait longer than a bound follows Sakasegawa's approximation (H. Sakasegawa, "An approximation formula
L_q = α·ρ^β/(1-ρ)", 1977), with the wait of arrivals that are burstier than Poisson longer as Allen and Cunneen have it
(A. O. Allen, "Probability, Statistics and Queueing Theory", 1990): by (1 + dispersion)/2.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil, expm1

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 26
_SIGNIFICANT = 4
_SHORTEST_WAIT_SHARE = 0.1

Floats = NDArray[np.float64]


def wait_bound(latency_seconds: float, *, capacity: float, workers: int) -> float:
    """Seconds that a request may wait and still be answered within the latency.

    A request takes workers/capacity seconds by itself; a tenth of the bound is left for waiting at least, so that a
    bound no replica can meet asks for replicas that are hardly ever all busy, not for infinitely many.
    """
    return max(latency_seconds - workers / capacity, latency_seconds * _SHORTEST_WAIT_SHARE)


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """The rates that numbers of replicas carry with at most a given share of requests late."""

    capacity: float
    """Requests/s of one replica."""
    workers: int
    """Requests that one replica works on at the same time."""
    wait_seconds: float
    """A request that waits longer is late."""
    dispersion: float
    """Variance of the arrivals in a second by their mean; 1 is Poisson."""
    rates: tuple[float, ...] = ()
    """The highest rate (requests/s) for 0, 1, … replicas."""
    array: Floats = field(default_factory=lambda: np.zeros(1))
    """The same as an array."""

    def replicas_for(self, rate: float) -> int:
        """The fewest replicas that carry the rate (requests/s); beyond the table in proportion."""
        most = self.rates[-1]
        if rate <= most:
            return bisect_left(self.rates, rate)
        return ceil(rate / most * (len(self.rates) - 1))


def late_share(rate: Floats, replicas: Floats, service: Carried) -> Floats:
    """The share of requests that wait too long, for each pair of a rate (requests/s) and replicas.

    1 where the rate is what the replicas can do, or more: there is no steady state.
    """
    able = replicas * service.capacity
    busy = np.divide(rate, able, out=np.ones_like(able), where=able > 0)
    stable = busy < 1
    busy = np.where(stable, busy, 0.5)
    waits = busy ** (np.sqrt(2 * (replicas * service.workers + 1)) - 1)
    slower = 2 / (1 + max(service.dispersion, 1.0))
    beyond = waits * np.exp(-able * (1 - busy) * service.wait_seconds * slower)
    return np.where(stable, beyond, 1.0)


def late_in_full_seconds(rate: Floats, replicas: Floats, service: Carried, *, seconds: float) -> Floats:
    """The share of requests that are late in single seconds that are fuller than the mean of a bin of *seconds*.

    Requests of one second vary by dispersion x rate about the bin's mean, as a bin shows only their mean. Those are late
    that come when the second's own rate is within a wait of what the replicas can do: with a normal distribution the
    density there by the length of the wait, which the Mills ratio sums (R. D. Gordon, "Values of Mills' ratio", 1941).
    """
    able = replicas * service.capacity
    spread = np.sqrt(np.maximum(rate * service.dispersion * max(1 - 1 / seconds, 0.0), 1e-9))
    beyond = np.maximum((able - rate) / spread, 0.0)
    longer = np.maximum(service.wait_seconds * spread - beyond, 0.0)
    mills = 2 / (longer + np.sqrt(longer * longer + 8 / np.pi))
    whole = service.wait_seconds / expm1(service.wait_seconds)
    return np.asarray(np.exp(-beyond * beyond / 2) / np.sqrt(2 * np.pi) * mills * whole)


@lru_cache(maxsize=512)
def carried(
    *, capacity: float, workers: int, latency_seconds: float, share: float, most: int, dispersion: float = 1.0
) -> Carried:
    """The table for 0, 1, … *most* replicas. Capacity and dispersion are taken to four digits, so that close ones share it."""
    capacity, dispersion = _rounded(capacity), _rounded(dispersion)
    wait = wait_bound(latency_seconds, capacity=capacity, workers=workers)
    service = Carried(capacity, workers, wait, dispersion)
    replicas = np.arange(1, most + 1, dtype=np.float64)
    low = np.zeros(most)
    high = replicas * capacity
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = late_share(middle, replicas, service) <= share
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    table = np.concatenate(([0.0], np.maximum(low, 1e-9)))
    return replace(service, rates=tuple(table.tolist()), array=table)


def _rounded(value: float) -> float:
    return float(f"{value:.{_SIGNIFICANT}g}")
