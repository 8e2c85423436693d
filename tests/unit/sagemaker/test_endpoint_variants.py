"""Counts, weights and scaling of the variants: one call for what differs, and only when AWS takes it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.core.sagemaker.cost import PriceTable
from sagebrush.core.sagemaker.endpoint_variants import held
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, ScalingReason
from sagebrush.runtime.showing import shown_of
from tests.unit.sagemaker.endpoint_builders import (
    DEFAULTS,
    NAME,
    NOON,
    World,
    at,
    calls,
    parameters,
    reading,
    scaled,
    served,
)

PRICES = PriceTable(as_of="2026-08-01", hosting={"eu-west-1": {"ml.m5.xlarge": 0.23, "ml.m5.large": 0.115}})
UPDATE = "UpdateEndpointWeightsAndCapacities"
OTHER = "s3://bucket/other/model.tar.gz"
CAPACITY = "Unable to provision requested ML compute capacity."


def two(*, first: float = 1, second: float = 1, counts: tuple[int, int] = (1, 1)) -> list[dict[str, Any]]:
    return [
        {"name": "a", "weight": first, "instanceType": "ml.m5.large", "replicas": counts[0]},
        {"name": "b", "weight": second, "instanceType": "ml.m5.large", "replicas": counts[1]},
    ]


def asked(plan: Any) -> dict[str, tuple[float, int | None]]:
    entries = parameters(plan, UPDATE)["DesiredWeightsAndCapacities"]
    return {entry["VariantName"]: (entry["DesiredWeight"], entry.get("DesiredInstanceCount")) for entry in entries}


def test_weights_and_counts_must_change_in_one_call() -> None:
    """All that differ, and only those."""
    world = served(variants=two())
    world.change(variants=two(first=3, counts=(1, 2)))
    plan = world.look()
    assert [UPDATE] == calls(plan)
    assert {"a": (3, None), "b": (1, 2)} == asked(plan)
    assert ("True", "Serving") == world.told()
    world.aws.step()
    world.settle()
    assert ("True", "Serving") == world.told()
    assert 3 == world.status.replicas
    assert [UPDATE] == world.aws.operations()


def test_weights_that_agree_in_32_bits_must_be_left_alone() -> None:
    """AWS keeps floats of 32 bits: 0.1 comes back as 0.10000000149."""
    world = served(variants=two(first=0.1))
    assert world.aws.endpoint is not None
    world.aws.endpoint["ProductionVariants"][0]["DesiredWeight"] = 0.10000000149
    assert [] == calls(world.look())


def test_replicas_must_change_in_place() -> None:
    """kubectl scale: no new revision."""
    world = served()
    world.change(more={"replicas": 4})
    assert {"AllTraffic": (1, 4)} == asked(world.look())


def test_serverless_variant_must_have_no_count() -> None:
    """It scales by itself; its weight is still the user's."""
    world = served(variants=[{"name": "a", "serverless": {}}, two()[1]])
    assert [] == calls(world.look())
    world.change(variants=[{"name": "a", "serverless": {}, "weight": 2}, two()[1]])
    assert {"a": (2, None)} == asked(world.look())
    world.aws.step()
    world.settle()
    assert 1 == world.status.replicas


def test_counts_must_follow_an_update_and_not_go_before() -> None:
    """While another revision serves, the number is brought with the new one."""
    world = served()
    world.change(uri=OTHER, more={"replicas": 3})
    world.settle()
    assert ("True", "Serving") == world.told()
    assert 3 == world.status.replicas
    assert ["UpdateEndpoint", UPDATE] == world.aws.operations()[2:]


def test_instances_that_aws_has_not_must_be_asked_for_again_later() -> None:
    """A resize that fails for want of capacity ends in InService with the old number: told, and tried again after a while."""
    world = served()
    world.change(more={"replicas": 4})
    world.look()
    assert world.aws.endpoint is not None
    variant = world.aws.endpoint["ProductionVariants"][0]
    variant["DesiredInstanceCount"] = 1
    world.aws.become("InService", reason=CAPACITY)
    assert [] == calls(world.look())
    assert ("True", "CapacityError") == world.told()
    assert CAPACITY in world.message()
    world.aws.now += at(121) - at(0)
    assert {"AllTraffic": (1, 4)} == asked(world.look())
    world.aws.step()
    world.settle()
    assert 4 == world.status.ready_replicas


def busy(load: float) -> World:
    world = served(more={"scaling": scaled()})
    world.readings = {"AllTraffic": reading(load)}
    return world


def test_policy_must_act_through_weights_and_capacities() -> None:
    """350 a minute at 100 each: four instances, an Event, and the explanation in status."""
    world = busy(350)
    plan = world.look()
    assert {"AllTraffic": (1, 4)} == asked(plan)
    assert plan.decision is not None
    assert (4, ScalingReason.ABOVE_TARGET) == (plan.decision.replicas, plan.decision.reason)
    assert "Scaled" in world.events
    assert world.status.scaling is not None
    assert 4 == world.status.scaling.desired_replicas
    assert "True" == world.condition("ScalingActive")


@pytest.mark.parametrize("state", ["Updating", "SystemUpdating", "RollingBack", "Creating"])
def test_scaling_must_be_held_while_the_endpoint_is_busy(state: str) -> None:
    """Demand goes on being seen; nothing is called, no change is remembered, and it is made when AWS takes it."""
    world = busy(350)
    world.aws.become(state)
    plan = world.look()
    assert [] == calls(plan)
    assert plan.decision is not None
    assert not plan.decision.changed
    assert ScalingReason.ENDPOINT_BUSY == plan.decision.reason
    assert f"scaling out from 1 to 4 (maximum 8); held: the endpoint is {state}" in plan.decision.message
    assert plan.decision.history.last_scale_out is None
    assert [350] == [peak.value for peak in plan.decision.history.peaks]
    assert "Scaled" not in world.events
    assert world.status.scaling is not None
    assert world.status.scaling.last_scale_time is None
    world.aws.become("InService")
    assert {"AllTraffic": (1, 4)} == asked(world.look())
    assert NOON < (world.histories["AllTraffic"].last_scale_out or NOON)


def test_scaling_must_be_held_while_another_revision_serves() -> None:
    """The desired revision is what is scaled."""
    world = busy(350)
    world.change(uri=OTHER, more={"scaling": scaled()})
    plan = world.look()
    assert UPDATE not in calls(plan)
    assert plan.decision is not None
    assert ScalingReason.ENDPOINT_BUSY == plan.decision.reason


def test_scaling_must_go_on_after_a_rollback() -> None:
    """An update that AWS rolled back waits for the user; the traffic doesn't, and the old revision is scaled for it."""
    world = busy(150)
    world.settle()
    world.change(uri=OTHER, more={"scaling": scaled()})
    world.aws.faults = ["InService"]
    world.settle()
    assert ("False", "UpdateRolledBack") == world.told()
    before = world.status.replicas
    world.readings = busy(350).readings
    assert {"AllTraffic": (1, 4)} == asked(world.look())
    world.aws.step()
    world.settle()
    assert before != world.status.replicas
    assert 4 == world.status.replicas
    assert ("False", "UpdateRolledBack") == world.told()


def test_update_must_not_reset_the_scaled_count() -> None:
    """Fact 5: five instances stay five."""
    world = busy(450)
    world.look()
    world.aws.step()
    world.change(uri=OTHER, more={"scaling": scaled()})
    world.settle()
    assert 5 == world.status.replicas


def test_missing_metrics_must_hold_the_number() -> None:
    """Nothing measured is not nothing to do."""
    world = busy(350)
    world.look()
    world.aws.step()
    world.readings = {}
    plan = world.look()
    assert [] == calls(plan)
    assert "False" == world.condition("ScalingActive")
    assert world.status.scaling is not None
    assert 4 == world.status.scaling.desired_replicas


def test_variants_must_be_scaled_each_by_its_own() -> None:
    """Each has its window, its history and its place in status; the changes are one call."""
    variants = [{"name": name, "instanceType": "ml.m5.large", "scaling": scaled()} for name in ("a", "b")]
    world = served(variants=variants)
    world.readings = {"a": reading(250), "b": reading(50)}
    plan = world.look()
    assert {"a": (1, 3)} == asked(plan)
    assert plan.decision is None
    assert {"a": 3, "b": 1} == {name: decision.replicas for name, decision in plan.decisions.items()}
    assert world.status.scaling is None
    assert world.status.sage_maker is not None
    assert [3, 1] == [each.scaling.desired_replicas for each in world.status.sage_maker.variants if each.scaling]
    assert "a: " in next(c.message for c in world.status.conditions if c.type == "ScalingActive")
    shown = shown_of(plan, now=world.now)
    told = {name: (each.decision.requests_per_minute, each.ready_replicas) for name, each in shown.items()}
    assert {"a": (250, 1), "b": (50, 1)} == told
    assert {100.0} == {each.target_requests_per_minute for each in shown.values()}


@given(st.integers(1, 9), st.integers(1, 9))
def test_held_decision_must_change_nothing(now: int, wanted: int) -> None:
    """The number stays, and the history has the demand but not the change."""
    before = History(last_scale_out=at(-100), last_scale_in=at(-50))
    seen = before.seen(7, trusted=True, now=NOON, keep=at(60) - at(0))
    moved = seen.scaled(before=now, after=wanted, now=NOON)
    decision = Decision(wanted, now, ScalingReason.ABOVE_TARGET, "four wanted", moved)
    result = held(decision, before=before, message="busy")
    assert now == result.replicas
    assert (before.last_scale_out, before.last_scale_in) == (
        result.history.last_scale_out,
        result.history.last_scale_in,
    )
    assert seen.peaks == result.history.peaks


AAS = "ApplicationAutoScaling"


def scaled_by_aws(**more: Any) -> World:
    return served(more={"scaling": scaled(AAS)}, **more)


def test_registration_must_follow_the_first_service() -> None:
    """AWS knows no variant of an endpoint that isn't there; then it decides, and the count is not ours."""
    world = World()
    world.change(more={"scaling": scaled(AAS, minimum=2)})
    world.settle(passes=4)
    assert {"AllTraffic"} == set(world.aws.targets)
    assert "RegisterScalableTarget" not in world.aws.operations()[:3]
    assert world.aws.endpoint is not None
    assert 2 == world.aws.endpoint["ProductionVariants"][0]["DesiredInstanceCount"]
    world.aws.endpoint["ProductionVariants"][0]["DesiredInstanceCount"] = 7
    assert UPDATE not in calls(world.look())
    told = next(c for c in world.status.conditions if c.type == "ScalingActive")
    assert (AAS, "Application Auto Scaling decides: see status.sageMaker.variants") == (told.reason, told.message)


def test_instance_type_must_change_between_deregistering_and_registering() -> None:
    """Fact 6: AWS refuses the update of a registered variant."""
    world = scaled_by_aws()
    world.change(instanceType="ml.m5.large", more={"scaling": scaled(AAS)})
    world.look()
    assert ["DeregisterScalableTarget", "UpdateEndpoint"] == calls(world.look())
    for _ in range(4):
        world.aws.step()
        world.look()
    assert {"AllTraffic"} == set(world.aws.targets)
    assert [] == world.aws.violations
    assert "Serving" == world.told()[1]


def test_other_update_must_keep_the_registration() -> None:
    """A new model on the same instances needs no time without scaling."""
    world = scaled_by_aws()
    world.change(uri=OTHER, more={"scaling": scaled(AAS)})
    world.look()
    assert ["UpdateEndpoint"] == calls(world.look())


def test_engine_must_be_released_when_it_changes() -> None:
    """Two scalers would fight: AWS' registration goes before our policy acts, though the spec knows nothing of it any more."""
    world = scaled_by_aws()
    world.readings = {"AllTraffic": reading(350)}
    world.change(more={"scaling": scaled()})
    plan = world.look()
    assert ["DeregisterScalableTarget", UPDATE] == calls(plan)
    world.aws.step()
    world.settle()
    assert not world.aws.targets
    assert AAS not in [c.reason for c in world.status.conditions]


def test_registrations_must_be_released_before_the_endpoint_goes() -> None:
    """DeleteEndpoint fails, or leaves alarms, where it must do it itself."""
    world = scaled_by_aws()
    world.delete()
    assert ["DeregisterScalableTarget", "DeleteEndpoint"] == calls(world.look())


def test_registrations_must_not_be_read_without_the_engine() -> None:
    """Nor more often than every five minutes with it, in peace."""
    world = served()
    world.look()
    assert world.lookups.registrations is None
    other = scaled_by_aws()
    other.observe()
    assert other.defaults.polling.autoscaling == other.lookups.registrations
    other.meta = replace(other.meta, generation=9)
    other.observe()
    assert other.lookups.registrations is not None
    assert 0 == other.lookups.registrations.total_seconds()


def test_cost_must_count_both_fleets_of_an_update() -> None:
    """Three instances at 0.23, and while an update runs, three at 0.115 beside them; none while the endpoint is Failed."""
    world = World(defaults=replace(DEFAULTS, prices=PRICES))
    world.change(more={"replicas": 3})
    world.settle()

    def hourly() -> float | None:
        return world.status.cost.hourly if world.status.cost else None

    assert 0.69 == hourly()
    world.change(instanceType="ml.m5.large", more={"replicas": 3})
    for _ in range(3):
        world.look()
    assert 1.035 == hourly()
    world.settle()
    assert 0.345 == hourly()
    world.aws.become("Failed")
    world.look()
    assert 0 == hourly()


def test_endpoint_name_must_be_the_one_in_status() -> None:
    """What InvokeEndpoint wants."""
    world = served()
    assert world.status.sage_maker is not None
    assert NAME == world.status.sage_maker.endpoint_name
