"""TrainingJob on SageMaker: what is wanted and what is seen → which calls to make and what to report. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from sagebrush.api.training_job import Failure, FailureClass, TrainingJobSpec, TrainingJobStatus, TrainingPhase
from sagebrush.core.conditions import READY, Outlook, Reason, find
from sagebrush.core.plan import Action, Plan
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity, training_request, training_status
from sagebrush.core.sagemaker.calls import Call, Problem, Resource, Service
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.training_case import Case, Observed, described, report
from sagebrush.core.sagemaker.training_deletion import delete
from sagebrush.core.training_phase import Finding

UNSEEN_FOR = timedelta(minutes=2)
"""So long after its start a job that SageMaker doesn't show is waited for: its answers may be behind."""
TAGS_UNSEEN_FOR = timedelta(seconds=60)
CONFLICT_LOOK = timedelta(seconds=30)
INPUT_LOOK = timedelta(seconds=30)


def reconcile(
    meta: Meta,
    spec: TrainingJobSpec,
    status: TrainingJobStatus,
    observed: Observed,
    *,
    defaults: AwsDefaults,
    now: datetime,
) -> Plan[TrainingJobStatus]:
    """
    The next step of a TrainingJob. A final phase stays as it is: a finished job is a record, not a wish.

    Raises SpecError for a spec that SageMaker would not take, before the object is marked or anything is called.
    """
    case = Case(meta, spec, status, observed, defaults, now)
    if meta.deleting:
        return delete(case)
    if status.phase and status.phase.is_final:
        seen = [entry.model_copy(update={"observed_generation": meta.generation}) for entry in status.conditions]
        return Plan(status=status.model_copy(update={"observed_generation": meta.generation, "conditions": seen}))
    if observed.job is None:
        return _absent(case)
    if not identity.is_ours(observed.job, meta):
        return _untagged(case) if _may_be_ours(case, observed.job) else _taken(case, observed.job)
    return _watch(case, observed.job)


def _may_be_ours(case: Case, job: Resource) -> bool:
    """Whether this is the job that we asked for a moment ago, whose tags SageMaker doesn't show yet."""
    start = case.status.start_time
    return identity.UID_TAG not in job.tags and start is not None and case.now - start < TAGS_UNSEEN_FOR


def _untagged(case: Case) -> Plan[TrainingJobStatus]:
    text = f"waiting: SageMaker does not show the tags of training job {case.name} yet"
    plan = report(case, Finding(case.status.phase or TrainingPhase.PENDING, Reason.PENDING, text))
    return replace(plan, requeue_after=case.defaults.polling.after_change)


def _taken(case: Case, job: Resource) -> Plan[TrainingJobStatus]:
    text = (
        f"SageMaker has a training job {case.name} that is not this TrainingJob's: {identity.owner_in_words(job)}; "
        "delete it there, or set another spec.sageMaker.name"
    )
    finding = Finding(case.status.phase or TrainingPhase.PENDING, Reason.NAME_CONFLICT, text, Outlook.STALLED)
    return replace(report(case, finding), requeue_after=CONFLICT_LOOK)


def _absent(case: Case) -> Plan[TrainingJobStatus]:
    """SageMaker shows no job: not yet, no more, or there is none."""
    status, polling = case.status, case.defaults.polling
    if status.start_time is not None and case.now - status.start_time < UNSEEN_FOR:
        phase = status.phase or TrainingPhase.PENDING
        text = f"waiting: SageMaker does not show training job {case.name} at present"
        return replace(report(case, Finding(phase, Reason(phase.value), text)), requeue_after=polling.after_change)
    if status.sage_maker and status.sage_maker.arn:
        return _lost(case)
    if case.spec.suspend:
        text = "suspended: nothing runs in SageMaker; set spec.suspend: false to start"
        finding = Finding(TrainingPhase.SUSPENDED, Reason.SUSPENDED, text, Outlook.DONE)
        # With our mark on the object a job may have been asked for, and appear late.
        look = polling.steady if case.observed.has_finalizer else None
        return replace(report(case, finding), requeue_after=look)
    return _create(case)


def _lost(case: Case) -> Plan[TrainingJobStatus]:
    text = (
        f"training job {case.name} is not in SageMaker any more, and had not ended when it was last seen: it was deleted "
        "there, or the operator now looks into another account. Create another TrainingJob"
    )
    before = find(case.status.conditions, READY)
    if before is None or before.reason != Reason.JOB_LOST:  # a final word is not said after one look
        phase = case.status.phase or TrainingPhase.PENDING
        finding = Finding(phase, Reason.JOB_LOST, f"SageMaker does not show training job {case.name}: looking again")
        return replace(report(case, finding), requeue_after=case.defaults.polling.active)
    failure = Failure(failure_class=FailureClass.PLATFORM, message=text)
    finding = Finding(TrainingPhase.FAILED, Reason.JOB_LOST, text, Outlook.STALLED, failure=failure)
    cost = case.status.cost
    ended = cost.model_copy(update={"hourly": 0.0}) if cost and cost.hourly else cost
    return report(case, finding, status=case.status.model_copy(update={"cost": ended}))


def _create(case: Case) -> Plan[TrainingJobStatus]:
    """Mark the object, then ask for the job. Asked again after a lost answer, SageMaker refuses by name, and we look."""
    account = case.account
    parameters = training_request.create_training_job(
        case.meta, case.spec, region=account.region, cluster_id=case.defaults.cluster_id
    )
    if case.observed.missing_inputs:
        text = (
            f"nothing found at {', '.join(case.observed.missing_inputs)}; put the data there, or correct spec.channels"
        )
        finding = Finding(TrainingPhase.PENDING, Reason.DOWNLOAD_FAILED, text)
        return replace(report(case, finding), requeue_after=INPUT_LOOK)
    status = case.status.model_copy(
        update={
            "job_name": case.name,
            "training_image": parameters["AlgorithmSpecification"]["TrainingImage"],
            "start_time": case.now.replace(microsecond=0),
        }
    )
    text = f"asked SageMaker in {account.region} for training job {case.name}"
    plan = report(case, Finding(TrainingPhase.PENDING, Reason.PENDING, text), status=status)
    create = Call(account, Service.SAGEMAKER, "CreateTrainingJob", parameters)
    return replace(plan, actions=(*_mark(case), create), requeue_after=case.defaults.polling.after_change)


def _mark(case: Case) -> tuple[Action, ...]:
    return () if case.observed.has_finalizer else (case.finalizer(present=True),)


def _watch(case: Case, job: Resource) -> Plan[TrainingJobStatus]:
    finding, status, events = described(case, job)
    if finding.phase.is_final:
        return report(case, finding, status=status, told=events)
    actions = _mark(case)
    if case.spec.suspend and training_status.primary(job.body) in training_status.STOPPABLE:
        text = "stopping, as spec.suspend asks; a SageMaker job does not resume afterwards"
        finding = replace(finding, reason=Reason.STOPPING, message=text)
        actions = (*actions, case.call("StopTrainingJob", Problem.ENDED, Problem.ABSENT))
    polling = case.defaults.polling
    plan = report(case, finding, status=status, told=events)
    return replace(plan, actions=actions, requeue_after=polling.after_change if actions else polling.active)
