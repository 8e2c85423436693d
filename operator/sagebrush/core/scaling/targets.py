"""From demand to replicas, for each kind of target."""

from dataclasses import dataclass
from math import ceil

from sagebrush.core.scaling.capacity import Carried, carried
from sagebrush.core.scaling.compiled import Policy, TargetKind
from sagebrush.core.scaling.facts import Capacity, Knowledge
from sagebrush.core.scaling.words import Said, sentence

SCALE_IN_MARGIN = 0.9
"""
Replicas are removed only if those left would carry at most 90 % of the target, as AWS' target tracking does (its low
alarm stands at 0.9 of the target); else each change would call for its opposite.
"""

LATENCY_SCALE_IN_MARGIN = 0.97
"""The same for target.latency, whose headroom is learned on top."""

SERIALISED_TOLERANCE = 0.1
"""
Share of the replicas by which more may be wanted, of their headroom, before any is added where a start blocks all other
changes: two more because of a passing breath would be in the way of the twenty that the next minute asks for.
"""

SERIALISED_GROWTH = 0.5
"""
Least growth, by the replicas there are, where the demand measured asks for one and a start blocks all other changes: a rise
that is over the tolerance goes on while nothing can be added, and what was too much is removed at once.
"""

_ROUNDING = 1e-9
_SHARES_OF_ONE_MOMENT = 10.0
_MOST_SHARE = 0.05


def pool_of(policy: Policy, *, capacity: Capacity, dispersion: float) -> Carried:
    """What numbers of replicas carry within the policy's latency bound.

    At any one moment ten times the budget may be late: most moments are far from the most that replicas carry.
    """
    return carried(
        capacity=capacity.requests_per_second,
        workers=capacity.concurrency,
        latency_seconds=policy.target,
        share=min(policy.late_share * _SHARES_OF_ONE_MOMENT, _MOST_SHARE),
        most=policy.maximum,
        dispersion=dispersion,
    )


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many replicas a demand needs. More demand never needs fewer."""

    per_replica: float
    """What one replica carries, in the target's unit, where replicas add up; of a latency target the most of one."""
    margin: float
    words: Said
    pool: Carried | None = None
    """Where replicas share a queue."""

    def needed(self, value: float) -> int:
        """Replicas that carry *value*, each at most its target."""
        if self.pool is not None:
            return self.pool.replicas_for(value / 60)
        return ceil(value / self.per_replica - _ROUNDING)

    def enough(self, value: float) -> int:
        """Replicas that carry *value* with the margin that scaling in asks for."""
        if self.pool is not None:
            return self.pool.replicas_for(value / 60 / self.margin)
        return ceil(value / (self.per_replica * self.margin) - _ROUNDING)


def sizing_of(policy: Policy, *, capacity: Capacity | None, knowledge: Knowledge) -> Sizing | None:
    """How the policy's target turns demand into replicas; None where it needs a capacity that nobody knows yet."""
    kind, target = policy.kind, policy.target
    if kind is TargetKind.REQUESTS_PER_MINUTE:
        return Sizing(target, SCALE_IN_MARGIN, sentence("{0:num} per replica", target))
    if kind is TargetKind.IN_FLIGHT:
        return Sizing(target, SCALE_IN_MARGIN, sentence("{0:num} in flight per replica", target))
    if kind is TargetKind.QUERY:
        return Sizing(target, SCALE_IN_MARGIN, sentence("{0:num} of the query per replica", target))
    if capacity is None:
        return None
    rate = capacity.requests_per_second
    if kind is TargetKind.PERCENT_OF_CAPACITY:
        words = sentence("{0:num} per replica ({1:g} % of its capacity)", target * rate * 60, target * 100)
        return Sizing(target * rate * 60, SCALE_IN_MARGIN, words)
    calibration = knowledge.calibration
    pool = pool_of(policy, capacity=capacity, dispersion=calibration.dispersion if calibration else 1.0)
    words = sentence(
        "{0:num} ms for all but {1:g} % of requests ({2:num} per minute and replica at most)",
        target * 1000,
        policy.late_share * 100,
        rate * 60,
    )
    return Sizing(pool.rates[1] * 60, LATENCY_SCALE_IN_MARGIN, words, pool)
