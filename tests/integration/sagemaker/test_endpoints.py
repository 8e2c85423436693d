"""ModelEndpoints on the simulated SageMaker: from the manifest to an endpoint that serves what it says, and back to nothing."""

from typing import Any

import pytest

from tests.integration.kube import Kube, condition, wait_for
from tests.integration.sagemaker.aws import BUCKET, CLUSTER_ID, IMAGE, ROLE, Aws, endpoint, training_job, uid
from tests.integration.sagemaker.endpoints import (
    LONG,
    changes,
    finish,
    message,
    models_of,
    standing,
    the_config,
    the_endpoint,
    things,
    wait_events,
    wait_gone,
    wait_looks,
    wait_reason,
    wait_serving,
    wait_status,
)
from tests.integration.sagemaker.jobs import SHORT, UNHURRIED, plan_jobs, slow
from tests.integration.sagemaker.jobs import finish as finish_job
from tests.integration.sagemaker.jobs import wait_status as wait_job

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")


def test_endpoint_must_serve_and_leave_nothing(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Model, configuration and endpoint are made once, Ready is told when they serve and not before, and deleted, nothing is left."""
    slow(shared_aws, monkeypatch, endpoint_creating=LONG)
    kube.apply(endpoint("kdd", namespace))
    found = wait_status(shared_aws, namespace, "Creating")
    body = wait_reason(kube, namespace, "Creating")
    assert ("Reconciling", "Creating") == standing(body)
    wait_looks(shared_aws, namespace, 2)
    body = wait_reason(kube, namespace, "Creating")
    assert "False" == condition(body, "Ready")["status"]
    assert "waits for /ping" in message(body)
    assert 0 == body["status"]["readyReplicas"]
    finish(shared_aws, found)

    body = wait_serving(kube, namespace)
    status = body["status"]
    name = status["sageMaker"]["endpointName"]
    assert name.startswith(f"{namespace}-kdd-")
    described = shared_aws.client("sagemaker").describe_endpoint(EndpointName=name)
    assert ("InService", status["sageMaker"]["endpointConfig"]) == (
        described["EndpointStatus"],
        described["EndpointConfigName"],
    )
    assert described["EndpointArn"] == status["sageMaker"]["arn"]
    assert f"https://runtime.sagemaker.us-east-1.amazonaws.com/endpoints/{name}/invocations" == status["url"]
    assert "True" == condition(body, "Ready")["status"]
    assert (1, 1) == (status["replicas"], status["readyReplicas"])
    assert (0.12, "USD") == (status["cost"]["hourly"], status["cost"]["currency"])
    assert ["sagebrush.dev/sagemaker"] == body["metadata"]["finalizers"]
    (revision,) = status["revisions"]
    assert (status["revision"], described["EndpointConfigName"]) == (revision["revision"], revision["endpointConfig"])

    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    made = ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert [*made, "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"] == changes(shared_aws, namespace)
    wait_events(kube, namespace, "Creating", "Serving")


def test_manifest_must_reach_aws_as_written(shared_aws: Aws, kube: Kube, namespace: str):
    """Everything that the manifest says of model and instances stands in the requests, and everything carries our mark."""
    key = "arn:aws:kms:us-east-1:123456789012:key/volumes"
    manifest = endpoint(
        "kdd",
        namespace,
        replicas=2,
        model={
            "artifact": {"uri": f"s3://{BUCKET}/pretrained/model.tar.gz"},
            "container": {"image": IMAGE},
            "environment": [{"name": "LOG_LEVEL", "value": "20"}],
            "startupTimeout": "7m",
        },
        sagemaker={
            "instanceType": "ml.m5.xlarge",
            "volumeSizeGiB": 40,
            "kmsKeyId": key,
            "modelDownloadTimeout": "10m",
            "enableNetworkIsolation": True,
            "vpc": {"subnets": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]},
            "tags": {"team": "fraud"},
            "dataCapture": {
                "samplingPercentage": 25,
                "destinationUri": f"s3://{BUCKET}/captured",
                "kmsKeyId": key,
                "capture": "Input",
                "csvContentTypes": ["text/csv"],
            },
        },
    )
    kube.apply(manifest)
    status = wait_serving(kube, namespace)["status"]
    found, config = the_endpoint(shared_aws, namespace), the_config(shared_aws, namespace)
    model = models_of(shared_aws, config)["AllTraffic"]
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model.name,
        "InitialInstanceCount": 2,
        "InitialVariantWeight": 1.0,
        "InstanceType": "ml.m5.xlarge",
        "VolumeSizeInGB": 40,
        "ContainerStartupHealthCheckTimeoutInSeconds": 420,
        "ModelDataDownloadTimeoutInSeconds": 600,
    }
    assert [variant] == config.request["ProductionVariants"]
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 25,
        "DestinationS3Uri": f"s3://{BUCKET}/captured",
        "KmsKeyId": key,
        "CaptureOptions": [{"CaptureMode": "Input"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    assert (key, capture) == (config.request["KmsKeyId"], config.request["DataCaptureConfig"])
    asked = {each: value for each, value in model.request.items() if each not in {"ModelName", "Tags"}}
    assert {
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
        "VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
        "PrimaryContainer": {
            "Image": IMAGE,
            "ModelDataUrl": f"s3://{BUCKET}/pretrained/model.tar.gz",
            "Environment": {"LOG_LEVEL": "20"},
        },
    } == asked
    for thing in (found, config, model):
        mark = {"sagebrush.dev/uid": uid(kube, manifest), "sagebrush.dev/namespace": namespace, "team": "fraud"}
        mark |= {"sagebrush.dev/name": "kdd", "sagebrush.dev/cluster-id": CLUSTER_ID}
        mark |= {"sagebrush.dev/managed-by": "sagebrush"}
        assert mark.items() <= thing.tags.items()
    assert status["revision"] == config.tags["sagebrush.dev/revision"]
    assert (2, 2, 0.48) == (status["replicas"], status["readyReplicas"], status["cost"]["hourly"])


def test_variants_must_share_the_traffic_as_written(shared_aws: Aws, kube: Kube, namespace: str):
    """Each variant has its instances, its weight and its own model; one without instances is among them."""
    other = shared_aws.put_model("pretrained/other/model.tar.gz")
    variants: list[dict[str, Any]] = [
        {"name": "new", "weight": 1, "instanceType": "ml.m5.xlarge", "replicas": 2, "model": _model(other)},
        {"name": "old", "weight": 3, "instanceType": "ml.m5.large"},
        {"name": "spare", "weight": 0, "serverless": {"memorySizeInMb": 1024, "maxConcurrency": 5}},
    ]
    kube.apply(endpoint("kdd", namespace, sagemaker={"instanceType": None, "variants": variants}))
    body = wait_serving(kube, namespace)
    found, config = the_endpoint(shared_aws, namespace), the_config(shared_aws, namespace)
    asked = {
        each["VariantName"]: (each.get("InstanceType"), each.get("InitialInstanceCount"), each["InitialVariantWeight"])
        for each in config.request["ProductionVariants"]
    }
    assert {"new": ("ml.m5.xlarge", 2, 1), "old": ("ml.m5.large", 1, 3), "spare": (None, None, 0)} == asked
    spare = next(each for each in config.request["ProductionVariants"] if each["VariantName"] == "spare")
    assert {"MemorySizeInMB": 1024, "MaxConcurrency": 5} == spare["ServerlessConfig"]
    models = models_of(shared_aws, config)
    assert models["old"] == models["spare"] != models["new"]
    assert other == models["new"].request["PrimaryContainer"]["ModelDataUrl"]
    assert {"new": 1.0, "old": 3.0, "spare": 0.0} == {each.name: each.current_weight for each in found.fleet.variants}
    told = {each["name"]: each.get("currentInstances") for each in body["status"]["sageMaker"]["variants"]}
    assert {"new": 2, "old": 1, "spare": None} == told
    assert 3 == body["status"]["readyReplicas"]


def _model(uri: str) -> dict[str, Any]:
    return {"artifact": {"uri": uri}, "container": {"image": IMAGE}}


def test_serverless_endpoint_must_have_no_instances(shared_aws: Aws, kube: Kube, namespace: str):
    """Memory and concurrency instead of instances: nothing about instances is asked for, and it is Ready all the same."""
    serverless = {"memorySizeInMb": 3072, "maxConcurrency": 7, "provisionedConcurrency": 2}
    kube.apply(endpoint("kdd", namespace, sagemaker={"instanceType": None, "serverless": serverless}))
    body = wait_serving(kube, namespace)
    (variant,) = the_config(shared_aws, namespace).request["ProductionVariants"]
    asked = {"MemorySizeInMB": 3072, "MaxConcurrency": 7, "ProvisionedConcurrency": 2}
    assert {"VariantName", "ModelName", "InitialVariantWeight", "ServerlessConfig"} == variant.keys()
    assert asked == variant["ServerlessConfig"]
    assert 0 == body["status"]["replicas"]


SOURCES = {
    # what trains → region, algorithm, image that must serve
    "us-east-1": ({"name": "linear-learner"}, "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"),
    "eu-west-1": ({"name": "linear-learner"}, "438346466558.dkr.ecr.eu-west-1.amazonaws.com/linear-learner:1"),
    "own image": ({"image": IMAGE}, IMAGE),
}


@pytest.mark.parametrize("source", SOURCES)
def test_endpoint_must_serve_what_its_job_trains(shared_aws: Aws, kube: Kube, namespace: str, source: str):
    """Applied together, the endpoint waits for its job without a call, then serves its artifact with its image."""
    algorithm, image = SOURCES[source]
    region = source if source in {"us-east-1", "eu-west-1"} else "us-east-1"
    plan_jobs(shared_aws, namespace, duration=UNHURRIED)
    place = {"region": region}
    kube.apply(endpoint("kdd", namespace, model={"trainingJobRef": {"name": "kdd"}}, sagemaker=place))
    body = wait_reason(kube, namespace, "TrainingJobNotFound")
    assert "Reconciling" == standing(body)[0]
    kube.apply(training_job("kdd", namespace, sagemaker=place, algorithm=algorithm))
    wait_reason(kube, namespace, "WaitingForTrainingJob")
    assert [] == things(shared_aws, namespace, region=region)
    finish_job(shared_aws, wait_job(shared_aws, namespace, "Training", region=region))
    body = wait_serving(kube, namespace)
    (model,) = models_of(shared_aws, the_config(shared_aws, namespace, region=region), region=region).values()
    container = model.request["PrimaryContainer"]
    assert image == container["Image"]
    job = kube.get("TrainingJob", namespace, "kdd") or {}
    assert job["status"]["modelArtifact"]["uri"] == container["ModelDataUrl"]
    assert ("kdd", image) == (body["status"]["model"]["trainingJob"], body["status"]["model"]["image"])
    assert f"arn:aws:sagemaker:{region}:" in body["status"]["sageMaker"]["arn"]

    # The job has done its duty: without it the model goes on serving.
    kube.delete("TrainingJob", namespace, "kdd")
    kube.wait_gone("TrainingJob", namespace, "kdd")
    wait_for(lambda: "is gone" in message(kube.get("ModelEndpoint", namespace, "kdd") or {}), "word of it")
    assert standing(kube.get("ModelEndpoint", namespace, "kdd") or {}) == ("Ready", "Serving")


def test_job_that_failed_must_be_said_and_mended(shared_aws: Aws, kube: Kube, namespace: str):
    """An endpoint whose job failed says so and makes nothing; a job of the same name that succeeds is served."""
    plan_jobs(shared_aws, namespace, duration=SHORT, failure_reason="AlgorithmError: no", times=1)
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace))
    kube.apply(endpoint("kdd", namespace, model={"trainingJobRef": {"name": "kdd"}}))
    body = wait_reason(kube, namespace, "TrainingJobFailed")
    assert "Stalled" == standing(body)[0]
    assert [] == things(shared_aws, namespace)
    kube.delete("TrainingJob", namespace, "kdd")
    kube.wait_gone("TrainingJob", namespace, "kdd")
    kube.apply(training_job("kdd", namespace))
    wait_serving(kube, namespace)
