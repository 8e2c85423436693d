"""The parameters of CreateTrainingJob from a TrainingJob's spec. Pure; what AWS' own model limits is checked where calls are sent."""

from datetime import timedelta
from typing import Any

from sagebrush.api.meta import parse_duration
from sagebrush.api.sagemaker_training import SageMakerTraining
from sagebrush.api.training_inputs import Channel
from sagebrush.api.training_job import TrainingJobSpec
from sagebrush.core.plan import SpecError
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.algorithms import channel_problems, image_uri, problems

SPOT_WAIT_WITHOUT_CHECKPOINTS = timedelta(hours=1)
"""Longest maxWait of a built-in algorithm that keeps no checkpoints (AWS: "Managed Spot Training")."""
_KEEPS_CHECKPOINTS = frozenset({"xgboost"})


def location(spec: TrainingJobSpec) -> SageMakerTraining:
    """What the spec says to SageMaker. Raises SpecError where it says nothing."""
    if spec.sage_maker is None:
        raise SpecError("spec.sageMaker is needed with backend: SageMaker, at least roleArn and instanceType")
    return spec.sage_maker


def job_name(meta: Meta, spec: TrainingJobSpec) -> str:
    """Name of the job in SageMaker: the user's, or one that no other object gets."""
    return location(spec).name or identity.own_name(meta)


def training_image(spec: TrainingJobSpec, *, region: str) -> str:
    """The user's own image, or that of the built-in algorithm in *region*. Raises SpecError where there is none."""
    if spec.algorithm.image:
        return spec.algorithm.image
    if spec.algorithm.name is None:
        raise SpecError("spec.algorithm: give exactly one of name (a built-in algorithm) and image (your own)")
    return image_uri(spec.algorithm.name.value, region=region, version=spec.algorithm.version)


def create_training_job(meta: Meta, spec: TrainingJobSpec, *, region: str, cluster_id: str) -> dict[str, Any]:
    """
    Parameters of CreateTrainingJob (Amazon SageMaker API Reference); what is unset is left out.

    Hyperparameters go as the plain strings that they are: algorithms read them without JSON quotes.
    Raises SpecError for what SageMaker would refuse, or fail of once it is paid for, naming every field at once.
    """
    wanted = location(spec)
    _check(spec, wanted)
    parameters: dict[str, Any] = {
        "TrainingJobName": job_name(meta, spec),
        "HyperParameters": dict(spec.hyper_parameters),
        "AlgorithmSpecification": _algorithm(spec, region=region),
        "RoleArn": wanted.role_arn,
        "InputDataConfig": [_channel(channel) for channel in spec.channels],
        "OutputDataConfig": _set(S3OutputPath=spec.output.uri, KmsKeyId=wanted.output_kms_key_id),
        "ResourceConfig": _set(
            InstanceType=wanted.instance_type,
            InstanceCount=spec.instance_count,
            VolumeSizeInGB=wanted.volume_size_gi_b,
            VolumeKmsKeyId=wanted.volume_kms_key_id,
        ),
        "StoppingCondition": _set(
            MaxRuntimeInSeconds=_seconds(spec.max_runtime),
            MaxWaitTimeInSeconds=_seconds(wanted.spot.max_wait) if wanted.spot else None,
        ),
        "EnableManagedSpotTraining": wanted.spot is not None,
        "EnableNetworkIsolation": wanted.enable_network_isolation,
        "EnableInterContainerTrafficEncryption": wanted.encrypt_inter_container_traffic,
        "Environment": {variable.name: variable.value for variable in spec.environment},
        "Tags": identity.tags(meta, cluster_id=cluster_id, users=wanted.tags),
    }
    if wanted.vpc:
        parameters["VpcConfig"] = {
            "Subnets": list(wanted.vpc.subnets),
            "SecurityGroupIds": list(wanted.vpc.security_group_ids),
        }
    if wanted.checkpoint:
        parameters["CheckpointConfig"] = {
            "S3Uri": wanted.checkpoint.uri,
            "LocalPath": wanted.checkpoint.local_path,
        }
    if wanted.maximum_retry_attempts is not None:
        parameters["RetryStrategy"] = {"MaximumRetryAttempts": wanted.maximum_retry_attempts}
    return {name: value for name, value in parameters.items() if value not in (False, [], {})}


def _set(**parameters: Any) -> dict[str, Any]:
    """Without what is unset."""
    return {name: value for name, value in parameters.items() if value is not None}


def _seconds(duration: str) -> int:
    return int(parse_duration(duration).total_seconds())


def _algorithm(spec: TrainingJobSpec, *, region: str) -> dict[str, Any]:
    modes = {channel.input_mode for channel in spec.channels}
    return _set(
        TrainingImage=training_image(spec, region=region),
        # Required, and only a default: each channel says its own.
        TrainingInputMode=modes.pop() if len(modes) == 1 else "File",
        MetricDefinitions=[{"Name": metric.name, "Regex": metric.regex} for metric in spec.algorithm.metric_definitions]
        or None,
        ContainerEntrypoint=spec.algorithm.entrypoint or None,
        ContainerArguments=spec.algorithm.arguments or None,
    )


def _channel(channel: Channel) -> dict[str, Any]:
    source = _set(
        S3DataType=channel.data_type,
        S3Uri=channel.uri,
        S3DataDistributionType=channel.distribution,
        AttributeNames=channel.attribute_names or None,
    )
    return _set(
        ChannelName=channel.name,
        DataSource={"S3DataSource": source},
        ContentType=channel.content_type,
        CompressionType=channel.compression,
        RecordWrapperType=channel.record_wrapper,
        InputMode=channel.input_mode,
    )


def _check(spec: TrainingJobSpec, wanted: SageMakerTraining) -> None:
    wrong = [sentence for channel in spec.channels for sentence in _channel_problems(channel)]
    if spec.algorithm.name and not spec.algorithm.image:
        algorithm = spec.algorithm.name.value
        wrong += problems(algorithm, spec.hyper_parameters)
        names = [channel.name for channel in spec.channels]
        wrong += channel_problems(algorithm, names, {channel.name: channel.distribution for channel in spec.channels})
        if (
            wanted.spot
            and algorithm not in _KEEPS_CHECKPOINTS
            and parse_duration(wanted.spot.max_wait) > SPOT_WAIT_WITHOUT_CHECKPOINTS
        ):
            wrong.append(
                f"spec.sageMaker.spot.maxWait: at most 1h with {algorithm}, which keeps no checkpoints; "
                "shorten it, or remove spec.sageMaker.spot"
            )
    if wrong:
        raise SpecError("; ".join(wrong))


def _channel_problems(channel: Channel) -> list[str]:
    """What AWS' pages on Channel, S3DataSource and input modes rule out."""
    field = f"spec.channels[{channel.name}]"
    wrong = []
    if channel.data_type == "AugmentedManifestFile" and channel.input_mode != "Pipe":
        wrong.append(f"{field}.inputMode: SageMaker reads an AugmentedManifestFile in Pipe mode only")
    if channel.compression == "Gzip" and channel.input_mode != "Pipe":
        wrong.append(f"{field}.compression: SageMaker unpacks Gzip in Pipe mode only; set None, or inputMode: Pipe")
    if channel.record_wrapper == "RecordIO" and channel.input_mode != "Pipe":
        wrong.append(f"{field}.recordWrapper: SageMaker wraps in Pipe mode only; set None, or inputMode: Pipe")
    if channel.input_mode == "FastFile" and channel.data_type == "S3Prefix" and not channel.uri.endswith("/"):
        wrong.append(f"{field}.uri: with inputMode: FastFile it must end with /, as a folder does")
    return wrong
