"""ModelEndpoint: a model behind an HTTP address, with as many replicas as its traffic needs."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.aws import Cost
from sagebrush.api.meta import (
    ApiModel,
    Backend,
    ConditionList,
    PodSettings,
    Sha256,
    Text,
    list_map,
    rules,
)
from sagebrush.api.model import Model
from sagebrush.api.sagemaker_hosting import Revision, SageMakerEndpointStatus, SageMakerHosting
from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import ScalingStatus


class ServiceSettings(ApiModel):
    """How the endpoint is reached. Honoured by backend Cluster only."""

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

    _cluster_refuses: ClassVar[list[tuple[str, str]]] = [
        (
            "has(self.sageMaker)",
            "spec.sageMaker is honoured by backend: SageMaker only; remove it, or change the backend",
        ),
        (
            "has(self.scaling) && self.scaling.engine != 'Sagebrush'",
            "spec.scaling.engine: backend Cluster honours Sagebrush only",
        ),
    ]
    _sagemaker_refuses: ClassVar[list[tuple[str, str]]] = [
        ("has(self.cluster)", "spec.cluster is honoured by backend: Cluster only; remove it, or change the backend"),
        ("!has(self.sageMaker)", "spec.sageMaker is needed with backend: SageMaker, at least roleArn and instanceType"),
        (
            "has(self.model.artifact) && !self.model.artifact.uri.startsWith('s3://')",
            "spec.model.artifact.uri: backend SageMaker honours s3:// only",
        ),
        (
            "has(self.model.artifact) && has(self.model.artifact.sha256)",
            "spec.model.artifact.sha256: SageMaker verifies no checksum; remove it",
        ),
        (
            "has(self.model.container) && (has(self.model.container.metricsPort) || self.model.container.imagePullPolicy != 'IfNotPresent')",
            "spec.model.container: metricsPort and imagePullPolicy are honoured by backend: Cluster only",
        ),
        (
            "self.replicas == 0",
            "spec.replicas: a SageMaker endpoint has at least one instance; delete the ModelEndpoint to stop it",
        ),
        (
            "has(self.sageMaker) && has(self.sageMaker.variants) && (has(self.scaling) || self.replicas != 1)",
            "spec.scaling and spec.replicas: with spec.sageMaker.variants each variant has its own",
        ),
        (
            "has(self.sageMaker) && has(self.sageMaker.serverless) && (has(self.scaling) || self.replicas != 1)",
            "spec.scaling and spec.replicas: a serverless endpoint scales by itself",
        ),
        (
            "has(self.scaling) && has(self.scaling.source) && self.scaling.source == 'Pods'",
            "spec.scaling.source: Pods is honoured by backend: Cluster only",
        ),
        (
            "has(self.sageMaker) && self.model.startupTimeout != '10m' && (has(self.sageMaker.serverless) || has(self.sageMaker.variants) && self.sageMaker.variants.all(v, has(v.serverless) || has(v.model)))",
            "spec.model.startupTimeout: remove it, nothing with instances serves spec.model",
        ),
    ]
    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.scaling) || self.replicas == 1", _SCALED),
            *((f"self.backend != 'Cluster' || !({test})", message) for test, message in _cluster_refuses),
            *((f"self.backend != 'SageMaker' || !({test})", message) for test, message in _sagemaker_refuses),
            ("self.backend == oldSelf.backend", "spec.backend can't change; create another ModelEndpoint"),
        )
    )

    backend: Backend = Backend.CLUSTER
    """Cluster runs a Deployment and a Service; SageMaker an endpoint."""
    model: Model
    """What is served."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas where there is no spec.scaling; kubectl scale sets it."""
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
    """Serving image, pinned."""
    fetch_image: Text | None = None
    """Image that fetches the artifact, pinned."""


class ModelEndpointStatus(ApiModel):
    """What is known of the endpoint."""

    observed_generation: int | None = None
    """metadata.generation that this status was computed from."""
    conditions: ConditionList = []
    """Ready, Reconciling, Stalled, ScalingActive."""
    url: Text | None = None
    """Address of POST /invocations, in the cluster or of SageMaker's runtime (signed requests)."""
    revision: Text | None = None
    """Content hash of what the desired replicas run."""
    model: ServedModel | None = None
    """The model that the desired revision serves."""
    replicas: int | None = None
    """Replicas that exist; of all variants together."""
    ready_replicas: int | None = None
    """Replicas of the desired revision that serve."""
    selector: Text | None = None
    """Label selector of the replicas, for the scale subresource."""
    scaling: ScalingStatus | None = None
    """What the scaling policy sees and does."""
    sage_maker: SageMakerEndpointStatus | None = None
    """What only SageMaker tells."""
    revisions: Annotated[list[Revision], Field(max_length=30, json_schema_extra=list_map("revision"))] = []
    """Revisions kept in SageMaker, that which served last at the end; spec.sageMaker.revision names one."""
    cost: Cost | None = None
    """What it costs in SageMaker, estimated."""


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
