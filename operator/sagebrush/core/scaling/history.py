"""What the policy remembers between decisions: an immutable value, handed in and given back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from sagebrush.api.scaling import ScalingDecision

LONGEST_GAP = timedelta(seconds=30)
"""
Time without trusted data that does not break a run of them: half the long window, so that what arrived in the gap is
still inside the trusted readings on both sides of it. One lost query does not cost a scale-in period; an outage does.
"""


class Peak(NamedTuple):
    """Demand at a moment that no later moment reached."""

    time: datetime
    requests_per_minute: float


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

    @classmethod
    def resumed(cls, *, last_scale_time: datetime | None, decisions: Sequence[ScalingDecision] = ()) -> Self:
        """The history after a restart, from ``status.scaling``: cooldowns go on, the scale-in period begins anew.

        Without *decisions* the last change counts as one in both directions.
        """
        out = [entry.time for entry in decisions if entry.to_replicas > entry.from_replicas]
        last_out = max(out, default=None) if decisions else last_scale_time
        return cls(last_scale_out=last_out, last_scale_in=last_scale_time)

    @property
    def last_change(self) -> datetime | None:
        """When the number of replicas last changed, in either direction."""
        return max((time for time in (self.last_scale_out, self.last_scale_in) if time is not None), default=None)

    def at(self, now: datetime) -> Self:
        """As seen now. Where the clock was set back: demand of the future is forgotten, changes were just now."""
        ahead = self.trusted_until is not None and self.trusted_until > now
        return replace(
            self,
            peaks=tuple(peak for peak in self.peaks if peak.time <= now),
            trusted_since=None if ahead else self.trusted_since,
            trusted_until=None if ahead else self.trusted_until,
            last_scale_out=_not_after(self.last_scale_out, now=now),
            last_scale_in=_not_after(self.last_scale_in, now=now),
            blind_since=_not_after(self.blind_since, now=now),
        )

    def blind(self, now: datetime) -> Self:
        """Nothing usable was seen."""
        return replace(self, blind_since=self.blind_since or now)

    def seen(self, requests_per_minute: float, *, trusted: bool, now: datetime, keep: timedelta) -> Self:
        """With the demand seen now. What is older than *keep* is dropped.

        What is not *trusted* raises the demand remembered, and proves nothing about how low it was.
        """
        begin = now - keep
        kept = [peak for peak in self.peaks if begin <= peak.time and peak.requests_per_minute > requests_per_minute]
        peaks = (*kept, Peak(now, requests_per_minute))
        # Peaks before the period kept are gone: a longer period, set later, must not think that it knows them.
        since = None if self.trusted_since is None else max(self.trusted_since, begin)
        if not trusted:
            return replace(self, peaks=peaks, trusted_since=since, blind_since=None)
        unbroken = self.trusted_until is not None and now - self.trusted_until <= LONGEST_GAP
        begun = since if unbroken and since is not None else now
        return replace(self, peaks=peaks, trusted_since=begun, trusted_until=now, blind_since=None)

    def scaled(self, *, before: int, after: int, now: datetime) -> Self:
        """With a change of the number of replicas made now."""
        if after > before:
            return replace(self, last_scale_out=now)
        return replace(self, last_scale_in=now) if after < before else self


def _not_after(time: datetime | None, *, now: datetime) -> datetime | None:
    return None if time is None else min(time, now)
