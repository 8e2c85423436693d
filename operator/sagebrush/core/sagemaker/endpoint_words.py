"""What is said of an endpoint that doesn't serve the desired revision: the state, since when, what follows. Pure."""

from collections.abc import Sequence

from sagebrush.api.sagemaker_hosting import UpdateAttempt
from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.model_source import Finding
from sagebrush.core.sagemaker.endpoint_case import Case
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_report import stamp
from sagebrush.core.sagemaker.endpoint_state import (
    DELETING,
    FOLLOWS,
    IN_SERVICE,
    MOST_ATTEMPTS,
    MOST_RECREATIONS,
    NO_REASON,
    OUT_OF_SERVICE,
    REASONS,
    ROLLBACK_FAILED,
    Seen,
    Step,
    Verdict,
    failed_at,
    failure_of,
    is_capacity,
)

STILL_READY = frozenset({"Updating", "SystemUpdating"})
"""States in which an endpoint may serve the desired revision and no other: a change of its size, and AWS' maintenance."""


def log_group(endpoint: str) -> str:
    """Where CloudWatch keeps what an endpoint's containers write."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def of_state(case: Case, goal: Goal, seen: Seen) -> Finding:
    """A state in which AWS takes no change."""
    since = stamp(seen.created if seen.status == "Creating" else seen.modified)
    if seen.status == IN_SERVICE:
        last = case.last
        asked = stamp(last.time) if last else since
        return Finding(
            Reason.UPDATING,
            f"asked for endpoint configuration {goal.config_name} at {asked}; SageMaker is about to begin",
        )
    text = f"endpoint {seen.name} is {seen.status} since {since}"
    if seen.pending_config:
        text = f"{text}, to endpoint configuration {seen.pending_config}"
    if seen.status == DELETING:
        return Finding(Reason.RECREATING, f"{text}; it is made anew when it is gone")
    if seen.status in STILL_READY and seen.config == goal.config_name and not seen.pending_config:
        doing = "changes the number of instances or their weights" if seen.status == "Updating" else "maintains it"
        reason = Reason.SERVING if seen.status == "Updating" else Reason.SYSTEM_UPDATING
        return Finding(reason, f"revision {goal.revision} serves; {text}: SageMaker {doing}", Outlook.DONE)
    follows = FOLLOWS.get(
        seen.status, "this version of the operator doesn't know that state, and changes nothing in it"
    )
    text = f"{text}; {follows}"
    if goal.config_name not in (seen.config, seen.pending_config):
        text = f"{text}; then endpoint configuration {goal.config_name} follows"
    return Finding(REASONS.get(seen.status, Reason.UPDATING), text)


def rolled_back(case: Case, seen: Seen, found: Verdict) -> tuple[Finding, UpdateAttempt | None]:
    """An update that failed, and the attempt with AWS' words for it."""
    last = case.last
    why = failure_of(seen, last) or NO_REASON
    reason = Reason.UPDATE_ROLLBACK_FAILED if seen.status == ROLLBACK_FAILED else Reason.UPDATE_ROLLED_BACK
    kept = (
        "instances of both endpoint configurations serve"
        if seen.status == ROLLBACK_FAILED
        else f"endpoint configuration {seen.config} goes on serving"
    )
    wanted = last.endpoint_config if last else "?"
    text = f"the update to endpoint configuration {wanted} failed: {why}; {kept}"
    noted = last
    if last:
        when = last.failed or failed_at(seen, last, now=case.now)
        noted = last.model_copy(update={"failure": why[:1024], "failed": when})
    if found.step is Step.UPDATE_LATER and found.until and last:
        attempt = f"attempt {last.attempts + 1} of {MOST_ATTEMPTS} at {stamp(found.until)}"
        return Finding(Reason.CAPACITY_ERROR if is_capacity(why) else reason, f"{text}; {attempt}"), noted
    mend = "change the spec to try again, or set spec.sageMaker.revision to go back"
    return Finding(reason, f"{text}; {mend}", Outlook.STALLED), noted


def failed(case: Case, seen: Seen, found: Verdict, *, log_tail: Sequence[str]) -> Finding:
    """An endpoint that can only be deleted."""
    state = "is out of service" if seen.status == OUT_OF_SERVICE else "failed"
    text = f"endpoint {seen.name} {state}: {seen.failure_reason or NO_REASON}"
    if log_tail:
        text = f"{text} Last lines of its log: {' | '.join(log_tail)}"
    if found.step is Step.GIVEN_UP:
        text = f"{text}; made anew {MOST_RECREATIONS} times in vain: change the spec to try again"
        return Finding(Reason.ENDPOINT_FAILED, text, Outlook.STALLED)
    number = f"{case.before.recreations + 1} of {MOST_RECREATIONS}"
    if found.step is Step.RECREATE_LATER and found.until:
        if seen.status == OUT_OF_SERVICE:
            return Finding(Reason.OUT_OF_SERVICE, f"{text}; deleted and made anew at {stamp(found.until)} ({number})")
        return Finding(Reason.RECREATING, f"{text}; deleted and made anew at {stamp(found.until)} ({number})")
    again = "as the spec has changed" if found.afresh else number
    return Finding(Reason.RECREATING, f"{text}; deleted now, and made anew ({again})")
