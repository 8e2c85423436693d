"""The operator dies between any two calls, before and after their record: one endpoint, no orphans, nothing forbidden."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.sagemaker.endpoint_builders import KilledError, World, calls, scaled

OTHER = "s3://bucket/other/model.tar.gz"
AAS = {"scaling": scaled("ApplicationAutoScaling")}


def create(world: World) -> None:
    world.change()


def update(world: World) -> None:
    world.change(uri=OTHER)


def retype(world: World) -> None:
    world.change(instanceType="ml.m5.large", more=AAS)


def resize(world: World) -> None:
    world.change(more={"replicas": 3})


def remove(world: World) -> None:
    world.delete()


CHAPTERS: list[list[Callable[[World], None]]] = [
    [create, update, remove],
    [create, resize, update, remove],
    [retype, create, remove],
    [create, remove],
]


def run(world: World, *, deaths: set[int]) -> int:
    """Until it is quiet; the operator dies after the actions of these numbers. Returns the number of actions."""
    count = 0
    for _ in range(60):
        planned = len(world.plan().actions)
        dies = [number for number in deaths if count <= number < count + planned]
        count += planned
        if dies:
            survive = min(dies) - (count - planned) + 1
            try:
                world.look(survive=survive)
            except KilledError:
                deaths.discard(min(dies))
        else:
            plan = world.look()
            if world.gone or (not plan.actions and world.condition("Reconciling") == "False"):
                return count
        world.aws.step(40)
    raise AssertionError(f"never quiet: {world.told()} {world.message()}")


@pytest.mark.parametrize("chapters", CHAPTERS)
def test_operator_that_dies_between_two_calls_must_converge(chapters: list[Callable[[World], None]]) -> None:
    """For every prefix of the calls: kill, go on, and it ends where it would have ended."""
    number = 0
    while True:
        world, seen = World(), 0
        deaths = {number}
        for chapter in chapters:
            chapter(world)
            offset = {each - seen for each in deaths}
            seen += run(world, deaths=offset)
            deaths = {each + seen for each in offset} if offset else set()
            if not world.meta.deleting:
                assert ("True", "Serving") == world.told(), world.message()
        assert [] == world.aws.violations
        assert ({}, {}, None) == (world.aws.models, world.aws.configs, world.aws.endpoint)
        assert {} == world.aws.targets
        if number > seen:
            break
        number += 1
    assert number > 6


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 25)), st.permutations([create, update, resize, retype]))
def test_operator_that_dies_often_must_converge(deaths: set[int], chapters: list[Any]) -> None:
    """Any number of deaths, any order of specs: in the end nothing of it is left in AWS."""
    world = World()
    for chapter in [*chapters, remove]:
        chapter(world)
        run(world, deaths=set(deaths))
    assert world.gone
    assert [] == world.aws.violations
    assert ({}, {}, None) == (world.aws.models, world.aws.configs, world.aws.endpoint)


def test_reply_that_is_lost_must_make_nothing_twice() -> None:
    """The call had its effect and the operator never heard of it: what is there is taken over."""
    world = World()
    for survive in (2, 3, 1):
        with pytest.raises(KilledError):
            world.look(survive=min(survive, len(world.plan().actions)))
    world.settle()
    assert (1, 1) == (len(world.aws.models), len(world.aws.configs))
    assert 1 == world.aws.operations().count("CreateEndpoint")
    assert [] == calls(world.look())
