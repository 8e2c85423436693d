"""One TrainingJob on SageMaker as its decisions see it, and how each of them is reported. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagebrush.api.aws import Cost
from sagebrush.api.meta import API_VERSION
from sagebrush.api.training_job import TrainingJobSpec, TrainingJobStatus
from sagebrush.core.conditions import READY, Outlook, Reason, find, set_conditions, summary
from sagebrush.core.plan import Announcement, Apply, Plan
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity, training_request, training_status, training_transitions
from sagebrush.core.sagemaker.calls import Account, Call, Problem, Resource, Service
from sagebrush.core.sagemaker.cost import training_cost
from sagebrush.core.sagemaker.defaults import AwsDefaults, account_of
from sagebrush.core.training_phase import Finding

KIND = "TrainingJob"
_TOLD_BY_TRANSITIONS = frozenset(
    {
        Reason.PENDING,
        Reason.DOWNLOADING,
        Reason.TRAINING,
        Reason.UPLOADING,
        Reason.INTERRUPTED,
        Reason.RESTARTING,
        Reason.STOPPING,
        Reason.STOPPED,
        Reason.COMPLETED,
    }
)
_ORDINARY = (_TOLD_BY_TRANSITIONS | {Reason.SUSPENDED, Reason.DELETING}) - {Reason.INTERRUPTED, Reason.RESTARTING}


@dataclass(frozen=True, slots=True)
class Observed:
    """AWS and the object's own marks, as one TrainingJob sees them."""

    job: Resource | None = None
    """DescribeTrainingJob and tags; None where SageMaker shows no job of this name."""
    has_finalizer: bool = False
    deleted_at: datetime | None = None
    """When the object's deletion was asked for."""
    missing_inputs: tuple[str, ...] = ()
    """Inputs of which S3 shows nothing; only looked for before the job is made."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision about one TrainingJob depends on."""

    meta: Meta
    spec: TrainingJobSpec
    status: TrainingJobStatus
    observed: Observed
    defaults: AwsDefaults
    now: datetime

    @property
    def name(self) -> str:
        """Name of the job in SageMaker."""
        return training_request.job_name(self.meta, self.spec)

    @property
    def account(self) -> Account:
        """Where the job is. Raises SpecError where no region is known."""
        return account_for(self.meta, self.spec, self.status, defaults=self.defaults)

    def call(self, operation: str, *fine: Problem) -> Call:
        """A call that takes nothing but the job's name."""
        parameters = {"TrainingJobName": self.name}
        return Call(self.account, Service.SAGEMAKER, operation, parameters, fine=frozenset(fine))

    def finalizer(self, *, present: bool) -> Apply:
        """Our mark on the object, which keeps it until AWS is clean; others' marks stay, as metadata.finalizers is a set."""
        metadata: dict[str, Any] = {
            "name": self.meta.name,
            "namespace": self.meta.namespace,
            "uid": self.meta.uid,
            "finalizers": [identity.FINALIZER] if present else [],
        }
        return Apply({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata})


def account_for(meta: Meta, spec: TrainingJobSpec, status: TrainingJobStatus, *, defaults: AwsDefaults) -> Account:
    """
    Where the job is: once it was seen its ARN says the region, whatever the operator's own region is by now.

    Raises SpecError where no region is known.
    """
    arn = status.sage_maker.arn if status.sage_maker else None
    return account_of(meta, training_request.location(spec), defaults, arn=arn)


def described(case: Case, job: Resource) -> tuple[Finding, TrainingJobStatus, tuple[Announcement, ...]]:
    """What SageMaker says of our job: the finding, the status but for its conditions, and an Event for all that is new."""
    before, body = case.status, job.body
    finding = training_status.find_phase(body, before=before.phase, suspend=case.spec.suspend)
    steps = training_transitions.transitions(body, before=before.transitions)
    status = training_status.described(before, body, finding, steps, now=case.now).model_copy(
        update={
            "job_name": case.name,
            "sage_maker": training_status.sage_maker_status(body, region=case.account.region, name=case.name),
            "cost": _cost(case, job, final=finding.phase.is_final),
        }
    )
    return finding, status, training_transitions.untold(steps, before=before.transitions)


def _cost(case: Case, job: Resource, *, final: bool) -> Cost | None:
    place = training_request.location(case.spec)
    seconds, on_instances = training_transitions.instance_seconds(job.body, now=case.now)
    billed = job.body.get("BillableTimeInSeconds") if final else None
    return training_cost(
        case.defaults.prices,
        region=case.account.region,
        instance_type=place.instance_type,
        count=case.spec.instance_count,
        # None stands for a job that is billed at present; one that waits for instances isn't.
        billable_seconds=None if on_instances and not final else seconds if billed is None else billed,
        running_seconds=seconds,
        spot=place.spot is not None,
        before=case.status.cost,
        now=case.now,
    )


def report(
    case: Case,
    finding: Finding,
    *,
    status: TrainingJobStatus | None = None,
    told: Sequence[Announcement] = (),
) -> Plan[TrainingJobStatus]:
    """*status* completed by the finding; *told*, and an Event where the reason has changed and no transition tells it."""
    status = status or case.status
    previous = find(status.conditions, READY)
    update: dict[str, Any] = {
        "observed_generation": case.meta.generation,
        "phase": finding.phase,
        "conditions": set_conditions(
            status.conditions,
            summary(finding.outlook, reason=finding.reason, message=finding.message),
            generation=case.meta.generation,
            now=case.now,
        ),
        "failure": finding.failure,
        "model_artifact": finding.artifact,
    }
    if finding.phase.is_final and status.completion_time is None:
        update["completion_time"] = case.now.replace(microsecond=0)
    events = tuple(told)
    by_transition = {event.reason for event in told} | (_TOLD_BY_TRANSITIONS if told else frozenset())
    if (previous is None or previous.reason != finding.reason) and finding.reason not in by_transition:
        bad = finding.outlook is Outlook.STALLED or finding.reason not in _ORDINARY
        events = (*events, Announcement(finding.reason, finding.message, warning=bad))
    return Plan(status=status.model_copy(update=update), events=events)
