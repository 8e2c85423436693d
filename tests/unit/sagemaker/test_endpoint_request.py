"""What the spec says, in AWS' words; checked against botocore's own model of the calls."""

from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.api.sagemaker_hosting import Deployment
from sagebrush.api.training_job import ModelArtifact, TrainingJobStatus, TrainingPhase
from sagebrush.core.model_source import SourceJob
from sagebrush.core.plan import SpecError
from sagebrush.core.sagemaker.algorithms import image_uri
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.endpoint_deployment import deployment_config
from tests.unit.sagemaker.endpoint_builders import ARTIFACT, DEFAULTS, IMAGE, ROLE, World, parameters, scaled, served
from tests.unit.sagemaker.training_builders import spec_of as job_spec

MODEL = botocore.session.get_session().get_service_model("sagemaker")
CAPTURE = {"samplingPercentage": 20, "destinationUri": "s3://bucket/capture", "csvContentTypes": ["text/csv"]}
EVERYTHING: dict[str, Any] = {
    "vpc": {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
    "enableNetworkIsolation": True,
    "volumeSizeGiB": 50,
    "kmsKeyId": "alias/key",
    "modelDownloadTimeout": "20m",
    "dataCapture": CAPTURE,
    "tags": {"team": "fraud"},
}
TWO = [
    {"name": "a", "weight": 3, "instanceType": "ml.m5.large", "replicas": 2},
    {"name": "b", "weight": 1, "serverless": {"memorySizeInMb": 4096, "provisionedConcurrency": 2}},
]


@cache
def shape_of(operation: str) -> Any:
    """Loading AWS' model takes a while."""
    return MODEL.operation_model(operation).input_shape


def requests(world: World) -> dict[str, list[Any]]:
    """Parameters of all calls that make an endpoint, by operation; each is one that botocore takes."""
    out: dict[str, list[Any]] = {}
    for _ in range(3):
        for action in world.look().actions:
            if isinstance(action, Call):
                report = ParamValidator().validate(dict(action.parameters), shape_of(action.operation))
                assert not report.has_errors(), report.generate_report()
                out.setdefault(action.operation, []).append(action.parameters)
    return out


def made(**spec: Any) -> dict[str, list[Any]]:
    world = World()
    world.change(**spec)
    return requests(world)


def test_model_must_say_all_that_the_spec_says() -> None:
    """Image, artifact, environment, role, network."""
    (model,) = made(**EVERYTHING, more={"model": {"artifact": {"uri": ARTIFACT}, "environment": [{"name": "A", "value": "1"}]}})["CreateModel"]  # fmt: skip
    assert {"Image": IMAGE, "ModelDataUrl": ARTIFACT, "Environment": {"A": "1"}} == model["PrimaryContainer"]
    assert ROLE == model["ExecutionRoleArn"]
    assert {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]} == model["VpcConfig"]
    assert model["EnableNetworkIsolation"] is True
    tags = {tag["Key"]: tag["Value"] for tag in model["Tags"]}
    assert ("fraud", "uid-1", "cluster-1") == (
        tags["team"],
        tags["sagebrush.dev/uid"],
        tags["sagebrush.dev/cluster-id"],
    )


def test_configuration_must_say_all_that_the_spec_says() -> None:
    """Instance type, count, weight, volume, timeouts, key, data capture."""
    (config,) = made(**EVERYTHING, more={"replicas": 2})["CreateEndpointConfig"]
    (variant,) = config["ProductionVariants"]
    assert ("AllTraffic", "ml.m5.xlarge", 2, 1.0) == tuple(
        variant[name] for name in ("VariantName", "InstanceType", "InitialInstanceCount", "InitialVariantWeight")
    )
    assert (50, 1200, 600) == tuple(
        variant[name]
        for name in (
            "VolumeSizeInGB",
            "ModelDataDownloadTimeoutInSeconds",
            "ContainerStartupHealthCheckTimeoutInSeconds",
        )
    )
    assert "alias/key" == config["KmsKeyId"]
    capture = config["DataCaptureConfig"]
    assert [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}] == capture["CaptureOptions"]
    assert {"CsvContentTypes": ["text/csv"]} == capture["CaptureContentTypeHeader"]


def test_variants_must_share_a_model_of_the_same_content() -> None:
    """One model for two variants that serve the same; a serverless variant has no count, type or timeout."""
    found = made(variants=TWO)
    assert 1 == len(found["CreateModel"])
    (config,) = found["CreateEndpointConfig"]
    first, second = config["ProductionVariants"]
    assert first["ModelName"] == second["ModelName"]
    assert {"MemorySizeInMB": 4096, "MaxConcurrency": 20, "ProvisionedConcurrency": 2} == second["ServerlessConfig"]
    assert {"VariantName", "ModelName", "ServerlessConfig", "InitialVariantWeight"} == set(second)


def test_variants_must_have_models_of_their_own() -> None:
    """spec.sageMaker.variants[].model wins over spec.model."""
    own = {"artifact": {"uri": "s3://bucket/b/model.tar.gz"}}
    found = made(variants=[{**TWO[0], "model": own}, TWO[1]])
    assert {ARTIFACT, "s3://bucket/b/model.tar.gz"} == {
        model["PrimaryContainer"]["ModelDataUrl"] for model in found["CreateModel"]
    }


@pytest.mark.parametrize("seconds", ["59s", "3601s"])
def test_startup_timeout_must_be_within_aws_bounds(seconds: str) -> None:
    """60 s to an hour; the message names the field and the bounds."""
    model = {"artifact": {"uri": ARTIFACT}, "startupTimeout": seconds}
    with pytest.raises(SpecError, match=r"spec\.model\.startupTimeout.*60s to 3600s"):
        made(more={"model": model})
    made(serverless={}, more={"model": model})


SAME = [
    {"more": {"replicas": 4}},
    {"more": {"scaling": scaled()}},
    {"revisionHistoryLimit": 0},
    {"deployment": {"blueGreen": {"traffic": "AllAtOnce"}}},
]


@pytest.mark.parametrize("change", SAME)
def test_count_and_policy_must_be_no_new_revision(change: dict[str, Any]) -> None:
    """Counts and weights change in place, and how an update goes is not part of what serves."""
    world = served()
    before = world.status.revision
    world.change(**change)
    world.settle()
    assert before == world.status.revision
    assert not {"CreateModel", "CreateEndpointConfig", "UpdateEndpoint"} & set(world.aws.operations())


OTHERS = [
    {"instanceType": "ml.m5.large"},
    {"serverless": {}},
    *({name: value} for name, value in EVERYTHING.items() if name != "tags"),
    {"uri": "s3://bucket/other/model.tar.gz"},
    {"roleArn": f"{ROLE}-2"},
    {"more": {"model": {"artifact": {"uri": ARTIFACT}, "environment": [{"name": "A", "value": "1"}]}}},
    {"more": {"model": {"artifact": {"uri": ARTIFACT}, "startupTimeout": "5m"}}},
    {"more": {"model": {"artifact": {"uri": ARTIFACT}, "container": {"image": "other:1"}}}},
]


@pytest.mark.parametrize("change", OTHERS)
def test_everything_else_must_be_a_new_revision(change: dict[str, Any]) -> None:
    """EndpointConfig and Model are immutable (fact 3): a change is a new name and an update."""
    world = served()
    before = world.status.revision
    world.change(**change)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert before != world.status.revision
    assert 1 == world.aws.operations().count("UpdateEndpoint")


def test_newer_default_image_must_be_no_new_revision() -> None:
    """An upgrade of the operator restarts no model; the image that serves is pinned in status."""
    world = served()
    world.defaults = type(DEFAULTS)(cluster_id="cluster-1", region="eu-west-1", server_image="newer:2")
    assert [] == [a for a in world.look().actions if isinstance(a, Call)]
    assert world.status.model is not None
    assert IMAGE == world.status.model.image


def test_update_must_keep_counts_and_take_the_new_capture() -> None:
    """RetainAllVariantProperties (fact 5) would keep the old data capture, too."""
    world = served(deployment={"rolling": {"maximumBatchSize": {"type": "CapacityPercent", "value": 50}}})
    world.change(
        uri="s3://bucket/other/model.tar.gz",
        deployment={"rolling": {"maximumBatchSize": {"type": "CapacityPercent", "value": 50}}},
    )
    (update,) = requests(world)["UpdateEndpoint"]
    assert update["RetainAllVariantProperties"] is True
    assert [{"VariantPropertyType": "DataCaptureConfig"}] == update["ExcludeRetainedVariantProperties"]
    assert {"Type": "CAPACITY_PERCENT", "Value": 50} == (
        update["DeploymentConfig"]["RollingUpdatePolicy"]["MaximumBatchSize"]
    )


DEPLOYMENTS = [
    (
        {"blueGreen": {"traffic": "Canary", "canarySize": {"type": "InstanceCount", "value": 1}}, "maximumExecutionTimeoutSeconds": 900, "autoRollbackAlarms": ["high"]},
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "WaitIntervalInSeconds": 300,
                    "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
                },
                "TerminationWaitInSeconds": 0,
                "MaximumExecutionTimeoutInSeconds": 900,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "high"}]},
        },
    ),
    (
        {"blueGreen": {"traffic": "Linear", "stepSize": {"type": "CapacityPercent", "value": 25}, "waitIntervalSeconds": 60}},
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "LINEAR",
                    "WaitIntervalInSeconds": 60,
                    "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
                },
                "TerminationWaitInSeconds": 0,
            }
        },
    ),
    (
        {"rolling": {"maximumBatchSize": {"type": "CapacityPercent", "value": 5}, "rollbackMaximumBatchSize": {"type": "CapacityPercent", "value": 50}}, "maximumExecutionTimeoutSeconds": 600},
        {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 5},
                "WaitIntervalInSeconds": 300,
                "MaximumExecutionTimeoutInSeconds": 600,
                "RollbackMaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
            }
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given_", "wanted"), DEPLOYMENTS)
def test_deployment_must_be_said_in_aws_words(given_: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Blue/green all at once, canary, linear and rolling, with time limit and alarms."""
    assert wanted == deployment_config(Deployment.model_validate(given_))


def job(**more: Any) -> SourceJob:
    spec = job_spec(**more)
    artifact = ModelArtifact(uri="s3://bucket/out/model.tar.gz")
    return SourceJob(spec, TrainingJobStatus(phase=TrainingPhase.COMPLETED, model_artifact=artifact))


REF = {"more": {"model": {"trainingJobRef": {"name": "train"}}}}
BUILT_IN = {"algorithm": {"name": "xgboost"}}


def served_job(source: SourceJob | None, **more: Any) -> World:
    world = World(jobs={"train": source} if source else {})
    world.change(**{**REF, **more})
    return world


@pytest.mark.parametrize(
    ("source", "image"),
    [
        (job(), "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mine:1"),
        (job(**BUILT_IN), image_uri("xgboost", region="eu-west-1")),
        (job(algorithm={"name": "linear-learner"}, backend="Cluster", sageMaker=None), IMAGE),
    ],
)
def test_image_of_a_training_job_must_serve_it(source: SourceJob, image: str) -> None:
    """Its own image, the built-in algorithm's, or the built-in server where the cluster trained it."""
    (model,) = requests(served_job(source))["CreateModel"]
    assert {"Image": image, "ModelDataUrl": "s3://bucket/out/model.tar.gz"} == model["PrimaryContainer"]


LOADING = {"framework": "onnx", "allow": ["Requirements"]}


def test_loading_must_reach_the_built_in_server_only() -> None:
    """The built-in server's image in ECR is told of framework and allow; an image that knows neither is refused."""
    (model,) = requests(served_job(None, more={"model": {"artifact": {"uri": ARTIFACT}, **LOADING}}))["CreateModel"]
    environment = {"SAGEBRUSH_MODEL_FRAMEWORK": "onnx", "SAGEBRUSH_MODEL_ALLOW": "Requirements"}
    assert environment == model["PrimaryContainer"]["Environment"]
    world = served_job(job(**BUILT_IN), more={"model": {**REF["more"]["model"], **LOADING}})
    with pytest.raises(SpecError, match=r"framework and allow are honoured by the built-in server"):
        world.look()


def test_artifact_that_sagemaker_cannot_read_must_be_refused() -> None:
    """A Cluster job may have written to a volume."""
    source = job()
    status = source.status.model_copy(update={"model_artifact": ModelArtifact(uri="pvc://claim/model.tar.gz")})
    with pytest.raises(SpecError, match=r"pvc://claim/model.tar.gz"):
        served_job(SourceJob(source.spec, status)).look()


def test_missing_image_must_be_asked_for() -> None:
    """The built-in server is not in every registry: the message names both ways out."""
    world = World(defaults=type(DEFAULTS)(cluster_id="cluster-1", region="eu-west-1"))
    with pytest.raises(SpecError, match=r"spec\.model\.container\.image.*--sagemaker-server-image"):
        world.look()


def test_endpoint_must_wait_for_its_training_job() -> None:
    """Nothing is made before there is a model; then all of it is."""
    world = served_job(None)
    plan = world.look()
    assert () == plan.actions
    assert ("False", "TrainingJobNotFound") == world.told()
    world.jobs = {"train": job()}
    world.settle()
    assert ("True", "Serving") == world.told()


@pytest.mark.parametrize("more", [{}, BUILT_IN, {"algorithm": {"name": "xgboost", "version": "1.7-1"}}])
def test_model_of_a_job_that_is_gone_must_go_on_serving(more: dict[str, Any]) -> None:
    """Jobs are cleaned up: Ready, and the spec's other changes are still carried out."""
    world = served_job(job(**more))
    world.settle()
    before = world.status.revision
    world.jobs = {}
    assert [] == [a for a in world.look().actions if isinstance(a, Call)]
    assert ("True", "Serving") == world.told()
    assert "TrainingJob train is gone" in world.message()
    assert before == world.status.revision
    world.change(more={**REF["more"], "replicas": 3})
    world.settle()
    assert 3 == world.status.replicas


def test_previous_model_must_serve_while_a_job_runs_anew() -> None:
    """Not Ready, since another model is promised; nothing is taken away."""
    world = served_job(job())
    world.settle()
    running = TrainingJobStatus(phase=TrainingPhase.TRAINING)
    world.jobs = {"train": SourceJob(job_spec(), running)}
    assert () == world.look().actions
    assert ("False", "WaitingForTrainingJob") == world.told()
    assert "previous model goes on serving" in world.message()


def test_new_variant_must_start_with_what_is_wanted() -> None:
    """InitialInstanceCount: a variant that is there keeps its count, a scaled one begins at its minimum."""
    world = served(variants=[{"name": "a", "instanceType": "ml.m5.large", "scaling": scaled()}])
    assert world.aws.endpoint is not None
    world.aws.endpoint["ProductionVariants"][0]["DesiredInstanceCount"] = 5
    more = {"name": "b", "instanceType": "ml.m5.large", "scaling": scaled(minimum=2)}
    world.change(variants=[{"name": "a", "instanceType": "ml.m5.large", "scaling": scaled()}, more])
    config = parameters(world.look(), "CreateEndpointConfig")
    assert [5, 2] == [variant["InitialInstanceCount"] for variant in config["ProductionVariants"]]


@given(st.permutations(TWO))
def test_order_of_variants_must_not_matter(variants: list[dict[str, Any]]) -> None:
    """They are a map by name: server-side apply may order them anew."""
    world = World()
    world.change(variants=TWO)
    other = World()
    other.change(variants=list(variants))
    assert {name.rpartition("-")[2] for name in names(world)} == {name.rpartition("-")[2] for name in names(other)}


def names(world: World) -> set[str]:
    return {
        str(action.parameters.get("EndpointConfigName") or action.parameters.get("ModelName"))
        for action in world.look().actions
        if isinstance(action, Call)
    }
