"""A training job's life (reference §1.1): a timeline is laid at creation, and stopping replaces its rest."""

from dataclasses import dataclass
from typing import Any

from tests.sagemaker_simulator import errors
from tests.sagemaker_simulator.clock import Event
from tests.sagemaker_simulator.faults import Rule
from tests.sagemaker_simulator.timings import Timings
from tests.sagemaker_simulator.world import Region

MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Pending": "Waiting for training capacity",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Interrupted": "Training job was interrupted: spot capacity was reclaimed",
    "Restarting": "Restarting the training job after an internal error",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job exceeded MaxWaitTimeInSeconds provided",
}
BUSY = {"Downloading", "Training", "Uploading", "Stopping"}
"""Secondary statuses whose time is training time."""
DEFAULT_MAX_RUNTIME = 86400
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


@dataclass(frozen=True)
class Phase:
    """A secondary status and how long it lasts."""

    status: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Phases, and how the job ends after them."""

    phases: list[Phase]
    primary: str
    secondary: str
    failure_reason: str | None = None


def plan(request: dict[str, Any], outcome: Rule, timings: Timings) -> Plan:
    """What will happen to a job if nobody stops it."""
    start = [Phase("Starting", timings.training_starting)]
    channels = request.get("InputDataConfig", [])
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    if any(channel.get("InputMode", mode) == "File" for channel in channels):
        start.append(Phase("Downloading", timings.training_downloading))
    phases = list(start)
    if outcome.pending:
        phases.insert(1, Phase("Pending", outcome.pending))
    reason = outcome.failure_reason
    if reason and reason.startswith("CapacityError"):
        waiting = [phase for phase in phases if phase.status != "Downloading"]
        return _limited(request, timings, Plan(waiting, "Failed", "Failed", reason))
    if reason and reason.startswith("ClientError"):
        return _limited(request, timings, Plan(phases, "Failed", "Failed", reason))
    spot = request.get("EnableManagedSpotTraining", False)
    duration = timings.training if outcome.duration is None else outcome.duration
    interruptions = outcome.interruptions if spot else 0
    piece = duration / (interruptions + 1)
    for _ in range(interruptions):
        phases += [Phase("Training", piece), Phase("Interrupted", timings.training_interrupted), *start]
    last = piece if request.get("CheckpointConfig") or not interruptions else duration
    attempts = request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    for _ in range(min(outcome.restarts, attempts)):
        phases += [Phase("Training", last / 2), Phase("Restarting", timings.training_restarting), *start]
    if outcome.restarts > attempts:
        phases.append(Phase("Training", last / 2))
        return _limited(request, timings, Plan(phases, "Failed", "Failed", reason or INTERNAL_ERROR))
    phases.append(Phase("Training", last))
    if reason:
        return _limited(request, timings, Plan(phases, "Failed", "Failed", reason))
    phases.append(Phase("Uploading", timings.training_uploading))
    return _limited(request, timings, Plan(phases, "Completed", "Completed"))


def _limited(request: dict[str, Any], timings: Timings, unlimited: Plan) -> Plan:
    """The same with MaxRuntimeInSeconds (of training) and MaxWaitTimeInSeconds (of everything) kept."""
    condition = request.get("StoppingCondition", {})
    runtime_left = condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
    wait_left = condition.get("MaxWaitTimeInSeconds", float("inf"))
    phases: list[Phase] = []
    for phase in unlimited.phases:
        allowed = min(phase.seconds, wait_left)
        if phase.status == "Training":
            allowed = min(allowed, runtime_left)
            runtime_left -= allowed
        wait_left -= allowed
        phases.append(Phase(phase.status, allowed))
        if allowed < phase.seconds and phase.status != "Uploading":
            if any(each.status == "Training" for each in phases):
                phases.append(Phase("Uploading", timings.training_uploading))
            exceeded = "MaxWaitTimeExceeded" if wait_left <= 0 else "MaxRuntimeExceeded"
            return Plan(phases, "Stopped", exceeded)
    return unlimited


class TrainingJob:
    """One job: what was asked for, and where it stands."""

    kind = "training-job"

    def __init__(self, region: Region, request: dict[str, Any], *, outcome: Rule) -> None:
        self.region, self.request, self.outcome = region, request, outcome
        self.name: str = request["TrainingJobName"]
        self.arn = region.arn("training-job", self.name)
        self.tags: dict[str, str] = {}
        self.created = self.modified = region.world.now
        self.primary, self.secondary = "InProgress", "Starting"
        self.transitions: list[dict[str, Any]] = []
        self.failure_reason: str | None = None
        self.artifact: str | None = None
        self.training_started: float | None = None
        self.ended: float | None = None
        self.busy_seconds = 0.0
        self.warm_until: float | None = None
        self._plan = plan(request, outcome, region.world.timings)
        self._next: Event | None = None
        self._enter_phase(0)

    @property
    def terminal(self) -> bool:
        return self.primary in {"Completed", "Failed", "Stopped"}

    @property
    def usage(self) -> str:
        """The quota it counts against."""
        return "spot training job" if self.request.get("EnableManagedSpotTraining") else "training job"

    def instances_of(self, instance_type: str, usage: str) -> int:
        resources = self.request["ResourceConfig"]
        if self.terminal or usage != self.usage or resources.get("InstanceType") != instance_type:
            return 0
        return int(resources.get("InstanceCount", 1))

    def stop(self) -> None:
        """SIGTERM, grace, upload of what there is; an error unless InProgress."""
        if self.primary != "InProgress":
            raise errors.job_status(self.primary)
        trained = any(transition["Status"] == "Training" for transition in self.transitions)
        if self._next:
            self._next.cancel()
        self.primary = "Stopping"
        self._plan = Plan([Phase("Stopping", self.region.world.timings.training_stopping)], "Stopped", "Stopped")
        self._enter_phase(0, keep_artifact=trained)

    def check_deletable(self) -> None:
        """Raise unless the job has ended and keeps no warm pool."""
        if not self.terminal:
            raise errors.job_status(self.primary)
        if self.warm_pool() == "Available":
            raise errors.AwsError(
                "ResourceInUse", f"Training job {self.arn} retains an Available managed warm pool and can't be deleted."
            )

    def delete(self) -> None:
        """The name is free when the deletion is over."""
        self.primary = "Deleting"
        self.region.world.agenda.after(self.region.world.timings.training_deleting, self._forget)

    def _forget(self) -> None:
        self.region.training_jobs.pop(self.name, None)

    def warm_pool(self) -> str | None:
        if self.warm_until is None:
            return None
        return "Available" if self.region.world.now < self.warm_until else "Terminated"

    def _enter_phase(self, number: int, *, keep_artifact: bool = True) -> None:
        if number == len(self._plan.phases):
            self._end(keep_artifact=keep_artifact)
            return
        phase = self._plan.phases[number]
        self._transition(phase.status)
        if phase.status in {"Downloading", "Training"} and self.training_started is None:
            self.training_started = self.region.world.now
        self._next = self.region.world.agenda.after(
            phase.seconds, lambda: self._enter_phase(number + 1, keep_artifact=keep_artifact)
        )

    def _transition(self, status: str) -> None:
        now = self.region.world.now
        if self.transitions:
            last = self.transitions[-1]
            last["EndTime"] = now
            if last["Status"] in BUSY and self.training_started is not None:
                self.busy_seconds += now - max(last["StartTime"], self.training_started)
        self.secondary, self.modified = status, now
        message = MESSAGES.get(status, status)
        self.transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})

    def _end(self, *, keep_artifact: bool) -> None:
        ending = self._plan
        primary, secondary, reason = ending.primary, ending.secondary, ending.failure_reason
        if primary != "Failed" and keep_artifact and any(phase["Status"] == "Training" for phase in self.transitions):
            prefix = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
            uri = f"{prefix}/{self.name}/output/model.tar.gz"
            refusal = self.region.world.storage.write(uri, region=self.region.name)
            if refusal is None:
                self.artifact = uri
            else:
                primary = secondary = "Failed"
                reason = f"ClientError: Artifact upload failed: {refusal}"
        self._transition(secondary)
        self.transitions[-1]["EndTime"] = self.region.world.now
        self.primary, self.failure_reason = primary, reason[:1024] if reason else None
        if self.failure_reason:
            self.transitions[-1]["StatusMessage"] = self.failure_reason
            self.region.log("/aws/sagemaker/TrainingJobs", f"{self.name}/algo-1-1", *_traceback(self.failure_reason))
        self.ended = self.region.world.now
        keep_alive = self.request["ResourceConfig"].get("KeepAlivePeriodInSeconds")
        if keep_alive and primary == "Completed":
            self.warm_until = self.ended + keep_alive

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTrainingJob."""
        answer = {key: value for key, value in self.request.items() if key != "Tags"}
        answer |= {
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.primary,
            "SecondaryStatus": self.secondary,
            "SecondaryStatusTransitions": self.transitions,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "FailureReason": self.failure_reason,
            "TrainingStartTime": self.training_started,
            "TrainingEndTime": self.ended,
            "ModelArtifacts": {"S3ModelArtifacts": self.artifact} if self.artifact else None,
            "EnableNetworkIsolation": self.request.get("EnableNetworkIsolation", False),
            "EnableInterContainerTrafficEncryption": self.request.get("EnableInterContainerTrafficEncryption", False),
            "EnableManagedSpotTraining": self.request.get("EnableManagedSpotTraining", False),
            "ProfilingStatus": "Disabled",
        }
        answer["StoppingCondition"] = {
            "MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME,
            **self.request.get("StoppingCondition", {}),
        }
        if self.ended is not None and self.training_started is not None:
            share = self.region.world.timings.spot_billable_fraction if self.usage.startswith("spot") else 1.0
            answer["TrainingTimeInSeconds"] = round(self.busy_seconds)
            answer["BillableTimeInSeconds"] = max(1, round(self.busy_seconds * share))
        if self.ended is not None and self.outcome.metrics:
            answer["FinalMetricDataList"] = [
                {"MetricName": name, "Value": value, "Timestamp": self.ended}
                for name, value in self.outcome.metrics.items()
            ]
        if (pool := self.warm_pool()) is not None:
            answer["WarmPoolStatus"] = {"Status": pool}
        return answer


def _traceback(reason: str) -> list[str]:
    return [
        "Traceback (most recent call last):",
        '  File "/opt/ml/code/train.py", line 42, in <module>',
        "    main()",
        f"RuntimeError: {reason}",
    ]
