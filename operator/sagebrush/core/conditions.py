"""Conditions in kstatus' sense, and the reasons that are API."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sagebrush.api.meta import Condition, ConditionStatus

READY, RECONCILING, STALLED, SCALING_ACTIVE = "Ready", "Reconciling", "Stalled", "ScalingActive"
SCALING_LIMITED, SCALING_CONFLICT, BUDGET_UNATTAINABLE = "ScalingLimited", "ScalingConflict", "BudgetUnattainable"


class Reason(StrEnum):
    """Reasons of Ready, Reconciling and Stalled; what each means stands in docs/conditions.md."""

    # both kinds
    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"
    REPLACING = "Replacing"
    APPLY_FAILED = "ApplyFailed"
    PERMISSION_DENIED = "PermissionDenied"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    OUT_OF_MEMORY = "OutOfMemory"
    CONTAINER_CANNOT_START = "ContainerCannotStart"
    DOWNLOAD_FAILED = "DownloadFailed"
    # both kinds, with backend SageMaker
    QUOTA_EXCEEDED = "QuotaExceeded"
    THROTTLED = "Throttled"
    CAPACITY_ERROR = "CapacityError"
    DELETING = "Deleting"
    # TrainingJob
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    INTERRUPTED = "Interrupted"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    ALGORITHM_ERROR = "AlgorithmError"
    UPLOAD_FAILED = "UploadFailed"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"
    POD_LOST = "PodLost"
    # TrainingJob, with backend SageMaker
    RESTARTING = "Restarting"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    CLIENT_ERROR = "ClientError"
    INTERNAL_ERROR = "InternalError"
    MAX_WAIT_TIME_EXCEEDED = "MaxWaitTimeExceeded"
    JOB_LOST = "JobLost"
    # ModelEndpoint
    TRAINING_JOB_NOT_FOUND = "TrainingJobNotFound"
    WAITING_FOR_TRAINING_JOB = "WaitingForTrainingJob"
    TRAINING_JOB_FAILED = "TrainingJobFailed"
    NO_MODEL_ARTIFACT = "NoModelArtifact"
    STARTING = "Starting"
    ROLLING_OUT = "RollingOut"
    CRASH_LOOP = "CrashLoop"
    SCALED_TO_ZERO = "ScaledToZero"
    SERVING = "Serving"
    # ModelEndpoint, with backend SageMaker
    CREATING = "Creating"
    UPDATING = "Updating"
    SYSTEM_UPDATING = "SystemUpdating"
    ROLLING_BACK = "RollingBack"
    UPDATE_ROLLED_BACK = "UpdateRolledBack"
    UPDATE_ROLLBACK_FAILED = "UpdateRollbackFailed"
    OUT_OF_SERVICE = "OutOfService"
    ENDPOINT_FAILED = "EndpointFailed"
    RECREATING = "Recreating"
    REVISION_NOT_FOUND = "RevisionNotFound"


class Outlook(StrEnum):
    """Where an object stands for kstatus."""

    DONE = "Done"  # Ready
    PROGRESSING = "Progressing"  # not yet; the operator is at it
    STALLED = "Stalled"  # not, and nothing will change by itself


def summary(outlook: Outlook, *, reason: str, message: str) -> tuple[tuple[str, bool, str, str], ...]:
    """Ready, Reconciling and Stalled as (type, status, reason, message)."""
    return (
        (READY, outlook is Outlook.DONE, reason, message),
        (RECONCILING, outlook is Outlook.PROGRESSING, reason, message if outlook is Outlook.PROGRESSING else ""),
        (STALLED, outlook is Outlook.STALLED, reason, message if outlook is Outlook.STALLED else ""),
    )


def set_conditions(
    previous: Sequence[Condition],
    wanted: Sequence[tuple[str, bool, str, str]],
    *,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """*wanted* as conditions; lastTransitionTime moves only where the status flips."""
    before = {condition.type: condition for condition in previous}
    out = []
    for kind, truth, reason, message in wanted:
        status = ConditionStatus.TRUE if truth else ConditionStatus.FALSE
        old = before.get(kind)
        since = old.last_transition_time if old and old.status == status else now.replace(microsecond=0)
        out.append(
            Condition(
                type=kind,
                status=status,
                observed_generation=generation,
                last_transition_time=since,
                reason=reason,
                message=message[:8192],
            )
        )
    return out


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """The condition of this type, if there."""
    return next((condition for condition in conditions if condition.type == kind), None)
