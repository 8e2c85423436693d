"""UpdateEndpoint: blue/green and rolling, retained properties, and ends that are not what was asked for (§0.1, §0.5, §1.2)."""

from typing import Any

import pytest

from tests.contract.aws import IMAGE, ROLLING, Aws, arn, refused, variant
from tests.sagemaker_simulator import Simulator

UPDATING = 240


def blue_green(kind: str, **fields: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": 100, **fields}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def counts(aws: Aws) -> tuple[int, float]:
    running = aws.describe()["ProductionVariants"][0]
    return running["DesiredInstanceCount"], round(running["DesiredWeight"], 3)


def test_update_must_serve_the_old_config_until_its_end(aws: Aws, simulator: Simulator) -> None:
    """While Updating the old configuration is named and the new one pending; then the new one, and nothing pending."""
    aws.serve()
    aws.update()
    simulator.advance(UPDATING - 1)
    found = aws.describe()
    assert ("Updating", "config") == (found["EndpointStatus"], found["EndpointConfigName"])
    assert "next" == found["PendingDeploymentSummary"]["EndpointConfigName"]
    simulator.advance(1)
    found = aws.describe()
    assert ("InService", "next") == (found["EndpointStatus"], found["EndpointConfigName"])
    assert "PendingDeploymentSummary" not in found


def test_update_must_show_the_status_of_variants(aws: Aws, simulator: Simulator) -> None:
    """The new fleet is Creating, then Baking while traffic moves, and reports its instance type."""
    aws.serve()
    aws.update(DeploymentConfig=blue_green("CANARY", CanarySize=percent(10)))
    pending = aws.describe()["PendingDeploymentSummary"]["ProductionVariants"][0]
    assert ("Creating", "ml.m5.large", 0) == (
        pending["VariantStatus"][0]["Status"],
        pending["InstanceType"],
        pending["CurrentInstanceCount"],
    )
    simulator.advance(UPDATING - 30 + 50)
    pending = aws.describe()["PendingDeploymentSummary"]["ProductionVariants"][0]
    assert ("Baking", 1) == (pending["VariantStatus"][0]["Status"], pending["CurrentInstanceCount"])


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({}, UPDATING),
        (blue_green("ALL_AT_ONCE"), UPDATING + 100),
        (blue_green("CANARY", CanarySize=percent(10)), UPDATING + 2 * 100),
        (blue_green("LINEAR", LinearStepSize=percent(25)), UPDATING + 4 * 100),
        (ROLLING, 2 * (UPDATING + 30)),
    ],
    ids=["default", "all at once", "canary", "linear", "rolling"],
)
def test_update_must_take_what_its_deployment_takes(
    aws: Aws, simulator: Simulator, config: dict[str, Any], seconds: float
) -> None:
    """Waits of the traffic routing, or of every batch, add up."""
    aws.serve(variant(InitialInstanceCount=2))
    aws.update(DeploymentConfig=config)
    simulator.advance(seconds - 1)
    assert "Updating" == aws.status()
    simulator.advance(1)
    assert ("InService", "next") == (aws.status(), aws.describe()["EndpointConfigName"])
    assert (config or None) == aws.describe().get("LastDeploymentConfig")


def test_update_must_wait_for_the_termination_of_the_old_fleet(aws: Aws, simulator: Simulator) -> None:
    """TerminationWaitInSeconds delays the end."""
    aws.serve()
    policy = blue_green("ALL_AT_ONCE", WaitIntervalInSeconds=0)
    policy["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] = 500
    aws.update(DeploymentConfig=policy)
    simulator.advance(UPDATING + 499)
    assert "Updating" == aws.status()
    simulator.advance(1)
    assert "InService" == aws.status()


def test_update_must_roll_back_at_its_time_limit(aws: Aws, simulator: Simulator) -> None:
    """MaximumExecutionTimeoutInSeconds ends a deployment that takes longer, on the old configuration."""
    aws.serve()
    policy = blue_green("LINEAR", LinearStepSize=percent(10))
    policy["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 600
    aws.update(DeploymentConfig=policy)
    simulator.advance(600)
    assert "RollingBack" == aws.status()
    simulator.advance(60)
    assert ("InService", "config") == (aws.status(), aws.describe()["EndpointConfigName"])


def test_update_must_reuse_the_last_deployment_config(aws: Aws, simulator: Simulator) -> None:
    """RetainDeploymentConfig deploys as the last time; together with a configuration it is refused."""
    aws.serve()
    config = blue_green("ALL_AT_ONCE")
    aws.update(DeploymentConfig=config)
    simulator.advance(UPDATING + 100)
    assert (
        "ValidationException"
        == refused(aws.update, config="config", DeploymentConfig=config, RetainDeploymentConfig=True)[0]
    )
    aws.update(config="config", RetainDeploymentConfig=True)
    simulator.advance(UPDATING + 99)
    assert "Updating" == aws.status()


@pytest.mark.parametrize(
    "config",
    [
        blue_green("CANARY"),
        blue_green("ALL_AT_ONCE", CanarySize=percent(10)),
        blue_green("CANARY", CanarySize=percent(60)),
        blue_green("LINEAR", LinearStepSize=percent(5)),
        blue_green("CANARY", CanarySize=percent(10)) | ROLLING,
        {"RollingUpdatePolicy": {"MaximumBatchSize": percent(60), "WaitIntervalInSeconds": 0}},
        {"RollingUpdatePolicy": {"MaximumBatchSize": percent(20)}},
        blue_green("CANARY", CanarySize=percent(10), WaitIntervalInSeconds=3601),
    ],
)
def test_update_must_refuse_a_wrong_deployment_config(aws: Aws, config: dict[str, Any]) -> None:
    """Sizes fit the type and its limits, and there is one policy."""
    aws.serve()
    assert "ValidationException" == refused(aws.update, DeploymentConfig=config)[0]
    assert "InService" == aws.status()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (1, 1.0)),
        ({"RetainAllVariantProperties": False}, (1, 1.0)),
        ({"RetainAllVariantProperties": True}, (3, 0.4)),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
            },
            (1, 0.4),
        ),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredWeight"}],
            },
            (3, 1.0),
        ),
    ],
)
def test_update_must_keep_counts_only_when_told_to(
    aws: Aws, simulator: Simulator, fields: dict[str, Any], expected: tuple[int, float]
) -> None:
    """RetainAllVariantProperties is false by default, and then counts and weights are the configuration's again."""
    aws.serve()
    aws.resize(DesiredInstanceCount=3, DesiredWeight=0.4)
    simulator.advance(180)
    aws.update(**fields)
    simulator.advance(UPDATING)
    assert expected == counts(aws)


def test_update_must_refuse_a_missing_config(aws: Aws) -> None:
    """The configuration must be there."""
    aws.serve()
    missing = arn("endpoint-config", "nowhere")
    assert ("ValidationException", f'Could not find endpoint configuration "{missing}".') == refused(
        aws.update, config="nowhere"
    )


@pytest.mark.parametrize("reason", [None, "Request to service failed"])
def test_silent_rollback_must_end_in_service_on_the_old_config(
    aws: Aws, simulator: Simulator, reason: str | None
) -> None:
    """A failed update ends InService on the old configuration, with a reason or without one."""
    aws.serve()
    simulator.faults.add("silent_rollback", resource="endpoint", failure_reason=reason)
    aws.update()
    simulator.advance(UPDATING)
    assert "RollingBack" == aws.status()
    simulator.advance(60)
    found = aws.describe()
    assert ("InService", "config") == (found["EndpointStatus"], found["EndpointConfigName"])
    assert reason == found.get("FailureReason")
    assert "PendingDeploymentSummary" not in found


def test_failed_update_must_forget_the_pending_config(aws: Aws, simulator: Simulator) -> None:
    """After a rollback the next update starts afresh, and a resize stays on the old configuration."""
    aws.serve()
    simulator.faults.add("silent_rollback", times=1)
    aws.update()
    simulator.advance(UPDATING + 60)
    aws.resize(DesiredInstanceCount=2)
    assert "PendingDeploymentSummary" not in aws.describe()
    aws.sagemaker.delete_endpoint_config(EndpointConfigName="next")
    assert [] == simulator.audit.violations
    aws.config("next")
    simulator.advance(180)
    assert "config" == aws.describe()["EndpointConfigName"]
    aws.update()
    simulator.advance(UPDATING)
    assert "next" == aws.describe()["EndpointConfigName"]
    assert "FailureReason" not in aws.describe()


def test_update_to_a_sick_container_must_roll_back(aws: Aws, simulator: Simulator) -> None:
    """An image that fails its ping keeps the endpoint Updating for 24 minutes; then the old fleet serves on."""
    aws.serve()
    aws.model("sick", image=f"{IMAGE}-sick")
    aws.config("bad", variant(ModelName="sick"))
    simulator.faults.add("fail_ping", image="*-sick")
    aws.update(config="bad")
    simulator.advance(24 * 60 - 1)
    assert "Updating" == aws.status()
    simulator.advance(61)
    found = aws.describe()
    assert ("InService", "config") == (found["EndpointStatus"], found["EndpointConfigName"])
    assert "did not pass the ping health check" in found["FailureReason"]


def test_update_without_capacity_must_roll_back(aws: Aws, simulator: Simulator) -> None:
    """No instances for the new fleet: the old one serves on."""
    aws.serve()
    simulator.faults.add("endpoint_capacity")
    aws.update()
    simulator.advance(360)
    assert "Unable to provision" in aws.describe()["FailureReason"]
    assert "config" == aws.describe()["EndpointConfigName"]


def test_rollback_must_fail_for_rolling_updates_only(aws: Aws, simulator: Simulator) -> None:
    """UpdateRollbackFailed is a state of rolling deployments; blue/green ones never get there."""
    aws.serve()
    simulator.faults.add("update_rollback_failed")
    aws.update()
    simulator.advance(UPDATING)
    assert ("InService", "next") == (aws.status(), aws.describe()["EndpointConfigName"])
    aws.update(config="config", DeploymentConfig=ROLLING)
    simulator.advance(UPDATING + 30)
    assert "UpdateRollbackFailed" == aws.status()


@pytest.mark.parametrize(
    ("during", "delete"),
    [
        ("rest", lambda aws: aws.sagemaker.delete_endpoint_config(EndpointConfigName="config")),
        ("update", lambda aws: aws.sagemaker.delete_endpoint_config(EndpointConfigName="next")),
    ],
)
def test_deleting_a_config_in_use_must_hurt_later(aws: Aws, simulator: Simulator, during: str, delete: Any) -> None:
    """AWS lets it go; then updates fail: at once without the live configuration, at their end without the new one."""
    aws.serve()
    if during == "update":
        aws.update()
    delete(aws)
    if during == "rest":
        assert "Could not find endpoint configuration" in refused(aws.update)[1]
    simulator.advance(UPDATING + 60)
    assert ("InService", "config") == (aws.status(), aws.describe()["EndpointConfigName"])


def test_deleting_a_model_in_use_must_hurt_later(aws: Aws, simulator: Simulator) -> None:
    """New instances can't load it: scaling out fails, and maintenance tells of it."""
    aws.serve()
    aws.sagemaker.delete_model(ModelName="model")
    aws.resize(DesiredInstanceCount=2)
    simulator.advance(180)
    assert 1 == counts(aws)[0]
    missing = f'Could not find model "{arn("model", "model")}".'
    assert missing == aws.describe()["FailureReason"]
    simulator.faults.add("system_update")
    simulator.advance(300)
    assert missing == aws.describe()["FailureReason"]


def test_traffic_must_shift_with_the_deployment(aws: Aws, simulator: Simulator) -> None:
    """During a canary the new fleet gets its share, and after the update everything."""
    aws.serve()
    simulator.traffic.set("endpoint", 600)
    aws.update(DeploymentConfig=blue_green("CANARY", CanarySize=percent(20)))
    simulator.advance(UPDATING - 30)
    endpoint = simulator.world.region().endpoints["endpoint"]
    before = endpoint.fleet.variants[0].invocations
    simulator.advance(60)
    simulator.traffic.settle(endpoint)
    assert endpoint.pending is not None
    assert 120 == pytest.approx(endpoint.pending.variants[0].invocations)
    assert 480 == pytest.approx(endpoint.fleet.variants[0].invocations - before)
