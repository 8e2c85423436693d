"""
What DescribeTrainingJob says, as a TrainingJob's phase, reason, failure and figures. Pure.

Source of the statuses: DescribeTrainingJob and SecondaryStatusTransition in the Amazon SageMaker API Reference, which
says that secondary statuses may change: one that is unknown is shown as it is, and changes no phase.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sagebrush.api.sagemaker_training import SageMakerJobStatus
from sagebrush.api.training_job import (
    Failure,
    FailureClass,
    Metric,
    ModelArtifact,
    PhaseTransition,
    TrainingJobStatus,
    TrainingPhase,
)
from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.resource import dig
from sagebrush.core.sagemaker.training_transitions import PHASES, passed, reached
from sagebrush.core.training_phase import Finding

Description = Mapping[str, Any]

STOPPING, DELETING = "Stopping", "Deleting"
FINAL = frozenset({"Completed", "Failed", "Stopped"})
"""Primary statuses after which nothing follows."""
STOPPABLE = frozenset({"InProgress"})
"""Primary statuses in which StopTrainingJob has an effect."""

_REASONS = {
    "Restarting": Reason.RESTARTING,
    "MaxRuntimeExceeded": Reason.MAX_RUNTIME_EXCEEDED,
    "MaxWaitTimeExceeded": Reason.MAX_WAIT_TIME_EXCEEDED,
}
_FAILURES = (
    ("AlgorithmError", FailureClass.USER, Reason.ALGORITHM_ERROR),
    ("ClientError", FailureClass.USER, Reason.CLIENT_ERROR),
    ("CapacityError", FailureClass.CAPACITY, Reason.CAPACITY_ERROR),
    ("InternalServerError", FailureClass.PLATFORM, Reason.INTERNAL_ERROR),
)
_ADVICE = {
    Reason.ALGORITHM_ERROR: "correct data, hyperparameters or image",
    Reason.CLIENT_ERROR: "correct what it names (data, image, role or network)",
    Reason.CAPACITY_ERROR: "AWS has no such instances now: try later, or another spec.sageMaker.instanceType or region",
    Reason.INTERNAL_ERROR: "the fault is AWS'; spec.sageMaker.maximumRetryAttempts lets SageMaker try again by itself",
}
_EXIT_CODE = re.compile(r"exit ?code\W{0,3}(-?[0-9]{1,9})", re.IGNORECASE)
_NOTES = {
    "Pending": "waiting for capacity",
    "Interrupted": "the spot instances were taken back; SageMaker starts the job again when it gets others",
    "Restarting": "SageMaker starts the job again after an internal error",
    "Updating": "SageMaker carries out a change of the running job",
    STOPPING: "SageMaker has sent SIGTERM, and keeps what is saved within two minutes",
    DELETING: "the job is being deleted in SageMaker",
}
_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}


def primary(body: Description) -> str:
    """TrainingJobStatus, in SageMaker's words."""
    return str(body.get("TrainingJobStatus", ""))


def find_phase(body: Description, *, before: TrainingPhase | None, suspend: bool) -> Finding:
    """
    Where the job is and what to say about it.

    *before*: the phase reported before, kept where the secondary status names none. *suspend*: whether the user wants
    the job stopped, which is how a stop by the user is told from others.
    """
    status = primary(body)
    if status == "Completed":
        return _completed(body)
    if status == "Failed":
        return _failed(body)
    if status == "Stopped":
        return _stopped(body, suspend=suspend)
    secondary = str(body.get("SecondaryStatus", ""))
    phase = PHASES.get(secondary) or reached(body) or before or TrainingPhase.PENDING
    if phase.is_final or phase is TrainingPhase.SUSPENDED:
        phase = TrainingPhase.PENDING
    shown = status if status in (STOPPING, DELETING) else secondary
    reason = {STOPPING: Reason.STOPPING, DELETING: Reason.DELETING}.get(status) or _REASONS.get(secondary)
    return Finding(phase, reason or Reason(phase.value), _in_words(body, shown))


def _in_words(body: Description, shown: str) -> str:
    """SageMaker's status, what it says of it, and what that means where it is not plain."""
    transitions = body.get("SecondaryStatusTransitions") or []
    said = transitions[-1] if transitions else {}
    detail = said.get("StatusMessage") if said.get("Status") == shown else None
    text = f"SageMaker says {shown or 'nothing'}{f': {detail}' if detail else ''}"
    return f"{text} ({_NOTES[shown]})" if shown in _NOTES else text


def artifact(body: Description) -> ModelArtifact | None:
    """
    Where SageMaker put the model: its own word, never put together here. None unless the job completed, or was stopped
    after it had begun to train (SageMaker names the place beforehand, and what is there then may be a part of a model).
    """
    uri = dig(body, "ModelArtifacts", "S3ModelArtifacts", default=None)
    status = primary(body)
    trained = status == "Completed" or (status == "Stopped" and bool({"Training", "Uploading"} & passed(body)))
    return ModelArtifact(uri=uri) if uri and trained else None


def _completed(body: Description) -> Finding:
    model = artifact(body)
    said = (
        f"the model is at {model.uri}" if model else "SageMaker names no model; the algorithm writes to /opt/ml/model"
    )
    return Finding(TrainingPhase.COMPLETED, Reason.COMPLETED, said, Outlook.DONE, artifact=model)


def _stopped(body: Description, *, suspend: bool) -> Finding:
    model = artifact(body)
    kept = f"; what the algorithm had saved by then is at {model.uri}" if model else ""
    reason = _REASONS.get(str(body.get("SecondaryStatus")), Reason.STOPPED)
    if reason is Reason.MAX_RUNTIME_EXCEEDED:
        why = "stopped after spec.maxRuntime; create another TrainingJob with a longer one"
    elif reason is Reason.MAX_WAIT_TIME_EXCEEDED:
        why = (
            "stopped after spec.sageMaker.spot.maxWait: too little spot capacity; create another TrainingJob "
            "with a longer one, or without spec.sageMaker.spot"
        )
    elif suspend:
        why = "stopped, as spec.suspend asks; a SageMaker job does not resume: create another TrainingJob"
    else:
        why = "stopped in SageMaker, by somebody else; create another TrainingJob to train again"
    return Finding(TrainingPhase.STOPPED, reason, f"{why}{kept}", Outlook.STALLED, artifact=model)


def _failed(body: Description) -> Finding:
    said = str(body.get("FailureReason") or "").strip()
    kind, reason = failure_class(said)
    found = _EXIT_CODE.search(said) if kind is FailureClass.USER else None
    failure = Failure(
        failure_class=kind,
        message=(said or "SageMaker gives no reason; see the log at status.sageMaker.logUrl")[:2048],
        exit_code=int(found.group(1)) if found else None,
    )
    message = f"{failure.message.rstrip('.')}. Next: {_ADVICE[reason]}; then create another TrainingJob"
    return Finding(TrainingPhase.FAILED, reason, message, Outlook.STALLED, failure=failure)


def failure_class(said: str) -> tuple[FailureClass, Reason]:
    """Who can mend a FailureReason, by its prefix (reference: DescribeTrainingJob, FailureReason; "Troubleshooting")."""
    for prefix, kind, reason in _FAILURES:
        if said.startswith(prefix):
            return kind, reason
    if _EXIT_CODE.search(said):
        return FailureClass.USER, Reason.ALGORITHM_ERROR
    return FailureClass.PLATFORM, Reason.INTERNAL_ERROR


def metrics(body: Description) -> list[Metric]:
    """The final metrics: of each name the newest value, without those that are no number."""
    rows = body.get("FinalMetricDataList") or []
    dated = sorted(rows, key=lambda row: row["Timestamp"]) if all(row.get("Timestamp") for row in rows) else rows
    values = {str(row.get("MetricName", ""))[:1024]: float(row.get("Value", math.nan)) for row in dated}
    return [Metric(name=name, value=value) for name, value in sorted(values.items()) if math.isfinite(value)]


def sage_maker_status(body: Description, *, region: str, name: str) -> SageMakerJobStatus:
    """What only SageMaker tells."""
    arn = body.get("TrainingJobArn")
    billable, trained = body.get("BillableTimeInSeconds"), body.get("TrainingTimeInSeconds")
    spot = bool(body.get("EnableManagedSpotTraining"))
    saving = round(100 * (1 - billable / trained)) if spot and billable is not None and trained else None
    return SageMakerJobStatus(
        arn=arn,
        status=primary(body) or None,
        secondary_status=body.get("SecondaryStatus"),
        billable_seconds=billable,
        spot_saving_percent=None if saving is None else max(0, saving),
        log_url=log_url(region=region, name=name, arn=arn),
    )


def log_url(*, region: str, name: str, arn: str | None) -> str:
    """The job's log streams in the CloudWatch console, which has another address in each partition of AWS."""
    partition = arn.split(":")[1] if arn and arn.count(":") >= 5 else "aws"
    console = _CONSOLES.get(partition, "console.aws.amazon.com")
    group = "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3D"
    return f"https://{region}.{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{name}$252F"


def completion_time(body: Description, transitions: list[PhaseTransition], *, now: datetime) -> datetime:
    """When the job ended: SageMaker's word, or else the last thing it did, or else now; whole seconds."""
    ended: datetime | None = body.get("TrainingEndTime")
    last = transitions[-1] if transitions else None
    found = ended or (last and (last.end_time or last.start_time)) or now
    return found.replace(microsecond=0)


def described(
    status: TrainingJobStatus, body: Description, finding: Finding, transitions: list[PhaseTransition], *, now: datetime
) -> TrainingJobStatus:
    """*status* with what the description says, but for conditions, cost and what only SageMaker tells."""
    created: datetime | None = body.get("CreationTime")
    image = dig(body, "AlgorithmSpecification", "TrainingImage", default=None)
    final = finding.phase.is_final
    return status.model_copy(
        update={
            "phase": finding.phase,
            "start_time": status.start_time or (created or now).replace(microsecond=0),
            "completion_time": completion_time(body, transitions, now=now) if final else None,
            "training_seconds": body.get("TrainingTimeInSeconds"),
            "training_image": image or status.training_image,
            "transitions": transitions,
            "metrics": metrics(body) or status.metrics,
            "model_artifact": finding.artifact,
            "failure": finding.failure,
        }
    )
