"""Learning from an endpoint's own history how to provide for what comes.

Every way to provide is replayed over the last 14 days at most by the rules of the policy itself: what is asked for at a
moment serves a start-up later. Of those that keep the late budget the cheapest is taken. The season that is used on
a day is learned from the days before it, so that nothing is judged by what it was learned from; and as what was learned
from few days fits them better than those to come, it gets a margin on top. (To aim at less than the budget instead would
choose by the few rarest moments of the past, which do not come back: it costs more, and more is late.)
"""

from datetime import datetime

from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.compiled import Policy, TargetKind
from sagebrush.core.scaling.facts import Knowledge
from sagebrush.core.scaling.learning import capacity_in_force
from sagebrush.core.scaling.lesson import lesson, season_only, unlearned
from sagebrush.core.scaling.past import DemandHistory, prepared
from sagebrush.core.scaling.ways import arena_of, fitted, is_slow, ways

__all__ = ["DemandHistory", "calibrate"]

LEAST_DAYS = 1 / 24
_UNSEEN_SHARE = 0.3
"""Share of the budget that may be spent in the replay where the peaks within its bins are lost to it."""
_FINE_SECONDS = 5.0


def calibrate(history: DemandHistory, *, policy: Policy, knowledge: Knowledge, now: datetime) -> Calibration:
    """What the last 14 days at most teach; with less than a day no season, and no less headroom than without any.

    Takes at most 2 s of CPU time. Where the capacity is not known only the season is learned.
    """
    past = prepared(history, horizon_seconds=knowledge.horizon_seconds)
    capacity = capacity_in_force(policy, knowledge)
    if past is None or past.known_days < LEAST_DAYS:
        return unlearned(knowledge, now=now, words="less than an hour of history yet")
    if capacity is None or policy.kind is not TargetKind.LATENCY:
        return season_only(past, policy=policy, knowledge=knowledge, now=now)
    arena = arena_of(past, policy=policy, capacity=capacity, knowledge=knowledge)
    coarse = not is_slow(knowledge) and (past.step > _FINE_SECONDS or arena.serialised)
    budget = policy.late_share * (_UNSEEN_SHARE if coarse else 1.0)
    fits = [
        fitted(way, arena=arena, budget=budget, step=past.step)
        for way in ways(past, policy=policy, knowledge=knowledge)
    ]
    return lesson(
        min(fits, key=lambda each: each.score), past=past, arena=arena, policy=policy, knowledge=knowledge, now=now
    )
