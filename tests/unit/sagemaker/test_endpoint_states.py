"""Every state of an endpoint, on the desired configuration and on another: what is called, what is said."""

from dataclasses import replace
from typing import Any

import pytest

from sagebrush.core.sagemaker.endpoint_state import FOLLOWS, REASONS, is_retryable
from tests.unit.sagemaker.endpoint_builders import CREATES, NAME, World, at, calls, served

OTHER = "s3://bucket/other/model.tar.gz"
CAPACITY = "Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
INTERNAL = "Request to service failed. If failure persists after retry, contact customer support."
PING = "The primary container for production variant AllTraffic did not pass the ping health check."


def in_state(state: str, *, desired: bool, tried: bool = False, reason: str = "") -> World:
    """An endpoint in *state* whose configuration is the desired one, or the one before it."""
    world = served()
    if not desired:
        world.change(uri=OTHER)
        if tried:
            world.look()
            world.look()
            assert world.aws.endpoint is not None
            del world.aws.endpoint["PendingDeploymentSummary"]
            world.aws.now += at(300) - at(0)
    world.aws.become(state, reason=reason)
    return world


BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting", "SomethingNew")


@pytest.mark.parametrize("desired", [True, False])
@pytest.mark.parametrize("state", BUSY)
def test_endpoint_being_changed_must_be_left_alone(state: str, desired: bool) -> None:
    """In a state in which AWS takes no change, and in one that is new, nothing is called; the state and its start are told."""
    world = in_state(state, desired=desired)
    plan = world.look()
    assert [] == calls(plan)
    reason = "Recreating" if state == "Deleting" else str(REASONS.get(state, "Updating"))
    if desired and state in ("Updating", "SystemUpdating"):  # it is resized or maintained: what is wanted serves
        assert ("True", "Serving" if state == "Updating" else state) == world.told()
        assert f"{state} since 2026-08-01 12:" in world.message()
        return
    assert ("False", reason) == world.told()
    assert "True" == world.condition("Reconciling")
    assert f"{state} since 2026-08-01 12:" in world.message()
    assert world.defaults.polling.active == plan.requeue_after
    follows = FOLLOWS.get(state, "doesn't know that state")
    assert state == "Deleting" or follows in world.message()
    assert desired or state == "Deleting" or "then endpoint configuration" in world.message()


CHANGEABLE = [
    # state, desired, what was asked for already, calls of the first pass, told
    ("InService", True, False, [], ("True", "Serving")),
    ("InService", False, False, CREATES, ("False", "Updating")),
    ("InService", False, True, [], ("False", "UpdateRolledBack")),
    ("UpdateRollbackFailed", True, False, ["UpdateEndpoint"], ("False", "Updating")),
    ("UpdateRollbackFailed", False, False, CREATES, ("False", "Updating")),
    ("UpdateRollbackFailed", False, True, ["UpdateEndpoint"], ("False", "Updating")),
    ("OutOfService", True, False, [], ("False", "OutOfService")),
    ("OutOfService", False, False, CREATES, ("False", "Updating")),
    ("OutOfService", False, True, ["DeleteEndpoint"], ("False", "Recreating")),
    ("Failed", True, False, [], ("False", "Recreating")),
    ("Failed", False, False, ["DeleteEndpoint"], ("False", "Recreating")),
]


@pytest.mark.parametrize(("state", "desired", "tried", "wanted", "told"), CHANGEABLE)
def test_endpoint_at_rest_must_get_what_its_state_allows(
    state: str, desired: bool, tried: bool, wanted: list[str], told: tuple[str, str]
) -> None:
    """Update where AWS takes one, delete where it takes nothing else, and Ready for the desired configuration only."""
    world = in_state(state, desired=desired, tried=tried)
    if tried and state != "InService":
        world.aws.now += at(60) - at(0)
    assert wanted == calls(world.look())
    assert told == world.told()


def test_in_service_must_not_count_as_success_of_an_update() -> None:
    """A failed update ends in InService on the old configuration (fact 1): told, kept, and not tried again."""
    world = served()
    before = world.status.sage_maker
    world.change(uri=OTHER)
    world.aws.faults = ["InService"]
    plan = world.settle()
    assert ("False", "UpdateRolledBack") == world.told()
    assert world.stalled()
    assert "AWS gave no reason: look at the container's log" in world.message()
    assert before is not None
    assert f"endpoint configuration {before.endpoint_config} goes on serving" in world.message()
    assert [] == calls(plan)
    for _ in range(5):
        world.aws.step()
        assert [] == calls(world.look())
    assert 1 == world.aws.operations().count("UpdateEndpoint")
    assert 2 == len(world.aws.configs)
    assert 1 == world.events.count("UpdateRolledBack")


def test_rolled_back_update_must_be_tried_again_when_the_spec_changes() -> None:
    """The user has mended something: a new generation is a new attempt."""
    world = served()
    world.change(uri=OTHER)
    world.aws.faults, world.aws.reason = ["InService"], PING
    world.settle()
    assert PING in world.message()
    world.change(uri=OTHER)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert world.status.sage_maker is not None
    assert world.status.sage_maker.last_update is None


def test_rolled_back_update_must_be_undone_by_the_old_spec() -> None:
    """What serves is what is wanted again: Ready at once, without a call."""
    world = served()
    world.change(uri=OTHER)
    world.aws.faults = ["InService"]
    world.settle()
    world.aws.calls.clear()
    world.change()
    world.settle()
    assert ("True", "Serving") == world.told()
    assert [] == world.aws.calls


@pytest.mark.parametrize(("reason", "word"), [(CAPACITY, "CapacityError"), (INTERNAL, "UpdateRolledBack")])
def test_update_that_failed_by_aws_fault_must_be_tried_three_times(reason: str, word: str) -> None:
    """Capacity and internal errors pass; the waits grow, and after the third attempt it is the user's turn."""
    world = served()
    world.change(uri=OTHER)
    world.aws.faults, world.aws.reason = ["InService"] * 9, reason
    told = set()
    times = []
    for _ in range(80):
        plan = world.look()
        times += [world.aws.now] * calls(plan).count("UpdateEndpoint")
        told.add(world.told()[1])
        world.aws.step(20)
    assert 3 == len(times)
    assert times[1] - times[0] < times[2] - times[1]
    assert word in told
    assert ("False", "UpdateRolledBack") == world.told()
    assert world.stalled()
    assert reason in world.message()


def test_update_that_failed_by_aws_fault_must_come_through() -> None:
    """The second attempt succeeds: nothing is left of the first."""
    world = served()
    world.change(uri=OTHER)
    world.aws.faults, world.aws.reason = ["InService"], CAPACITY
    world.settle()
    assert ("True", "Serving") == world.told()


def test_retryable_must_be_what_the_user_cannot_mend() -> None:
    """A container that fails its ping fails again."""
    assert [True, True, False, False] == [is_retryable(text) for text in (CAPACITY, INTERNAL, PING, "")]


def test_update_that_was_asked_for_must_not_seem_rolled_back_before_it_is_seen() -> None:
    """DescribeEndpoint may be a moment late: what it shows then is the time before the call."""
    world = served()
    world.aws.now += at(60) - at(0)
    world.change(uri=OTHER)
    world.look()
    assert world.aws.endpoint is not None
    before = dict(world.aws.endpoint)
    world.look()
    after, world.aws.endpoint = world.aws.endpoint, before
    plan = world.look()
    assert [] == calls(plan)
    assert ("False", "Updating") == world.told()
    world.aws.endpoint = after
    world.settle()
    assert ("True", "Serving") == world.told()


def test_clock_that_is_behind_must_not_stop_the_operator() -> None:
    """AWS' times an hour ahead of ours: a rollback is seen, retries come, and old revisions go."""
    world = World(ahead=at(3600) - at(0))
    world.change(revisionHistoryLimit=0)
    world.aws.faults, world.aws.reason = ["Failed", "ok", "InService"], CAPACITY
    world.settle()
    world.change(uri=OTHER, revisionHistoryLimit=0)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert {"UpdateEndpoint": 2, "CreateEndpoint": 2} == {
        name: world.aws.operations().count(name) for name in ("UpdateEndpoint", "CreateEndpoint")
    }
    world.aws.step(300)
    world.look()
    assert (1, 1) == (len(world.aws.configs), len(world.aws.models))


def test_endpoint_whose_tags_are_not_shown_yet_must_be_no_conflict() -> None:
    """Ours of a moment ago; a mark of somebody else would be one."""
    world = World()
    world.look()
    world.look()
    tags = world.aws.tags[NAME]
    world.aws.tags[NAME] = {}
    assert [] == calls(world.look())
    assert ("False", "Creating") == world.told()
    world.aws.tags[NAME] = {"sagebrush.dev/uid": "uid-2"}
    world.look()
    assert ("False", "NameConflict") == world.told()
    world.aws.tags[NAME] = tags
    world.settle()
    assert ("True", "Serving") == world.told()


def test_attempt_must_be_learnt_from_the_pending_deployment() -> None:
    """Killed between UpdateEndpoint and its record: AWS tells which configuration was asked for, and a rollback is seen."""
    world = served()
    world.change(uri=OTHER)
    world.look()
    before = world.status
    world.look()
    world.status = before
    world.aws.faults = ["InService"]
    world.look()
    world.aws.step()
    world.look()
    assert ("False", "UpdateRolledBack") == world.told()
    assert 1 == world.aws.operations().count("UpdateEndpoint")


def test_failed_endpoint_must_be_made_anew_three_times() -> None:
    """The waits grow; then it is given up with AWS' reason and the end of the log, and nothing is called any more."""
    world = World(log_tail=("Traceback", "ImportError: no module named kdd"))
    world.aws.faults, world.aws.reason = ["Failed"] * 9, PING
    plan = None
    for _ in range(120):
        plan = world.look()
        world.aws.step(20)
    assert plan is not None
    assert 4 == world.aws.operations().count("CreateEndpoint")
    assert 3 == world.aws.operations().count("DeleteEndpoint")
    assert ("False", "EndpointFailed") == world.told()
    assert world.stalled()
    assert PING in world.message()
    assert "Traceback | ImportError: no module named kdd" in world.message()
    assert [] == calls(plan)
    assert [] == world.aws.violations


def test_failed_endpoint_must_be_made_anew_at_once_when_the_spec_changed() -> None:
    """Given up is not for ever: another spec is another chance, with all its attempts."""
    world = World()
    world.aws.faults, world.aws.reason = ["Failed"] * 4, PING
    world.settle(seconds=300)
    assert ("False", "EndpointFailed") == world.told()
    world.change(uri=OTHER)
    assert ["DeleteEndpoint"] == calls(world.look())
    assert world.status.sage_maker is not None
    assert 0 == world.status.sage_maker.recreations
    world.aws.step()
    world.settle()
    assert ("True", "Serving") == world.told()


def test_recreations_must_be_forgotten_when_it_serves() -> None:
    """A failure next year has its three attempts, too."""
    world = World()
    world.aws.faults, world.aws.reason = ["Failed"], CAPACITY
    world.settle()
    assert ("True", "Serving") == world.told()
    assert world.status.sage_maker is not None
    assert 0 == world.status.sage_maker.recreations
    assert "Recreating" in world.events


def test_rollback_that_failed_must_be_tried_again_and_then_told() -> None:
    """Mixed configurations are never Ready; the user's next spec is tried at once."""
    world = served()
    world.change(uri=OTHER)
    world.aws.faults = ["UpdateRollbackFailed"] * 9
    world.settle(seconds=200)
    assert ("False", "UpdateRollbackFailed") == world.told()
    assert world.stalled()
    assert 3 == world.aws.operations().count("UpdateEndpoint")
    world.aws.faults.clear()
    world.change(uri="s3://bucket/third/model.tar.gz")
    world.settle()
    assert ("True", "Serving") == world.told()


def test_system_update_must_pass_without_a_call() -> None:
    """Maintenance comes unprompted; what was wanted meanwhile follows it."""
    world = served()
    world.aws.become("SystemUpdating")
    world.change(uri=OTHER)
    assert [] == calls(world.look())
    assert ("False", "SystemUpdating") == world.told()
    world.aws.step()
    world.settle()
    assert ("True", "Serving") == world.told()
    assert [] == world.aws.violations


@pytest.mark.parametrize("owner", [{}, {"sagebrush.dev/uid": "uid-2", "sagebrush.dev/namespace": "prod"}])
def test_foreign_endpoint_must_be_left_alone(owner: dict[str, str]) -> None:
    """A name that is taken, though it differ in case, is a conflict; nothing of it is touched, also at the end."""
    world = served(name="Kdd")
    assert world.aws.endpoint is not None
    world.aws.endpoint["EndpointName"] = "kdd"
    world.aws.tags["kdd"] = owner
    plan = world.look()
    assert [] == calls(plan)
    assert ("False", "NameConflict") == world.told()
    assert world.stalled()
    assert ("carries no mark" if not owner else "prod/") in world.message()
    assert 30 == (plan.requeue_after.total_seconds() if plan.requeue_after else 0)
    world.delete()
    world.settle()
    assert world.gone
    assert world.aws.endpoint is not None
    assert "DeleteEndpoint" not in world.aws.operations()


@pytest.mark.parametrize("kind", ["models", "configs"])
def test_foreign_model_or_configuration_must_be_a_conflict(kind: str) -> None:
    """Nothing is built on what somebody else may remove."""
    world = World()
    world.look()
    things: dict[str, Any] = getattr(world.aws, kind)
    (name,) = things
    world.aws.tags[name] = {}
    assert [] == calls(world.look())
    assert ("False", "NameConflict") == world.told()
    assert name in world.message()


def test_endpoint_must_wait_until_its_configuration_is_seen() -> None:
    """CreateEndpoint may not find a configuration of a moment ago: the pass that makes it doesn't use it."""
    world = World()
    assert CREATES == calls(world.look())
    things, world.aws.configs = world.aws.configs, {}
    assert ["CreateEndpointConfig"] == calls(world.plan())
    world.aws.configs = things
    assert ["CreateEndpoint"] == calls(world.look())


def test_created_endpoint_that_is_not_shown_yet_must_be_waited_for() -> None:
    """A second CreateEndpoint would only be refused."""
    world = World()
    world.look()
    world.look()
    hidden, world.aws.endpoint = world.aws.endpoint, None
    assert [] == calls(world.look())
    assert ("False", "Creating") == world.told()
    world.aws.now += at(40) - at(0)
    assert ["CreateEndpoint"] == calls(world.plan())
    world.aws.endpoint = hidden
    world.settle()
    assert ("True", "Serving") == world.told()


def test_lost_endpoint_must_be_made_again() -> None:
    """Somebody deleted it by hand: level-based."""
    world = served()
    world.aws.endpoint = None
    world.settle()
    assert ("True", "Serving") == world.told()
    assert ["CreateEndpoint"] == world.aws.operations()


def test_lost_status_must_change_nothing() -> None:
    """Names are deterministic and tags say whose: without any memory the endpoint is known again."""
    world = served()
    world.status = type(world.status)()
    assert [] == calls(world.look())
    assert ("True", "Serving") == world.told()
    assert 1 == len(world.status.revisions)


def test_peace_must_cost_one_describe() -> None:
    """In service nothing is looked up but the endpoint, and nothing changes in status."""
    world = served()
    before = world.status
    world.aws.step(3600)
    plan = world.look()
    assert type(world.lookups)() == world.lookups
    assert world.defaults.polling.steady == plan.requeue_after
    assert before == world.status
    assert () == plan.events


def test_finalizer_must_come_first() -> None:
    """Before anything is made, and again where somebody took it off."""
    world = World()
    assert "Apply" == type(world.plan().actions[0]).__name__
    world.look()
    assert world.finalizer
    world.settle()
    world.finalizer = False
    assert ["Apply"] == [type(action).__name__ for action in world.look().actions]


def test_status_must_show_what_aws_shows() -> None:
    """Address, revision, model, counts, variants and ARN."""
    world = served(more={"replicas": 3})
    status = world.status
    assert status.sage_maker is not None
    name = status.sage_maker.endpoint_name
    assert f"https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/{name}/invocations" == status.url
    assert (3, 3) == (status.replicas, status.ready_replicas)
    assert status.model is not None
    assert "s3://bucket/kdd/output/model.tar.gz" == status.model.uri
    (variant,) = status.sage_maker.variants
    assert ("AllTraffic", "ml.m5.xlarge", 3) == (variant.name, variant.instance_type, variant.current_instances)
    assert status.revision == status.revisions[-1].revision


def test_address_must_have_china_s_suffix() -> None:
    """Partition aws-cn has its own domain."""
    world = World(defaults=replace(World().defaults, region="cn-north-1"))
    world.look()
    assert world.status.url is not None
    assert "runtime.sagemaker.cn-north-1.amazonaws.com.cn/" in world.status.url
