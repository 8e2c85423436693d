"""What a SageMaker endpoint takes beyond the common fields, and what AWS tells beyond them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.aws import AwsLocation, InstanceType, KmsKey, S3Uri, limited, place_rules
from sagebrush.api.aws_limits import LIMITS
from sagebrush.api.meta import ApiModel, Duration, Text, described_in, list_map, rules
from sagebrush.api.model import Model
from sagebrush.api.scaling import VariantScaling
from sagebrush.api.scaling_status import ScalingStatus

_ONE_COMPUTE = "has(self.instanceType) != has(self.serverless)"


class Serverless(ApiModel):
    """A variant without instances: AWS starts containers as requests come."""

    memory_size_in_mb: Annotated[int, limited("ServerlessMemorySizeInMB"), Field(multiple_of=1024)] = 2048
    """Memory in MB: 1024, 2048, 3072, 4096, 5120 or 6144."""
    max_concurrency: Annotated[int, limited("ServerlessMaxConcurrency")] = 20
    """Most requests at the same time."""
    provisioned_concurrency: Annotated[int, limited("ServerlessProvisionedConcurrency")] | None = None
    """Containers kept warm."""


class Variant(ApiModel):
    """One production variant: its share of the traffic and what carries it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_ONE_COMPUTE, "give exactly one of instanceType and serverless"),
            ("!has(self.serverless) || !has(self.scaling)", "a serverless variant scales by itself: remove scaling"),
            (
                "!has(self.serverless) || self.replicas == 1",
                "a serverless variant has no replicas: set serverless.maxConcurrency",
            ),
            ("!has(self.scaling) || self.replicas == 1", "replicas is owned by scaling here: change its bounds"),
            (
                "!has(self.serverless) || !has(self.model) || self.model.startupTimeout == '10m'",
                "model.startupTimeout: remove it from a serverless variant",
            ),
            (
                "!has(self.model) || !has(self.model.artifact) || self.model.artifact.uri.startsWith('s3://') && !has(self.model.artifact.sha256)",
                "model.artifact: SageMaker takes s3:// only, and verifies no sha256",
            ),
            (
                "!has(self.model) || !has(self.model.container) || !has(self.model.container.metricsPort) && self.model.container.imagePullPolicy == 'IfNotPresent'",
                "model.container: metricsPort and imagePullPolicy are honoured by backend: Cluster only",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1), limited("VariantName")]
    """Name of the variant."""
    weight: Annotated[float, limited("VariantWeight")] = 1.0
    """Share of the traffic, relative to the sum of all weights."""
    model: Annotated[Model | None, Field(json_schema_extra=described_in("spec.model"))] = None
    """What it serves, as in spec.model; that one when unset."""
    instance_type: InstanceType | None = None
    """Instance type, such as ml.m5.xlarge."""
    serverless: Serverless | None = None
    """No instances."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of instances where there is no scaling."""
    scaling: Annotated[VariantScaling | None, Field(json_schema_extra=described_in("spec.scaling"))] = None
    """Scaling policy of this variant, as in spec.scaling; a fixed number of instances when unset."""


class DataCapture(ApiModel):
    """Requests and responses, kept in S3."""

    sampling_percentage: Annotated[int, limited("SamplingPercentage")]
    """Share of the requests that is kept."""
    destination_uri: Annotated[S3Uri, Field(max_length=LIMITS["sagemaker.DestinationS3Uri"]["max_length"])]
    """Prefix in S3."""
    kms_key_id: KmsKey | None = None
    """Key that encrypts what is kept."""
    capture: Literal["Input", "Output", "InputAndOutput"] = "InputAndOutput"
    """What of a call is kept."""
    csv_content_types: Annotated[list[Annotated[str, limited("CsvContentType")]], Field(max_length=10)] = []
    """Content types that are kept as CSV text."""
    json_content_types: Annotated[list[Annotated[str, limited("JsonContentType")]], Field(max_length=10)] = []
    """Content types that are kept as JSON text."""


class CapacitySize(ApiModel):
    """Part of a fleet."""

    type: Literal["InstanceCount", "CapacityPercent"]
    """What value counts."""
    value: Annotated[int, Field(ge=1)]
    """Instances, or percent of the fleet."""


class BlueGreen(ApiModel):
    """A new fleet beside the old one; costs both while it shifts."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("(self.traffic == 'Canary') == has(self.canarySize)", "canarySize belongs to traffic: Canary"),
            ("(self.traffic == 'Linear') == has(self.stepSize)", "stepSize belongs to traffic: Linear"),
        )
    )

    traffic: Literal["AllAtOnce", "Canary", "Linear"] = "AllAtOnce"
    """How the traffic moves to the new fleet."""
    canary_size: CapacitySize | None = None
    """First part that moves; at most half of the fleet."""
    step_size: CapacitySize | None = None
    """Part that moves in each step; 10 to 50 percent of the fleet."""
    wait_interval_seconds: Annotated[int, limited("WaitIntervalInSeconds")] = 300
    """Baking time after each step, in which the alarms are watched."""
    termination_wait_seconds: Annotated[int, limited("TerminationWaitInSeconds")] = 0
    """Time that the old fleet is kept after the last step."""


class Rolling(ApiModel):
    """The fleet is replaced in batches."""

    maximum_batch_size: CapacitySize
    """Each batch; 5 to 50 percent of the fleet."""
    rollback_maximum_batch_size: CapacitySize | None = None
    """Each batch of a rollback."""
    wait_interval_seconds: Annotated[int, limited("WaitIntervalInSeconds")] = 300
    """Baking time after each batch, in which the alarms are watched."""


class Deployment(ApiModel):
    """How an update reaches the endpoint. Blue/green, all at once, when unset."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.blueGreen) != has(self.rolling)", "give exactly one of blueGreen and rolling"),
        )
    )

    blue_green: BlueGreen | None = None
    """A new fleet beside the old one."""
    rolling: Rolling | None = None
    """In batches."""
    maximum_execution_timeout_seconds: Annotated[int, limited("MaximumExecutionTimeoutInSeconds")] | None = None
    """Longest time of an update; it rolls back after."""
    auto_rollback_alarms: Annotated[
        list[Annotated[str, limited("AlarmName")]],
        Field(max_length=10, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """CloudWatch alarms; an update during which one of them goes off is rolled back."""


class SageMakerHosting(AwsLocation):
    """What an endpoint takes beyond the common fields. Honoured by backend SageMaker only."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.variants) ? !has(self.instanceType) && !has(self.serverless) : " + _ONE_COMPUTE,
                "give exactly one of instanceType, serverless and variants",
            ),
            (
                "!has(self.serverless) || !has(self.volumeSizeGiB) && !has(self.modelDownloadTimeout)",
                "volumeSizeGiB and modelDownloadTimeout: remove them, a serverless endpoint has neither",
            ),
            *place_rules("ModelEndpoint"),
        )
    )

    name: Annotated[str, Field(min_length=1), limited("EndpointName")] | None = None
    """Name in SageMaker, unique ignoring case; made from namespace, name and uid when unset."""
    instance_type: InstanceType | None = None
    """Instance type of the only variant, such as ml.m5.xlarge."""
    serverless: Serverless | None = None
    """The only variant has no instances."""
    variants: (
        Annotated[list[Variant], Field(min_length=1, max_length=10, json_schema_extra=list_map("name"))] | None
    ) = None
    """Several variants; one of name AllTraffic, with spec.model, spec.replicas and spec.scaling, when unset."""
    volume_size_gi_b: Annotated[int, limited("ProductionVariantVolumeSizeInGB")] | None = None
    """Size of each instance's volume in GiB."""
    kms_key_id: KmsKey | None = None
    """Key that encrypts the volumes."""
    model_download_timeout: Duration | None = None
    """Longest time for fetching the artifact, 60 s to 1 h; AWS' default when unset."""
    data_capture: DataCapture | None = None
    """Keeps requests and responses; nothing is kept when unset."""
    deployment: Deployment | None = None
    """How an update reaches the endpoint."""
    revision: Annotated[str, Field(max_length=16, pattern=r"^[0-9a-f]+$")] | None = None
    """Rollback: serves this one of status.revisions, whatever the spec says of model and variants."""
    revision_history_limit: Annotated[int, Field(ge=0, le=20)] = 3
    """Older revisions (endpoint configuration and models) that are kept for a rollback."""


class VariantStatus(ApiModel):
    """A variant as AWS describes it."""

    name: Text
    """Name of the variant."""
    instance_type: Text | None = None
    """Instance type; unset where it is serverless."""
    current_instances: int | None = None
    """Instances that serve."""
    desired_instances: int | None = None
    """Instances asked for."""
    current_weight: float | None = None
    """Weight in force."""
    desired_weight: float | None = None
    """Weight asked for."""
    status: Text | None = None
    """VariantStatus, in SageMaker's words."""
    scaling: Annotated[ScalingStatus | None, Field(json_schema_extra=described_in("status.scaling"))] = None
    """What this variant's policy sees and does, as in status.scaling."""


class Revision(ApiModel):
    """An endpoint configuration and its models."""

    revision: Text
    """Content hash."""
    endpoint_config: Text
    """Name of the endpoint configuration."""
    models: Annotated[list[Text], Field(max_length=10)] = []
    """Names of the models."""
    variants: Annotated[list[Text], Field(max_length=10)] = []
    """Names of the variants."""
    images: Annotated[list[Text], Field(max_length=10)] = []
    """Serving images of the models."""
    artifacts: Annotated[list[Text], Field(max_length=10)] = []
    """Artifacts of the models."""
    configuration: Annotated[str, Field(max_length=16384)] | None = None
    """What the configuration says, as JSON, to make it again."""
    created: datetime
    """When it was made."""
    collect_after: datetime | None = None
    """Marked as out of use; removed from AWS after this time, if still not in use."""


class UpdateAttempt(ApiModel):
    """The newest attempt to bring a revision to the endpoint."""

    endpoint_config: Text
    """The endpoint configuration asked for."""
    time: datetime
    """When."""
    generation: int
    """metadata.generation at that time."""
    attempts: int = 1
    """How often in a row."""
    failure: Text | None = None
    """Why it failed, in AWS' words where there are any."""
    failed: datetime | None = None
    """When it failed."""


class SageMakerEndpointStatus(ApiModel):
    """What only SageMaker tells of an endpoint."""

    endpoint_name: Text
    """Name of the endpoint in SageMaker: what InvokeEndpoint wants."""
    arn: Text | None = None
    """ARN of the endpoint."""
    status: Text | None = None
    """EndpointStatus, in SageMaker's words."""
    endpoint_config: Text | None = None
    """Endpoint configuration that serves."""
    failure_reason: Text | None = None
    """FailureReason, in SageMaker's words."""
    variants: Annotated[list[VariantStatus], Field(max_length=10, json_schema_extra=list_map("name"))] = []
    """The variants as they are."""
    last_update: UpdateAttempt | None = None
    """The newest attempt to bring a revision to the endpoint, until it has succeeded."""
    recreations: int = 0
    """How often it was made anew after it Failed, since it last served."""
