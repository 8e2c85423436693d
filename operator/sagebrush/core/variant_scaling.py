"""One variant's scaling, the same for both backends: what is known of it → a decision, its conditions, its Events. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from sagebrush.api.meta import Condition, ConditionStatus
from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core.conditions import BUDGET_UNATTAINABLE, SCALING_CONFLICT, SCALING_LIMITED, find
from sagebrush.core.plan import Announcement, SpecError
from sagebrush.core.scaling.compiled import Policy, compile_policy
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import decide
from sagebrush.core.scaling.window import Problem, unknown

BOUND_REACHED, WITHIN_BOUNDS = "BoundReached", "WithinBounds"
_WAY_OUT = "remove one of the two, or set scaling.mode to Recommend or Off to leave the number to it"

_PASSING = frozenset({"metrics", "scaleInCooldown", "scaleOutCooldown", "burst.hold"})

ConditionFact = tuple[str, bool, str, str]
"""Type, truth, reason and message of a condition."""


class Decide(Protocol):
    """:func:`sagebrush.core.scaling.policy.decide`, or the same with a stopwatch beside it."""

    def __call__(
        self, policy: Policy, *, signals: Signals, fleet: Fleet, knowledge: Knowledge, history: History, now: datetime
    ) -> Decision: ...


_SHORT, _LONG = unknown(Problem.NO_DATA, message="no look at the request metrics yet")
_NOTHING_SEEN, _NOTHING_KNOWN = Signals(_SHORT, _LONG), Knowledge()


@dataclass(frozen=True, slots=True)
class ScalingFacts:
    """What a backend has gathered of one variant for this moment, beside the replicas there are."""

    signals: Signals = _NOTHING_SEEN
    knowledge: Knowledge = _NOTHING_KNOWN
    history: History | None = None
    """As the last decision left it; None after a restart."""
    rival: str = ""
    """Who else sets the number, in words; empty for nobody."""
    decide: Decide = decide


NO_FACTS = ScalingFacts()


def resumed(before: ScalingStatus | None) -> History:
    """The history after a restart, from what status says."""
    if before is None:
        return History()
    return History.resumed(last_scale_time=before.last_scale_time, decisions=before.decisions)


def decided(
    scaling: Scaling, facts: ScalingFacts, *, fleet: Fleet, before: ScalingStatus | None, now: datetime
) -> Decision:
    """
    What the policy wants of the variant. Raises SpecError for a schedule that means nothing.

    Where somebody else sets the number it is left as it is: two that pull at one number never come to rest. In the modes
    Recommend and Off we don't pull, so that there is nothing to tell.
    """
    return decided_by(policy_of(scaling), facts, fleet=fleet, before=before, now=now)


def policy_of(scaling: Scaling) -> Policy:
    """*scaling*, ready to decide with. Raises SpecError for a schedule that means nothing."""
    try:
        return compile_policy(scaling)
    except ValueError as error:
        raise SpecError(f"scaling: {error}") from error


def decided_by(
    policy: Policy, facts: ScalingFacts, *, fleet: Fleet, before: ScalingStatus | None, now: datetime
) -> Decision:
    """:func:`decided` by a policy that has been compiled before."""
    rival = facts.rival if policy.mode == "Auto" else ""
    decision = facts.decide(
        replace(policy, mode="Recommend") if rival else policy,
        signals=facts.signals,
        fleet=fleet,
        knowledge=facts.knowledge,
        history=facts.history or resumed(before),
        now=now,
    )
    if not rival:
        return decision
    return replace(decision, reason=ScalingReason.OTHER_SCALER, said=conflict_words(rival), limited_by="")


def is_active(decision: Decision) -> bool:
    """Whether the policy sees what it needs, and decides on it: ScalingActive."""
    if decision.reason in (ScalingReason.OTHER_SCALER, ScalingReason.OFF, ScalingReason.CAPACITY_UNKNOWN):
        return False
    return decision.requests_per_minute is not None or decision.value is not None


def conflict_words(rival: str, *, way_out: str = _WAY_OUT) -> str:
    """What to tell where somebody else sets the number."""
    return f"{rival}: the number of replicas is left to it; {way_out}"


def scaling_conditions(
    statuses: Mapping[str, ScalingStatus], decisions: Mapping[str, Decision]
) -> tuple[ConditionFact, ...]:
    """
    The conditions beside ScalingActive, by variant. ScalingLimited is always there; ScalingConflict and
    BudgetUnattainable as long as they are true.
    """
    if not decisions:
        return ()
    limited = {name: _limit_words(each) for name, each in statuses.items() if each.limited_by and _is_bound(each)}
    facts: list[ConditionFact] = [
        (SCALING_LIMITED, bool(limited), BOUND_REACHED if limited else WITHIN_BOUNDS, _joined(limited, len(decisions)))
    ]
    conflicts = {name: each.message for name, each in decisions.items() if each.reason is ScalingReason.OTHER_SCALER}
    if conflicts:
        facts.append(conflict_condition(_joined(conflicts, len(decisions))))
    unattainable = {name: str(each.unattainable) for name, each in decisions.items() if each.unattainable}
    if unattainable:
        facts.append((BUDGET_UNATTAINABLE, True, BUDGET_UNATTAINABLE, _joined(unattainable, len(decisions))))
    return tuple(facts)


def conflict_condition(message: str) -> ConditionFact:
    """ScalingConflict, true."""
    return SCALING_CONFLICT, True, str(ScalingReason.OTHER_SCALER), message


def turns(previous: Sequence[Condition], wanted: Sequence[ConditionFact]) -> tuple[Announcement, ...]:
    """Events where ScalingConflict or BudgetUnattainable begins or ends."""
    out = []
    for kind, over in (
        (SCALING_CONFLICT, "nobody else sets the number of replicas any more"),
        (BUDGET_UNATTAINABLE, "the latency budget can be held again"),
    ):
        told = find(previous, kind)
        was = told is not None and told.status == ConditionStatus.TRUE
        now = next((fact for fact in wanted if fact[0] == kind and fact[1]), None)
        if now is not None and not was:
            out.append(Announcement(kind, now[3], warning=True))
        elif was and now is None:
            out.append(Announcement(f"{kind}Over", over))
    return tuple(out)


def _is_bound(status: ScalingStatus) -> bool:
    """Whether it is a number of the owner's that limits, and not time, which passes, or data, which ScalingActive tells."""
    return status.limited_by not in _PASSING


def _limit_words(status: ScalingStatus) -> str:
    """Made from status, which is written seldom, so that the condition moves no sooner."""
    asks = max(status.proposals, key=lambda each: each.replicas, default=None)
    wish = f", where {asks.by} asks for {asks.replicas}" if asks and asks.replicas != status.desired_replicas else ""
    return f"{status.limited_by} holds the number at {status.desired_replicas}{wish}"


def _joined(texts: Mapping[str, str], variants: int) -> str:
    return "; ".join(f"variant {name}: {text}" if variants > 1 else text for name, text in texts.items())
