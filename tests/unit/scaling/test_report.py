"""What is written to status.scaling, and how seldom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sagebrush.api.scaling import Scaling, ScalingTarget
from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.facts import Capacity, Knowledge, Startup
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, Predicted, Proposal, ScalingReason
from sagebrush.core.scaling.report import known, status_of
from sagebrush.core.scaling.words import sentence

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
POLICY = Scaling(max_replicas=6, target=ScalingTarget(requests_per_minute=2000))
STEADY = Decision(
    replicas=2,
    previous_replicas=2,
    reason=ScalingReason.WITHIN_TARGET,
    said="3000 requests/min over 2 replicas is within the target of 2000 per replica",
    history=History(),
    requests_per_minute=3000.123456,
    observed_at=NOON,
)
OUT = replace(STEADY, previous_replicas=1, reason=ScalingReason.ABOVE_TARGET, said="out")
BLIND = replace(
    STEADY, reason=ScalingReason.METRICS_MISSING, said="no metrics since noon, timeout", requests_per_minute=None
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
        "proposals": [],
        "decisions": [{"time": "2026-08-01T12:00:00Z", "fromReplicas": 1, "toReplicas": 2, "reason": "out"}],
    }


@pytest.mark.parametrize(
    ("changes", "seconds", "rewritten"),
    [
        ({"requests_per_minute": 3290.0}, 60, False),  # under 10 %
        ({"requests_per_minute": 3310.0}, 29, False),  # too soon
        ({"requests_per_minute": 3310.0}, 30, True),
        ({"requests_per_minute": 2690.0}, 30, True),
        ({"said": "in other words"}, 60, False),
        ({}, 299, False),
        ({}, 300, True),
        ({"reason": ScalingReason.SCALE_IN_STABILIZING}, 1, True),
        ({"replicas": 3}, 1, True),
        ({"recommended": 4}, 1, True),
        ({"limited_by": "maxReplicas"}, 1, True),
        ({"capacity": Capacity(80)}, 1, True),
        ({"requests_per_minute": None}, 1, True),
    ],
)
def test_status_must_be_rewritten_only_for_news(changes: dict[str, object], seconds: float, rewritten: bool) -> None:
    """Each write wakes every watcher: small moves of the load are not worth one."""
    now = NOON + timedelta(seconds=seconds)
    previous = status_of(STEADY, previous=None, policy=POLICY, now=NOON)
    decision = replace(STEADY, observed_at=now, **changes)
    assert (status_of(decision, previous=previous, policy=POLICY, now=now) is not previous) is rewritten


@pytest.mark.parametrize(
    ("capacity", "startup", "rewritten"),
    [
        (Capacity(87.6541, 8, "Learned", NOON, "abc"), Startup.of((3.04,)), False),  # the same as it is told
        (Capacity(87.66, 8, "Learned", NOON, "abc"), Startup.of((3.0,)), True),
        (Capacity(87.654, 4, "Learned", NOON, "abc"), Startup.of((3.0,)), True),
        (Capacity(87.654, 8, "Tested", NOON, "abc"), Startup.of((3.0,)), True),
        (Capacity(87.654, 8, "Learned", NOON + timedelta(seconds=1), "abc"), Startup.of((3.0,)), True),
        (Capacity(87.654, 8, "Learned", NOON, "def"), Startup.of((3.0,)), True),
        (Capacity(87.654, 8, "Learned", NOON, "abc"), Startup.of((3.0, 3.0)), True),
        (Capacity(87.654, 8, "Learned", NOON, "abc"), None, True),
        (None, Startup.of((3.0,)), True),
    ],
)
def test_status_must_tell_what_was_measured_anew(
    capacity: Capacity | None, startup: Startup | None, rewritten: bool
) -> None:
    """Capacity and start-up time are written at once where any of what is told of them is another."""
    before = replace(STEADY, capacity=Capacity(87.654, 8, "Learned", NOON, "abc"))
    knowledge = Knowledge(startup=Startup.of((3.0,)))
    previous = status_of(before, previous=None, policy=POLICY, now=NOON, knowledge=knowledge)
    now, decision = NOON + timedelta(seconds=1), replace(STEADY, capacity=capacity)
    after = status_of(decision, previous=previous, policy=POLICY, now=now, knowledge=Knowledge(startup=startup))
    assert (after is not previous) is rewritten


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
    other = replace(BLIND, said="no metrics since noon, connection refused")
    assert status_of(other, previous=previous, policy=POLICY, now=later).message == other.message


def test_status_must_keep_the_last_ten_decisions() -> None:
    """The newest are last; only changes count."""
    status = None
    for number in range(15):
        now = NOON + timedelta(seconds=number)
        status = status_of(replace(OUT, said=f"change {number}"), previous=status, policy=POLICY, now=now)
    assert status is not None
    assert [entry.reason for entry in status.decisions] == [f"change {number}" for number in range(5, 15)]
    after = status_of(BLIND, previous=status, policy=POLICY, now=NOON + timedelta(hours=1))
    assert (after.decisions, after.last_scale_time) == (status.decisions, NOON + timedelta(seconds=14))


def test_status_must_fit_the_schema_whatever_the_message() -> None:
    """A long error of Prometheus is cut, not refused by the API server."""
    status = status_of(replace(OUT, said="x" * 5000), previous=None, policy=POLICY, now=NOON)
    assert (len(status.message), len(status.decisions[0].reason)) == (2048, 1024)


FULL = replace(
    STEADY,
    recommended=4,
    proposals=(Proposal("Target", 4, sentence("{0:num} requests/min", 3000.0)),),
    limited_by="maxReplicas",
    next_change_not_before=NOON + timedelta(seconds=30),
    value=12.345,
    target_words=sentence("{0:num} per replica", 2000.0),
    capacity=Capacity(87.65432, 8, "Learned", NOON, "abc"),
    prediction=Predicted(4000.129, NOON + timedelta(minutes=6)),
    source="Pods",
)
LEARNED = Knowledge(startup=Startup.of((10.0, 30.04, 12.0)), calibration=Calibration("a daily hill", NOON, 7.5))


def test_status_must_fill_every_field() -> None:
    """What the policy sees, knows and proposes, for kubectl describe."""
    status = status_of(FULL, previous=None, policy=POLICY, knowledge=LEARNED, now=NOON).to_dict()
    assert status | {"decisions": [], "message": "", "reason": ""} == {
        "desiredReplicas": 2,
        "recommendedReplicas": 4,
        "observedRequestsPerMinute": 3000.12,
        "observedValue": 12.35,
        "observedAt": "2026-08-01T12:00:00Z",
        "source": "Pods",
        "targetRequestsPerMinute": 2000.0,
        "target": "2000 per replica",
        "proposals": [{"by": "Target", "replicas": 4, "why": "3000 requests/min"}],
        "limitedBy": "maxReplicas",
        "nextChangeAfter": "2026-08-01T12:00:30Z",
        "capacity": {
            "requestsPerSecond": 87.654,
            "concurrency": 8,
            "source": "Learned",
            "measuredAt": "2026-08-01T12:00:00Z",
            "revision": "abc",
        },
        "startup": {"p50Seconds": 12.0, "p90Seconds": 30.0, "recent": [10.0, 30.0, 12.0]},
        "prediction": {
            "requestsPerMinute": 4000.13,
            "until": "2026-08-01T12:06:00Z",
            "errorPercent": 7.5,
            "learned": "a daily hill",
            "learnedAt": "2026-08-01T12:00:00Z",
        },
        "decisions": [],
        "message": "",
        "reason": "",
    }


def test_status_must_be_rewritten_for_a_new_calibration_and_start_up_time_only_once() -> None:
    """They are known again after a restart from here."""
    previous = status_of(FULL, previous=None, policy=POLICY, now=NOON)
    status = status_of(FULL, previous=previous, policy=POLICY, knowledge=LEARNED, now=NOON)
    assert status is not previous
    assert status_of(FULL, previous=status, policy=POLICY, knowledge=LEARNED, now=NOON) is status


def test_known_must_give_back_what_status_keeps() -> None:
    """Capacity and start-up times survive a restart of the operator."""
    status = status_of(FULL, previous=None, policy=POLICY, knowledge=LEARNED, now=NOON)
    capacity, startup = known(status)
    assert capacity == Capacity(87.654, 8, "Learned", NOON, "abc")
    assert startup == Startup.of((10.0, 30.0, 12.0))
    assert known(None) == (None, None)


def test_startup_must_keep_the_newest_twenty_times() -> None:
    """Nine of ten are at most the 90th percentile."""
    startup = Startup.of((1000.0,))
    for seconds in range(1, 21):
        startup = startup.with_sample(float(seconds))
    assert (startup.p50_seconds, startup.p90_seconds, len(startup.recent)) == (10, 18, 20)


def test_horizon_must_count_two_starts_where_changes_are_serialised() -> None:
    """The start under way may have to end before the next begins."""
    assert Knowledge(startup=Startup.of((10.0,))).horizon_seconds == 10 + 2 + 5 + 1
    assert Knowledge(startup=Startup.of((360.0,)), serialised=True).horizon_seconds == 720 + 8
    assert Knowledge().horizon_seconds == 30 + 8
