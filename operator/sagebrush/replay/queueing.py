"""How long requests wait for replicas, in closed form.

Replicas of an endpoint are one pool: N replicas of c workers each are an M/M/(N·c) queue. Its probability of waiting is
taken from Sakasegawa's approximation of the mean wait (H. Sakasegawa, "An approximation formula L_q = α·ρ^β/(1-ρ)",
1977), with which P(wait > 0) = ρ^(sqrt(2(m+1)) - 1) and the wait of those who do is exponential with m·μ·(1-ρ).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORACLE_SHARE = 0.01
"""Share of the requests of one second that may be late where a number of replicas counts as enough."""

_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one replica can do, and what its users expect."""

    capacity: float
    """Requests per second that one replica completes when it is never idle."""
    wait_seconds: float = 0.5
    """A request that waits longer than this before a worker takes it is late."""
    workers: int = 8
    """Requests that one replica works on at the same time."""


def late_probability(rate: Floats, replicas: Ints, service: Service) -> Floats:
    """The share of requests that wait longer than the bound, for each pair of a rate (requests/s) and replicas.

    1 where the rate is the capacity or more: there is no steady state.
    """
    capacity = replicas * service.capacity
    busy = np.divide(rate, capacity, out=np.ones_like(capacity, dtype=np.float64), where=capacity > 0)
    stable = busy < 1
    busy = np.where(stable, busy, 0.5)
    waits = busy ** (np.sqrt(2 * (replicas * service.workers + 1)) - 1)
    beyond = waits * np.exp(-capacity * (1 - busy) * service.wait_seconds)
    return np.where(stable, beyond, 1.0)


def carried(service: Service, *, most: int, share: float = ORACLE_SHARE) -> Floats:
    """The highest rate (requests/s) at which at most *share* of requests are late, for 0, 1, … *most* replicas."""
    replicas = np.arange(1, most + 1, dtype=np.int64)
    low = np.zeros(most)
    high = replicas * service.capacity
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = late_probability(middle, replicas, service) <= share
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.concatenate(([0.0], low))


def replicas_needed(rate: Floats, service: Service, *, share: float = ORACLE_SHARE) -> Ints:
    """The fewest replicas, at least 1, with which at most *share* of the requests of each second are late."""
    highest = float(rate.max(initial=0.0))
    most = max(2, int(np.ceil(highest / service.capacity)) + 2)
    table = carried(service, most=most, share=share)
    while table[-1] < highest:
        most *= 2
        table = carried(service, most=most, share=share)
    return np.maximum(1, np.searchsorted(table, rate, side="left")).astype(np.int64)
