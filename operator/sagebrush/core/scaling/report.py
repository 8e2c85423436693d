"""From a decision to ``status.scaling``, written as seldom as is useful."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import (
    CapacityStatus,
    PredictionStatus,
    ScalingDecision,
    ScalingProposal,
    ScalingStatus,
    StartupStatus,
)
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Capacity, Knowledge, Startup

DECISIONS_KEPT = 10
_REWRITE_AFTER = timedelta(seconds=30)
_REFRESH_AFTER = timedelta(minutes=5)
_REWRITE_SHARE = 0.1
_LONGEST_TEXT = 1024
_LONGEST_MESSAGE = 2048
_MOST_PROPOSALS = 8
_NOTHING = Knowledge()


def status_of(
    decision: Decision,
    *,
    previous: ScalingStatus | None,
    policy: Scaling,
    now: datetime,
    knowledge: Knowledge = _NOTHING,
) -> ScalingStatus:
    """The status to have after the decision: *previous* itself where nothing worth a write has changed.

    Worth a write: another number, reason, target, bound, capacity or start-up time; demand that moved by 10 % at least
    and 30 s after the last one written; while nothing is measured, another explanation; a new calibration; and every
    5 min, so that nobody reads an old figure.
    """
    if previous is not None and not _worth_writing(decision, previous, policy=policy, knowledge=knowledge, now=now):
        return previous
    decisions = [] if previous is None else list(previous.decisions)
    message = decision.message[:_LONGEST_MESSAGE]
    if decision.changed:
        entry = ScalingDecision(
            time=now,
            from_replicas=decision.previous_replicas,
            to_replicas=decision.replicas,
            reason=message[:_LONGEST_TEXT],
        )
        decisions.append(entry)
    before = None if previous is None else previous.last_scale_time
    capacity, startup = _capacity(decision.capacity), _startup(knowledge.startup)
    return ScalingStatus(
        desired_replicas=decision.replicas,
        recommended_replicas=decision.recommended,
        observed_requests_per_minute=_rounded(decision.requests_per_minute),
        observed_value=_rounded(decision.value),
        observed_at=None if decision.requests_per_minute is None and decision.value is None else decision.observed_at,
        source=decision.source or None,
        target_requests_per_minute=policy.target.requests_per_minute,
        target=str(decision.target_words)[:_LONGEST_TEXT] or None,
        proposals=[
            ScalingProposal(by=each.by, replicas=each.replicas, why=str(each.why)[:_LONGEST_TEXT])
            for each in decision.proposals[:_MOST_PROPOSALS]
        ],
        limited_by=decision.limited_by or None,
        next_change_after=decision.next_change_not_before,
        reason=str(decision.reason),
        message=message,
        last_scale_time=now if decision.changed else before,
        capacity=CapacityStatus(**capacity) if capacity else None,
        startup=StartupStatus(**startup) if startup else None,
        prediction=_prediction(decision, knowledge=knowledge),
        decisions=decisions[-DECISIONS_KEPT:],
    )


def known(status: ScalingStatus | None) -> tuple[Capacity | None, Startup | None]:
    """What status keeps of the capacity and the start-up times, for the Knowledge after a restart."""
    if status is None:
        return None, None
    told, capacity = status.capacity, None
    if told is not None:
        capacity = Capacity(
            requests_per_second=told.requests_per_second,
            concurrency=told.concurrency,
            source=told.source,
            measured_at=told.measured_at,
            revision=told.revision,
        )
    recent = tuple(status.startup.recent) if status.startup else ()
    return capacity, Startup.of(recent) if recent else None


def _worth_writing(
    decision: Decision, previous: ScalingStatus, *, policy: Scaling, knowledge: Knowledge, now: datetime
) -> bool:
    told = previous.observed_requests_per_minute
    seen = decision.requests_per_minute
    if (
        decision.changed
        or decision.replicas != previous.desired_replicas
        or decision.recommended != previous.recommended_replicas
        or str(decision.reason) != previous.reason
        or (decision.limited_by or None) != previous.limited_by
        or policy.target.requests_per_minute != previous.target_requests_per_minute
        or (told is None) != (seen is None)
        or _learned_anew(decision, previous, knowledge=knowledge)
    ):
        return True
    if told is None or seen is None or previous.observed_at is None:
        return decision.message[:_LONGEST_MESSAGE] != previous.message
    # The two clocks, Prometheus' and ours, may differ: time that seems to run backwards is time enough.
    since = abs(now - previous.observed_at)
    moved = abs(seen - told) >= _REWRITE_SHARE * told and seen != told
    return since >= _REFRESH_AFTER or (moved and since >= _REWRITE_AFTER)


def _learned_anew(decision: Decision, previous: ScalingStatus, *, knowledge: Knowledge) -> bool:
    """Whether what is measured or learned is not what was told."""
    learned_at = previous.prediction.learned_at if previous.prediction else None
    return (
        not _says(previous.capacity, _capacity(decision.capacity))
        or not _says(previous.startup, _startup(knowledge.startup))
        or (knowledge.calibration is not None and knowledge.calibration.learned_at != learned_at)
    )


def _says(told: object | None, fields: Mapping[str, Any] | None) -> bool:
    """Whether *told* has these fields. No model is built to compare it with: this is asked at every decision."""
    if told is None or fields is None:
        return told is fields
    return all(getattr(told, name) == value for name, value in fields.items())


def _capacity(capacity: Capacity | None) -> dict[str, Any] | None:
    """The fields of :class:`CapacityStatus`."""
    if capacity is None:
        return None
    return {
        "requests_per_second": round(capacity.requests_per_second, 3),
        "concurrency": capacity.concurrency,
        "source": capacity.source,
        "measured_at": capacity.measured_at,
        "revision": capacity.revision,
    }


def _startup(startup: Startup | None) -> dict[str, Any] | None:
    """The fields of :class:`StartupStatus`."""
    if startup is None:
        return None
    return {
        "p50_seconds": round(startup.p50_seconds, 1),
        "p90_seconds": round(startup.p90_seconds, 1),
        "recent": [round(seconds, 1) for seconds in startup.recent],
    }


def _prediction(decision: Decision, *, knowledge: Knowledge) -> PredictionStatus | None:
    calibration, predicted = knowledge.calibration, decision.prediction
    if calibration is None and predicted is None:
        return None
    return PredictionStatus(
        requests_per_minute=_rounded(predicted.requests_per_minute) if predicted else None,
        until=predicted.until if predicted else None,
        error_percent=_rounded(calibration.error_percent) if calibration else None,
        learned=(calibration.learned[:_LONGEST_TEXT] or None) if calibration else None,
        learned_at=calibration.learned_at if calibration else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
