"""Fields that only SageMaker has. Patterns and limits are those of the service's own API model."""

from typing import Annotated

from pydantic import Field

from sagebrush.api.meta import ApiModel, Duration

RoleArn = Annotated[
    str, Field(min_length=20, max_length=2048, pattern=r"^arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$")
]
SubnetId = Annotated[str, Field(max_length=32, pattern=r"^[-0-9a-zA-Z]+$")]
Arn = Annotated[str, Field(max_length=2048)]


class Vpc(ApiModel):
    """Subnets and security groups of the instances."""

    subnets: Annotated[list[SubnetId], Field(min_length=1, max_length=16)]
    """Subnet ids."""
    security_group_ids: Annotated[list[SubnetId], Field(min_length=1, max_length=5)]
    """Security group ids."""


class Spot(ApiModel):
    """Managed spot training."""

    max_wait: Duration
    """Longest time for waiting and training together; at least spec.maxRuntime."""
    checkpoint_uri: Annotated[str, Field(pattern=r"^s3://[^ ]+$", max_length=1024)] | None = None
    """Where checkpoints are kept between interruptions."""


class SageMakerTraining(ApiModel):
    """What CreateTrainingJob takes beyond the common fields. Honoured by backend SageMaker only."""

    role_arn: RoleArn
    """Role that SageMaker assumes."""
    region: Annotated[str, Field(max_length=32)] | None = None
    """Region; the operator's own when unset."""
    instance_type: Annotated[str, Field(min_length=4, max_length=63)]
    """Instance type, such as ml.m5.xlarge."""
    volume_size_gi_b: Annotated[int, Field(ge=1)] = 30
    """Size of each instance's volume in GiB."""
    volume_kms_key_id: Arn | None = None
    """Key that encrypts the volumes."""
    output_kms_key_id: Arn | None = None
    """Key that encrypts the artifact."""
    spot: Spot | None = None
    """Managed spot training; on-demand when unset."""
    vpc: Vpc | None = None
    """Network of the instances."""
    enable_network_isolation: bool = False
    """No network for the container."""
    maximum_retry_attempts: Annotated[int, Field(ge=1, le=30)] | None = None
    """How often SageMaker starts over after an internal error."""
    tags: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=45)] = {}
    """Tags of the job."""


class SageMakerHosting(ApiModel):
    """What an endpoint takes beyond the common fields. Honoured by backend SageMaker only."""

    role_arn: RoleArn
    """Role that SageMaker assumes."""
    region: Annotated[str, Field(max_length=32)] | None = None
    """Region; the operator's own when unset."""
    instance_type: Annotated[str, Field(min_length=4, max_length=63)]
    """Instance type, such as ml.m5.xlarge."""
    volume_size_gi_b: Annotated[int, Field(ge=1, le=512)] | None = None
    """Size of each instance's volume in GiB."""
    kms_key_id: Arn | None = None
    """Key that encrypts the volumes."""
    vpc: Vpc | None = None
    """Network of the instances."""
    enable_network_isolation: bool = False
    """No network for the container."""
    tags: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=45)] = {}
    """Tags of model, endpoint configuration and endpoint."""
