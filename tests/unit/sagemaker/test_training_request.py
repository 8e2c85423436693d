"""CreateTrainingJob's parameters from a TrainingJob's spec."""

from typing import Any

import botocore.session
import pytest

from sagebrush.backends.sagemaker.preflight import violations
from sagebrush.core.plan import SpecError
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.algorithms import image_uri
from sagebrush.core.sagemaker.training_request import create_training_job, job_name, training_image
from tests.unit.sagemaker.training_builders import IMAGE, META, NAME, REGION, ROLE, spec_of

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234"
LINEAR = {"predictor_type": "regressor"}


def request(**more: Any) -> dict[str, Any]:
    return create_training_job(META, spec_of(**more), region=REGION, cluster_id="cluster-1")


def test_request_must_have_nothing_that_is_unset() -> None:
    """A minimal spec becomes a minimal request: what the user doesn't say is left to AWS."""
    expected = {
        "TrainingJobName": NAME,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://bucket/train/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "CompressionType": "None",
                "RecordWrapperType": "None",
                "InputMode": "File",
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "Tags": identity.tags(META, cluster_id="cluster-1", users={}),
    }
    assert expected == request()
    assert "InputDataConfig" not in request(channels=[])


EVERYTHING: dict[str, Any] = {
    "algorithm": {
        "image": IMAGE,
        "entrypoint": ["python", "-u"],
        "arguments": ["go.py"],
        "metricDefinitions": [{"name": "validation:auc", "regex": "auc=([0-9.]+)"}],
    },
    "hyperParameters": {"eta": "0.1", "objective": "reg:squarederror"},
    "environment": [{"name": "STAGE", "value": "test"}],
    "instanceCount": 2,
    "maxRuntime": "1h",
    "channels": [
        {
            "name": "train",
            "uri": "s3://bucket/train.manifest",
            "dataType": "AugmentedManifestFile",
            "attributeNames": ["source-ref", "label"],
            "contentType": "application/x-recordio",
            "compression": "Gzip",
            "recordWrapper": "RecordIO",
            "inputMode": "Pipe",
            "distribution": "ShardedByS3Key",
        },
        {"name": "validation", "uri": "s3://bucket/v/", "inputMode": "FastFile"},
    ],
    "sage_maker": {
        "name": "my-job",
        "volumeSizeGiB": 50,
        "volumeKmsKeyId": KEY,
        "outputKmsKeyId": KEY,
        "spot": {"maxWait": "2h"},
        "checkpoint": {"uri": "s3://bucket/checkpoints"},
        "encryptInterContainerTraffic": True,
        "enableNetworkIsolation": True,
        "maximumRetryAttempts": 3,
        "vpc": {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        "tags": {"team": "fraud", identity.UID_TAG: "forged"},
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("TrainingJobName", "my-job"),
        ("HyperParameters", {"eta": "0.1", "objective": "reg:squarederror"}),
        ("AlgorithmSpecification.ContainerEntrypoint", ["python", "-u"]),
        ("AlgorithmSpecification.ContainerArguments", ["go.py"]),
        ("AlgorithmSpecification.MetricDefinitions", [{"Name": "validation:auc", "Regex": "auc=([0-9.]+)"}]),
        ("AlgorithmSpecification.TrainingInputMode", "File"),
        ("InputDataConfig.0.DataSource.S3DataSource.AttributeNames", ["source-ref", "label"]),
        ("InputDataConfig.0.DataSource.S3DataSource.S3DataType", "AugmentedManifestFile"),
        ("InputDataConfig.0.DataSource.S3DataSource.S3DataDistributionType", "ShardedByS3Key"),
        ("InputDataConfig.0.ContentType", "application/x-recordio"),
        ("InputDataConfig.0.CompressionType", "Gzip"),
        ("InputDataConfig.0.RecordWrapperType", "RecordIO"),
        ("InputDataConfig.0.InputMode", "Pipe"),
        ("InputDataConfig.1.InputMode", "FastFile"),
        ("OutputDataConfig.KmsKeyId", KEY),
        ("ResourceConfig.InstanceCount", 2),
        ("ResourceConfig.VolumeSizeInGB", 50),
        ("ResourceConfig.VolumeKmsKeyId", KEY),
        ("StoppingCondition", {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}),
        ("EnableManagedSpotTraining", True),
        ("CheckpointConfig", {"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/checkpoints"}),
        ("VpcConfig", {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}),
        ("EnableNetworkIsolation", True),
        ("EnableInterContainerTrafficEncryption", True),
        ("Environment", {"STAGE": "test"}),
        ("RetryStrategy", {"MaximumRetryAttempts": 3}),
        ("Tags", identity.tags(META, cluster_id="cluster-1", users={"team": "fraud"})),
    ],
)
def test_request_must_carry_every_field(path: str, value: Any) -> None:
    """Every field of the spec reaches the place that AWS has for it; our mark can't be forged by a tag."""
    found: Any = request(**EVERYTHING)
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    assert value == found


@pytest.mark.parametrize("more", [{}, EVERYTHING])
def test_request_must_fit_aws_own_model(more: dict[str, Any]) -> None:
    """botocore's model of CreateTrainingJob has nothing against what we send."""
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
    )
    assert [] == violations(shape, request(**more))


def test_input_mode_must_be_that_of_all_channels() -> None:
    """AWS demands a mode for the job: that of its channels where they agree."""
    channels = [{"name": name, "uri": f"s3://bucket/{name}/", "inputMode": "FastFile"} for name in ("a", "b")]
    assert "FastFile" == request(channels=channels)["AlgorithmSpecification"]["TrainingInputMode"]


def test_image_must_be_the_users_own_before_the_built_in() -> None:
    """A user's own image wins; a built-in algorithm is looked up for region and version."""
    assert IMAGE == training_image(spec_of(), region=REGION)
    built_in = spec_of(algorithm={"name": "xgboost", "version": "1.7-1"})
    assert image_uri("xgboost", region=REGION, version="1.7-1") == training_image(built_in, region=REGION)
    both = spec_of(algorithm={"name": "xgboost", "image": IMAGE}, hyperParameters={"num_round": "nonsense"})
    assert IMAGE == training_image(both, region=REGION)
    assert create_training_job(META, both, region=REGION, cluster_id="c")


def test_name_must_be_the_users_or_unique_to_the_object() -> None:
    """spec.sageMaker.name wins; else the name has the uid in it."""
    assert "my-job" == job_name(META, spec_of(sage_maker={"name": "my-job"}))
    assert NAME == job_name(META, spec_of())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"algorithm": {"name": "linear-learner"}}, "predictor_type"),
        ({"algorithm": {"name": "xgboost"}, "hyperParameters": {"num_round": "many"}}, "num_round"),
        (
            {
                "algorithm": {"name": "linear-learner"},
                "hyperParameters": LINEAR,
                "channels": [{"name": "training", "uri": "s3://bucket/t"}],
            },
            "channel called train",
        ),
        (
            {
                "algorithm": {"name": "linear-learner"},
                "hyperParameters": LINEAR,
                "maxRuntime": "30m",
                "sage_maker": {"spot": {"maxWait": "61m"}},
            },
            "spec.sageMaker.spot.maxWait: at most 1h",
        ),
        ({"algorithm": {}}, "exactly one of name"),
        ({"sageMaker": None}, "spec.sageMaker is needed"),
        (
            {
                "channels": [
                    {"name": "t", "uri": "s3://b/m", "dataType": "AugmentedManifestFile", "attributeNames": ["a"]}
                ]
            },
            "spec.channels[t].inputMode",
        ),
        ({"channels": [{"name": "t", "uri": "s3://b/t", "compression": "Gzip"}]}, "spec.channels[t].compression"),
        (
            {"channels": [{"name": "t", "uri": "s3://b/t", "recordWrapper": "RecordIO"}]},
            "spec.channels[t].recordWrapper",
        ),
        ({"channels": [{"name": "t", "uri": "s3://b/t", "inputMode": "FastFile"}]}, "spec.channels[t].uri"),
    ],
)
def test_request_must_be_refused_before_it_costs(more: dict[str, Any], said: str) -> None:
    """What SageMaker refuses, or fails of minutes later, is told at once, and names the field."""
    with pytest.raises(SpecError) as refused:
        request(**more)
    assert said in str(refused.value)


def test_spot_wait_must_be_free_for_what_keeps_checkpoints() -> None:
    """XGBoost and own images resume from checkpoints: AWS doesn't limit how long they wait."""
    own = request(maxRuntime="30m", sage_maker={"spot": {"maxWait": "5h"}})
    boosted = request(
        algorithm={"name": "xgboost"}, hyperParameters={"num_round": "5"}, sage_maker={"spot": {"maxWait": "48h"}}
    )
    assert [18000, 172800] == [each["StoppingCondition"]["MaxWaitTimeInSeconds"] for each in (own, boosted)]
