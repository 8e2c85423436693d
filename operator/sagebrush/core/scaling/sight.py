"""What the signals of one moment say in the target's unit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isfinite

from sagebrush.core.scaling.case import Case
from sagebrush.core.scaling.compiled import TargetKind
from sagebrush.core.scaling.decision import Predicted
from sagebrush.core.scaling.demand import (
    MOST_RATIO,
    Pace,
    beyond_chance,
    demand_of,
    expected,
    foreseen,
    remembered,
    steep_rise,
    usual_at,
    usual_rise_at,
)
from sagebrush.core.scaling.facts import Fleet, Signals
from sagebrush.core.scaling.learning import Learned
from sagebrush.core.scaling.targets import Sizing
from sagebrush.core.scaling.window import LONG_WINDOW, Problem

_SMOOTH_SECONDS = 30.0


def measured(case: Case) -> float | None:
    """The demand now, in the target's unit; None: unknown."""
    signals, kind = case.signals, case.policy.kind
    if kind is TargetKind.QUERY:
        value = signals.value
        return value if value is not None and isfinite(value) and value >= 0 else None
    if kind is TargetKind.IN_FLIGHT:
        now = signals.in_flight
        if now is None or not isfinite(now):
            return None
        usual = case.history.smooth
        return now if usual is None else beyond_chance(now, usual=usual, minutes=1.0)
    if kind is TargetKind.LATENCY:
        return expected(
            short=signals.short,
            long=signals.long,
            pace=case.pace,
            horizon_seconds=case.knowledge.horizon_seconds,
            calibration=case.knowledge.calibration,
        )
    return demand_of(short=signals.short, long=signals.long)


def of_served(signals: Signals, *, fleet: Fleet, now: datetime) -> Signals:
    """
    The signals, of which the long window does not show everything where it began before any replica served: requests that
    found none are counted nowhere.
    """
    since = fleet.served_since
    if since is None or now - since >= LONG_WINDOW or not signals.long.complete:
        return signals
    message = f"no replica was ready before {since:%H:%M:%S} UTC, and requests that found none are counted nowhere"
    return replace(signals, long=replace(signals.long, complete=False, problem=Problem.FILLING, message=message))


def see(case: Case, *, value: float, known: Learned) -> None:
    """Take the moment in: what to provide for, what is foretold, and what is to be remembered."""
    policy, signals, history = case.policy, case.signals, case.history
    case.observed = demand_of(short=signals.short, long=signals.long)
    case.trusted = policy.kind is TargetKind.QUERY or (signals.short.complete and signals.long.complete)
    case.value = value
    seconds = (case.now - history.looked_at).total_seconds() if history.looked_at else 0.0
    pace = _pace(case, seconds=seconds)
    calibration = case.knowledge.calibration
    case.steep = steep_rise(
        long=signals.long,
        pace=case.pace,
        usual_rise=usual_rise_at(calibration, time=case.now.timestamp()) if policy.predicts else 0.0,
        dispersion=calibration.dispersion if calibration else 1.0,
        horizon_seconds=case.knowledge.horizon_seconds,
    )
    _foretell(case, pace=pace)
    provided = value
    if policy.predicts and case.foretold is not None and case.sizing is not None:
        provided = max(value, min(case.foretold, _most_predicted(case, case.sizing)))
    gauge = {TargetKind.IN_FLIGHT: signals.in_flight, TargetKind.QUERY: signals.value}.get(policy.kind)
    smooth = None
    if gauge is not None:
        usual = history.smooth
        smooth = gauge if usual is None else usual + min(1.0, seconds / _SMOOTH_SECONDS) * (gauge - usual)
    looked = _is_a_look(case)
    case.history = history.seen(
        provided,
        trusted=case.trusted,
        now=case.now,
        keep=case.hold,
        wiggle=pace.wiggle,
        level=pace.level,
        usual_level=pace.usual_level,
        slow=pace.slow,
        recent=pace.recent,
        smooth=smooth,
        looks=known.looks,
        samples=known.samples,
        ready=case.fleet.ready,
        ready_at=history.ready_at if history.ready == case.fleet.ready else case.now,
        newest=signals.short.requests_per_minute if looked else history.newest,
        newest_at=signals.short.newest if looked else history.newest_at,
        burst_at=case.now if case.burst is not None else history.burst_at,
    )


def _is_a_look(case: Case) -> bool:
    """Whether what is new since the last look was seen over long enough to tell a jump from it."""
    newest, before = case.signals.short.newest, case.history.newest_at
    if newest is None or before is None or newest < before:
        return True
    return (newest - before).total_seconds() >= case.knowledge.cadence.look_seconds


def _pace(case: Case, *, seconds: float) -> Pace:
    signals = case.signals
    return remembered(
        case.pace,
        short=signals.short,
        long=signals.long,
        usual=usual_at(case.knowledge.calibration, time=case.now.timestamp()),
        seconds=seconds,
        horizon_seconds=case.knowledge.horizon_seconds,
    )


def _foretell(case: Case, *, pace: Pace) -> None:
    """The season's word on the time until replicas asked for now could be Ready."""
    calibration, horizon = case.knowledge.calibration, case.knowledge.horizon_seconds
    if not case.policy.foresees or calibration is None:
        return
    rate = foreseen(calibration, pace=pace, time=case.now.timestamp(), horizon_seconds=horizon)
    if rate is None:
        return
    case.prediction = Predicted(rate, _after(case.now, horizon))
    if case.policy.kind in (TargetKind.IN_FLIGHT, TargetKind.QUERY):
        # Of these only the course is foretold: what a request is worth in their unit, the last minute says, and
        # at most twice the present value: what a few requests are worth says nothing about many.
        smooth, recent = case.history.smooth, case.history.recent
        worth = smooth / recent if smooth and recent else 0.0
        case.foretold = max(case.value, min(rate * worth, MOST_RATIO * case.value))
    else:
        case.foretold = rate


def _most_predicted(case: Case, sizing: Sizing) -> float:
    """The most, in the target's unit, that a prediction alone may have replicas for."""
    most = case.policy.prediction_maximum
    if most is None:
        return float("inf")
    if sizing.pool is None:
        return sizing.per_replica * most
    return sizing.pool.rates[min(most, len(sizing.pool.rates) - 1)] * 60


def _after(now: datetime, seconds: float) -> datetime:
    return now.astimezone(UTC) + timedelta(seconds=seconds)
