"""What an endpoint costs through its life, and that nothing is written where nothing is spent."""

from dataclasses import replace

from sagebrush.core.sagemaker.cost import PriceTable
from tests.unit.sagemaker.endpoint_builders import DEFAULTS, World, at

PRICES = PriceTable(as_of="2026-08-01", hosting={"eu-west-1": {"ml.m5.xlarge": 1.0}})


def priced(*, settled: bool = True) -> World:
    world = World(defaults=replace(DEFAULTS, prices=PRICES))
    if settled:
        world.settle()
    return world


def hourly(world: World) -> float | None:
    return world.status.cost.hourly if world.status.cost else None


def test_cost_must_not_change_without_an_endpoint() -> None:
    """Each change of the status would be another look."""
    world = priced(settled=False)
    world.change(more={"model": {"trainingJobRef": {"name": "train"}}})
    world.look()
    before = world.status
    assert before.cost is not None
    for _ in range(3):
        world.aws.now += at(10) - at(0)
        world.look()
        assert before == world.status


def test_cost_must_go_on_while_the_endpoint_is_deleted() -> None:
    """AWS may take hours of maintenance before it lets go, and they are paid for; afterwards nothing is."""
    world = priced()
    assert world.status.cost is not None
    before = world.status.cost.total
    world.aws.become("SystemUpdating")
    world.delete()
    for _ in range(3):
        world.aws.now += at(3600) - at(0)
        world.look()
    assert 3 == round(world.status.cost.total - before, 1)
    assert 1 == hourly(world)


def test_cost_must_end_with_the_endpoint() -> None:
    """What is left are names, which cost nothing."""
    world = priced()
    assert world.aws.endpoint is not None
    world.delete()
    world.aws.endpoint = None
    for each in world.status.revisions:
        world.aws.configs.pop(each.endpoint_config)
    world.status = world.status.model_copy(
        update={"revisions": [each.model_copy(update={"created": world.now}) for each in world.status.revisions]}
    )
    world.look()
    assert not world.gone
    assert 0 == hourly(world)


def test_cost_must_count_the_only_fleet_of_a_creation_once() -> None:
    """The pending deployment of an endpoint that is being made is the endpoint itself."""
    world = priced(settled=False)
    for _ in range(3):
        world.look()
    assert world.aws.endpoint is not None
    world.aws.endpoint["PendingDeploymentSummary"] = {
        "EndpointConfigName": world.aws.endpoint["EndpointConfigName"],
        "ProductionVariants": world.aws.endpoint["ProductionVariants"],
    }
    world.look()
    assert ("False", "Creating") == world.told()
    assert 1 == hourly(world)
