"""The capacity of one replica, learned from live traffic while replicas are saturated.

While requests wait, every replica answers as fast as it can: what they complete, by their number, is what one can do.
Where it is known how large a share of time the replicas computed, that share corrects for those that had nothing to
do; where it is not, so many must wait that none had nothing to do. Nothing else is evidence: a capacity is never raised by guess.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from sagebrush.core.scaling.compiled import Policy
from sagebrush.core.scaling.facts import Capacity, Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History, Look

_SAMPLES_KEPT = 9
_SAMPLES_NEEDED = 5
_LEAST_WAITING_SHARE = 0.25
_BUSY_ENOUGH = 0.7
_NEWS_SHARE = 0.03
_LEAST_OF_STATED = 0.5
_SURE_SECONDS = 0.1
_SETTLING = timedelta(seconds=2)
_LONGEST_LOOK = timedelta(seconds=60)


class Learned(NamedTuple):
    """What is known after a look, and what to remember of it."""

    capacity: Capacity | None
    looks: tuple[Look, ...]
    samples: tuple[float, ...]


def capacity_in_force(policy: Policy, knowledge: Knowledge) -> Capacity | None:
    """What one replica can do: as measured on this revision, else as stated; None: unknown.

    What was learned is believed between half of what the owner states and all of it.
    """
    known, stated = knowledge.capacity, policy.stated
    revisions = (known.revision if known else None, knowledge.revision)
    if known is None or known.source == "Stated" or (None not in revisions and revisions[0] != revisions[1]):
        return stated
    rate = known.requests_per_second
    if stated is not None and known.source == "Learned":
        rate = min(max(rate, _LEAST_OF_STATED * stated.requests_per_second), stated.requests_per_second)
    concurrency = policy.concurrency or known.concurrency
    if rate == known.requests_per_second and known.concurrency == concurrency:
        return known
    return replace(known, requests_per_second=rate, concurrency=concurrency)


def learned(
    policy: Policy,
    *,
    capacity: Capacity | None,
    signals: Signals,
    fleet: Fleet,
    revision: str | None,
    history: History,
    now: datetime,
) -> Learned:
    """What is known of the capacity after this look."""
    workers = workers_of(policy, capacity)
    looks = _looks(workers, signals=signals, ready=fleet.ready, history=history, now=now)
    sure = _surely_busy(workers, capacity=capacity, ready=fleet.ready)
    sample = _sample(signals, looks=looks, sure=sure, history=history, ready=fleet.ready, now=now)
    if sample is None:
        return Learned(capacity, looks, history.samples)
    samples = (*history.samples[1 - _SAMPLES_KEPT :], sample)
    if len(samples) < _SAMPLES_NEEDED:
        return Learned(capacity, looks, samples)
    found = median(samples)
    stated = policy.stated
    if stated is not None:
        found = min(max(found, _LEAST_OF_STATED * stated.requests_per_second), stated.requests_per_second)
    if capacity is not None:
        change = found / capacity.requests_per_second - 1
        if abs(change) < _NEWS_SHARE or (change > 0 and capacity.source != "Learned"):
            return Learned(capacity, looks, samples)
    made = Capacity(found, workers_of(policy, capacity), source="Learned", measured_at=now, revision=revision)
    return Learned(made, looks, samples)


def workers_of(policy: Policy, capacity: Capacity | None) -> int:
    """Requests that a replica works on at the same time: as stated, else as measured, else one."""
    return policy.concurrency or (capacity.concurrency if capacity else 1)


def _looks(workers: int, *, signals: Signals, ready: int, history: History, now: datetime) -> tuple[Look, ...]:
    """The looks at the same replicas, saturated without a break up to now."""
    waiting = signals.waiting
    if waiting is None or ready < 1 or waiting < max(1.0, _LEAST_WAITING_SHARE * ready * workers):
        return ()
    before = tuple(look for look in history.looks if look.ready == ready and now - look.time <= _LONGEST_LOOK)
    return (*before, Look(now, waiting, ready))


def _surely_busy(workers: int, *, capacity: Capacity | None, ready: int) -> float:
    """Requests that wait where no replica can be without any: each has its own queue, and those of some may be empty.

    At least one for each worker, and a tenth of a second of the replicas' work.
    """
    able = capacity.requests_per_second if capacity is not None else 0.0
    return max(float(workers), _SURE_SECONDS * able) * ready


def _sample(
    signals: Signals, *, looks: tuple[Look, ...], sure: float, history: History, ready: int, now: datetime
) -> float | None:
    """Requests/s that one replica does, where this look shows it: with data not seen before, all of them of as many
    ready replicas as there are now.
    """
    newest, ready_at = signals.short.newest, history.ready_at
    if newest is None or newest == history.newest_at or history.ready != ready or ready_at is None:
        return None
    if newest - signals.short.span < ready_at + _SETTLING:
        return None
    rate, busy = signals.short.requests_per_minute, signals.busy
    if rate is None or ready < 1 or not signals.short.complete:
        return None
    answered = (rate - (signals.refused_per_minute or 0.0)) / 60
    span = signals.short.span.total_seconds()
    behind = [look for look in looks if (now - look.time).total_seconds() >= span] if span > 0 else []
    if busy is None and any(look.waiting < sure for look in looks[len(behind) - 1 if behind else 0 :]):
        return None
    if behind:
        since = (now - behind[-1].time).total_seconds()
        answered -= (looks[-1].waiting - behind[-1].waiting) / since
    elif busy is None or busy < _BUSY_ENOUGH:
        return None
    share = 1.0 if busy is None else min(max(busy, _BUSY_ENOUGH), 1.0)
    return answered / ready / share if answered > 0 else None
