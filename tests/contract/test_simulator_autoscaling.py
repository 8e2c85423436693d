"""Scalable targets and scheduled actions against the reference §4.2."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.aws import Aws, refused, variant
from tests.contract.scaling import MINUTE, RESOURCE, TARGET, activities, desired, register, schedule, track
from tests.sagemaker_simulator import Simulator


@pytest.mark.parametrize(
    "fields",
    [
        {"ResourceId": "endpoint/other/variant/AllTraffic"},
        {"ResourceId": "endpoint/endpoint/variant/other"},
        {"ResourceId": "service/other"},
        {"MinCapacity": 5},
        {"MinCapacity": 0},
        {"MinCapacity": None},
        {"MaxCapacity": None},
        {"ScalableDimension": "ecs:service:DesiredCount"},
        {"ScalableDimension": "nonsense"},
    ],
    ids=str,
)
def test_register_must_refuse_what_cannot_scale(aws: Aws, fields: dict[str, Any]) -> None:
    """Endpoint and variant exist, bounds are given and in order, and real-time variants keep an instance."""
    aws.serve()
    request = TARGET | {"MinCapacity": 1, "MaxCapacity": 4} | fields
    given = {key: value for key, value in request.items() if value is not None}
    assert "ValidationException" == refused(aws.autoscaling.register_scalable_target, **given)[0]


@pytest.mark.parametrize("status", ["Creating", "Failed", "Deleting"])
def test_register_must_refuse_an_endpoint_that_does_not_run(aws: Aws, status: str) -> None:
    """An endpoint must be in service, or changing, to be registered."""
    aws.bring_to(status)
    assert "ValidationException" == refused(register, aws)[0]


def test_register_must_refuse_t2(aws: Aws) -> None:
    """t2 instances can't be scaled."""
    aws.serve(variant(InstanceType="ml.t2.medium"))
    assert "ValidationException" == refused(register, aws)[0]


def test_register_must_permit_zero_for_async_endpoints(aws: Aws) -> None:
    """An asynchronous endpoint may have no instance."""
    aws.serve(AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://bucket/out"}})
    assert "OK" == refused(register, aws, 0, 1)[0]


@pytest.mark.parametrize(("least", "most", "expected"), [(3, 4, 3), (1, 4, 2), (1, 1, 1)])
def test_register_must_clamp_the_capacity(aws: Aws, simulator: Simulator, least: int, most: int, expected: int) -> None:
    """The count is brought within the bounds, through an update of the endpoint."""
    aws.serve(variant(InitialInstanceCount=2))
    register(aws, least, most)
    assert ("InService" if expected == 2 else "Updating") == aws.status()
    simulator.advance(180)
    assert expected == desired(aws)


def test_register_must_update_what_is_registered(aws: Aws) -> None:
    """A second registration keeps the ARN and what it omits."""
    aws.serve()
    first = register(aws)
    answer = aws.autoscaling.register_scalable_target(**TARGET, MaxCapacity=9)
    assert first == answer["ScalableTargetARN"]
    (target,) = aws.autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (1, 9) == (target["MinCapacity"], target["MaxCapacity"])


def test_deregister_must_cascade(aws: Aws) -> None:
    """Policies, alarms and schedules go with their target; a second time there is nothing to deregister."""
    aws.serve()
    register(aws)
    track(aws)
    schedule(aws, "rate(1 day)")
    aws.autoscaling.deregister_scalable_target(**TARGET)
    assert [] == aws.autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert [] == aws.autoscaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    assert [] == aws.cloudwatch.describe_alarms()["MetricAlarms"]
    assert "ObjectNotFoundException" == refused(aws.autoscaling.deregister_scalable_target, **TARGET)[0]


@pytest.mark.parametrize(
    "call",
    [
        track,
        lambda aws: schedule(aws, "rate(1 day)"),
        lambda aws: aws.autoscaling.delete_scaling_policy(**TARGET, PolicyName="x"),
        lambda aws: aws.autoscaling.delete_scheduled_action(**TARGET, ScheduledActionName="x"),
        lambda aws: aws.autoscaling.deregister_scalable_target(**TARGET),
    ],
    ids=["put policy", "put action", "delete policy", "delete action", "deregister"],
)
def test_unregistered_targets_must_not_be_found(aws: Aws, call: Any) -> None:
    """Without a registered target everything is ObjectNotFoundException."""
    aws.serve()
    code, message = refused(call, aws)
    assert "ObjectNotFoundException" == code
    assert f"resource ID: {RESOURCE}" in message


def test_deleting_an_endpoint_must_deregister(aws: Aws) -> None:
    """DeleteEndpoint takes its scalable targets along."""
    aws.serve()
    register(aws)
    aws.delete()
    assert [] == aws.autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]


def test_deleting_an_endpoint_must_need_the_right_to_deregister(aws: Aws, simulator: Simulator) -> None:
    """Without application-autoscaling:DeregisterScalableTarget the deletion fails, but only where a target is."""
    simulator.faults.add("access_denied", operation="DeregisterScalableTarget", times=None)
    aws.serve()
    register(aws)
    code, message = refused(aws.delete)
    assert "AccessDeniedException" == code
    assert "application-autoscaling:DeregisterScalableTarget" in message
    assert "InService" == aws.status()


@pytest.mark.parametrize(
    "variants",
    [[variant(InstanceType="ml.c5.large")], [variant("other")]],
    ids=["other type", "removed"],
)
def test_registered_variants_must_not_change_type_or_go(aws: Aws, variants: list[dict[str, Any]]) -> None:
    """UpdateEndpoint refuses to change the type of a registered variant, or to remove it."""
    aws.serve()
    register(aws)
    aws.config("changed", *variants)
    assert (
        "ValidationException",
        (
            'The variant(s) "AllTraffic" must be deregistered as scalable targets with AWS Auto Scaling before they can '
            "be removed or have their instance type updated."
        ),
    ) == refused(aws.update, config="changed")
    aws.autoscaling.deregister_scalable_target(**TARGET)
    assert "OK" == refused(aws.update, config="changed")[0]


@pytest.mark.parametrize(
    "expression",
    [
        "every day",
        "at(tomorrow)",
        "at(2001-01-01T00:00:00)",
        "rate(0 minutes)",
        "rate(5 fortnights)",
        "cron(0 20 * * *)",
        "cron(0 25 * * ? *)",
        "cron(0 20 * * * *)",
        "cron(0 20 * * FOO *)",
    ],
)
def test_schedules_must_be_refused(aws: Aws, expression: str) -> None:
    """What is no future at(), rate() or six-field cron() is refused."""
    aws.serve()
    register(aws)
    assert "ValidationException" == refused(schedule, aws, expression)[0]


def test_schedule_must_refuse_an_unknown_timezone(aws: Aws) -> None:
    """Time zones are IANA names."""
    aws.serve()
    register(aws)
    assert "ValidationException" == refused(schedule, aws, "rate(1 day)", Timezone="Mars/Olympus")[0]


@pytest.mark.parametrize("form", ["at", "rate", "cron"])
def test_schedule_must_fire_at_its_time(aws: Aws, simulator: Simulator, form: str) -> None:
    """A scheduled action sets the bounds, and the capacity follows."""
    aws.serve()
    register(aws)
    now = datetime.fromtimestamp(simulator.clock.now(), tz=UTC).replace(second=0)
    moment = now + timedelta(minutes=62)
    expression = {
        "at": f"at({moment:%Y-%m-%dT%H:%M:%S})",
        "rate": "rate(1 hour)",
        "cron": f"cron({moment.minute} {moment.hour} * * ? *)",
    }[form]
    schedule(aws, expression)
    simulator.advance(50 * MINUTE)
    assert 1 == desired(aws)
    simulator.advance(13 * MINUTE)
    assert 3 == desired(aws)
    (target,) = aws.autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (3, 4) == (target["MinCapacity"], target["MaxCapacity"])
    assert "scheduled action name night was triggered" in activities(aws)[0]["Cause"]


def test_schedule_must_count_in_its_timezone(aws: Aws, simulator: Simulator) -> None:
    """Eight in the evening in Tokyo is eleven in the morning of UTC."""
    aws.serve()
    register(aws)
    schedule(aws, "cron(0 20 * * ? *)", Timezone="Asia/Tokyo")
    now = datetime.fromtimestamp(simulator.clock.now(), tz=UTC)
    eleven = now.replace(hour=11, minute=0, second=0, microsecond=0)
    eleven += timedelta(days=1) if eleven <= now else timedelta()
    simulator.advance((eleven - now).total_seconds() - 1)
    assert 1 == desired(aws)
    simulator.advance(1)
    assert 3 == desired(aws)


def test_schedule_must_not_fire_when_deleted(aws: Aws, simulator: Simulator) -> None:
    """A deleted action is forgotten."""
    aws.serve()
    register(aws)
    schedule(aws, "rate(1 hour)")
    aws.autoscaling.delete_scheduled_action(**TARGET, ScheduledActionName="night")
    simulator.advance(3 * 3600)
    assert 1 == desired(aws)
