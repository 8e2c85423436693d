"""What SageMaker shows of scaling beyond the metrics: others' registrations, and how long instances take."""

from datetime import timedelta
from typing import Any

import pytest

from sagebrush.backends.sagemaker.scaling import LOOK
from sagebrush.backends.scaling_knowledge import Variant
from sagebrush.core.sagemaker.calls import AwsError, Problem
from sagebrush.core.scaling.decision import ScalingReason
from sagebrush.core.scaling.facts import Cadence
from tests.unit.sagemaker.endpoint_builders import NAME, scaled
from tests.unit.sagemaker.test_endpoint_kind import Operator, served

WHERE = f"endpoint/{NAME}/variant/AllTraffic"


def register(operator: Operator) -> None:
    """Somebody registers the variant."""
    operator.gateway.aws.targets["AllTraffic"] = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": WHERE,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "MinCapacity": 1,
        "MaxCapacity": 9,
    }
    operator.gateway.aws.policies["theirs"] = {
        "PolicyName": "theirs",
        "PolicyType": "TargetTrackingScaling",
        "ResourceId": WHERE,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def wait(operator: Operator, time: timedelta) -> None:
    operator.gateway.aws.now += time


async def decision(operator: Operator) -> Any:
    plan = await operator.look()
    return plan.decision


async def test_others_registration_must_be_told_of_and_not_fought() -> None:
    """It is found within half an hour, named with its policies, its number stays, and it is never deregistered."""
    operator = await served(more={"scaling": scaled()})
    register(operator)
    operator.metrics.rate = 350
    wait(operator, LOOK)
    made = await decision(operator)
    assert ScalingReason.OTHER_SCALER is made.reason
    assert f"Application Auto Scaling has {WHERE} registered (theirs)" in made.message
    assert (1, 4) == (made.replicas, made.recommended)
    conditions = {each["type"]: each["status"] for each in operator.body["status"]["conditions"]}
    assert ("True", "False") == (conditions["ScalingConflict"], conditions["ScalingActive"])
    operations = operator.gateway.aws.operations()
    assert "DeregisterScalableTarget" not in operations
    assert "UpdateEndpointWeightsAndCapacities" not in operations

    operator.gateway.aws.targets.clear()
    operator.gateway.aws.policies.clear()
    wait(operator, timedelta(minutes=1))
    made = await decision(operator)
    assert (4, ScalingReason.ABOVE_TARGET) == (made.replicas, made.reason)


async def test_others_number_must_be_noticed_at_once() -> None:
    """A number that we did not ask for is a sign, long before the next look."""
    operator = await served(more={"scaling": scaled()})
    register(operator)
    (variant,) = operator.gateway.aws.endpoint["ProductionVariants"]
    variant["DesiredInstanceCount"] = variant["CurrentInstanceCount"] = 3
    wait(operator, timedelta(minutes=2))
    made = await decision(operator)
    assert (3, ScalingReason.OTHER_SCALER) == (made.replicas, made.reason)


@pytest.mark.parametrize("mode", ["Recommend", "Off"])
async def test_others_must_not_be_looked_for_where_we_change_nothing(mode: str) -> None:
    """No call, no conflict."""
    operator = await served(more={"scaling": {**scaled(), "mode": mode}})
    register(operator)
    wait(operator, LOOK)
    made = await decision(operator)
    assert "DescribeScalableTargets" not in operator.operations()
    assert ScalingReason.OTHER_SCALER is not made.reason


async def test_refused_look_must_cost_one_call_in_half_an_hour() -> None:
    """Without the permission all goes on; AWS' budget is not spent on asking again and again."""
    operator = await served(more={"scaling": scaled()})
    asked, read = [], operator.gateway.read

    async def refuse(account: Any, *, operation: str, **more: Any) -> Any:
        if operation == "DescribeScalableTargets":
            asked.append(operation)
            raise AwsError(Problem.DENIED, "no", operation=operation, code="AccessDenied")
        return await read(account, operation=operation, **more)

    operator.gateway.read = refuse  # type: ignore[method-assign]
    wait(operator, LOOK)
    for _ in range(5):
        made = await decision(operator)
        assert ScalingReason.WITHIN_TARGET is made.reason
    assert 1 == len(asked)


async def test_instances_must_be_timed() -> None:
    """From the decision to InService, and kept in status."""
    operator = await served(more={"scaling": scaled()})
    operator.metrics.rate = 350
    await operator.look()
    await operator.look()
    operator.gateway.aws.step(300)
    await operator.until_quiet()
    knowledge = operator.kind._scaling._sources.knowledge.of(
        Variant("uid-1", "AllTraffic"), before=None, revision=None, cadence=Cadence()
    )
    assert knowledge.startup is not None
    (seconds,) = knowledge.startup.recent
    assert 300 <= seconds <= 420
    assert [seconds] == operator.body["status"]["scaling"]["startup"]["recent"]
