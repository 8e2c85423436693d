"""Decisions without usable data: hold, and once a little more; never lower."""

from datetime import timedelta
from math import ceil

from sagebrush.core.scaling.case import Case
from sagebrush.core.scaling.compiled import TargetKind
from sagebrush.core.scaling.decision import Decision, Proposal, ScalingReason
from sagebrush.core.scaling.demand import foreseen
from sagebrush.core.scaling.window import Problem
from sagebrush.core.scaling.words import sentence

PATIENCE = timedelta(seconds=30)
RAISE = 1.2

REASON_OF = {
    Problem.SOURCE: ScalingReason.METRICS_MISSING,
    Problem.NO_DATA: ScalingReason.METRICS_MISSING,
    Problem.STALE: ScalingReason.METRICS_STALE,
    Problem.TOO_SHORT: ScalingReason.METRICS_FILLING,
    Problem.PARTIAL: ScalingReason.METRICS_PARTIAL,
    Problem.FILLING: ScalingReason.METRICS_FILLING,
}


def blind(case: Case) -> Decision:
    """Hold; the season may raise; and with a thin headroom a fifth more, once, after 30 s."""
    history = case.history.blind(case.now)
    case.history = history
    reason, what = _problem(case)
    since = history.blind_since or case.now
    foretold = _foretold(case)
    if foretold > case.replicas:
        case.proposals.append(Proposal("Prediction", foretold, sentence("the season's, at the level seen last")))
        said = sentence(
            "no usable request metrics since {0:%Y-%m-%d %H:%M:%S} UTC, {1}: the history foretells need of {2:rep}",
            since, what, foretold,
        )  # fmt: skip
        return case.go(case.bounded(foretold), reason=ScalingReason.PREDICTED, said=said)
    if case.policy.kind is TargetKind.LATENCY and not history.raised_blind and case.now - since >= PATIENCE:
        more = case.bounded(ceil(case.replicas * RAISE - 1e-9))
        case.history = history.with_raise()
        said = sentence(
            "no usable request metrics since {0:%Y-%m-%d %H:%M:%S} UTC, {1}: from {2} to {3} replicas, once, to be "
            "on the safe side",
            since, what, case.replicas, more,
        )  # fmt: skip
        if more > case.replicas:
            return case.go(more, reason=ScalingReason.METRICS_BLIND, said=said)
    case.limited_by = "metrics"
    said = sentence(
        "no usable request metrics since {0:%Y-%m-%d %H:%M:%S} UTC, {1}: holding {2:rep}", since, what, case.replicas
    )
    return case.stay(reason, said=said)


def _problem(case: Case) -> tuple[ScalingReason, str]:
    signals, kind = case.signals, case.policy.kind
    if kind is TargetKind.QUERY:
        return ScalingReason.METRICS_MISSING, signals.value_problem or "the query gives no number"
    reading = signals.long if signals.long.problem else signals.short
    if reading.problem is None and kind is TargetKind.IN_FLIGHT:
        return ScalingReason.METRICS_MISSING, "nobody says how many requests are in flight"
    return REASON_OF[reading.problem or Problem.NO_DATA], reading.message or "unknown"


def _foretold(case: Case) -> int:
    """Replicas that the season asks for, at the level of the day as it was seen last; 0 without a season."""
    history, calibration, sizing = case.history, case.knowledge.calibration, case.sizing
    if not case.policy.predicts or calibration is None or sizing is None or history.level is None:
        return 0
    if case.policy.kind in (TargetKind.IN_FLIGHT, TargetKind.QUERY):
        return 0
    horizon = case.knowledge.horizon_seconds
    rate = foreseen(calibration, pace=case.pace, time=case.now.timestamp(), horizon_seconds=horizon)
    return 0 if rate is None else min(sizing.needed(rate), case.policy.prediction_maximum or case.maximum)
