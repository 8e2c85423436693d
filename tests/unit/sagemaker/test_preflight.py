"""Checks against botocore's model before anything is sent, and the limits that the CRDs take from it."""

from pathlib import Path
from typing import Any

import botocore.session
import pytest

from sagebrush.api import aws_limits
from sagebrush.backends.sagemaker import limits
from sagebrush.backends.sagemaker.preflight import violations

ROLE = "arn:aws:iam::123456789012:role/train"
MODEL = botocore.session.get_session().get_service_model("sagemaker")


def job(**changes: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "TrainingJobName": "kdd",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "image:1"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "Tags": [{"Key": "sagebrush.dev/uid", "Value": "u"}],
        **changes,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def wrong(**changes: Any) -> list[str]:
    return violations(MODEL.operation_model("CreateTrainingJob").input_shape, job(**changes))


def test_preflight_must_pass_what_is_right():
    """A request that AWS takes has no violations."""
    assert [] == wrong()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"TrainingJobName": "under_score"}, "TrainingJobName: 'under_score' does not match"),
        ({"TrainingJobName": "x" * 64}, "TrainingJobName has 64 characters; at most 63"),
        ({"RoleArn": None}, "RoleArn is missing"),
        ({"HyperParameters": {"k": "v" * 2501}}, "HyperParameters.k has 2501 characters; at most 2500"),
        ({"HyperParameters": {"k" * 257: "v"}}, "257 characters; at most 256"),
        ({"HyperParameters": {str(n): "v" for n in range(101)}}, "HyperParameters has 101 entries; at most 100"),
        ({"Environment": {"A": "v" * 513}}, "Environment.A has 513 characters; at most 512"),
        ({"RetryStrategy": {"MaximumRetryAttempts": 31}}, "RetryStrategy.MaximumRetryAttempts: 31; at most 30"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "Tape"}},
            "AlgorithmSpecification.TrainingInputMode: 'Tape' is not one of Pipe, File, FastFile",
        ),
        ({"VpcConfig": {"Subnets": [], "SecurityGroupIds": ["sg"]}}, "VpcConfig.Subnets has 0 entries; at least 1"),
        ({"Nonsense": 1}, "Nonsense is not known"),
    ],
)
def test_preflight_must_name_what_is_wrong(changes: dict[str, Any], sentence: str):
    """Each kind of limit in AWS' model is told with the parameter's path and what is legal."""
    found = wrong(**changes)
    assert 1 == len([text for text in found if sentence in text]), found


def test_preflight_must_leave_new_instance_types_to_aws():
    """AWS has instance types before botocore knows them."""
    assert [] == wrong(ResourceConfig={"InstanceType": "ml.z99.metal", "InstanceCount": 1, "VolumeSizeInGB": 30})


def test_preflight_must_leave_patterns_to_aws_that_python_cannot_read():
    """Application Auto Scaling's patterns have surrogate pairs: no request may fail by them here."""
    service = botocore.session.get_session().get_service_model("application-autoscaling")
    request = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/kdd/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "MinCapacity": 1,
        "MaxCapacity": 6,
    }
    shape = service.operation_model("RegisterScalableTarget").input_shape
    assert [] == violations(shape, request)
    assert ["ScalableDimension: 'none' is not one of"] == [
        text[:39] for text in violations(shape, {**request, "ScalableDimension": "none"})
    ]


def test_limits_must_be_those_of_the_installed_botocore():
    """No limit is typed by hand: else run make crds."""
    assert limits.limits() == aws_limits.LIMITS


def test_limits_must_be_ones_that_kubernetes_can_read():
    """RE2 has no look-around: a pattern with one would make the API server refuse the CRD."""
    assert [] == [name for name, found in aws_limits.LIMITS.items() if "(?" in found.get("pattern", "")]


def test_limits_must_be_written_where_asked(tmp_path: Path):
    """What the generator writes is a module with the same limits."""
    file = tmp_path / "made.py"
    file.write_text(limits.render())
    found: dict[str, Any] = {}
    exec(file.read_text(), found)
    assert aws_limits.LIMITS == found["LIMITS"]
