"""The fault plan: each kind of fault as boto3 sees it, and what was done behind it."""

import time
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from tests.contract.aws import Aws, arn, client, refused
from tests.sagemaker_simulator import ManualClock, Simulator


def test_throttle_must_strike_its_operation_so_often(aws: Aws, simulator: Simulator) -> None:
    """`skip` calls pass, then `times` are throttled, then all pass; other operations never."""
    simulator.faults.add("throttle", operation="ListModels", skip=1, times=2)
    codes = [refused(aws.sagemaker.list_models)[0] for _ in range(4)]
    assert ["OK", "ThrottlingException", "ThrottlingException", "OK"] == codes
    assert "OK" == refused(aws.sagemaker.list_endpoints)[0]


def test_throttle_must_run_boto3s_own_retries(aws: Aws, simulator: Simulator) -> None:
    """botocore takes the answer for a throttle and tries again; quota errors it does not retry."""
    retrying = client(simulator.url, "sagemaker", retries={"total_max_attempts": 3, "mode": "standard"})
    simulator.faults.add("throttle", operation="ListModels", times=2)
    assert 2 == retrying.list_models()["ResponseMetadata"]["RetryAttempts"]
    simulator.faults.add("error", operation="ListEndpoints", code="ResourceLimitExceeded", message="no", times=None)
    assert "ResourceLimitExceeded" == refused(retrying.list_endpoints)[0]
    assert 1 == simulator.audit.count("ListEndpoints")


def test_fault_must_match_the_resource(aws: Aws, simulator: Simulator) -> None:
    """A glob of the name narrows a rule."""
    simulator.faults.add("throttle", operation="Describe*", resource="a-*", times=None)
    assert "ThrottlingException" == refused(aws.job, "a-1")[0]
    assert "ValidationException" == refused(aws.job, "b-1")[0]


def test_error_must_be_as_told(aws: Aws, simulator: Simulator) -> None:
    """Any code, message and status can be injected."""
    simulator.faults.add("error", operation="CreateModel", code="ServiceUnavailable", message="later", status=503)
    assert ("ServiceUnavailable", "later") == refused(aws.model)


def test_delay_must_hold_the_answer_back(aws: Aws, simulator: Simulator) -> None:
    """Seconds of wall time pass before the answer; others are served meanwhile."""
    simulator.faults.add("delay", operation="ListModels", seconds=0.2)
    began = time.monotonic()
    aws.sagemaker.list_models()
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("kind", "done"), [("lost_request", False), ("lost_reply", True)])
def test_lost_connections_must_break_the_call(aws: Aws, simulator: Simulator, kind: str, done: bool) -> None:
    """The connection closes without an answer, before or after the deed."""
    simulator.faults.add(kind, operation="CreateModel")
    with pytest.raises(ConnectionClosedError):
        aws.model()
    assert done == (refused(aws.sagemaker.describe_model, ModelName="model")[0] == "OK")


@pytest.mark.parametrize(("kind", "done"), [("internal_error", False), ("internal_error_after_commit", True)])
def test_internal_errors_must_leave_open_what_was_done(aws: Aws, simulator: Simulator, kind: str, done: bool) -> None:
    """HTTP 500 says nothing about the deed."""
    simulator.faults.add(kind, operation="CreateModel")
    assert "InternalFailure" == refused(aws.model)[0]
    assert done == (refused(aws.sagemaker.describe_model, ModelName="model")[0] == "OK")


def test_lost_reply_must_make_boto3s_retry_see_a_duplicate(aws: Aws, simulator: Simulator) -> None:
    """A retried create whose first answer was lost meets its own work: the name is taken."""
    retrying = client(simulator.url, "sagemaker", retries={"total_max_attempts": 2, "mode": "standard"})
    aws.model()
    request = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "ModelName": "model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}]}  # fmt: skip
    simulator.faults.add("lost_reply", operation="CreateEndpointConfig")
    assert "Cannot create already existing" in refused(retrying.create_endpoint_config, **request)[1]


def test_access_denied_must_name_caller_action_and_resource(aws: Aws, simulator: Simulator) -> None:
    """The sentence is AWS's: who, what, on which ARN, and why."""
    keys = aws.sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/operator", RoleSessionName="pod")["Credentials"]
    assumed = client(simulator.url, "sagemaker", key=keys["AccessKeyId"])
    simulator.faults.add("access_denied", operation="DeleteModel")
    assert (
        "AccessDeniedException",
        (
            "User: arn:aws:sts::123456789012:assumed-role/operator/pod is not authorized to perform: sagemaker:DeleteModel "
            f"on resource: {arn('model', 'm')} because no identity-based policy allows the sagemaker:DeleteModel action"
        ),
    ) == refused(assumed.delete_model, ModelName="m")


@pytest.mark.parametrize(
    ("kind", "create", "look"),
    [
        ("training-job", lambda aws: aws.train(), lambda aws: aws.job()),
        ("model", lambda aws: aws.model(), lambda aws: aws.sagemaker.describe_model(ModelName="model")),
        ("endpoint-config", lambda aws: aws.config(), lambda aws: aws.create()),
        ("endpoint", lambda aws: aws.create(), lambda aws: aws.describe()),
    ],
)
def test_consistency_must_be_eventual_where_told(
    aws: Aws, simulator: Simulator, kind: str, create: Any, look: Any
) -> None:
    """For so long what was created is not seen, though its name is taken; then it is."""
    if kind != "model":
        aws.model()
    if kind == "endpoint":
        aws.config()
    simulator.faults.add("eventual_consistency", of=kind, seconds=5)
    create(aws)
    assert "ValidationException" == refused(look, aws)[0]
    assert refused(create, aws)[0] in {"ValidationException", "ResourceInUse"}
    simulator.advance(5)
    assert "OK" == refused(look, aws)[0]


def test_consistency_must_hide_from_lists_too(aws: Aws, simulator: Simulator) -> None:
    """List operations see things as late as Describe does."""
    simulator.faults.add("eventual_consistency", seconds=5)
    aws.model()
    assert [] == aws.sagemaker.list_models()["Models"]
    simulator.advance(5)
    assert ["model"] == [model["ModelName"] for model in aws.sagemaker.list_models()["Models"]]


def test_system_update_must_come_unprompted(aws: Aws, simulator: Simulator) -> None:
    """After so many virtual seconds endpoints are SystemUpdating for so long."""
    aws.serve()
    simulator.faults.add("system_update", resource="end*", after=100, seconds=50)
    simulator.advance(99)
    assert "InService" == aws.status()
    simulator.advance(1)
    assert "SystemUpdating" == aws.status()
    simulator.advance(50)
    assert "InService" == aws.status()


def test_plan_must_be_readable_from_data(simulator: Simulator) -> None:
    """A plan is a list of mappings; unknown kinds are refused."""
    simulator.faults.load([{"kind": "throttle", "operation": "List*"}, {"kind": "quota", "limit": 2}])
    assert ["throttle", "quota"] == [rule["kind"] for rule in simulator.faults.plan()]
    with pytest.raises(ValueError, match="unknown kind"):
        simulator.faults.load([{"kind": "earthquake"}])


def test_limits_must_throttle_as_aws_does() -> None:
    """With limits on, ListTrainingJobs passes twice a second, and other operations freely."""
    with Simulator(clock=ManualClock(), limits={"DescribeEndpoint": (1, 3)}) as simulator:
        sagemaker = client(simulator.url, "sagemaker")
        codes = [refused(sagemaker.list_training_jobs)[0] for _ in range(3)]
        assert ["OK", "OK", "ThrottlingException"] == codes
        assert "OK" == refused(sagemaker.list_models)[0]
        described = [refused(sagemaker.describe_endpoint, EndpointName="x")[0] for _ in range(4)]
        assert ["ValidationException"] * 3 + ["ThrottlingException"] == described
        simulator.advance(0.5)
        assert "OK" == refused(sagemaker.list_training_jobs)[0]
