"""Target tracking on requests per minute per replica: how many replicas an endpoint should have, and why.

Scaling out follows the demand at once. Scaling in waits until fewer replicas would have been enough for the whole of
``scaleInCooldown`` (Kubernetes' HPA: the maximum over the stabilisation window), and as long since the last change.
Data that are missing, stale or partial never remove a replica.

Tolerance, in place of HPA's 10 % in both directions:

- outwards none, since "over the target" must scale out. What a short window adds to the long one counts only where it
  is beyond the chance of Poisson arrivals (3 sigma): a steady load near the target does not flap, and a step is still
  seen within seconds, however little it ends above the target.
- inwards 10 %: replicas are removed only if those left would carry at most 90 % of the target, as AWS' target
  tracking does (its low alarm stands at 0.9 of the target); else each change would call for its opposite.

The seam for a better policy is :func:`demand_of`: everything after it takes a number of requests per minute, whoever
foresaw them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil, sqrt
from typing import NamedTuple

from sagebrush.api.meta import parse_duration
from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.window import Problem, Reading

SCALE_IN_MARGIN = 0.9
_SIGMAS = 3.0
_ROUNDING = 1e-9


class ScalingReason(StrEnum):
    """What decided; the word in ``status.scaling.reason``."""

    ABOVE_TARGET = "AboveTarget"
    """More requests than the replicas should carry: scaled out."""
    BELOW_TARGET = "BelowTarget"
    """Fewer replicas were enough for the whole scale-in period: scaled in."""
    WITHIN_TARGET = "WithinTarget"
    """The number of replicas fits the requests."""
    AT_MAXIMUM = "AtMaximum"
    """maxReplicas holds the number down."""
    AT_MINIMUM = "AtMinimum"
    """minReplicas holds the number up."""
    SCALE_IN_STABILIZING = "ScaleInStabilizing"
    """Fewer replicas would do now, and have not done for long enough."""
    SCALE_IN_COOLDOWN = "ScaleInCooldown"
    """Fewer replicas would do, and the last change is too recent."""
    SCALE_OUT_COOLDOWN = "ScaleOutCooldown"
    """More replicas are needed, and the last scale-out is too recent."""
    METRICS_MISSING = "MetricsMissing"
    """No request metrics: the number of replicas is held."""
    METRICS_STALE = "MetricsStale"
    """The newest request metrics are too old: the number of replicas is held."""
    METRICS_PARTIAL = "MetricsPartial"
    """Request metrics of some replicas or times are missing: may scale out, never in."""
    METRICS_FILLING = "MetricsFilling"
    """Request metrics do not reach back far enough yet: may scale out, never in."""
    ENDPOINT_BUSY = "EndpointBusy"
    """SageMaker takes no change of the number at present: it is held until it does."""


_REASON_OF = {
    Problem.SOURCE: ScalingReason.METRICS_MISSING,
    Problem.NO_DATA: ScalingReason.METRICS_MISSING,
    Problem.STALE: ScalingReason.METRICS_STALE,
    Problem.TOO_SHORT: ScalingReason.METRICS_FILLING,
    Problem.PARTIAL: ScalingReason.METRICS_PARTIAL,
    Problem.FILLING: ScalingReason.METRICS_FILLING,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of replicas to have, and why."""

    replicas: int
    previous_replicas: int
    reason: ScalingReason
    message: str
    """A sentence for people; its numbers move with every reading."""
    history: History
    """What to hand to the next decision, once the number is written; the old history where writing it failed."""
    requests_per_minute: float | None = None
    """The demand decided on, over all replicas; None where nothing usable was measured."""
    observed_at: datetime | None = None
    """Time of the newest sample, on Prometheus' clock; set for stale data as well."""
    next_change_not_before: datetime | None = None
    """When the change that is being held back may be made at the earliest, where time is what holds it."""

    @property
    def changed(self) -> bool:
        """Whether the number of replicas is to be written."""
        return self.replicas != self.previous_replicas


class _Case(NamedTuple):
    """One decision in the making: the policy in plain numbers, and the moment."""

    minimum: int
    maximum: int
    target: float
    out_cooldown: timedelta
    in_cooldown: timedelta
    replicas: int
    ready: int
    demand: float
    history: History
    now: datetime

    def bounded(self, replicas: int) -> int:
        return max(self.minimum, min(replicas, self.maximum))

    def needed(self, requests_per_minute: float) -> int:
        """Replicas that carry the requests, each at most its target."""
        return ceil(requests_per_minute / self.target - _ROUNDING)

    def enough(self, requests_per_minute: float) -> int:
        """Replicas, at most those there are, that carry the requests with the margin that scaling in asks for."""
        with_margin = ceil(requests_per_minute / (self.target * SCALE_IN_MARGIN) - _ROUNDING)
        return min(self.replicas, self.bounded(with_margin))

    def stay(self, reason: ScalingReason, *, message: str, not_before: datetime | None = None) -> Decision:
        return self.go(self.replicas, reason=reason, message=message, not_before=not_before)

    def go(self, replicas: int, *, reason: ScalingReason, message: str, not_before: datetime | None = None) -> Decision:
        return Decision(
            replicas=replicas,
            previous_replicas=self.replicas,
            reason=reason,
            message=message,
            history=self.history.scaled(before=self.replicas, after=replicas, now=self.now),
            requests_per_minute=self.demand,
            next_change_not_before=not_before,
        )

    @property
    def load(self) -> str:
        ready = "" if self.ready == self.replicas else f" ({self.ready} ready)"
        return f"{_number(self.demand)} requests/min over {_replicas(self.replicas)}{ready}"


def demand_of(*, short: Reading, long: Reading) -> float | None:
    """Requests per minute to provide for; None: unknown.

    The long window's, or the short window's where that is higher by more than chance: its count exceeds what the
    long window lets expect by over three standard deviations of a Poisson process.
    """
    if short.requests_per_minute is None or long.requests_per_minute is None:
        return long.requests_per_minute if short.requests_per_minute is None else short.requests_per_minute
    minutes = short.span.total_seconds() / 60
    expected = long.requests_per_minute * minutes
    excess = short.requests_per_minute * minutes - expected
    # A count of less than one request has no distribution to speak of: three requests from nothing are a sign.
    beyond_chance = excess > _SIGMAS * sqrt(max(expected, 1.0))
    return short.requests_per_minute if beyond_chance else long.requests_per_minute


def decide(
    policy: Scaling,
    *,
    short: Reading,
    long: Reading,
    replicas: int,
    ready_replicas: int,
    history: History,
    now: datetime,
) -> Decision:
    """The number of replicas for this moment; always within minReplicas and maxReplicas.

    *replicas* is the number asked for at present (the Deployment's ``spec.replicas``), *ready_replicas* how many of
    them serve. The same arguments give the same answer. A number outside the bounds is moved to the nearer bound
    whatever the data say: somebody asked for that. Else unusable data never lower it.
    """
    history = history.at(now)
    inside = max(policy.min_replicas, min(replicas, policy.max_replicas))
    if replicas > inside:
        history = history.scaled(before=replicas, after=inside, now=now)
    decision = _tracked(policy, short=short, long=long, replicas=inside, ready=ready_replicas, history=history, now=now)
    if replicas < inside:  # Only now: being lifted to the minimum starts no cooldown for what the load asks.
        decision = replace(decision, history=decision.history.scaled(before=replicas, after=inside, now=now))
    newest = max((reading.newest for reading in (short, long) if reading.newest is not None), default=None)
    decision = replace(decision, previous_replicas=replicas, observed_at=newest)
    return decision if inside == replicas or decision.replicas != inside else _moved(decision)


def _moved(decision: Decision) -> Decision:
    """The decision where it is the bounds that change the number."""
    before, after = decision.previous_replicas, decision.replicas
    above = before > after
    bound = "above maxReplicas" if above else "below minReplicas"
    return replace(
        decision,
        reason=ScalingReason.AT_MAXIMUM if above else ScalingReason.AT_MINIMUM,
        message=f"{_replicas(before)} is {bound}: scaling from {before} to {after}",
    )


def _tracked(
    policy: Scaling, *, short: Reading, long: Reading, replicas: int, ready: int, history: History, now: datetime
) -> Decision:
    """The decision for a number of replicas within the bounds."""
    demand = demand_of(short=short, long=long)
    if demand is None:
        return _blind(long if long.problem else short, replicas=replicas, history=history.blind(now))
    cooldown = parse_duration(policy.scale_in_cooldown)
    trusted = short.complete and long.complete
    case = _Case(
        minimum=policy.min_replicas,
        maximum=policy.max_replicas,
        target=policy.target.requests_per_minute,
        out_cooldown=parse_duration(policy.scale_out_cooldown),
        in_cooldown=cooldown,
        replicas=replicas,
        ready=ready,
        demand=demand,
        history=history.seen(demand, trusted=trusted, now=now, keep=cooldown),
        now=now,
    )
    if case.needed(demand) > replicas:
        return _out(case)
    if not trusted:
        doubt = long if not long.complete else short
        reason = _REASON_OF[doubt.problem or Problem.PARTIAL]
        return case.stay(reason, message=f"{case.load} or more, {doubt.message}: no scale-in from {replicas}")
    return _in(case)


def _blind(reading: Reading, *, replicas: int, history: History) -> Decision:
    since = f"{history.blind_since:%Y-%m-%d %H:%M:%S} UTC" if history.blind_since else "the start"
    what = reading.message or "unknown"
    return Decision(
        replicas=replicas,
        previous_replicas=replicas,
        reason=_REASON_OF[reading.problem or Problem.NO_DATA],
        message=f"no usable request metrics since {since}, {what}: holding {_replicas(replicas)}",
        history=history,
    )


def _out(case: _Case) -> Decision:
    """More replicas are needed than there are."""
    needed = case.needed(case.demand)
    over = f"{case.load} is above the target of {_number(case.target)} per replica"
    if case.replicas == case.maximum:
        return case.stay(ScalingReason.AT_MAXIMUM, message=f"{over} and wants {needed}: maxReplicas is {case.maximum}")
    last = case.history.last_scale_out
    if last is not None and case.now - last < case.out_cooldown:
        until = last + case.out_cooldown
        message = f"{over}: no scale-out before {until:%H:%M:%S} UTC (scaleOutCooldown)"
        return case.stay(ScalingReason.SCALE_OUT_COOLDOWN, message=message, not_before=until)
    to = case.bounded(needed)
    wanted = f"{needed} wanted, maximum {case.maximum}" if needed > to else f"maximum {case.maximum}"
    message = f"{over}: scaling out from {case.replicas} to {to} ({wanted})"
    return case.go(to, reason=ScalingReason.ABOVE_TARGET, message=message)


def _in(case: _Case) -> Decision:
    """The replicas are enough and the data can be trusted: whether they are too many."""
    target = f"the target of {_number(case.target)} per replica"
    if case.enough(case.demand) == case.replicas:
        if case.needed(case.demand) < case.replicas == case.minimum:
            return case.stay(ScalingReason.AT_MINIMUM, message=f"{case.load}: minReplicas is {case.minimum}")
        return case.stay(ScalingReason.WITHIN_TARGET, message=f"{case.load} is within {target}")
    fewer = f"{case.load} is below {target}, {case.enough(case.demand)} would do"
    since = case.history.trusted_since or case.now
    if case.now - since < case.in_cooldown:
        until = since + case.in_cooldown
        message = f"{fewer}: no scale-in before {until:%H:%M:%S} UTC, metrics are complete only since {since:%H:%M:%S}"
        return case.stay(ScalingReason.SCALE_IN_STABILIZING, message=message, not_before=until)
    last = case.history.last_change
    if last is not None and case.now - last < case.in_cooldown:
        until = last + case.in_cooldown
        message = f"{fewer}: no scale-in before {until:%H:%M:%S} UTC (scaleInCooldown since the last change)"
        return case.stay(ScalingReason.SCALE_IN_COOLDOWN, message=message, not_before=until)
    holding = [peak for peak in case.history.peaks if case.enough(peak.requests_per_minute) == case.replicas]
    if holding:
        peak = holding[-1]
        until = peak.time + case.in_cooldown
        message = (
            f"{fewer}: no scale-in before {until:%H:%M:%S} UTC, "
            f"{_number(peak.requests_per_minute)} requests/min at {peak.time:%H:%M:%S} needed {case.replicas}"
        )
        return case.stay(ScalingReason.SCALE_IN_STABILIZING, message=message, not_before=until)
    to = max(case.enough(peak.requests_per_minute) for peak in case.history.peaks)
    message = (
        f"{fewer}: scaling in from {case.replicas} to {to}, enough for all of the last {_length(case.in_cooldown)}"
    )
    return case.go(to, reason=ScalingReason.BELOW_TARGET, message=message)


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"


def _number(value: float) -> str:
    """Whole from ten upwards, else at most two decimals."""
    return f"{value:.0f}" if value >= 10 else f"{round(value, 2):g}"


def _length(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    return f"{seconds // 60} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds} s"
