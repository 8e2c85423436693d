"""The clairvoyant minimum: what the same seconds cost somebody who knew them all."""

from dataclasses import dataclass

import numpy as np

from sagebrush.replay.queueing import ORACLE_SHARE, Floats, Ints, Service, replicas_needed


@dataclass(frozen=True, slots=True)
class Optimum:
    """The cheapest plan that is never short of replicas."""

    replica_seconds: float
    """Its cost, boots included."""
    replicas: Ints
    """Replicas ready in every second of the plan."""


def cheapest(needed: Ints, *, startup_seconds: int) -> Optimum:
    """The exact minimum of replica-seconds with *needed* replicas ready in every second.

    A replica costs from its launch, *startup_seconds* before it is ready. Levels are independent of each other: the
    n-th replica is on where n are needed, and over a gap between two such stretches it is cheaper to keep it than to
    launch it anew exactly if the gap is shorter than the start-up. What is launched before the first second costs
    from the first second only.
    """
    ready = np.zeros(len(needed), dtype=np.int64)
    cost = 0.0
    for level in range(1, int(needed.max(initial=0)) + 1):
        on = needed >= level
        edges = np.flatnonzero(np.diff(np.concatenate(([False], on, [False])).astype(np.int8)))
        begins, ends = edges[::2], edges[1::2]
        gaps = begins - np.concatenate(([0], ends[:-1]))
        cost += float((ends - begins).sum() + np.minimum(gaps, startup_seconds).sum())
        bridged = gaps < startup_seconds
        bridged[0] = False
        step = np.zeros(len(needed) + 1, dtype=np.int64)
        np.add.at(step, begins, 1)
        np.add.at(step, ends, -1)
        np.add.at(step, np.concatenate(([0], ends[:-1]))[bridged], 1)
        np.add.at(step, begins[bridged], -1)
        ready += np.cumsum(step[:-1])
    return Optimum(replica_seconds=cost, replicas=ready)


def optimum(arrivals: Floats, service: Service, *, startup_seconds: int, share: float = ORACLE_SHARE) -> Optimum:
    """The cheapest plan with at most *share* of the requests of each second late, and at least one replica."""
    return cheapest(replicas_needed(arrivals, service, share=share), startup_seconds=startup_seconds)
