"""What the policy remembers between decisions: an immutable value, handed in and given back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from sagebrush.api.scaling_status import ScalingDecision

LONGEST_GAP = timedelta(seconds=30)
"""
Time without trusted data that does not break a run of them: half the long window, so that what arrived in the gap is
still inside the trusted readings on both sides of it. One lost query does not cost a scale-in period; an outage does.
"""


class Peak(NamedTuple):
    """Demand at a moment that no later moment reached."""

    time: datetime
    value: float
    """In the target's unit; requests per minute for most."""


class Change(NamedTuple):
    """A change of the number of replicas."""

    time: datetime
    before: int
    after: int


class Look(NamedTuple):
    """Saturated replicas at a moment."""

    time: datetime
    waiting: float
    ready: int


@dataclass(frozen=True, slots=True)
class History:
    """Demand seen lately, changes made, and since when nothing could be seen.

    Requests are kept rather than replicas, so that a change of ``spec.scaling`` is applied to the past as well.
    """

    peaks: tuple[Peak, ...] = ()
    """Oldest first, always falling: all that a maximum over any recent period needs."""
    trusted_since: datetime | None = None
    """Start of the run of complete, fresh, full-window data that reaches to the present."""
    trusted_until: datetime | None = None
    """The newest moment of that run."""
    last_scale_out: datetime | None = None
    last_scale_in: datetime | None = None
    blind_since: datetime | None = None
    """The first decision without usable data of those in a row up to now."""
    raised_blind: bool = False
    """Whether replicas were added in the present outage because nothing could be seen."""
    metric: str = ""
    """The field of the target that the peaks are of: those of another are in another unit."""
    looked_at: datetime | None = None
    """The last decision."""
    burst_at: datetime | None = None
    """The last sign of a burst."""
    stepped_at: datetime | None = None
    """The last step of stepPolicy."""
    smooth: float | None = None
    """Mean of the last minute or so of a target's gauge, later moments counting more."""
    newest: float | None = None
    """The short window's rate at the last look, in requests/min."""
    newest_at: datetime | None = None
    """The time of its newest sample."""
    wiggle: float = 0.0
    """Usual distance of the short window's rate from the long one's, in requests/min."""
    level: float | None = None
    """Rate of the last half hour or so, in requests/min, later minutes counting more."""
    slow: float | None = None
    """Rate of the last half horizon or so, weighted alike; what a slow rise is measured against."""
    recent: float | None = None
    """Rate of the last minute or so, weighted alike; what a steep rise is measured against."""
    usual_level: float | None = None
    """What the season had for the same time, weighted alike."""
    changes: tuple[Change, ...] = ()
    """Changes within the periods of the rate limits, oldest first."""
    looks: tuple[Look, ...] = ()
    """Of the last seconds, while requests wait: oldest first."""
    ready: int = -1
    """Replicas that served at the last look."""
    ready_at: datetime | None = None
    """Since when it has been as many."""
    samples: tuple[float, ...] = ()
    """Requests/s per replica, of saturated replicas, newest last."""

    @classmethod
    def resumed(cls, *, last_scale_time: datetime | None, decisions: Sequence[ScalingDecision] = ()) -> Self:
        """The history after a restart, from ``status.scaling``: cooldowns and limits go on, the scale-in period begins anew.

        Without *decisions* the last change counts as one in both directions.
        """
        out = [entry.time for entry in decisions if entry.to_replicas > entry.from_replicas]
        last_out = max(out, default=None) if decisions else last_scale_time
        changes = tuple(Change(entry.time, entry.from_replicas, entry.to_replicas) for entry in decisions)
        return cls(last_scale_out=last_out, last_scale_in=last_scale_time, changes=changes)

    @property
    def last_change(self) -> datetime | None:
        """When the number of replicas last changed, in either direction."""
        return max((time for time in (self.last_scale_out, self.last_scale_in) if time is not None), default=None)

    def at(self, now: datetime) -> Self:
        """As seen now. Where the clock was set back: demand of the future is forgotten, changes were just now."""
        times = (self.trusted_until, self.last_scale_out, self.last_scale_in, self.blind_since, self.looked_at)
        if not any(time is not None and time > now for time in (*times, *(peak.time for peak in self.peaks[-1:]))):
            return self
        ahead = self.trusted_until is not None and self.trusted_until > now
        return replace(
            self,
            peaks=tuple(peak for peak in self.peaks if peak.time <= now),
            trusted_since=None if ahead else self.trusted_since,
            trusted_until=None if ahead else self.trusted_until,
            last_scale_out=_not_after(self.last_scale_out, now=now),
            last_scale_in=_not_after(self.last_scale_in, now=now),
            blind_since=_not_after(self.blind_since, now=now),
            looked_at=_not_after(self.looked_at, now=now),
            burst_at=_not_after(self.burst_at, now=now),
            stepped_at=_not_after(self.stepped_at, now=now),
            changes=tuple(change for change in self.changes if change.time <= now),
            looks=(),
        )

    def of_metric(self, metric: str) -> Self:
        """For a target's field. What was remembered of another is forgotten: it is in another unit."""
        if self.metric == metric:
            return self
        if not self.metric:
            return replace(self, metric=metric)
        return replace(self, metric=metric, peaks=(), trusted_since=None, trusted_until=None, smooth=None)

    def blind(self, now: datetime) -> Self:
        """Nothing usable was seen."""
        if self.blind_since is not None and self.looked_at == now:
            return self
        return replace(self, blind_since=self.blind_since or now, looked_at=now, looks=())

    def seen(self, value: float, *, trusted: bool, now: datetime, keep: timedelta, **more: Any) -> Self:
        """With the demand seen now, in the target's unit. What is older than *keep* is dropped.

        What is not *trusted* raises the demand remembered, and proves nothing about how low it was. *more* are
        fields that change with it.
        """
        begin = now - keep
        kept = [peak for peak in self.peaks if begin <= peak.time and peak.value > value]
        peaks = (*kept, Peak(now, value))
        # Peaks before the period kept are gone: a longer period, set later, must not think that it knows them.
        since = None if self.trusted_since is None else max(self.trusted_since, begin)
        until = self.trusted_until
        if trusted:
            unbroken = until is not None and now - until <= LONGEST_GAP
            since = since if unbroken and since is not None else now
            until = now
        return replace(
            self,
            peaks=peaks,
            trusted_since=since,
            trusted_until=until,
            blind_since=None,
            raised_blind=False,
            looked_at=now,
            **more,
        )

    def with_raise(self) -> Self:
        """Replicas were added because nothing can be seen, or could not be."""
        return replace(self, raised_blind=True)

    def stepped(self, now: datetime) -> Self:
        """A step was taken."""
        return replace(self, stepped_at=now)

    def unchanged(self, before: Self) -> Self:
        """With what was seen, and without the change, which was not made: *before* is the history that it came from."""
        return replace(
            self,
            last_scale_out=before.last_scale_out,
            last_scale_in=before.last_scale_in,
            stepped_at=before.stepped_at,
            changes=before.changes,
        )

    def scaled(self, *, before: int, after: int, now: datetime, keep: timedelta = timedelta(0)) -> Self:
        """With a change of the number of replicas made now; changes older than *keep* are dropped."""
        if after == before:
            return self
        changes = self.changes
        if keep:
            changes = (*(change for change in changes if now - change.time < keep), Change(now, before, after))
        if after > before:
            return replace(self, last_scale_out=now, changes=changes)
        return replace(self, last_scale_in=now, changes=changes)


def _not_after(time: datetime | None, *, now: datetime) -> datetime | None:
    return None if time is None else min(time, now)
