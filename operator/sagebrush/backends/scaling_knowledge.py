"""What the operator knows of each variant that it scales beyond the moment: start-up times, capacity, and its history's lessons.

Start-up times and capacity live in ``status.scaling`` and are taken up from there after a restart; what the history teaches
is learned anew (:mod:`sagebrush.backends.calibrator`).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core import pods
from sagebrush.core.resource import Manifest, dig, parse_time
from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Cadence, Capacity, Knowledge, Startup
from sagebrush.core.scaling.report import known as told

_SHORTEST_SECONDS = 1.0
"""Kubernetes' times are whole seconds: what began and ended within one took some time still."""


class Variant(NamedTuple):
    """Whose knowledge it is: an object by uid, since a name may be given anew, and one of its variants."""

    uid: str
    name: str


@dataclass(slots=True)
class _Known:
    startup: Startup | None = None
    capacity: Capacity | None = None
    calibration: Calibration | None = None
    restored: bool = False
    since: datetime | None = None
    """When this process first looked: whether older pods were timed before, nobody knows."""
    timed: set[str] = field(default_factory=set)
    """Pods, by uid, whose start has been counted."""
    asked: tuple[datetime, int] | None = None
    """More instances that were asked for and don't serve yet: when, and how many there are to be."""


class ScalingKnowledge:
    """One record per variant. Times are those of the backend's own clock."""

    def __init__(self) -> None:
        self._known: dict[Variant, _Known] = {}

    def of(
        self,
        variant: Variant,
        *,
        before: ScalingStatus | None,
        revision: str | None,
        cadence: Cadence,
        serialised: bool = False,
    ) -> Knowledge:
        """
        What is known at this moment, with what status says (*before*): it may have been written by a capacity test, or
        by the operator that ran before this one. *revision* serves; a capacity of another one is not passed on.
        """
        known = self._restored(variant, before)
        capacity = _newer(known.capacity, told(before)[0])
        return Knowledge(
            capacity=capacity if capacity is None or capacity.revision in (None, revision) else None,
            startup=known.startup,
            calibration=known.calibration,
            cadence=cadence,
            serialised=serialised,
            revision=revision,
        )

    def pods_seen(
        self, variant: Variant, found: Iterable[Manifest], *, before: ScalingStatus | None, now: datetime
    ) -> None:
        """Time the pods that have become ready, from their creation, each once."""
        known = self._restored(variant, before)
        since = known.since = known.since or now.replace(microsecond=0)
        present = set()
        for pod in found:
            uid, created = pod["metadata"].get("uid", ""), parse_time(dig(pod, "metadata", "creationTimestamp"))
            present.add(uid)
            ready = pods.ready_since(pod)
            # A pod from before may have been ready and not ready again, and its time would be its age.
            if created is None or ready is None or created < since or uid in known.timed:
                continue
            known.timed.add(uid)
            self._timed(known, (ready - created).total_seconds())
        known.timed &= present

    def acted(self, variant: Variant, decision: Decision) -> None:
        """The decision was carried out: its capacity is kept, and more instances are timed from now on."""
        known = self._known.setdefault(variant, _Known())
        known.capacity = decision.capacity
        if decision.replicas > decision.previous_replicas and decision.history.last_scale_out:
            # Of two growths in a row the first one's start counts: the second waits for its end.
            since = known.asked[0] if known.asked else decision.history.last_scale_out
            known.asked = since, decision.replicas
        elif decision.changed:
            known.asked = None

    def instances_seen(
        self, variant: Variant, *, before: ScalingStatus | None, serving: int, settled: bool, at: datetime
    ) -> None:
        """Time instances that were asked for, once they serve: *settled* says that nothing is under way *at* that time."""
        known = self._restored(variant, before)
        if known.asked is None and not settled:
            # Asked for by the operator that ran before this one.
            last = before.decisions[-1] if before and before.decisions else None
            if last and last.to_replicas > last.from_replicas and serving < last.to_replicas:
                known.asked = last.time, last.to_replicas
        if known.asked is None or not settled:
            return
        since, wanted = known.asked
        if at < since:  # it was looked at before
            return
        known.asked = None
        if serving >= wanted:  # else it was refused
            self._timed(known, (at - since).total_seconds())

    def learned(self, variant: Variant, calibration: Calibration) -> None:
        """The history has been looked at."""
        self._known.setdefault(variant, _Known()).calibration = calibration

    def keep_only(self, alive: Collection[str]) -> None:
        """Forget objects whose uid is not among these."""
        self._known = {variant: known for variant, known in self._known.items() if variant.uid in alive}

    def _restored(self, variant: Variant, before: ScalingStatus | None) -> _Known:
        known = self._known.setdefault(variant, _Known())
        if not known.restored and before is not None:
            known.restored = True
            known.startup = known.startup or told(before)[1]
        return known

    @staticmethod
    def _timed(known: _Known, seconds: float) -> None:
        seconds = max(seconds, _SHORTEST_SECONDS)
        known.startup = known.startup.with_sample(seconds) if known.startup else Startup.of((seconds,))


def _newer(ours: Capacity | None, theirs: Capacity | None) -> Capacity | None:
    """The one measured later: status is written by capacity tests too, and after us."""
    if ours is None or theirs is None:
        return ours or theirs
    if theirs.measured_at is None or ours.measured_at is None:
        return ours if theirs.measured_at is None else theirs
    return theirs if theirs.measured_at > ours.measured_at else ours
