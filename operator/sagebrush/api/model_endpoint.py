"""ModelEndpoint: a model behind an HTTP address, with as many replicas as its traffic needs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.meta import (
    ApiModel,
    Backend,
    ConditionList,
    Duration,
    EnvVar,
    LocalObjectReference,
    PodSettings,
    Sha256,
    StorageUri,
    Text,
    list_map,
    rules,
)
from sagebrush.api.sagemaker import SageMakerHosting


class Artifact(ApiModel):
    """A packed model by address."""

    uri: StorageUri
    """Where model.tar.gz lies."""
    sha256: Sha256 | None = None
    """Its checksum; the pods refuse to load anything else. Unset: whatever lies there is taken, and not verified."""


class ServingContainer(ApiModel):
    """An image that speaks SageMaker's hosting contract: serve, GET /ping and POST /invocations on port 8080."""

    image: Annotated[str, Field(min_length=1, max_length=512)]
    """The image; it is started with the argument serve."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the node pulls the image."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """
    Port that serves /metrics with the counter sagebrush_invocations_total. Needed for scaling on requests with an image
    of your own; the built-in server has it.
    """


class Model(ApiModel):
    """What is served: a trained model, an artifact by address, or an image that has the model inside."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.trainingJobRef) && has(self.artifact))",
                "give at most one of trainingJobRef and artifact",
            ),
            (
                "has(self.trainingJobRef) || has(self.artifact) || has(self.container)",
                "give a trainingJobRef, an artifact, or a container whose image has the model inside",
            ),
        )
    )

    training_job_ref: LocalObjectReference | None = None
    """TrainingJob of this namespace whose model is served once it is Completed."""
    artifact: Artifact | None = None
    """A packed model by address."""
    container: ServingContainer | None = None
    """Image that serves; the built-in model server, or a trainingJobRef's own image, when unset."""
    environment: Annotated[list[EnvVar], Field(max_length=100, json_schema_extra=list_map("name"))] = []
    """Extra environment variables of the serving container."""
    startup_timeout: Duration = "10m"
    """Longest time a replica may take until /ping answers 200 (SageMaker's ContainerStartupHealthCheckTimeout)."""


class ScalingTarget(ApiModel):
    """What each replica should carry."""

    requests_per_minute: Annotated[float, Field(gt=0)]
    """Requests per minute per replica (SageMaker's SageMakerVariantInvocationsPerInstance)."""


class Scaling(ApiModel):
    """Target tracking on request metrics in Prometheus. Missing data never scales in."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
        )
    )

    min_replicas: Annotated[
        int,
        Field(
            le=1000,
            json_schema_extra=rules(
                (
                    "self >= 1",
                    "minReplicas: at least 1; scale to zero needs a gateway that holds requests, which this version has not",
                ),
            ),
        ),
    ] = 1
    """Fewest replicas; at least 1."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas."""
    target: ScalingTarget
    """What each replica should carry."""
    scale_out_cooldown: Duration = "0s"
    """Time after a scale-out before the next one."""
    scale_in_cooldown: Duration = "5m"
    """Time for which fewer replicas must have been enough before any is removed, and since the last change."""


class ServiceSettings(ApiModel):
    """How the endpoint is reached inside the cluster and from outside. Honoured by backend Cluster only."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.nodePort) || self.type == 'NodePort'", "nodePort is honoured with type: NodePort only"),
        )
    )

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service."""
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    """Port of the Service."""
    node_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port on every node, with type NodePort; the cluster chooses when unset."""


class EndpointPodSettings(PodSettings):
    """Pods and Service of an endpoint. Honoured by backend Cluster only."""

    service: ServiceSettings = ServiceSettings()
    """How the endpoint is reached."""


_SCALED = "spec.replicas is owned by spec.scaling here: change spec.scaling.minReplicas and maxReplicas, or remove spec.scaling"


class ModelEndpointSpec(ApiModel):
    """What to serve and how many replicas."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.scaling) || self.replicas == 1", _SCALED),
            (
                "self.backend != 'Cluster' || !has(self.sageMaker)",
                "spec.sageMaker is honoured by backend: SageMaker only; remove it, or change the backend",
            ),
            (
                "self.backend != 'SageMaker' || !has(self.cluster)",
                "spec.cluster is honoured by backend: Cluster only; remove it, or change the backend",
            ),
        )
    )

    backend: Backend = Backend.CLUSTER
    """Cluster runs a Deployment and a Service; SageMaker runs an endpoint there."""
    model: Model
    """What is served."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Number of replicas where there is no spec.scaling; kubectl scale sets it."""
    scaling: Scaling | None = None
    """Scaling policy; a fixed number of replicas when unset."""
    cluster: EndpointPodSettings | None = None
    """How pods are placed and reached, with backend Cluster."""
    sage_maker: SageMakerHosting | None = None
    """What only SageMaker has, with backend SageMaker."""


class ServedModel(ApiModel):
    """The model that the desired revision serves."""

    uri: Text | None = None
    """Where the artifact was fetched from; unset where the image has the model inside."""
    sha256: Sha256 | None = None
    """Checksum that every replica verified before loading."""
    training_job: Text | None = None
    """TrainingJob that it came from."""
    image: Text
    """Serving image, pinned for this revision."""
    fetch_image: Text | None = None
    """Image that fetches the artifact, pinned for this revision."""


class ScalingDecision(ApiModel):
    """One change of the number of replicas."""

    time: datetime
    """When it was decided."""
    from_replicas: int
    """Before."""
    to_replicas: int
    """After."""
    reason: Text
    """Why."""


class ScalingStatus(ApiModel):
    """What the policy sees and why it chose the number of replicas."""

    desired_replicas: int
    """Replicas chosen."""
    observed_requests_per_minute: float | None = None
    """Requests per minute over all replicas; unset while nothing usable was measured."""
    observed_at: datetime | None = None
    """Time of the newest sample used."""
    target_requests_per_minute: float
    """Requests per minute that each replica should carry."""
    reason: Text
    """CamelCase word: what decided."""
    message: Annotated[str, Field(max_length=2048)]
    """The decision in a sentence."""
    last_scale_time: datetime | None = None
    """When the number of replicas last changed."""
    decisions: Annotated[
        list[ScalingDecision], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """The newest changes, newest last."""


class ModelEndpointStatus(ApiModel):
    """What is known of the endpoint."""

    observed_generation: int | None = None
    """metadata.generation that this status was computed from."""
    conditions: ConditionList = []
    """Ready, Reconciling, Stalled, ScalingActive."""
    url: Text | None = None
    """Address for POST /invocations inside the cluster."""
    revision: Text | None = None
    """Content hash of what the desired replicas run."""
    model: ServedModel | None = None
    """The model that the desired revision serves."""
    replicas: int | None = None
    """Replicas that exist."""
    ready_replicas: int | None = None
    """Replicas of the desired revision that serve."""
    selector: Text | None = None
    """Label selector of the replicas, for the scale subresource."""
    scaling: ScalingStatus | None = None
    """What the scaling policy sees and does."""


class ModelEndpoint(ApiModel):
    """A model behind an HTTP address, on the cluster or on SageMaker, with as many replicas as its traffic needs."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')",
                "metadata.name: at most 63 lower-case letters, digits and hyphens, a letter first: it becomes a Service's name",
            ),
        )
    )

    api_version: Literal["sagebrush.dev/v1alpha1"] = "sagebrush.dev/v1alpha1"
    kind: Literal["ModelEndpoint"] = "ModelEndpoint"
    metadata: dict[str, Any]
    spec: ModelEndpointSpec
    """What to serve."""
    status: ModelEndpointStatus | None = None
    """What is known of it; written by the operator."""
