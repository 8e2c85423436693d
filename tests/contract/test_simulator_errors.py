"""Every text of the reference §1.4, and requests that the shapes of the API refuse."""

import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.contract.aws import IMAGE, ROLE, Aws, arn, client, refused, training_request, variant
from tests.sagemaker_simulator import Simulator

CONFIG_ARN = arn("endpoint-config", "config")
ABSENT = "Requested resource not found."


@pytest.mark.parametrize(
    ("operation", "fields", "expected"),
    [
        ("describe_endpoint", {"EndpointName": "x"}, f'Could not find endpoint "{arn("endpoint", "x")}".'),
        ("delete_endpoint", {"EndpointName": "x"}, f'Could not find endpoint "{arn("endpoint", "x")}".'),
        (
            "update_endpoint",
            {"EndpointName": "x", "EndpointConfigName": "config"},
            f'Could not find endpoint "{arn("endpoint", "x")}".',
        ),
        (
            "update_endpoint_weights_and_capacities",
            {"EndpointName": "x", "DesiredWeightsAndCapacities": [{"VariantName": "a"}]},
            f'Could not find endpoint "{arn("endpoint", "x")}".',
        ),
        (
            "describe_endpoint_config",
            {"EndpointConfigName": "config"},
            f'Could not find endpoint configuration "{CONFIG_ARN}".',
        ),
        (
            "delete_endpoint_config",
            {"EndpointConfigName": "config"},
            f'Could not find endpoint configuration "{CONFIG_ARN}".',
        ),
        (
            "create_endpoint",
            {"EndpointName": "x", "EndpointConfigName": "config"},
            f'Could not find endpoint configuration "{CONFIG_ARN}".',
        ),
        ("describe_model", {"ModelName": "m"}, f'Could not find model "{arn("model", "m")}".'),
        ("delete_model", {"ModelName": "m"}, f'Could not find model "{arn("model", "m")}".'),
        (
            "create_endpoint_config",
            {"EndpointConfigName": "c", "ProductionVariants": [variant(ModelName="m")]},
            f'Could not find model "{arn("model", "m")}".',
        ),
        ("describe_training_job", {"TrainingJobName": "j"}, ABSENT),
        ("stop_training_job", {"TrainingJobName": "j"}, ABSENT),
        ("list_tags", {"ResourceArn": arn("model", "m")}, f'Could not find model "{arn("model", "m")}".'),
        ("add_tags", {"ResourceArn": arn("training-job", "j"), "Tags": []}, ABSENT),
    ],
)
def test_absent_things_must_be_refused_in_their_words(
    aws: Aws, operation: str, fields: dict[str, Any], expected: str
) -> None:
    """Not found is a ValidationException with a text for each kind."""
    assert ("ValidationException", expected) == refused(getattr(aws.sagemaker, operation), **fields)


def test_absent_job_must_be_another_error_on_delete(aws: Aws) -> None:
    """DeleteTrainingJob alone says ResourceNotFound."""
    assert ("ResourceNotFound", ABSENT) == refused(aws.sagemaker.delete_training_job, TrainingJobName="j")


@pytest.mark.parametrize(
    ("kind", "what", "create"),
    [
        ("model", "model", lambda aws: aws.model("config")),
        ("endpoint-config", "endpoint configuration", lambda aws: aws.config()),
        ("endpoint", "endpoint", lambda aws: aws.create("config")),
    ],
)
def test_names_taken_must_be_refused(aws: Aws, kind: str, what: str, create: Any) -> None:
    """A second Create of the name is refused, with the ARN of the first (moto overwrites)."""
    aws.model()
    if kind == "endpoint":
        aws.config()
    create(aws)
    assert ("ValidationException", f'Cannot create already existing {what} "{arn(kind, "config")}".') == refused(
        create, aws
    )


def test_job_name_taken_must_be_resource_in_use(aws: Aws) -> None:
    """A second job of the name is ResourceInUse."""
    aws.train()
    code, message = refused(aws.train)
    assert "ResourceInUse" == code
    assert message.startswith("Training job names must be unique within an AWS account and region")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"TrainingJobName": "-bad"},
            ("1 validation error detected: Value '-bad' at 'trainingJobName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"),
        ),
        (
            {"TrainingJobName": "x" * 64},
            "Member must have length less than or equal to 63",
        ),
        (
            {"OutputDataConfig": None},
            "1 validation error detected: Value null at 'outputDataConfig' failed to satisfy constraint: Member must not be null",
        ),
        ({"OutputDataConfig": {}}, "at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: Member must not be null"),
        (
            {"ResourceConfig": {"InstanceType": "ml.nope", "InstanceCount": 1, "VolumeSizeInGB": 1}},
            ("1 validation error detected: Value 'ml.nope' at 'resourceConfig.instanceType' failed to satisfy "
            "constraint: Member must satisfy enum value set: ["),
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": -1, "VolumeSizeInGB": -1}},
            "2 validation errors detected: ",
        ),
        ({"HyperParameters": {"k": "v" * 2501}}, "Map value must satisfy constraint: [Member must have length less than or equal to 2500"),
        ({"HyperParameters": {"k" * 257: "v"}}, "Map keys must satisfy constraint: [Member must have length less than or equal to 256"),
        ({"HyperParameters": {str(n): "v" for n in range(101)}}, "at 'hyperParameters' failed to satisfy constraint: Member must have length less than or equal to 100"),
        ({"Tags": [{"Key": str(n), "Value": "v"} for n in range(51)]}, "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "Member must have value greater than or equal to 1"),
        (
            {"InputDataConfig": [{**training_request()["InputDataConfig"][0], "ChannelName": "no spaces"}]},
            ("Value 'no spaces' at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [A-Za-z0-9\\.\\-_]+"),
        ),
    ],
)  # fmt: skip
def test_bad_specs_must_be_refused_in_one_sentence(aws: Aws, fields: dict[str, Any], expected: str) -> None:
    """Required, pattern, length, range and enum come from botocore's shapes, in AWS's words."""
    request = {key: value for key, value in (training_request() | fields).items() if value is not None}
    code, message = refused(aws.sagemaker.create_training_job, **request)
    assert "ValidationException" == code
    assert expected in message


@pytest.mark.parametrize("kind", ["ml.m6i.large", "ml.m5.large", "ml.g5.xlarge"])
def test_instance_types_must_be_the_models(aws: Aws, kind: str) -> None:
    """Every instance type that botocore knows is accepted (moto has a list of 66)."""
    aws.model()
    assert "OK" == refused(aws.config, "config", variant(InstanceType=kind))[0]
    assert "ValidationException" == refused(aws.config, "other", variant(InstanceType="ml.z9.large"))[0]


@pytest.mark.parametrize(
    ("usage", "create"),
    [
        ("endpoint", lambda aws: aws.create()),
        ("training job", lambda aws: aws.train()),
        (
            "spot training job",
            lambda aws: aws.train(
                EnableManagedSpotTraining=True,
                StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
            ),
        ),
    ],
)
def test_quota_must_be_refused_in_its_words_and_be_liftable(
    aws: Aws, simulator: Simulator, usage: str, create: Any
) -> None:
    """ResourceLimitExceeded names type, usage, limit, utilization and delta; a later quota counts."""
    aws.model()
    aws.config()
    simulator.faults.add("quota", instance_type="ml.m5.large", usage=usage, limit=0)
    code, message = refused(create, aws)
    assert "ResourceLimitExceeded" == code
    assert message.startswith(
        f"The account-level service limit 'ml.m5.large for {usage} usage' is 0 Instances, with current utilization "
        "of 0 Instances and a request delta of 1 Instances."
    )
    simulator.faults.add("quota", instance_type="ml.m5.large", usage=usage, limit=1)
    assert "OK" == refused(create, aws)[0]


def test_quota_must_count_what_runs(aws: Aws, simulator: Simulator) -> None:
    """Running jobs use the quota up, and ended ones give it back."""
    simulator.faults.add("quota", usage="training job", limit=1)
    aws.train("first")
    assert "ResourceLimitExceeded" == refused(aws.train, "second")[0]
    simulator.advance(1000)
    assert "OK" == refused(aws.train, "second")[0]


def test_quota_must_count_both_fleets_of_an_update(aws: Aws, simulator: Simulator) -> None:
    """A blue/green update needs room for the new fleet beside the old one; growing needs room for the growth."""
    aws.serve(variant(InitialInstanceCount=2))
    simulator.faults.add("quota", usage="endpoint", limit=3)
    assert "ResourceLimitExceeded" == refused(aws.update)[0]
    assert "ResourceLimitExceeded" == refused(aws.resize, DesiredInstanceCount=4)[0]
    assert "OK" == refused(aws.resize, DesiredInstanceCount=3)[0]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"Image": "docker.io/library/python:3"}, "Using non-ECR image"),
        ({"Image": f"{IMAGE}-missing"}, f"Requested image {IMAGE}-missing not found."),
        ({"ModelDataUrl": "s3://b/m"}, "Image or ModelPackageName"),
    ],
)
def test_model_must_be_checked_at_once(
    aws: Aws, simulator: Simulator, container: dict[str, str], expected: str
) -> None:
    """CreateModel looks at the image synchronously."""
    simulator.faults.add("missing_image", resource="*-missing")
    code, message = refused(aws.model, PrimaryContainer=container)
    assert "ValidationException" == code
    assert message.startswith(expected)


def test_role_must_be_assumable(aws: Aws, simulator: Simulator) -> None:
    """A role that SageMaker can't assume is refused at once."""
    simulator.faults.add("unassumable_role", resource="*execution")
    assert refused(aws.train)[1].startswith(f"Could not assume role {ROLE}.")
    assert refused(aws.model)[1].startswith("Could not assume role")


@pytest.mark.parametrize(
    "variants",
    [
        [variant(), variant()],
        [variant(InstanceType=None)],
        [variant(InitialInstanceCount=None)],
        [variant(ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 1})],
        [variant(str(n)) for n in range(11)],
    ],
    ids=["same name", "no type", "no count", "serverless with type", "eleven"],
)
def test_config_must_be_refused_where_variants_contradict(aws: Aws, variants: list[dict[str, Any]]) -> None:
    """Variants have distinct names and are of instances or serverless."""
    aws.model()
    given = [{key: value for key, value in each.items() if value is not None} for each in variants]
    assert "ValidationException" == refused(aws.config, "config", *given)[0]


def test_unsigned_calls_must_be_refused(simulator: Simulator) -> None:
    """Without Authorization there is no answer but the missing token."""
    request = urllib.request.Request(
        simulator.url, data=b"{}", headers={"X-Amz-Target": "SageMaker.ListModels"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert 403 == caught.value.code
    assert b"MissingAuthenticationToken" in caught.value.read()


def test_unknown_operations_must_be_refused(aws: Aws) -> None:
    """What the simulator lacks is an error with a code, never a page of HTML."""
    assert "UnknownOperationException" == refused(aws.sagemaker.list_notebook_instances)[0]


def test_accounts_and_regions_must_be_worlds_apart(aws: Aws, simulator: Simulator) -> None:
    """The region comes from the signature, the account from the key; each has its own things."""
    aws.model()
    elsewhere = client(simulator.url, "sagemaker", region="eu-west-1")
    assert [] == elsewhere.list_models()["Models"]
    keys = aws.sts.assume_role(RoleArn="arn:aws:iam::999999999999:role/them", RoleSessionName="s")["Credentials"]
    them = client(simulator.url, "sagemaker", key=keys["AccessKeyId"])
    assert [] == them.list_models()["Models"]
    assert '999999999999:model/model".' in refused(them.describe_model, ModelName="model")[1]
    identity = client(simulator.url, "sts", key=keys["AccessKeyId"]).get_caller_identity()
    assert ("999999999999", "arn:aws:sts::999999999999:assumed-role/them/s") == (identity["Account"], identity["Arn"])


def test_web_identity_must_give_keys_without_signature(aws: Aws) -> None:
    """A service account's token is exchanged for keys of the role's account."""
    answer = aws.sts.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::999999999999:role/them", RoleSessionName="s", WebIdentityToken="t" * 20
    )
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")
    assert answer["Credentials"]["Expiration"].tzinfo is not None
