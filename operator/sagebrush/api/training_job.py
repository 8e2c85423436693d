"""TrainingJob: one run of a training algorithm over data channels, leaving one model artifact."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.aws import Cost
from sagebrush.api.meta import (
    ApiModel,
    Backend,
    ConditionList,
    Duration,
    EnvVar,
    PodSettings,
    Sha256,
    StorageUri,
    Text,
    list_map,
    rules,
)
from sagebrush.api.sagemaker_training import SageMakerJobStatus, SageMakerTraining
from sagebrush.api.training_inputs import Algorithm, Channel, Output


class TrainingJobSpec(ApiModel):
    """What to train, on what, and where the model goes. Once started, only suspend and sageMaker.deletionPolicy may change."""

    _cluster_refuses: ClassVar[list[tuple[str, str]]] = [
        (
            "has(self.sageMaker)",
            "spec.sageMaker is honoured by backend: SageMaker only; remove it, or change the backend",
        ),
        (
            "has(self.channels) && self.channels.exists(c, c.inputMode != 'File')",
            "spec.channels[].inputMode: backend Cluster honours File only",
        ),
        (
            "has(self.channels) && self.channels.exists(c, c.dataType != 'S3Prefix')",
            "spec.channels[].dataType: backend Cluster honours S3Prefix only",
        ),
        (
            "has(self.channels) && self.channels.exists(c, c.recordWrapper != 'None')",
            "spec.channels[].recordWrapper: backend Cluster honours None only",
        ),
        ("has(self.algorithm.version)", "spec.algorithm.version is honoured by backend: SageMaker only"),
    ]
    _sagemaker_refuses: ClassVar[list[tuple[str, str]]] = [
        ("has(self.cluster)", "spec.cluster is honoured by backend: Cluster only; remove it, or change the backend"),
        ("!has(self.sageMaker)", "spec.sageMaker is needed with backend: SageMaker, at least roleArn and instanceType"),
        (
            "has(self.channels) && self.channels.exists(c, !c.uri.startsWith('s3://'))",
            "spec.channels[].uri: backend SageMaker honours s3:// only",
        ),
        ("!self.output.uri.startsWith('s3://')", "spec.output.uri: backend SageMaker honours s3:// only"),
        ("self.output.uploadTimeout != '10m'", "spec.output.uploadTimeout is honoured by backend: Cluster only"),
        (
            "self.algorithm.imagePullPolicy != 'IfNotPresent'",
            "spec.algorithm.imagePullPolicy is honoured by backend: Cluster only",
        ),
        (
            "has(self.sageMaker) && has(self.sageMaker.spot) && duration(self.sageMaker.spot.maxWait) < duration(self.maxRuntime)",
            "spec.sageMaker.spot.maxWait must not be below spec.maxRuntime: it counts waiting and training together",
        ),
    ]
    model_config = ConfigDict(
        json_schema_extra=rules(
            *((f"self.backend != 'Cluster' || !({test})", message) for test, message in _cluster_refuses),
            *((f"self.backend != 'SageMaker' || !({test})", message) for test, message in _sagemaker_refuses),
            ("self.backend == oldSelf.backend", "spec.backend can't change; create another TrainingJob"),
        )
    )

    backend: Backend = Backend.CLUSTER
    """Cluster runs a Kubernetes Job; SageMaker calls CreateTrainingJob."""
    suspend: bool = False
    """
    true starts nothing, and stops what runs (SIGTERM, then a grace period). Set to false again, backend Cluster starts over;
    a job that was stopped in SageMaker has ended.
    """
    algorithm: Algorithm
    """What trains."""
    hyper_parameters: Annotated[
        dict[str, Annotated[str, Field(max_length=2500)]],
        Field(max_length=100),
    ] = {}
    """Hyperparameters, as strings, as SageMaker passes them."""
    channels: Annotated[list[Channel], Field(max_length=20, json_schema_extra=list_map("name"))] = []
    """Input data (SageMaker's InputDataConfig)."""
    output: Output
    """Where the model artifact goes."""
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    """Instances that train together: hosts algo-1 … algo-n."""
    max_runtime: Duration = "24h"
    """Longest time the job may run; then it is stopped with reason MaxRuntimeExceeded. SageMaker allows up to 672h."""
    environment: Annotated[list[EnvVar], Field(max_length=100, json_schema_extra=list_map("name"))] = []
    """Extra environment variables of the algorithm's container."""
    cluster: PodSettings | None = None
    """How pods are placed, with backend Cluster."""
    sage_maker: SageMakerTraining | None = None
    """What only SageMaker has, with backend SageMaker."""


class TrainingPhase(StrEnum):
    """Where a job is: SageMaker's secondary status."""

    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    INTERRUPTED = "Interrupted"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in {TrainingPhase.COMPLETED, TrainingPhase.FAILED, TrainingPhase.STOPPED}


class PhaseTransition(ApiModel):
    """One phase that the job was in (SageMaker's SecondaryStatusTransition)."""

    phase: TrainingPhase
    """The phase."""
    start_time: datetime
    """When it began."""
    end_time: datetime | None = None
    """When the next began."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """What was going on."""


class Metric(ApiModel):
    """The last value of a metric in the training log."""

    name: Text
    """Name, such as validation:accuracy."""
    value: float
    """Last value seen."""


class ModelArtifact(ApiModel):
    """The packed model that a job left."""

    uri: StorageUri
    """Where model.tar.gz lies."""
    sha256: Sha256 | None = None
    """Checksum of model.tar.gz, hexadecimal; an endpoint verifies it before it loads. SageMaker tells none."""
    size_bytes: int | None = None
    """Size of model.tar.gz in bytes. SageMaker tells none."""


class FailureClass(StrEnum):
    """Who can mend a failure."""

    USER = "User"
    CAPACITY = "Capacity"
    PLATFORM = "Platform"


class Failure(ApiModel):
    """Why a job failed."""

    failure_class: FailureClass
    """User: the manifest, data or algorithm. Capacity: no room now. Platform: the cluster or Sagebrush."""
    message: Annotated[str, Field(max_length=2048)]
    """What the container wrote to /opt/ml/output/failure, or its last log lines, or the cluster's own words."""
    exit_code: int | None = None
    """Exit code of the container, where one ended."""


class TrainingJobStatus(ApiModel):
    """What is known of the job."""

    observed_generation: int | None = None
    """metadata.generation that this status was computed from."""
    phase: TrainingPhase | None = None
    """Where the job is."""
    conditions: ConditionList = []
    """Ready (True once Completed), Reconciling, Stalled."""
    job_name: Text | None = None
    """Name of the Kubernetes Job, or of the job in SageMaker."""
    agent_image: Text | None = None
    """Image of the fetching and uploading containers, pinned when the job started."""
    training_image: Text | None = None
    """Image that trains, pinned when the job started."""
    start_time: datetime | None = None
    """When the job was started."""
    completion_time: datetime | None = None
    """When it completed, failed or was stopped."""
    training_seconds: int | None = None
    """Seconds the algorithm's container ran, whole seconds."""
    transitions: Annotated[list[PhaseTransition], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = []
    """Phases as they passed."""
    metrics: Annotated[list[Metric], Field(json_schema_extra=list_map("name"))] = []
    """Final metrics."""
    model_artifact: ModelArtifact | None = None
    """The model, once Completed."""
    failure: Failure | None = None
    """Why it failed, once Failed."""
    sage_maker: SageMakerJobStatus | None = None
    """What only SageMaker tells."""
    cost: Cost | None = None
    """What it costs in SageMaker, estimated."""


_FROZEN_ONCE_STARTED = (
    "algorithm",
    "hyperParameters",
    "channels",
    "output",
    "instanceCount",
    "maxRuntime",
    "environment",
    "cluster",
)
_FREE_IN_SAGEMAKER = "deletionPolicy"
"""What becomes of a job is decided when it is deleted."""
_NOT_STARTED = "!has(oldSelf.status) || !has(oldSelf.status.startTime)"


def _same(field: str) -> str:
    """Holds where both objects have the same there, or both have nothing."""
    new, old = f"self.spec.{field}", f"oldSelf.spec.{field}"
    return f"(has({new}) && has({old}) ? {new} == {old} : !has({new}) && !has({old}))"


def _unchanged(field: str) -> str:
    return f"{_NOT_STARTED} || {_same(field)}"


def _unchanged_in_sagemaker() -> str:
    fields = sorted(str(info.alias) for info in SageMakerTraining.model_fields.values())
    parts = " && ".join(_same(f"sageMaker.{field}") for field in fields if field != _FREE_IN_SAGEMAKER)
    neither = "!has(self.spec.sageMaker) && !has(oldSelf.spec.sageMaker)"
    return f"{_NOT_STARTED} || (has(self.spec.sageMaker) && has(oldSelf.spec.sageMaker) ? {parts} : {neither})"


class TrainingJob(ApiModel):
    """A run of a training algorithm over data channels, on the cluster or on SageMaker, leaving one model artifact."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
                "metadata.name: at most 63 letters, digits and hyphens, as SageMaker's job names",
            ),
            (
                "self.spec.instanceCount == 1 || self.metadata.name.matches('^[a-z]')",
                "metadata.name: starts with a letter where spec.instanceCount is above 1: it becomes a Service's name",
            ),
            *(
                (_unchanged(field), f"spec.{field} can't change once the job has started; create another TrainingJob")
                for field in _FROZEN_ONCE_STARTED
            ),
            (
                _unchanged_in_sagemaker(),
                "spec.sageMaker can't change once the job has started; create another TrainingJob (deletionPolicy may change)",
            ),
        )
    )

    api_version: Literal["sagebrush.dev/v1alpha1"] = "sagebrush.dev/v1alpha1"
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: dict[str, Any]
    spec: TrainingJobSpec
    """What to train."""
    status: TrainingJobStatus | None = None
    """What is known of it; written by the operator."""
