"""The end of an endpoint: waits, order, what stays, and what AWS doesn't show yet."""

import pytest

from sagebrush.core.plan import Apply
from tests.unit.sagemaker.endpoint_builders import World, at, calls, scaled, served


def going(**spec: object) -> World:
    world = served(**spec)
    world.aws.step(3600)
    world.delete()
    return world


def test_deletion_must_go_in_order() -> None:
    """The endpoint, and when it is gone its configurations, their models, the finalizer."""
    world = going()
    assert ["DeleteEndpoint"] == calls(world.look())
    assert ("False", "Deleting") == world.told()
    assert [] == calls(world.look())
    assert not world.gone
    world.aws.step()
    plan = world.look()
    assert ["DeleteEndpointConfig", "DeleteModel"] == calls(plan)
    assert isinstance(plan.actions[-1], Apply)
    assert [] == plan.actions[-1].manifest["metadata"]["finalizers"]
    assert world.gone
    assert ({}, {}, None) == (world.aws.models, world.aws.configs, world.aws.endpoint)
    assert 1 == world.events.count("Deleting")


@pytest.mark.parametrize("state", ["Creating", "Updating", "SystemUpdating", "RollingBack", "SomethingNew"])
def test_deletion_must_wait_for_aws(state: str) -> None:
    """Fact 4: DeleteEndpoint is refused in these states. The state, and how long it lasts, is shown."""
    world = going()
    world.aws.become(state)
    world.aws.now += at(7 * 60) - at(0)
    if state == "Creating":
        assert world.aws.endpoint is not None
        world.aws.endpoint["CreationTime"] = at(3600)
    plan = world.look()
    assert () == plan.actions
    assert f"is {state} since" in world.message()
    assert "min, and can't be deleted meanwhile" in world.message()
    assert "deletionPolicy: Retain" in world.message()
    assert world.defaults.polling.active == plan.requeue_after
    assert not world.gone


@pytest.mark.parametrize("state", ["InService", "Failed", "OutOfService", "UpdateRollbackFailed"])
def test_deletion_must_begin_where_aws_allows_it(state: str) -> None:
    """At rest, in whichever way."""
    world = going()
    world.aws.become(state)
    assert ["DeleteEndpoint"] == calls(world.look())


def test_retained_endpoint_must_be_left_as_it_is() -> None:
    """Only the finalizer goes: no call, not even a look."""
    world = going(deletionPolicy="Retain")
    plan = world.look()
    assert [] == calls(plan)
    assert world.gone
    assert type(world.lookups)() == world.lookups
    assert (1, 1) == (len(world.aws.models), len(world.aws.configs))
    assert world.aws.endpoint is not None


def test_object_without_finalizer_must_go_at_once() -> None:
    """Nothing was ever made for it."""
    world = World()
    world.delete()
    plan = world.look()
    assert ((), None) == (plan.actions, plan.status)


def test_deletion_must_find_what_no_status_knows() -> None:
    """By the mark in the names and the tags; somebody else's things with such names stay."""
    world = going()
    world.status = type(world.status)()
    (config,) = world.aws.configs
    for name, owner in ((f"{config[:-2]}zz", world.aws.tags[config]), (f"{config[:-2]}yy", {})):
        world.aws.configs[name] = dict(world.aws.configs[config])
        world.aws.tags[name] = owner
    world.look()
    world.aws.step(10)
    world.look()
    while not world.gone:
        world.aws.step(10)
        world.look()
    assert {f"{config[:-2]}yy"} == set(world.aws.configs)


def test_deletion_must_survive_a_spec_that_cannot_be_served() -> None:
    """What is there is deleted all the same."""
    world = served()
    world.change(more={"model": {"artifact": {"uri": "s3://b/m.tar.gz"}, "startupTimeout": "1s"}})
    world.delete()
    world.settle()
    assert world.gone
    assert ({}, {}) == (world.aws.models, world.aws.configs)


def test_thing_of_a_moment_ago_must_be_looked_for_again() -> None:
    """AWS may not show it yet: the finalizer stays until it does, or until it would."""
    world = World()
    world.look()
    hidden, world.aws.configs = world.aws.configs, {}
    world.delete()
    assert [] == calls(world.look())
    assert not world.gone
    assert "doesn't show endpoint configuration" in world.message()
    world.aws.configs = hidden
    world.look()
    assert world.gone
    assert ({}, {}) == (world.aws.models, world.aws.configs)


def test_endpoint_of_a_moment_ago_must_be_looked_for_again() -> None:
    """CreateEndpoint was answered, and DescribeEndpoint knows of none: what it has in use stays, and all goes when it appears."""
    world = World()
    world.look()
    world.look()
    hidden, world.aws.endpoint = world.aws.endpoint, None
    world.delete()
    assert [] == calls(world.look())
    assert not world.gone
    world.aws.endpoint = hidden
    world.look()
    world.aws.step()
    world.settle()
    assert world.gone
    assert world.aws.endpoint is None


def test_endpoint_that_was_seen_going_must_not_be_waited_for() -> None:
    """It was made a moment ago, and deleted since: nothing is hidden."""
    world = World()
    world.look()
    world.look()
    world.aws.step(10)
    world.delete()
    assert ["DeleteEndpoint"] == calls(world.look())
    world.aws.step(10)
    world.look()
    assert world.gone


def test_things_of_an_operator_that_died_must_be_looked_for_again() -> None:
    """The finalizer is on and nothing was told: a call may have been made just before the end."""
    world = World()
    world.finalizer = True
    world.delete()
    world.look()
    assert not world.gone
    world.aws.now += at(61) - at(0)
    world.look()
    assert world.gone


@pytest.mark.parametrize("taken", [False, True])
def test_registrations_must_go_though_the_endpoint_was_deleted_by_hand(taken: bool) -> None:
    """Targets, policies and alarms outlive it; where somebody made another endpoint of the name, they are that one's."""
    world = served(name="kdd", more={"scaling": scaled("ApplicationAutoScaling")})
    world.aws.step(3600)
    assert world.aws.endpoint is not None
    if taken:
        world.aws.tags["kdd"] = {}
    else:
        world.aws.endpoint = None
    world.delete()
    plan = world.look()
    assert (not taken) == ("DeregisterScalableTarget" in calls(plan))
    assert (not taken) == world.lookups.alarms
    assert taken == bool(world.aws.targets)
    assert isinstance(plan.actions[-1], Apply)
    assert world.gone
