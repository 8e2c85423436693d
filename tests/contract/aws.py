"""boto3's clients at a simulator, and short forms of the calls that every test makes."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.sagemaker_simulator import Simulator

ACCOUNT = "123456789012"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/execution"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/linear:1"
CREATING = 240
SESSION = boto3.session.Session()
"""Shared, because it is the session that keeps the parsed models."""
ROLLING = {
    "RollingUpdatePolicy": {
        "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
        "WaitIntervalInSeconds": 30,
    }
}


def client(url: str, service: str, *, key: str = "AKIDTEST", region: str = REGION, **config: Any) -> Any:
    """A client that tries once and sends what it is given."""
    settings: dict[str, Any] = {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "parameter_validation": False,
        "read_timeout": 60,
    }
    return SESSION.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(**(settings | config)),
    )


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[str, str]:
    """Code and message of the error that a call gets; "OK" where it gets none."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    return "OK", ""


def arn(kind: str, name: str, *, account: str = ACCOUNT, region: str = REGION) -> str:
    return f"arn:aws:sagemaker:{region}:{account}:{kind}/{name}"


def variant(name: str = "AllTraffic", **fields: Any) -> dict[str, Any]:
    """A production variant of one ml.m5.large."""
    return {
        "VariantName": name,
        "ModelName": "model",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    } | fields


class Aws:
    """All services of the default account."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    @cached_property
    def sagemaker(self) -> Any:
        return client(self.simulator.url, "sagemaker")

    @cached_property
    def autoscaling(self) -> Any:
        return client(self.simulator.url, "application-autoscaling")

    @cached_property
    def cloudwatch(self) -> Any:
        return client(self.simulator.url, "cloudwatch")

    @cached_property
    def runtime(self) -> Any:
        return client(self.simulator.url, "sagemaker-runtime")

    @cached_property
    def logs(self) -> Any:
        return client(self.simulator.url, "logs")

    @cached_property
    def sts(self) -> Any:
        return client(self.simulator.url, "sts")

    def train(self, name: str = "job", **fields: Any) -> str:
        """CreateTrainingJob with one File channel."""
        request = training_request(name) | fields
        return str(self.sagemaker.create_training_job(**request)["TrainingJobArn"])

    def job(self, name: str = "job") -> Any:
        return self.sagemaker.describe_training_job(TrainingJobName=name)

    def model(self, name: str = "model", *, image: str = IMAGE, **fields: Any) -> str:
        container = {"Image": image, "ModelDataUrl": "s3://bucket/model.tar.gz"}
        request = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container} | fields
        return str(self.sagemaker.create_model(**request)["ModelArn"])

    def config(self, name: str = "config", *variants: dict[str, Any], **fields: Any) -> str:
        request = {"EndpointConfigName": name, "ProductionVariants": list(variants) or [variant()]} | fields
        return str(self.sagemaker.create_endpoint_config(**request)["EndpointConfigArn"])

    def create(self, name: str = "endpoint", *, config: str = "config", **fields: Any) -> None:
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, **fields)

    def update(self, name: str = "endpoint", *, config: str = "next", **fields: Any) -> None:
        self.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, **fields)

    def resize(self, name: str = "endpoint", *, variant_name: str = "AllTraffic", **fields: Any) -> None:
        wanted = [{"VariantName": variant_name} | fields]
        self.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)

    def delete(self, name: str = "endpoint") -> None:
        self.sagemaker.delete_endpoint(EndpointName=name)

    def describe(self, name: str = "endpoint") -> Any:
        return self.sagemaker.describe_endpoint(EndpointName=name)

    def status(self, name: str = "endpoint") -> str:
        return str(self.describe(name)["EndpointStatus"])

    def serve(self, *variants: dict[str, Any], name: str = "endpoint", **fields: Any) -> None:
        """Model, configurations `config` and `next`, and an endpoint in service on the first."""
        self.model()
        self.config("config", *variants, **fields)
        self.config("next", *variants, **fields)
        self.create(name)
        self.simulator.advance(CREATING)

    def bring_to(self, status: str) -> None:
        """An endpoint in this status."""
        faults = self.simulator.faults
        if status == "Failed":
            faults.add("fail_ping", resource="endpoint")
        if status == "Creating":
            self.model()
            self.config()
            self.create()
            return
        self.serve()
        match status:
            case "Updating":
                self.update()
            case "SystemUpdating":
                faults.add("system_update", resource="endpoint")
            case "OutOfService":
                faults.add("out_of_service", resource="endpoint")
            case "RollingBack":
                faults.add("silent_rollback")
                self.update()
                self.simulator.advance(240)
            case "UpdateRollbackFailed":
                faults.add("update_rollback_failed")
                self.update(DeploymentConfig=ROLLING)
                self.simulator.advance(600)
            case "Failed":
                self.simulator.advance(24 * 60)
            case "Deleting":
                self.delete()


def training_request(name: str = "job") -> dict[str, Any]:
    """The least that a job with data needs."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train/"}
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
