"""How many replicas an endpoint should have, and why: from demand, measured and foreseen, and the owner's policy.

Scaling out follows the demand at once. Scaling in waits until fewer replicas would have been enough for the whole of
a period (Kubernetes' HPA: the maximum over the stabilisation window). Data that are missing, stale or partial never
remove a replica. Replicas that are starting count as capacity to come: what is asked for is a number, never a factor.

Each behaviour proposes a number: the target, the prediction, a burst, stepPolicy, schedules, and what is held because
of the recent past. The largest counts, within the bounds and the limits on changes. :mod:`.targets` turns demand into
replicas, :mod:`.demand` says how much to provide for, :mod:`.outward` and :mod:`.inward` make the change.
"""

from dataclasses import replace
from datetime import datetime

from sagebrush.core.scaling.blindness import blind
from sagebrush.core.scaling.case import Case
from sagebrush.core.scaling.compiled import Policy, TargetKind, compile_policy
from sagebrush.core.scaling.decision import Decision, Predicted, Proposal, ScalingReason
from sagebrush.core.scaling.demand import demand_of
from sagebrush.core.scaling.facts import Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.inward import doubted, scaled_in
from sagebrush.core.scaling.learning import capacity_in_force, learned
from sagebrush.core.scaling.outward import at_once, burst_of, scaled_out, tolerance, wanted
from sagebrush.core.scaling.schedule import bounds_at
from sagebrush.core.scaling.sight import measured, of_served, see
from sagebrush.core.scaling.targets import sizing_of
from sagebrush.core.scaling.words import sentence

__all__ = [
    "Decision",
    "Policy",
    "Predicted",
    "Proposal",
    "ScalingReason",
    "TargetKind",
    "compile_policy",
    "decide",
    "demand_of",
]


def decide(
    policy: Policy, *, signals: Signals, fleet: Fleet, knowledge: Knowledge, history: History, now: datetime
) -> Decision:
    """The number of replicas for this moment; always within the bounds in force.

    The same arguments give the same answer. A number outside the bounds is moved to the nearer bound whatever the
    data say: somebody asked for that. Else unusable data never lower it. In mode Recommend the number stays and
    :attr:`Decision.recommended` is what it would be; in mode Off nothing is looked at.
    """
    if policy.mode == "Off":
        return Decision(
            replicas=fleet.replicas,
            previous_replicas=fleet.replicas,
            reason=ScalingReason.OFF,
            said=sentence("mode is Off: {0:rep} as they are", fleet.replicas),
            history=History(),
        )
    history = history.at(now).of_metric(policy.kind)
    bounds = bounds_at(policy.schedules, now=now, lead_seconds=knowledge.lead_seconds)
    minimum = max(policy.minimum, min(bounds.floor or 0, policy.maximum))
    maximum = max(minimum, min(policy.maximum, bounds.cap or policy.maximum))
    inside = max(minimum, min(fleet.replicas, maximum))
    signals = of_served(signals, fleet=fleet, now=now)
    case = Case(
        policy, signals, fleet, knowledge, now, bounds, minimum=minimum, maximum=maximum, replicas=inside,
        history=history,
    )  # fmt: skip
    if fleet.replicas > inside:
        case.history = history.scaled(before=fleet.replicas, after=inside, now=now, keep=case.limit_period)
    decision = _tracked(case)
    after = decision.history
    if fleet.replicas < inside:  # Only now: being lifted to the minimum starts no cooldown for what the load asks.
        after = after.scaled(before=fleet.replicas, after=inside, now=now, keep=case.limit_period)
    decision = _moved(decision, case=case, inside=inside, history=after)
    return _recommended(decision, before=history) if policy.mode == "Recommend" else decision


def _tracked(case: Case) -> Decision:
    """The decision for a number of replicas within the bounds."""
    policy, knowledge = case.policy, case.knowledge
    known = learned(
        policy,
        capacity=capacity_in_force(policy, knowledge),
        signals=case.signals,
        fleet=case.fleet,
        revision=knowledge.revision,
        history=case.history,
        now=case.now,
    )
    case.capacity = known.capacity
    calibration = knowledge.calibration
    case.unattainable = calibration.unattainable if calibration and policy.kind is TargetKind.LATENCY else ""
    case.sizing = sizing_of(policy, capacity=known.capacity, knowledge=knowledge)
    value = measured(case)
    if value is None:
        return blind(case)
    burst_of(case)
    see(case, value=value, known=known)
    best = wanted(case)
    if best.replicas > case.replicas * (1 + tolerance(case, best)):
        return scaled_out(case, at_once(case, best))
    if not case.trusted:
        return doubted(case)
    if case.sizing is None:
        said = sentence(
            "{0:said}: what one replica can do is neither stated nor measured yet; give capacity.requestsPerSecond or "
            "run sagebrush capacity-test: holding {1:rep}",
            case.load, case.replicas,
        )  # fmt: skip
        return case.stay(ScalingReason.CAPACITY_UNKNOWN, said=said)
    return scaled_in(case, case.sizing)


def _moved(decision: Decision, *, case: Case, inside: int, history: History) -> Decision:
    """The decision as a change of the number that there is, with the time of the data; the bounds may be what changes it."""
    before, signals = case.fleet.replicas, case.signals
    newest = max((each.newest for each in (signals.short, signals.long) if each.newest is not None), default=None)
    if inside == before or decision.replicas != inside:
        return replace(decision, previous_replicas=before, observed_at=newest, history=history)
    above = before > inside
    policy, bounds = case.policy, case.bounds
    if above and case.maximum < policy.maximum:
        by, reason = f"schedule {bounds.cap_by}", ScalingReason.SCHEDULED
        said = sentence("{0:rep} is above the cap of {1}: scaling from {2} to {3}", before, by, before, inside)
    elif not above and case.minimum > policy.minimum:
        by, reason = f"schedule {bounds.floor_by}", ScalingReason.SCHEDULED
        said = sentence("{0:rep} is below the floor of {1}: scaling from {2} to {3}", before, by, before, inside)
    else:
        by = "maxReplicas" if above else "minReplicas"
        reason = ScalingReason.AT_MAXIMUM if above else ScalingReason.AT_MINIMUM
        where = "above maxReplicas" if above else "below minReplicas"
        said = sentence("{0:rep} is {1}: scaling from {2} to {3}", before, where, before, inside)
    return replace(
        decision,
        previous_replicas=before,
        observed_at=newest,
        history=history,
        reason=reason,
        said=said,
        limited_by=by,
    )


def _recommended(decision: Decision, *, before: History) -> Decision:
    """The decision as advice: nothing changes, and the history knows of no change."""
    history = decision.history.unchanged(before)
    said = sentence("{0:said}; mode is Recommend: nothing is changed", decision.said)
    return replace(
        decision,
        replicas=decision.previous_replicas,
        recommended=decision.replicas,
        said=said,
        history=history,
    )
