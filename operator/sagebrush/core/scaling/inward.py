"""Scaling in: only on whole data, and only what was not needed for the whole of a period."""

from datetime import datetime
from math import ceil

from sagebrush.core.scaling.blindness import REASON_OF
from sagebrush.core.scaling.case import Case
from sagebrush.core.scaling.compiled import TargetKind
from sagebrush.core.scaling.decision import Decision, Proposal, ScalingReason
from sagebrush.core.scaling.limits import farthest
from sagebrush.core.scaling.steps import step_at, stepped
from sagebrush.core.scaling.targets import SCALE_IN_MARGIN, Sizing
from sagebrush.core.scaling.window import LONG_WINDOW, Problem
from sagebrush.core.scaling.words import Said, sentence


def doubted(case: Case) -> Decision:
    """The data are not whole: what was seen is the least there was."""
    signals = case.signals
    doubt = signals.long if not signals.long.complete else signals.short
    case.limited_by = "metrics"
    said = sentence("{0:said} or more, {1}: no scale-in from {2}", case.load, doubt.message, case.replicas)
    return case.stay(REASON_OF[doubt.problem or Problem.PARTIAL], said=said)


def scaled_in(case: Case, sizing: Sizing) -> Decision:
    """The replicas are enough and the data can be trusted: whether they are too many."""
    present = _enough(case, sizing, case.history.peaks[-1].value)
    if present == case.replicas:
        return _fitting(case, sizing)
    step = _step_in(case, least=present)
    if step is not None:
        return step
    few = (
        sentence("{0:said} needs fewer for {1:said}, {2} would do", case.load, sizing.words, present)
        if case.policy.kind is TargetKind.LATENCY
        else sentence("{0:said} is below the target of {1:said}, {2} would do", case.load, sizing.words, present)
    )
    waiting = _waiting(case, sizing, few=few)
    if waiting is not None:
        return waiting
    to = max(_enough(case, sizing, peak.value) for peak in case.history.peaks)
    case.proposals.append(Proposal("Hold", to, sentence("enough for all of the last {0:len}", case.hold)))
    limit = case.policy.in_limit
    until: datetime | None = None
    if limit is not None:
        allowed = farthest(limit, changes=case.history.changes, replicas=case.replicas, out=False, now=case.now)
        if allowed.replicas > to:
            case.limited_by = "scaleInLimit"
            to, until = allowed.replicas, allowed.until or case.now + limit.period
            if to >= case.replicas:
                said = sentence("{0:said}: scaleInLimit allows no fewer before {1:clock} UTC", few, until)
                return case.stay(ScalingReason.RATE_LIMITED, said=said, not_before=until)
    said = sentence(
        "{0:said}: scaling in from {1} to {2}, enough for all of the last {3:len}", few, case.replicas, to, case.hold
    )
    return case.go(to, reason=ScalingReason.BELOW_TARGET, said=said, not_before=until)


def _enough(case: Case, sizing: Sizing, value: float) -> int:
    least = sizing.enough(value)
    lowest = min((step.above for step in case.policy.steps if step.above), default=None)
    if lowest is not None:  # Else a step would add again what the target takes away.
        least = max(least, ceil(value / (lowest * SCALE_IN_MARGIN)))
    if case.policy.bursts and case.capacity is not None and case.policy.kind is not TargetKind.LATENCY:
        # Else a burst would add again what a target beyond the replicas' capacity takes away.
        rate = case.observed or 0.0 if case.policy.kind in (TargetKind.IN_FLIGHT, TargetKind.QUERY) else value
        least = max(least, ceil(rate / (case.capacity.requests_per_second * 60 * SCALE_IN_MARGIN) - 1e-9))
    return min(case.replicas, case.bounded(least))


def _fitting(case: Case, sizing: Sizing) -> Decision:
    """No fewer would do."""
    peak = case.history.peaks[-1].value
    if sizing.needed(peak) < case.replicas == case.minimum:
        floor = case.minimum > case.policy.minimum
        case.limited_by = f"schedule {case.bounds.floor_by}" if floor else "minReplicas"
        reason = ScalingReason.SCHEDULED if floor else ScalingReason.AT_MINIMUM
        said = sentence("{0:said}: {1} is {2}", case.load, case.limited_by, case.minimum)
        return case.stay(reason, said=said)
    if peak > case.value and case.prediction is not None and sizing.enough(case.value) < case.replicas:
        said = sentence(
            "{0:said}, and {1:num} requests/min are foretold until {2:clock} UTC",
            case.load, case.prediction.requests_per_minute, case.prediction.until,
        )  # fmt: skip
        return case.stay(ScalingReason.PREDICTED, said=said)
    if case.policy.kind is TargetKind.LATENCY:
        return case.stay(ScalingReason.WITHIN_TARGET, said=sentence("{0:said} fits {1:said}", case.load, sizing.words))
    said = sentence("{0:said} is within the target of {1:said}", case.load, sizing.words)
    return case.stay(ScalingReason.WITHIN_TARGET, said=said)


def _waiting(case: Case, sizing: Sizing, *, few: Said) -> Decision | None:
    """What the scale-in still waits for; None: for nothing."""
    history, now, hold = case.history, case.now, case.hold
    sign = history.burst_at
    if sign is not None and now - sign < case.policy.burst_hold:
        until = sign + case.policy.burst_hold
        said = sentence(
            "{0:said}: no scale-in before {1:clock} UTC (burst.hold since the last sign of one)", few, until
        )
        return _held(case, ScalingReason.BURST_LASTS, said=said, by="burst.hold", until=until)
    since = history.trusted_since or now
    if now - since < hold:
        until = since + hold
        said = sentence(
            "{0:said}: no scale-in before {1:clock} UTC, metrics are complete only since {2:clock}", few, until, since
        )
        return _held(case, ScalingReason.SCALE_IN_STABILIZING, said=said, by="metrics", until=until)
    last = history.last_change
    if last is not None and now - last < case.settled:
        until = last + case.settled
        said = sentence(
            "{0:said}: no scale-in before {1:clock} UTC (scaleInCooldown since the last change)", few, until
        )
        return _held(case, ScalingReason.SCALE_IN_COOLDOWN, said=said, by="scaleInCooldown", until=until)
    holding = [peak for peak in history.peaks if _enough(case, sizing, peak.value) == case.replicas]
    if holding:
        until = holding[-1].time + hold
        unit = "{2:num} requests/min" if case.policy.kind not in (TargetKind.IN_FLIGHT, TargetKind.QUERY) else "{2:num}"
        said = sentence(
            "{0:said}: no scale-in before {1:clock} UTC, " + unit + " at {3:clock} needed {4}",
            few, until, holding[-1].value, holding[-1].time, case.replicas,
        )  # fmt: skip
        return _held(case, ScalingReason.SCALE_IN_STABILIZING, said=said, by="scaleInCooldown", until=until)
    return None


def _held(case: Case, reason: ScalingReason, *, said: Said, by: str, until: datetime) -> Decision:
    case.limited_by = by
    why = sentence("until {0:clock} UTC ({1})", until, by)
    case.proposals.append(Proposal("Hold", case.replicas, why))
    return case.stay(reason, said=said, not_before=until)


def _step_in(case: Case, *, least: int) -> Decision | None:
    """A step that removes replicas: after a full window of whole data and its cooldown, never below *least*."""
    policy, history, now = case.policy, case.history, case.now
    if not policy.steps or case.replicas < 1:
        return None
    value = case.value / case.replicas
    step = step_at(policy.steps, value=value)
    last = history.last_change
    whole = history.trusted_since is not None and now - history.trusted_since >= LONG_WINDOW
    burst = history.burst_at is not None and now - history.burst_at < policy.burst_hold
    if step is None or step.below is None or not whole or burst:
        return None
    if last is not None and now - last < policy.step_cooldown:
        return None
    to = max(least, case.bounded(stepped(step, replicas=case.replicas)))
    if to >= case.replicas:
        return None
    why = sentence("{0:num} per replica is under the step below {1:g}", value, step.below)
    case.proposals.append(Proposal("StepPolicy", to, why))
    case.history = history.stepped(now)
    said = sentence("{0:said}: scaling in from {1} to {2}", why, case.replicas, to)
    return case.go(to, reason=ScalingReason.STEP, said=said)
