"""What is written to status.scaling, and how seldom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sagebrush.api.scaling import Scaling, ScalingTarget
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, ScalingReason
from sagebrush.core.scaling.report import status_of

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
POLICY = Scaling(max_replicas=6, target=ScalingTarget(requests_per_minute=2000))
STEADY = Decision(
    replicas=2,
    previous_replicas=2,
    reason=ScalingReason.WITHIN_TARGET,
    message="3000 requests/min over 2 replicas is within the target of 2000 per replica",
    history=History(),
    requests_per_minute=3000.123456,
    observed_at=NOON,
)
OUT = replace(STEADY, previous_replicas=1, reason=ScalingReason.ABOVE_TARGET, message="out")
BLIND = replace(
    STEADY, reason=ScalingReason.METRICS_MISSING, message="no metrics since noon, timeout", requests_per_minute=None
)


def test_status_must_show_the_decision() -> None:
    """Everything that kubectl describe is to tell."""
    status = status_of(OUT, previous=None, policy=POLICY, now=NOON)
    assert status.to_dict() == {
        "desiredReplicas": 2,
        "observedRequestsPerMinute": 3000.12,
        "observedAt": "2026-08-01T12:00:00Z",
        "targetRequestsPerMinute": 2000.0,
        "reason": "AboveTarget",
        "message": "out",
        "lastScaleTime": "2026-08-01T12:00:00Z",
        "decisions": [{"time": "2026-08-01T12:00:00Z", "fromReplicas": 1, "toReplicas": 2, "reason": "out"}],
    }


@pytest.mark.parametrize(
    ("changes", "seconds", "rewritten"),
    [
        ({"requests_per_minute": 3140.0}, 60, False),  # under 5 %
        ({"requests_per_minute": 3160.0}, 9, False),  # too soon
        ({"requests_per_minute": 3160.0}, 10, True),
        ({"requests_per_minute": 2800.0}, 10, True),
        ({"message": "in other words"}, 60, False),
        ({}, 299, False),
        ({}, 300, True),
        ({"reason": ScalingReason.SCALE_IN_STABILIZING}, 1, True),
        ({"replicas": 3}, 1, True),
        ({"requests_per_minute": None}, 1, True),
    ],
)
def test_status_must_be_rewritten_only_for_news(changes: dict[str, object], seconds: float, rewritten: bool) -> None:
    """Each write wakes every watcher: small moves of the load are not worth one."""
    now = NOON + timedelta(seconds=seconds)
    previous = status_of(STEADY, previous=None, policy=POLICY, now=NOON)
    decision = replace(STEADY, observed_at=now, **changes)
    assert (status_of(decision, previous=previous, policy=POLICY, now=now) is not previous) is rewritten


def test_status_must_follow_a_new_target() -> None:
    """The target in status is the one that decided."""
    previous = status_of(STEADY, previous=None, policy=POLICY, now=NOON)
    changed = POLICY.model_copy(update={"target": ScalingTarget(requests_per_minute=2500)})
    assert status_of(STEADY, previous=previous, policy=changed, now=NOON).target_requests_per_minute == 2500


def test_status_must_explain_an_outage_anew_only_when_the_explanation_changes() -> None:
    """While nothing is measured there is no rate to compare: the words decide."""
    previous = status_of(BLIND, previous=None, policy=POLICY, now=NOON)
    assert (previous.observed_requests_per_minute, previous.observed_at) == (None, None)
    later = NOON + timedelta(hours=1)
    assert status_of(BLIND, previous=previous, policy=POLICY, now=later) is previous
    other = replace(BLIND, message="no metrics since noon, connection refused")
    assert status_of(other, previous=previous, policy=POLICY, now=later).message == other.message


def test_status_must_keep_the_last_ten_decisions() -> None:
    """The newest are last; only changes count."""
    status = None
    for number in range(15):
        now = NOON + timedelta(seconds=number)
        status = status_of(replace(OUT, message=f"change {number}"), previous=status, policy=POLICY, now=now)
    assert status is not None
    assert [entry.reason for entry in status.decisions] == [f"change {number}" for number in range(5, 15)]
    after = status_of(BLIND, previous=status, policy=POLICY, now=NOON + timedelta(hours=1))
    assert (after.decisions, after.last_scale_time) == (status.decisions, NOON + timedelta(seconds=14))


def test_status_must_fit_the_schema_whatever_the_message() -> None:
    """A long error of Prometheus is cut, not refused by the API server."""
    status = status_of(replace(OUT, message="x" * 5000), previous=None, policy=POLICY, now=NOON)
    assert (len(status.message), len(status.decisions[0].reason)) == (2048, 1024)
