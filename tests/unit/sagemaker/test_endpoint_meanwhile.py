"""What goes on while something else is awaited: a spec that is refused, an update that failed, a region that moved."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sagebrush.core.conditions import find
from sagebrush.core.plan import Call
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker.endpoint import go_on
from tests.unit.sagemaker.endpoint_builders import World, calls, parameters, reading, scaled, served
from tests.unit.sagemaker.test_endpoint_kind import DEFAULTS, KEY
from tests.unit.sagemaker.test_endpoint_kind import served as served_operator

OTHER = "s3://bucket/other/model.tar.gz"
UPDATE = "UpdateEndpointWeightsAndCapacities"
AAS = "ApplicationAutoScaling"


def test_endpoint_must_stay_in_its_region() -> None:
    """The operator's own region moves: what is in the old one is not made a second time, and not forgotten."""
    world = served()
    world.defaults = replace(world.defaults, region="us-west-2")
    assert [] == calls(world.look())
    world.delete()
    plan = world.look()
    found = [action for action in plan.actions if isinstance(action, Call)]
    assert [("DeleteEndpoint", DEFAULTS.region)] == [(call.operation, call.account.region) for call in found]


def test_refused_spec_must_not_stop_the_scaling_of_what_serves() -> None:
    """A spec that AWS refused waits for its author; the traffic doesn't."""
    world = served(more={"scaling": scaled()})
    world.settle()
    world.change(uri=OTHER, more={"scaling": scaled()})
    operator_says = world.status.conditions
    world.readings = {"AllTraffic": reading(350)}
    plan = go_on(world.meta, world.spec, world.status, world.observe(), defaults=world.defaults, now=world.now)
    assert plan is not None
    assert [UPDATE] == calls(plan)
    assert 4 == parameters(plan, UPDATE)["DesiredWeightsAndCapacities"][0]["DesiredInstanceCount"]
    assert plan.status is not None
    told = find(plan.status.conditions, "Ready")
    assert told is not None
    assert ("False", "InvalidSpec", find(operator_says, "Ready").message) == (
        str(told.status),
        told.reason,
        told.message,
    )  # type: ignore[union-attr]
    assert world.status.revision == plan.status.revision


def test_refused_spec_of_nothing_must_do_nothing() -> None:
    """What was never made can't be looked after."""
    world = World()
    world.change()
    observed = world.observe()
    assert go_on(world.meta, world.spec, world.status, observed, defaults=world.defaults, now=world.now) is None


def test_rolled_back_endpoint_must_be_registered_again() -> None:
    """For an update that changes the instance type the variant is deregistered: if it fails, AWS must scale it again."""
    world = served(more={"scaling": scaled(AAS)})
    world.change(instanceType="ml.m5.large", more={"scaling": scaled(AAS)})
    world.aws.faults = ["InService"]
    for _ in range(6):
        world.look()
        world.aws.step()
    assert "UpdateRolledBack" == world.told()[1]
    assert {"AllTraffic"} == set(world.aws.targets)
    assert "True" == world.condition("ScalingActive")
    assert [] == world.aws.violations


def test_deregistered_endpoint_must_not_say_that_it_scales() -> None:
    """Between deregistering and registering again nobody scales, and the condition says so."""
    world = served(more={"scaling": scaled(AAS)})
    world.change(instanceType="ml.m5.large", more={"scaling": scaled(AAS)})
    world.look()
    assert "DeregisterScalableTarget" in calls(world.look())
    assert "False" == world.condition("ScalingActive")


@pytest.mark.parametrize(("final", "ready"), [(False, ("True", "Serving")), (True, ("False", "InvalidSpec"))])
async def test_refused_resize_must_not_make_what_serves_unready(final: bool, ready: tuple[str, str]) -> None:
    """Quota for one more instance is missing, or AWS doesn't answer: the endpoint serves what it should all the same."""
    operator = await served_operator()
    reason = "InvalidSpec" if final else "QuotaExceeded"
    now = operator.gateway.aws.now + timedelta(minutes=1)
    meta = Meta.of(operator.body)
    plan = operator.kind.stalled(meta, operator.body, reason=reason, message="no", final=final, now=now)
    operator.body["status"] = plan.status.to_dict()
    assert ready == operator.ready()
    told = {each["type"]: (each["status"], each["reason"]) for each in operator.body["status"]["conditions"]}
    assert ("False" if final else "True", reason) == told["Reconciling"]


async def test_kind_must_watch_what_serves_for_little() -> None:
    """While the spec is refused a pass costs one Describe, and that from memory where metrics tick."""
    operator = await served_operator(more={"scaling": scaled()})
    operator.change(uri=OTHER, more={"scaling": scaled()})
    operator.gateway.asked.clear()
    plan = await operator.kind.watch(KEY, operator.body, now=operator.gateway.aws.now)
    assert plan is not None
    assert ["DescribeEndpoint"] == operator.operations()
    operator.body["spec"]["sageMaker"]["roleArn"] = 7
    assert await operator.kind.watch(KEY, operator.body, now=operator.gateway.aws.now) is None
