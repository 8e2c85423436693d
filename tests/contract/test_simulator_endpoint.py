"""Endpoints against the table of the reference §1.2: which status permits what, and where it leads."""

from typing import Any

import pytest

from tests.contract.aws import CREATING, Aws, arn, refused, variant
from tests.sagemaker_simulator import Simulator

BUSY = ("ValidationException", f'Cannot update in-progress endpoint "{arn("endpoint", "endpoint")}".')
IN_PROGRESS = ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"]
CHANGEABLE = ["InService", "UpdateRollbackFailed", "OutOfService"]
SERVING = ["InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"]
STATUSES = sorted({*IN_PROGRESS, *CHANGEABLE, "Failed"})


def _changes(aws: Aws, operation: str) -> tuple[str, str]:
    match operation:
        case "update":
            return refused(aws.update, config="config")
        case "resize":
            return refused(aws.resize, DesiredInstanceCount=2)
        case _:
            return refused(aws.delete)


@pytest.mark.parametrize("status", STATUSES)
def test_endpoint_must_reach_and_show_status(aws: Aws, status: str) -> None:
    """Every status of the table can be brought about, and Describe answers in it."""
    aws.bring_to(status)
    assert status == aws.status()


@pytest.mark.parametrize("operation", ["update", "resize", "delete"])
@pytest.mark.parametrize("status", IN_PROGRESS)
def test_endpoint_must_refuse_changes_in_progress(aws: Aws, status: str, operation: str) -> None:
    """Update, resize and delete of an endpoint that is changing are refused with AWS's sentence."""
    aws.bring_to(status)
    assert BUSY == _changes(aws, operation)
    assert status == aws.status()


@pytest.mark.parametrize("operation", ["update", "resize", "delete"])
@pytest.mark.parametrize("status", CHANGEABLE)
def test_endpoint_must_accept_changes_at_rest(aws: Aws, status: str, operation: str) -> None:
    """An endpoint at rest takes updates, resizes and deletion."""
    aws.bring_to(status)
    assert ("OK", "") == _changes(aws, operation)
    assert ("Deleting" if operation == "delete" else "Updating") == aws.status()


@pytest.mark.parametrize(
    ("operation", "code"), [("update", "ValidationException"), ("resize", "ValidationException"), ("delete", "OK")]
)
def test_endpoint_failed_must_be_deletable_only(aws: Aws, operation: str, code: str) -> None:
    """A failed endpoint can be deleted, and nothing else."""
    aws.bring_to("Failed")
    assert code == _changes(aws, operation)[0]


@pytest.mark.parametrize("status", STATUSES)
def test_endpoint_must_serve_as_the_table_says(aws: Aws, status: str) -> None:
    """InvokeEndpoint is answered in the serving statuses and no others."""
    aws.bring_to(status)
    code, _ = refused(aws.runtime.invoke_endpoint, EndpointName="endpoint", Body=b"1,2")
    assert ("OK" if status in SERVING else "ValidationError") == code


@pytest.mark.parametrize(
    ("status", "seconds", "following"),
    [
        ("Creating", CREATING, "InService"),
        ("Updating", 240, "InService"),
        ("SystemUpdating", 300, "InService"),
        ("RollingBack", 60, "InService"),
        ("Deleting", 60, None),
    ],
)
def test_endpoint_must_leave_status_in_time(
    aws: Aws, simulator: Simulator, status: str, seconds: float, following: str | None
) -> None:
    """A transient status lasts its time and leads where the table says."""
    aws.bring_to(status)
    simulator.advance(seconds - 1)
    assert status == aws.status()
    simulator.advance(1)
    found = refused(aws.describe)
    assert (following is None) == (found[0] != "OK")
    if following:
        assert following == aws.status()


def test_endpoint_must_fail_its_ping_after_24_minutes(aws: Aws, simulator: Simulator) -> None:
    """A container that never answers keeps the endpoint Creating for 24 minutes; then it is Failed with the reason."""
    simulator.faults.add("fail_ping", image="*linear*")
    aws.model()
    aws.config()
    aws.create()
    simulator.advance(24 * 60 - 1)
    assert "Creating" == aws.status()
    simulator.advance(1)
    endpoint = aws.describe()
    assert "Failed" == endpoint["EndpointStatus"]
    assert (
        "The primary container for production variant AllTraffic did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    ) == endpoint["FailureReason"]


def test_endpoint_must_fail_its_ping_by_the_given_window(aws: Aws, simulator: Simulator) -> None:
    """ContainerStartupHealthCheckTimeoutInSeconds shortens the wait: three launches of that window."""
    simulator.faults.add("fail_ping", resource="endpoint")
    aws.model()
    aws.config("config", variant(ContainerStartupHealthCheckTimeoutInSeconds=60))
    aws.create()
    simulator.advance(180)
    assert "Failed" == aws.status()


def test_logs_must_tell_why_the_ping_failed(aws: Aws) -> None:
    """The log group of a failed endpoint holds a traceback; that of a healthy one does not exist."""
    aws.bring_to("Failed")
    events = aws.logs.filter_log_events(logGroupName="/aws/sagemaker/Endpoints/endpoint")["events"]
    assert "FileNotFoundError" in events[-1]["message"]
    assert events[-1]["logStreamName"].startswith("AllTraffic/")
    assert (
        "ResourceNotFoundException" == refused(aws.logs.filter_log_events, logGroupName="/aws/sagemaker/Endpoints/x")[0]
    )


def test_endpoint_must_fail_without_capacity(aws: Aws, simulator: Simulator) -> None:
    """No instances of the type: Failed, and the reason says so."""
    simulator.faults.add("endpoint_capacity", resource="endpoint")
    aws.model()
    aws.config()
    aws.create()
    simulator.advance(300)
    endpoint = aws.describe()
    assert "Failed" == endpoint["EndpointStatus"]
    assert endpoint["FailureReason"].startswith("Unable to provision requested ML compute capacity")


def test_endpoint_names_must_ignore_case(aws: Aws) -> None:
    """Two endpoints can't differ in case alone, and either spelling finds the one."""
    aws.serve()
    assert "ValidationException" == refused(aws.create, "ENDPOINT")[0]
    assert "endpoint" == aws.describe("EndPoint")["EndpointName"]


def test_endpoint_name_must_be_free_only_after_deletion(aws: Aws, simulator: Simulator) -> None:
    """While Deleting the name is taken; afterwards it is free."""
    aws.bring_to("Deleting")
    assert "ValidationException" == refused(aws.create)[0]
    simulator.advance(60)
    assert "OK" == refused(aws.create)[0]


def test_endpoint_must_show_variants_once_running(aws: Aws) -> None:
    """Counts and weights, current and desired, are those of the configuration."""
    aws.serve(variant("A", InitialInstanceCount=2, InitialVariantWeight=3.0), variant("B"))
    first, second = aws.describe()["ProductionVariants"]
    assert ("A", 2, 2, 3.0, 3.0) == (
        first["VariantName"],
        first["CurrentInstanceCount"],
        first["DesiredInstanceCount"],
        first["CurrentWeight"],
        first["DesiredWeight"],
    )
    assert "B" == second["VariantName"]


def test_resize_must_be_asynchronous(aws: Aws, simulator: Simulator) -> None:
    """Desired counts change at once, current ones when the instances are there."""
    aws.serve()
    aws.resize(DesiredInstanceCount=3)
    found = aws.describe()
    assert ("Updating", 1, 3) == (
        found["EndpointStatus"],
        found["ProductionVariants"][0]["CurrentInstanceCount"],
        found["ProductionVariants"][0]["DesiredInstanceCount"],
    )
    simulator.advance(180)
    found = aws.describe()
    assert ("InService", 3) == (found["EndpointStatus"], found["ProductionVariants"][0]["CurrentInstanceCount"])


@pytest.mark.parametrize("fields", [{"DesiredInstanceCount": 1}, {"DesiredWeight": 0.5}])
def test_resize_without_new_instances_must_be_quick(aws: Aws, simulator: Simulator, fields: dict[str, Any]) -> None:
    """Fewer instances, or other weights, take seconds, not minutes."""
    aws.serve(variant(InitialInstanceCount=2))
    aws.resize(**fields)
    simulator.advance(30)
    assert "InService" == aws.status()


def test_resize_must_keep_an_omitted_weight(aws: Aws, simulator: Simulator) -> None:
    """A resize without DesiredWeight leaves the weight as it is (moto removes it)."""
    aws.serve(variant(InitialVariantWeight=0.7))
    aws.resize(DesiredInstanceCount=2)
    simulator.advance(180)
    assert 0.7 == pytest.approx(aws.describe()["ProductionVariants"][0]["DesiredWeight"])


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (variant(), {"VariantName": "other", "DesiredInstanceCount": 1}),
        (variant(), {"VariantName": "AllTraffic", "DesiredInstanceCount": 0}),
        (
            {
                "VariantName": "AllTraffic",
                "ModelName": "model",
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
            },
            {"VariantName": "AllTraffic", "DesiredInstanceCount": 2},
        ),
    ],
    ids=["unknown variant", "zero instances", "serverless"],
)
def test_resize_must_refuse_what_cannot_be(aws: Aws, config: dict[str, object], wanted: dict[str, object]) -> None:
    """Unknown variants, no instances of a real-time one, and counts of serverless ones are refused."""
    aws.serve(config)
    code, _ = refused(
        aws.sagemaker.update_endpoint_weights_and_capacities,
        EndpointName="endpoint",
        DesiredWeightsAndCapacities=[wanted],
    )
    assert "ValidationException" == code
    assert "InService" == aws.status()


def test_resize_without_capacity_must_return_to_the_former_count(aws: Aws, simulator: Simulator) -> None:
    """Where no instance can be had, the endpoint serves on as before and says why."""
    aws.serve()
    simulator.faults.add("endpoint_capacity")
    aws.resize(DesiredInstanceCount=4)
    simulator.advance(300)
    found = aws.describe()
    assert ("InService", 1) == (found["EndpointStatus"], found["ProductionVariants"][0]["DesiredInstanceCount"])
    assert "Unable to provision" in found["FailureReason"]


def test_invocations_must_follow_weights(aws: Aws) -> None:
    """A variant without weight gets no request unless it is named; the answer tells which variant it was."""
    aws.serve(variant("A"), variant("B", InitialVariantWeight=0.0))
    answered = {
        aws.runtime.invoke_endpoint(EndpointName="endpoint", Body=b"1")["InvokedProductionVariant"] for _ in range(10)
    }
    assert {"A"} == answered
    named = aws.runtime.invoke_endpoint(EndpointName="endpoint", Body=b"1", TargetVariant="B")
    assert "B" == named["InvokedProductionVariant"]
    assert b"predictions" in named["Body"].read()
