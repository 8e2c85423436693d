"""What CreateTrainingJob takes beyond the common fields, and what DescribeTrainingJob tells beyond them."""

from typing import Annotated

from pydantic import ConfigDict, Field

from sagebrush.api.aws import AwsLocation, InstanceType, KmsKey, S3Uri, limited, place_rules
from sagebrush.api.meta import ApiModel, Duration, Text, rules


class Spot(ApiModel):
    """Managed spot training: cheaper, and interrupted when others need the capacity."""

    max_wait: Duration
    """Longest time for waiting and training together; at least spec.maxRuntime."""


class Checkpoint(ApiModel):
    """Where checkpoints are kept, so that an interrupted job goes on where it was."""

    uri: S3Uri
    """Prefix in S3; kept in step with localPath while the job runs."""
    local_path: Annotated[str, limited("DirectoryPath")] = "/opt/ml/checkpoints"
    """Folder in the container."""


class SageMakerTraining(AwsLocation):
    """What CreateTrainingJob takes beyond the common fields. Honoured by backend SageMaker only."""

    model_config = ConfigDict(json_schema_extra=rules(*place_rules("TrainingJob")))

    name: Annotated[str, limited("TrainingJobName")] | None = None
    """Name of the job in SageMaker; made from namespace, name and uid when unset."""
    instance_type: InstanceType
    """Instance type, such as ml.m5.xlarge."""
    volume_size_gi_b: Annotated[int, Field(ge=1)] = 30
    """Size of each instance's volume in GiB."""
    volume_kms_key_id: KmsKey | None = None
    """Key that encrypts the volumes."""
    output_kms_key_id: KmsKey | None = None
    """Key that encrypts the artifact."""
    spot: Spot | None = None
    """Managed spot training; on-demand when unset."""
    checkpoint: Checkpoint | None = None
    """Where checkpoints are kept; none when unset."""
    encrypt_inter_container_traffic: bool = False
    """Encrypts what several instances send to each other."""
    maximum_retry_attempts: Annotated[int, limited("MaximumRetryAttempts")] | None = None
    """How often SageMaker starts over after an internal error."""


class SageMakerJobStatus(ApiModel):
    """What only SageMaker tells of a training job."""

    arn: Text | None = None
    """ARN of the job."""
    status: Text | None = None
    """TrainingJobStatus, in SageMaker's words."""
    secondary_status: Text | None = None
    """SecondaryStatus, in SageMaker's words."""
    billable_seconds: int | None = None
    """Seconds that AWS bills for each instance."""
    spot_saving_percent: int | None = None
    """What spot saved against on-demand: 100 × (1 - billable / training seconds)."""
    log_url: Text | None = None
    """The job's log in the AWS console."""
