"""Deletion of a TrainingJob on SageMaker: stop, wait, delete, let go. Pure."""

from dataclasses import replace
from datetime import timedelta

from sagebrush.api.training_job import TrainingJobStatus, TrainingPhase
from sagebrush.core.conditions import Reason
from sagebrush.core.plan import Announcement, Plan
from sagebrush.core.sagemaker import identity, training_request, training_status
from sagebrush.core.sagemaker.calls import Problem, Resource
from sagebrush.core.sagemaker.training_case import Case, described, report
from sagebrush.core.training_phase import Finding

SETTLES_IN = timedelta(seconds=60)
"""So long after its start a job that SageMaker doesn't show may yet appear."""
ATTEMPT_SETTLES_IN = timedelta(seconds=15)
"""The same from the deletion on, where no start is recorded, but may have been asked for just before the operator died."""


def delete(case: Case) -> Plan[TrainingJobStatus]:
    """The next step towards an object that is gone; what isn't ours in AWS, or is to be kept, stays as it is."""
    if not case.observed.has_finalizer:
        return Plan(status=None)
    release: Plan[TrainingJobStatus] = Plan(status=None, actions=(case.finalizer(present=False),))
    if training_request.location(case.spec).deletion_policy == "Retain":
        return release
    job = case.observed.job
    if job is None or not identity.is_ours(job, case.meta):
        # Just after its creation a job, or its tags, may not show yet; let go now, it would run on and be nobody's.
        if (job is None or identity.UID_TAG not in job.tags) and _may_appear(case):
            text = f"deleting: making sure that SageMaker has no training job {case.name}"
            return replace(_deleting(case, text), requeue_after=case.defaults.polling.after_change)
        return release
    if training_status.primary(job.body) in training_status.FINAL:
        return replace(release, actions=(case.call("DeleteTrainingJob", Problem.ABSENT), *release.actions))
    return _end(case, job)


def _end(case: Case, job: Resource) -> Plan[TrainingJobStatus]:
    """Stop the job, and wait until it may be deleted."""
    status, polling = case.status, case.defaults.polling
    events: tuple[Announcement, ...] = ()
    if not _has_ended(case):
        _, status, events = described(case, job)
    said = training_status.primary(job.body)
    plan = _deleting(case, f"deleting: training job {case.name} is {said} in SageMaker", status=status, told=events)
    if said in (training_status.STOPPING, training_status.DELETING):
        return replace(plan, requeue_after=polling.active)
    stop = case.call("StopTrainingJob", Problem.ENDED, Problem.ABSENT)
    return replace(plan, actions=(stop,), requeue_after=polling.after_change)


def _has_ended(case: Case) -> bool:
    return case.status.phase is not None and case.status.phase.is_final


def _may_appear(case: Case) -> bool:
    """Whether a job may have been created so recently that SageMaker only doesn't show it yet."""
    if _has_ended(case):
        return False
    if case.status.start_time is not None:
        return case.now - case.status.start_time < SETTLES_IN
    asked = case.observed.deleted_at
    return asked is not None and case.now - asked < ATTEMPT_SETTLES_IN


def _deleting(
    case: Case, text: str, *, status: TrainingJobStatus | None = None, told: tuple[Announcement, ...] = ()
) -> Plan[TrainingJobStatus]:
    status = status or case.status
    phase = status.phase or TrainingPhase.PENDING
    finding = Finding(phase, Reason.DELETING, text, failure=status.failure, artifact=status.model_artifact)
    return report(case, finding, status=status, told=told)
