"""Scaling out: by the target, a prediction, a burst or a step; at once, unless the owner limits it."""

from datetime import datetime, timedelta
from math import ceil, sqrt
from typing import NamedTuple

from sagebrush.core.scaling.calibration import SLOW_HORIZON_SECONDS
from sagebrush.core.scaling.case import Case
from sagebrush.core.scaling.compiled import TargetKind
from sagebrush.core.scaling.decision import Decision, Proposal, ScalingReason
from sagebrush.core.scaling.learning import workers_of
from sagebrush.core.scaling.limits import farthest
from sagebrush.core.scaling.steps import step_at, stepped
from sagebrush.core.scaling.targets import SERIALISED_GROWTH, SERIALISED_TOLERANCE
from sagebrush.core.scaling.words import Said, sentence

_FULL = 0.97
_BURST_MARGIN = 1.15
_QUEUE_SECONDS = 10.0
_PASSING_SECONDS = 0.1
_STANDING = timedelta(seconds=3)
_GROWTH_UNKNOWN = 1.5
_SIGMAS = 5.0
_WIGGLES = 4.0
_JUMP = 1.5


class Wanted(NamedTuple):
    """The largest of the proposals."""

    replicas: int
    reason: ScalingReason
    why: Said


def burst_of(case: Case) -> None:
    """Whether requests wait, or come faster than the ready replicas can answer, and how many replicas that needs.

    What is starting counts: the number follows from the requests, not from the replicas there are.
    """
    signals, fleet = case.signals, case.fleet
    if not case.policy.bursts or fleet.ready < 1:
        return
    rate = _newest(case)
    waiting, refused = signals.waiting or 0.0, signals.refused_per_minute or 0.0
    able = case.capacity.requests_per_second * fleet.ready * 60 if case.capacity else None
    if refused > 0 or _stands(case, waiting=waiting):
        case.burst = sentence("{0:num} requests wait and {1:num} a minute are refused", waiting, refused)
    elif rate is not None and able is not None and rate > _FULL * able:
        case.burst = sentence("{0:num} requests/min are more than {1:rep} can do", rate, fleet.ready)
    else:
        return
    if case.sizing is not None and case.capacity is not None and rate is not None:
        need = _least(case, rate * _BURST_MARGIN + waiting / _QUEUE_SECONDS * 60)
    else:
        # Nothing tells by how much: a half more than are Ready, and again when those are.
        need = max(fleet.ready + 1, ceil(fleet.ready * _GROWTH_UNKNOWN - 1e-9))
    most = fleet.ready + ceil(fleet.ready * case.policy.burst_percent / 100)
    if need > most:
        case.limited_by = "burst.maxPercent"
    case.burst_replicas = min(need, most)
    case.proposals.append(Proposal("Burst", case.burst_replicas, case.burst))


def _stands(case: Case, *, waiting: float) -> bool:
    """Whether what waits is a queue, and not requests that happened to come together.

    A queue takes the ready replicas at least a tenth of a second. Where nobody knows what they can do, it is one that
    has been seen for three seconds, at the same replicas: those that were added for it have had no time yet to take it.
    """
    ready = case.fleet.ready
    if waiting < max(1.0, ready * workers_of(case.policy, case.capacity) * 0.5):
        return False
    if case.capacity is not None:
        return waiting >= _PASSING_SECONDS * case.capacity.requests_per_second * ready
    since = next((look.time for look in case.history.looks if look.ready == ready), case.now)
    return case.now - since >= _STANDING


def _newest(case: Case) -> float | None:
    """Requests per minute of what the short window has seen since the last look, where that jumped; else the window's.

    A window shows a jump only in part until it has passed. What was added since the last look belongs to the time
    since; and as the jump came somewhere within that time, it is taken to be half as large again.
    """
    short, history, knowledge = case.signals.short, case.history, case.knowledge
    if knowledge.horizon_seconds >= SLOW_HORIZON_SECONDS:
        return case.signals.long.requests_per_minute  # what lasts for seconds is over before anything could be Ready
    rate, before = short.requests_per_minute, history.newest
    if rate is None or before is None or short.newest is None or history.newest_at is None:
        return rate
    since, span = (short.newest - history.newest_at).total_seconds(), short.span.total_seconds()
    if not knowledge.cadence.look_seconds <= since <= span:
        return rate
    usual = min(before, case.signals.long.requests_per_minute or before)
    dispersion = knowledge.calibration.dispersion if knowledge.calibration else 1.0
    added = (rate - before) * span / 60
    if rate - before <= _WIGGLES * history.wiggle or added <= _SIGMAS * sqrt(
        max(2 * usual * since / 60 * dispersion, 1.0)
    ):
        return rate
    return max(rate, usual + (rate - before) * span / since * _JUMP)


def _least(case: Case, requests_per_minute: float) -> int:
    """Replicas that can do so many requests at all."""
    sizing, capacity = case.sizing, case.capacity
    if sizing is not None and sizing.pool is not None:
        return sizing.needed(requests_per_minute)
    return ceil(requests_per_minute / 60 / capacity.requests_per_second - 1e-9) if capacity else case.replicas


def wanted(case: Case) -> Wanted:
    """What the behaviours together ask for."""
    sizing = case.sizing
    if sizing is None:
        return _without_capacity(case)
    target = sizing.needed(case.value)
    best = Wanted(target, ScalingReason.ABOVE_TARGET, over(case))
    case.proposals.insert(0, Proposal("Target", target, sentence("{0:said} at {1:said}", case.load, sizing.words)))
    if case.foretold is not None and case.prediction is not None:
        foretold = min(sizing.needed(case.foretold), case.policy.prediction_maximum or case.maximum)
        minutes = case.prediction.requests_per_minute
        why = sentence("{0:num} requests/min are foretold until {1:clock} UTC", minutes, case.prediction.until)
        case.proposals.append(Proposal("Prediction", foretold, why))
        if case.policy.predicts and foretold > best.replicas:
            best = Wanted(foretold, ScalingReason.PREDICTED, why)
    if case.burst is not None and case.burst_replicas > best.replicas:
        best = Wanted(case.burst_replicas, ScalingReason.BURST, case.burst)
    step = _step(case)
    return step if step is not None and step.replicas > best.replicas else best


def at_once(case: Case, best: Wanted) -> Wanted:
    """What is wanted, or more, where a rise would have to wait for this start.

    By :data:`SERIALISED_GROWTH` more than there is, and as many as a steep rise leads to within the horizon. What the
    season foretells is provided for by itself: it says how far it goes.
    """
    sizing, observed = case.sizing, case.observed or 0.0
    if case.policy.kind is not TargetKind.LATENCY or not case.knowledge.serialised or sizing is None:
        return best
    if sizing.needed(case.value) <= case.replicas * (1 + SERIALISED_TOLERANCE):
        return best
    foretold = case.foretold if case.foretold is not None and case.policy.predicts else 0.0
    grown = ceil(case.replicas * (1 + SERIALISED_GROWTH)) if foretold < observed else 0
    why = sentence("{0:said}, and by a half at once, as nothing can be added during a start", best.why)
    carried = sizing.needed(observed + case.steep) if case.steep > 0 else 0
    if carried > grown:
        grown = carried
        why = sentence(
            "{0:said}, and for {1:num} requests/min at once: it rises steeply, and nothing can be added during a start",
            best.why, observed + case.steep,
        )  # fmt: skip
    if grown <= best.replicas:
        return best
    case.proposals.append(Proposal("Target", grown, why))
    return Wanted(grown, best.reason, why)


def tolerance(case: Case, best: Wanted) -> float:
    """Share of the replicas by which more must be wanted before any is added."""
    within_headroom = best.reason in (ScalingReason.ABOVE_TARGET, ScalingReason.PREDICTED)
    if case.policy.kind is TargetKind.LATENCY and case.knowledge.serialised and within_headroom:
        return SERIALISED_TOLERANCE
    return 0.0


def over(case: Case) -> Said:
    """In words, that the demand is more than the replicas should carry."""
    if case.sizing is None:
        return case.load
    if case.policy.kind is TargetKind.LATENCY:
        return sentence("{0:said} needs more for {1:said}", case.load, case.sizing.words)
    return sentence("{0:said} is above the target of {1:said}", case.load, case.sizing.words)


def _without_capacity(case: Case) -> Wanted:
    """The target can't be sized yet: what the queue asks for, and no less than there is."""
    if case.burst is not None and case.burst_replicas > case.replicas:
        return Wanted(case.burst_replicas, ScalingReason.BURST, case.burst)
    return Wanted(case.replicas, ScalingReason.CAPACITY_UNKNOWN, case.load)


def _step(case: Case) -> Wanted | None:
    """The step of stepPolicy that is reached, if its cooldown is over and it adds."""
    policy = case.policy
    if not policy.steps or case.replicas < 1:
        return None
    value = case.value / case.replicas
    step = step_at(policy.steps, value=value)
    last = case.history.stepped_at
    if step is None or step.above is None or (last is not None and case.now - last < policy.step_cooldown):
        return None
    to = stepped(step, replicas=case.replicas)
    why = sentence("{0:num} per replica reaches the step above {1:g}", value, step.above)
    case.proposals.append(Proposal("StepPolicy", to, why))
    return Wanted(to, ScalingReason.STEP, why)


def scaled_out(case: Case, best: Wanted) -> Decision:
    """More replicas are needed than there are."""
    policy, history = case.policy, case.history
    if case.replicas == case.maximum:
        cap = _cap(case)
        said = sentence("{0:said} and wants {1}: {2} is {3}", best.why, best.replicas, cap, case.maximum)
        case.limited_by = cap
        reason = ScalingReason.AT_MAXIMUM if cap == "maxReplicas" else ScalingReason.SCHEDULED
        return case.stay(reason, said=said)
    last = history.last_scale_out
    # What a burst asks for waits for nothing, also where something else asks for even more.
    granted = case.bounded(case.burst_replicas) if case.burst is not None else 0
    cooling = last is not None and case.now - last < policy.out_cooldown
    if cooling and granted > case.replicas and case.burst is not None:
        best = Wanted(case.burst_replicas, ScalingReason.BURST, case.burst)
    burst = best.reason is ScalingReason.BURST
    if last is not None and cooling and not burst:
        end = last + policy.out_cooldown
        case.limited_by = "scaleOutCooldown"
        said = sentence("{0:said}: no scale-out before {1:clock} UTC (scaleOutCooldown)", best.why, end)
        return case.stay(ScalingReason.SCALE_OUT_COOLDOWN, said=said, not_before=end)
    to = case.bounded(best.replicas)
    if to < best.replicas:
        case.limited_by = _cap(case)
    limited = _limited(case, to=to) if policy.out_limit and not burst else None
    until: datetime | None = None
    if limited is not None:
        to, until = max(limited[0], granted), limited[1]
        if to == case.replicas:
            said = sentence("{0:said}: scaleOutLimit allows no more before {1:clock} UTC", best.why, until)
            return case.stay(ScalingReason.RATE_LIMITED, said=said, not_before=until)
    many = sentence("{0} wanted, maximum {1}", best.replicas, case.maximum)
    few = sentence("maximum {0}", case.maximum)
    said = sentence(
        "{0:said}: scaling out from {1} to {2} ({3:said})",
        best.why, case.replicas, to, many if best.replicas > to else few,
    )  # fmt: skip
    if best.reason is ScalingReason.STEP:
        case.history = case.history.stepped(case.now)
    return case.go(to, reason=best.reason, said=said, not_before=until)


def _cap(case: Case) -> str:
    capped = case.bounds.cap is not None and case.maximum < case.policy.maximum
    return f"schedule {case.bounds.cap_by}" if capped else "maxReplicas"


def _limited(case: Case, *, to: int) -> tuple[int, datetime] | None:
    """What scaleOutLimit leaves of it, and until when; None where it leaves all."""
    limit = case.policy.out_limit
    if limit is None:
        return None
    allowed = farthest(limit, changes=case.history.changes, replicas=case.replicas, out=True, now=case.now)
    if allowed.replicas >= to:
        return None
    case.limited_by = "scaleOutLimit"
    return allowed.replicas, allowed.until or case.now + limit.period
