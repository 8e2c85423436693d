"""Scaling policies and their alarms against the reference §0.10 and §4.2."""

from typing import Any

import pytest

from tests.contract.aws import Aws, refused, variant
from tests.contract.scaling import MINUTE, TARGET, activities, desired, register, track
from tests.sagemaker_simulator import Simulator


def test_policy_must_bring_its_alarms(aws: Aws) -> None:
    """A target tracking policy answers with its alarms: 3 points above, 15 minutes below 90 %."""
    aws.serve()
    register(aws)
    names = [alarm["AlarmName"] for alarm in track(aws)["Alarms"]]
    high, low = (aws.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0] for name in names)
    assert (60, 3, 100) == (high["Period"], high["EvaluationPeriods"], high["Threshold"])
    assert (60, 15, 90) == (low["Period"], low["EvaluationPeriods"], low["Threshold"])
    (policy,) = aws.autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert names == [alarm["AlarmName"] for alarm in policy["Alarms"]]


def test_policy_without_scale_in_must_have_one_alarm(aws: Aws) -> None:
    """DisableScaleIn leaves the upper alarm."""
    aws.serve()
    register(aws)
    assert 1 == len(track(aws, DisableScaleIn=True)["Alarms"])


@pytest.mark.parametrize(
    "call",
    [
        lambda aws: track(aws, name="second"),
        lambda aws: track(aws, metric="Nonsense", name="other"),
        lambda aws: aws.autoscaling.put_scaling_policy(**TARGET, PolicyName="p", PolicyType="PredictiveScaling"),
        lambda aws: aws.autoscaling.put_scaling_policy(**TARGET, PolicyName="p", PolicyType="StepScaling"),
    ],
    ids=["same metric", "unknown metric", "predictive", "step without steps"],
)
def test_policy_must_be_refused(aws: Aws, call: Any) -> None:
    """One tracking policy for each metric, of those that SageMaker has; prediction is for ECS alone."""
    aws.serve()
    register(aws)
    track(aws)
    assert "ValidationException" == refused(call, aws)[0]


def test_tracking_must_scale_out_after_three_minutes(aws: Aws, simulator: Simulator) -> None:
    """Three one-minute points above the target scale out, not two, to what the target asks."""
    aws.serve()
    register(aws)
    track(aws)
    simulator.advance(-simulator.clock.now() % MINUTE)
    simulator.traffic.set("endpoint", 350)
    simulator.advance(3 * MINUTE - 1)
    assert 1 == desired(aws)
    simulator.advance(1)
    assert 4 == desired(aws)
    assert "Updating" == aws.status()
    (activity,) = activities(aws)
    assert "InProgress" == activity["StatusCode"]
    assert "in state ALARM triggered policy track" in activity["Cause"]
    simulator.advance(180)
    assert "Successful" == activities(aws)[0]["StatusCode"]


def test_tracking_must_stop_at_the_maximum(aws: Aws, simulator: Simulator) -> None:
    """MaxCapacity bounds; the history tells why nothing more came, if asked."""
    aws.serve()
    register(aws, 1, 2)
    track(aws)
    simulator.traffic.set("endpoint", 1000)
    simulator.advance(15 * MINUTE)
    assert 2 == desired(aws)
    assert 1 == len(activities(aws))
    codes = {
        reason["Code"]
        for activity in activities(aws, IncludeNotScaledActivities=True)
        for reason in activity.get("NotScaledReasons", [])
    }
    assert "AlreadyAtMaxCapacity" in codes


@pytest.mark.parametrize("rate", [0, 89])
def test_tracking_must_scale_in_after_fifteen_minutes(aws: Aws, simulator: Simulator, rate: float) -> None:
    """Fifteen one-minute points below 90 % scale in; no traffic gives points of zero."""
    aws.serve(variant(InitialInstanceCount=2))
    register(aws)
    track(aws)
    simulator.advance(-simulator.clock.now() % MINUTE)
    simulator.traffic.set("endpoint", rate)
    simulator.advance(15 * MINUTE - 1)
    assert 2 == desired(aws)
    simulator.advance(1)
    assert 1 == desired(aws)


def test_tracking_must_not_scale_in_between(aws: Aws, simulator: Simulator) -> None:
    """Between 90 % and 100 % of the target nothing moves."""
    aws.serve(variant(InitialInstanceCount=2))
    register(aws)
    track(aws)
    simulator.traffic.set("endpoint", 190)
    simulator.advance(60 * MINUTE)
    assert 2 == desired(aws)


def test_tracking_must_respect_cooldowns(aws: Aws, simulator: Simulator) -> None:
    """After a scaling activity the next one of its direction waits."""
    aws.serve()
    register(aws, 1, 8)
    track(aws, ScaleOutCooldown=1200)
    simulator.advance(-simulator.clock.now() % MINUTE)
    simulator.traffic.set("endpoint", 150)
    simulator.advance(3 * MINUTE)
    assert 2 == desired(aws)
    simulator.traffic.set("endpoint", 700)
    simulator.advance(15 * MINUTE)
    assert 2 == desired(aws)
    simulator.advance(10 * MINUTE)
    assert 7 == desired(aws)


def test_tracking_must_react_faster_at_high_resolution(aws: Aws, simulator: Simulator) -> None:
    """Concurrency metrics have points of ten seconds: half a minute is enough."""
    aws.serve()
    register(aws)
    track(aws, 2, metric="ConcurrentRequestsPerModelHighResolution")
    simulator.advance(-simulator.clock.now() % MINUTE)
    simulator.traffic.set("endpoint", 4800)
    simulator.advance(30)
    assert 2 == desired(aws)


def test_tracking_must_wait_while_the_endpoint_updates(aws: Aws, simulator: Simulator) -> None:
    """Scaling is blocked during an update and catches up after it."""
    aws.serve()
    register(aws)
    track(aws)
    simulator.traffic.set("endpoint", 350)
    simulator.advance(2 * MINUTE)
    simulator.faults.add("system_update", seconds=10 * MINUTE)
    simulator.advance(9 * MINUTE)
    assert 1 == desired(aws)
    simulator.advance(2 * MINUTE)
    assert 4 == desired(aws)


def test_tracking_must_go_on_after_an_update(aws: Aws, simulator: Simulator) -> None:
    """The new fleet's counters begin at zero, and no point is lost or negative by that."""
    aws.serve()
    register(aws)
    track(aws, 1000)
    simulator.traffic.set("endpoint", 900)
    simulator.advance(3600)
    aws.update()
    simulator.advance(300)
    points = simulator.world.region().series["endpoint", "AllTraffic"].points
    assert {150.0} == {round(point.invocations, 6) for point in list(points)[1:-30]}
    assert all(point.invocations >= 0 for point in points)
    simulator.advance(-simulator.clock.now() % MINUTE)
    simulator.traffic.set("endpoint", 3000)
    simulator.advance(3 * MINUTE)
    assert 3 == desired(aws)


def test_suspended_scaling_must_rest(aws: Aws, simulator: Simulator) -> None:
    """SuspendedState stops a direction."""
    aws.serve()
    register(aws, SuspendedState={"DynamicScalingOutSuspended": True})
    track(aws)
    simulator.traffic.set("endpoint", 1000)
    simulator.advance(10 * MINUTE)
    assert 1 == desired(aws)


@pytest.mark.parametrize(
    ("kind", "adjustment", "expected"),
    [("ChangeInCapacity", 2, 4), ("PercentChangeInCapacity", 100, 4), ("ExactCapacity", 3, 3)],
)
def test_step_policy_must_act_on_its_alarm(
    aws: Aws, simulator: Simulator, kind: str, adjustment: int, expected: int
) -> None:
    """An alarm that names the policy's ARN makes it act when it breaches."""
    aws.serve(variant(InitialInstanceCount=2))
    register(aws, 1, 8)
    policy = aws.autoscaling.put_scaling_policy(
        **TARGET,
        PolicyName="step",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": kind,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": adjustment}],
        },
    )
    aws.cloudwatch.put_metric_alarm(
        AlarmName="busy",
        AlarmActions=[policy["PolicyARN"]],
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[{"Name": "EndpointName", "Value": "endpoint"}, {"Name": "VariantName", "Value": "AllTraffic"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=100,
        ComparisonOperator="GreaterThanThreshold",
    )
    simulator.traffic.set("endpoint", 300)
    simulator.advance(2 * MINUTE)
    assert "ALARM" == aws.cloudwatch.describe_alarms(AlarmNames=["busy"])["MetricAlarms"][0]["StateValue"]
    assert expected == desired(aws)


def test_alarms_must_be_deletable(aws: Aws) -> None:
    """DeleteAlarms removes; what is absent is ResourceNotFound."""
    code, _ = refused(aws.cloudwatch.delete_alarms, AlarmNames=["none"])
    assert code in {"ResourceNotFound", "ResourceNotFoundException"}
