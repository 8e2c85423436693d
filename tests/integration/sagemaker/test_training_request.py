"""The request as SageMaker got it is what the manifest says."""

from typing import Any

import pytest

from tests.integration.kube import Kube
from tests.integration.sagemaker.aws import BUCKET, CLUSTER_ID, IMAGE, ROLE, Aws, training_job, uid
from tests.integration.sagemaker.jobs import LONG, jobs, plan_jobs, wait_phase

pytestmark = pytest.mark.usefixtures("shared_operator")

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


def requested(aws: Aws, kube: Kube, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """What CreateTrainingJob was called with for this manifest, without the tags."""
    plan_jobs(aws, namespace, duration=LONG)
    kube.apply(manifest)
    wait_phase(kube, namespace, "Training")
    (job,) = jobs(aws, namespace)
    return {key: value for key, value in job.request.items() if key != "Tags"}


def test_full_manifest_must_arrive_as_it_is(shared_aws: Aws, kube: Kube, namespace: str):
    """An own image with everything: command, metrics, all kinds of channels, keys, network, spot, checkpoints, retries."""
    prefix = f"s3://{BUCKET}/{namespace}"
    for key in ("files/a.csv", "list.manifest", "augmented.manifest", "pipe/a.rec"):
        shared_aws.put(f"{namespace}/{key}")
    name = f"{namespace}-my-own-name"
    shared_aws.simulator.faults.add("training", resource=name, duration=LONG)
    request = requested(
        shared_aws,
        kube,
        namespace,
        training_job(
            "kdd",
            namespace,
            algorithm={
                "image": IMAGE,
                "entrypoint": ["python", "train.py"],
                "arguments": ["--fast"],
                "metricDefinitions": [{"name": "loss", "regex": "loss=([0-9.]+)"}],
            },
            hyperParameters={"epochs": "5", "text": '"quoted"', "list": "[1, 2]"},
            channels=[
                {"name": "train", "uri": f"{prefix}/files/", "inputMode": "FastFile", "distribution": "ShardedByS3Key"},
                {
                    "name": "list",
                    "uri": f"{prefix}/list.manifest",
                    "dataType": "ManifestFile",
                    "contentType": "text/csv",
                },
                {
                    "name": "augmented",
                    "uri": f"{prefix}/augmented.manifest",
                    "dataType": "AugmentedManifestFile",
                    "attributeNames": ["source-ref", "label"],
                    "inputMode": "Pipe",
                    "recordWrapper": "RecordIO",
                },
                {"name": "packed", "uri": f"{prefix}/pipe/", "inputMode": "Pipe", "compression": "Gzip"},
            ],
            output={"uri": f"{prefix}/output"},
            instanceCount=3,
            maxRuntime="90m",
            environment=[{"name": "MODE", "value": "fast"}],
            sagemaker={
                "name": name,
                "instanceType": "ml.p3.2xlarge",
                "volumeSizeGiB": 100,
                "volumeKmsKeyId": KEY,
                "outputKmsKeyId": KEY,
                "spot": {"maxWait": "5h"},
                "checkpoint": {"uri": f"{prefix}/checkpoints", "localPath": "/opt/ml/mine"},
                "encryptInterContainerTraffic": True,
                "enableNetworkIsolation": True,
                "maximumRetryAttempts": 3,
                "vpc": {"subnets": ["subnet-1a", "subnet-1b"], "securityGroupIds": ["sg-1"]},
                "tags": {"team": "fraud", "cost-center": "42"},
            },
        ),
    )

    def channel(name: str, uri: str, kind: str = "S3Prefix", **more: Any) -> dict[str, Any]:
        source = {
            "S3DataType": kind,
            "S3Uri": f"{prefix}/{uri}",
            "S3DataDistributionType": more.pop("distribution", "FullyReplicated"),
            **({"AttributeNames": more.pop("attributes")} if "attributes" in more else {}),
        }
        return {
            "ChannelName": name,
            "DataSource": {"S3DataSource": source},
            "CompressionType": "None",
            "RecordWrapperType": "None",
            **more,
        }

    assert {
        "TrainingJobName": name,
        "HyperParameters": {"epochs": "5", "text": '"quoted"', "list": "[1, 2]"},
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            "ContainerEntrypoint": ["python", "train.py"],
            "ContainerArguments": ["--fast"],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            channel("train", "files/", InputMode="FastFile", distribution="ShardedByS3Key"),
            channel("list", "list.manifest", "ManifestFile", InputMode="File", ContentType="text/csv"),
            channel(
                "augmented",
                "augmented.manifest",
                "AugmentedManifestFile",
                InputMode="Pipe",
                RecordWrapperType="RecordIO",
                attributes=["source-ref", "label"],
            ),
            channel("packed", "pipe/", InputMode="Pipe", CompressionType="Gzip"),
        ],
        "OutputDataConfig": {"S3OutputPath": f"{prefix}/output", "KmsKeyId": KEY},
        "ResourceConfig": {
            "InstanceType": "ml.p3.2xlarge",
            "InstanceCount": 3,
            "VolumeSizeInGB": 100,
            "VolumeKmsKeyId": KEY,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 5400, "MaxWaitTimeInSeconds": 18000},
        "EnableManagedSpotTraining": True,
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "Environment": {"MODE": "fast"},
        "VpcConfig": {"Subnets": ["subnet-1a", "subnet-1b"], "SecurityGroupIds": ["sg-1"]},
        "CheckpointConfig": {"S3Uri": f"{prefix}/checkpoints", "LocalPath": "/opt/ml/mine"},
        "RetryStrategy": {"MaximumRetryAttempts": 3},
    } == request
    body = kube.get("TrainingJob", namespace, "kdd")
    assert body is not None
    assert {
        "team": "fraud",
        "cost-center": "42",
        "sagebrush.dev/uid": uid(kube, body),
        "sagebrush.dev/namespace": namespace,
        "sagebrush.dev/name": "kdd",
        "sagebrush.dev/cluster-id": CLUSTER_ID,
        "sagebrush.dev/managed-by": "sagebrush",
    } == jobs(shared_aws, namespace)[0].tags
    assert (name, IMAGE) == (body["status"]["jobName"], body["status"]["trainingImage"])


def test_small_manifest_must_ask_for_nothing_more(shared_aws: Aws, kube: Kube, namespace: str):
    """The built-in algorithm's image is that of the region, and what the manifest leaves out is left to AWS."""
    request = requested(shared_aws, kube, namespace, training_job("kdd", namespace))
    assert request["TrainingJobName"].startswith(f"{namespace}-kdd-")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/", "S3DataDistributionType": "FullyReplicated"}
    assert {
        "TrainingJobName": request["TrainingJobName"],
        "HyperParameters": {"predictor_type": "binary_classifier"},
        "AlgorithmSpecification": {
            "TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1",
            "TrainingInputMode": "File",
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": source},
                "ContentType": "text/csv",
                "CompressionType": "None",
                "RecordWrapperType": "None",
                "InputMode": "File",
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    } == request
