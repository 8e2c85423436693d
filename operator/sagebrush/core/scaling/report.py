"""From a decision to ``status.scaling``, written as seldom as is useful."""

from datetime import datetime, timedelta

from sagebrush.api.scaling import Scaling, ScalingDecision, ScalingStatus
from sagebrush.core.scaling.policy import Decision

DECISIONS_KEPT = 10
_REWRITE_AFTER = timedelta(seconds=10)
_REFRESH_AFTER = timedelta(minutes=5)
_REWRITE_SHARE = 0.05
_LONGEST_REASON = 1024
_LONGEST_MESSAGE = 2048


def status_of(decision: Decision, *, previous: ScalingStatus | None, policy: Scaling, now: datetime) -> ScalingStatus:
    """The status to have after the decision: *previous* itself where nothing worth a write has changed.

    Worth a write: another number, reason or target; demand that moved by 5 % at least and 10 s after the last one
    written; while nothing is measured, another explanation; and every 5 min, so that nobody reads an old figure.
    """
    if previous is not None and not _worth_writing(decision, previous=previous, policy=policy, now=now):
        return previous
    decisions = [] if previous is None else list(previous.decisions)
    if decision.changed:
        entry = ScalingDecision(
            time=now,
            from_replicas=decision.previous_replicas,
            to_replicas=decision.replicas,
            reason=decision.message[:_LONGEST_REASON],
        )
        decisions.append(entry)
    before = None if previous is None else previous.last_scale_time
    return ScalingStatus(
        desired_replicas=decision.replicas,
        observed_requests_per_minute=_rounded(decision.requests_per_minute),
        observed_at=None if decision.requests_per_minute is None else decision.observed_at,
        target_requests_per_minute=policy.target.requests_per_minute,
        reason=str(decision.reason),
        message=decision.message[:_LONGEST_MESSAGE],
        last_scale_time=now if decision.changed else before,
        decisions=decisions[-DECISIONS_KEPT:],
    )


def _worth_writing(decision: Decision, *, previous: ScalingStatus, policy: Scaling, now: datetime) -> bool:
    told = previous.observed_requests_per_minute
    seen = decision.requests_per_minute
    if (
        decision.changed
        or decision.replicas != previous.desired_replicas
        or str(decision.reason) != previous.reason
        or policy.target.requests_per_minute != previous.target_requests_per_minute
        or (told is None) != (seen is None)
    ):
        return True
    if told is None or seen is None or previous.observed_at is None:
        return decision.message[:_LONGEST_MESSAGE] != previous.message
    # The two clocks, Prometheus' and ours, may differ: time that seems to run backwards is time enough.
    since = abs(now - previous.observed_at)
    moved = abs(seen - told) >= _REWRITE_SHARE * told and seen != told
    return since >= _REFRESH_AFTER or (moved and since >= _REWRITE_AFTER)


def _rounded(requests_per_minute: float | None) -> float | None:
    return None if requests_per_minute is None else round(requests_per_minute, 2)
