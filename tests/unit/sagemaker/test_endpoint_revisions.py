"""Revisions: what is kept, the way back, and the collection that never touches what is in use."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.api.sagemaker_hosting import UpdateAttempt
from sagebrush.core.sagemaker.endpoint_revisions import COLLECT_AFTER, Inventory, collected, in_use, marked
from sagebrush.core.sagemaker.endpoint_state import seen_of
from tests.unit.sagemaker.endpoint_builders import World, calls, served


def uri(number: int) -> str:
    return f"s3://bucket/{number}/model.tar.gz"


def through(*numbers: int, limit: int = 3, world: World | None = None) -> World:
    """An endpoint that has served these artifacts, one after the other."""
    world = world or World()
    for number in numbers:
        world.change(uri=uri(number), revisionHistoryLimit=limit)
        world.settle()
    return world


def revisions(world: World) -> list[str]:
    return [each.revision for each in world.status.revisions]


def served_uri(world: World) -> str:
    assert world.aws.endpoint is not None
    config = world.aws.configs[world.aws.endpoint["EndpointConfigName"]]
    model = world.aws.models[config["ProductionVariants"][0]["ModelName"]]
    return str(model["PrimaryContainer"]["ModelDataUrl"])


def without_content(world: World) -> None:
    """Status as an older version wrote it, which did not keep what configurations say."""
    kept = [each.model_copy(update={"configuration": None}) for each in world.status.revisions]
    world.status = world.status.model_copy(update={"revisions": kept})


def test_revision_must_be_gone_back_to_by_one_field() -> None:
    """Nothing is made for it: the configuration and its model are still there. Removing the field goes forward again."""
    world = through(1, 2)
    first = world.status.revisions[0].revision
    world.aws.calls.clear()
    world.change(uri=uri(2), revision=first)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert ["UpdateEndpoint"] == world.aws.operations()
    assert (uri(1), first) == (served_uri(world), world.status.revision)
    assert world.status.model is not None
    assert uri(1) == world.status.model.uri
    world.change(uri=uri(2))
    world.settle()
    assert uri(2) == served_uri(world)
    assert 2 == len(world.aws.configs)


def test_pin_must_win_over_a_spec_that_cannot_be_served() -> None:
    """The reason for going back may be that very spec."""
    world = through(1, 2)
    first = world.status.revisions[0].revision
    model = {"artifact": {"uri": uri(2)}, "startupTimeout": "1s"}
    world.change(revision=first, more={"model": model})
    world.settle()
    assert ("True", "Serving") == world.told()
    assert uri(1) == served_uri(world)


def test_pinned_revision_must_take_counts_from_the_spec() -> None:
    """What serves is pinned, not how much of it."""
    world = through(1, 2)
    world.change(uri=uri(2), revision=world.status.revisions[0].revision, more={"replicas": 4})
    world.settle()
    assert 4 == world.status.ready_replicas


def test_pinned_revision_must_be_found_without_a_status() -> None:
    """Its name is made of the field alone."""
    world = through(1, 2)
    first = world.status.revisions[0].revision
    world.status = type(world.status)()
    world.change(uri=uri(2), revision=first)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert uri(1) == served_uri(world)
    assert first in revisions(world)


@pytest.mark.parametrize("lost", ["config", "model", "never"])
def test_revision_that_is_no_more_must_be_told(lost: str) -> None:
    """With those that there are; what serves goes on."""
    world = through(1, 2)
    first, second = world.status.revisions
    if lost == "config":
        del world.aws.configs[first.endpoint_config]
        without_content(world)
    if lost == "model":
        del world.aws.models[first.models[0]]
    world.change(uri=uri(2), revision="0123456789" if lost == "never" else first.revision)
    plan = world.look()
    assert [] == calls(plan)
    assert ("False", "RevisionNotFound") == world.told()
    assert world.stalled()
    assert "name one of" in world.message()
    assert second.revision in world.message()
    assert second.revision == world.status.revision


def test_revision_beyond_the_limit_must_go_in_two_passes() -> None:
    """First marked; after two minutes, in service, its configuration and then its model are deleted."""
    world = through(1, 2, limit=0)
    marked_one = world.status.revisions[0]
    assert marked_one.collect_after is not None
    assert 2 == len(world.aws.configs)
    world.aws.step(60)
    world.look()
    assert 2 == len(world.aws.configs)
    world.aws.step(61)
    assert ["DeleteEndpointConfig", "DeleteModel"] == calls(world.look())
    assert (1, 1, 1) == (len(world.aws.configs), len(world.aws.models), len(world.status.revisions))
    assert [] == world.aws.violations


@pytest.mark.parametrize("state", ["SystemUpdating", "Updating", "RollingBack"])
def test_nothing_must_be_collected_while_the_endpoint_is_busy(state: str) -> None:
    """AWS may go back to it."""
    world = through(1, 2, limit=0)
    world.aws.step(200)
    world.aws.become(state)
    assert [] == calls(world.look())


def test_revision_that_is_wanted_again_must_lose_its_mark() -> None:
    """A rollback within the two minutes."""
    world = through(1, 2, limit=0)
    first = world.status.revisions[0].revision
    world.change(uri=uri(2), revisionHistoryLimit=0, revision=first)
    world.settle(seconds=30)
    assert uri(1) == served_uri(world)
    kept = next(each for each in world.status.revisions if each.revision == first)
    assert kept.collect_after is None
    world.aws.step(300)
    world.look()
    assert uri(1) == served_uri(world)
    assert [] == world.aws.violations


def test_model_that_a_kept_revision_needs_must_stay() -> None:
    """Two configurations with another instance type have one model."""
    world = served(revisionHistoryLimit=0)
    world.change(instanceType="ml.m5.large", revisionHistoryLimit=0)
    world.settle()
    world.aws.step(300)
    world.look()
    assert (1, 1) == (len(world.aws.configs), len(world.aws.models))
    assert [] == world.aws.violations


def test_leftovers_of_a_crash_must_be_collected_with_the_rest() -> None:
    """A configuration that no status knows: made, and the operator died, and the spec changed. Others' things stay."""
    world = through(1, 2, limit=0)
    stray, foreign = world.status.revisions[0].endpoint_config, "demo-kdd-c41c7c22-foreign"
    left = {**world.aws.configs[stray], "EndpointConfigName": f"{stray[:-2]}zz"}
    for name, owner in ((left["EndpointConfigName"], world.aws.tags[stray]), (foreign, {"sagebrush.dev/uid": "uid-2"})):
        world.aws.configs[name], world.aws.tags[name] = {**left, "EndpointConfigName": name}, owner
    world.aws.step(200)
    world.look()
    world.look()
    assert world.aws.endpoint is not None
    assert {foreign, world.aws.endpoint["EndpointConfigName"]} == set(world.aws.configs)


def test_failed_update_must_keep_both_configurations() -> None:
    """The one that serves and the one that was last asked for are in use, however small the limit."""
    world = through(1, limit=0)
    world.aws.faults = ["InService"]
    world.change(uri=uri(2), revisionHistoryLimit=0)
    world.settle()
    for _ in range(5):
        world.aws.step(300)
        world.look()
    assert 2 == len(world.aws.configs)
    assert all(each.collect_after is None for each in world.status.revisions)


def test_every_configuration_that_matters_must_be_in_use() -> None:
    """The desired one, the one that serves, the one that is coming, and the one last asked for."""
    world = through(1)
    world.change(uri=uri(2))
    world.look()
    world.look()
    endpoint = world.observe().endpoint
    assert endpoint is not None
    seen = seen_of(endpoint)
    last = UpdateAttempt(endpoint_config="last", time=world.now, generation=1)
    assert {"desired", seen.config, seen.pending_config, "last"} == in_use(seen, desired="desired", last=last)
    assert {"desired"} == in_use(None, desired="desired", last=None)


def test_no_model_must_go_while_a_configuration_in_use_is_unknown() -> None:
    """A configuration that serves and that no revision tells of has models that nobody knows."""
    world = through(1, 2, limit=0)
    first, second = world.status.revisions
    world.aws.step(600)
    names = (set(world.aws.configs), set(world.aws.models))
    inventory = Inventory(
        {name: world.aws.resource(world.aws.configs, name) for name in names[0]},
        {name: world.aws.resource(world.aws.models, name) for name in names[1]},
    )
    found = collected([first], inventory, protected={second.endpoint_config}, now=world.now)
    assert ((first.endpoint_config,), (), ()) == (found.configs, found.models, found.kept)
    known = collected([first, second], inventory, protected={second.endpoint_config}, now=world.now)
    assert ((first.endpoint_config,), tuple(first.models), (second,)) == (known.configs, known.models, known.kept)


def test_thing_that_no_revision_knows_must_be_left_while_it_is_new() -> None:
    """It may be what another operator, about to be replaced, has just made; its model stays with it."""
    world = through(1, 2, limit=0)
    first, second = world.status.revisions
    world.aws.step(600)
    world.aws.configs[first.endpoint_config]["CreationTime"] = world.now
    inventory = Inventory(
        {name: world.aws.resource(world.aws.configs, name) for name in world.aws.configs},
        {name: world.aws.resource(world.aws.models, name) for name in world.aws.models},
    )
    found = collected([second], inventory, protected={second.endpoint_config}, now=world.now)
    assert ((), ()) == (found.configs, found.models)


@given(st.integers(0, 5), st.sets(st.integers(0, 9)), st.integers(1, 10))
def test_marks_must_spare_the_newest_and_what_is_in_use(limit: int, used: set[int], count: int) -> None:
    """Exactly the oldest beyond the limit are marked, never one in use, and a mark keeps its time."""
    world = through(1)
    (one,) = world.status.revisions
    known = [one.model_copy(update={"revision": str(n), "endpoint_config": f"c{n}"}) for n in range(count)]
    protected = {f"c{n}" for n in used}
    now = world.aws.now
    out = marked(known, protected=protected, limit=limit, now=now)
    spare = [each for each in out if each.endpoint_config not in protected]
    assert [True] * max(0, len(spare) - limit) == [e.collect_after is not None for e in spare][
        : max(0, len(spare) - limit)
    ]
    assert all(each.collect_after is None for each in spare[max(0, len(spare) - limit) :])
    assert all(each.collect_after is None for each in out if each.endpoint_config in protected)
    assert out == marked(out, protected=protected, limit=limit, now=now + timedelta(seconds=50))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("serve"), st.integers(1, 4), st.integers(0, 2)),
        st.tuples(st.just("pin"), st.integers(0, 5), st.integers(0, 2)),
        st.tuples(st.just("fault"), st.sampled_from(["InService", "UpdateRollbackFailed", "Failed"]), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([10, 130, 600]), st.just(0)),
        st.tuples(st.just("maintain"), st.just(0), st.just(0)),
        st.tuples(st.just("forget"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_collection_must_never_touch_what_is_in_use(steps: list[tuple[str, Any, int]]) -> None:
    """Whatever the history of specs, pins, failures, maintenance and lost statuses: AWS is never asked for what it can't do."""
    world = through(1)
    for what, value, limit in steps:
        if what == "serve":
            world.change(uri=uri(value), revisionHistoryLimit=limit)
        elif what == "pin" and world.status.revisions:
            pin = revisions(world)[value % len(world.status.revisions)]
            world.change(uri=uri(value + 1), revisionHistoryLimit=limit, revision=pin)
        elif what == "fault":
            world.aws.faults = [value]
        elif what == "maintain" and world.aws.endpoint and world.aws.endpoint["EndpointStatus"] == "InService":
            world.aws.become("SystemUpdating")
        elif what == "forget":
            world.status = type(world.status)()
        for _ in range(3):
            world.look()
            world.aws.step(value if what == "wait" else 60)
    world.aws.faults = []
    world.change(uri=uri(1), revisionHistoryLimit=0)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert [] == world.aws.violations
    assert uri(1) == served_uri(world)
    world.aws.step(COLLECT_AFTER.total_seconds() + 1)
    world.delete()
    world.settle()
    assert ({}, {}, None) == (world.aws.models, world.aws.configs, world.aws.endpoint)
    assert [] == world.aws.violations
