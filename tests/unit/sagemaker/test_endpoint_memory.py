"""What status remembers of revisions, failures and models, and what comes of it later."""

from dataclasses import replace
from typing import Any

import pytest

from sagebrush.api.training_job import ModelArtifact, TrainingJobStatus, TrainingPhase
from sagebrush.core.model_source import SourceJob
from tests.unit.sagemaker.endpoint_builders import World, at, calls, reading, scaled, served
from tests.unit.sagemaker.training_builders import spec_of as job_spec

OTHER = "s3://bucket/other/model.tar.gz"
ALARM = "alarm kdd-5xx went off"
CAPACITY = "Unable to provision requested ML compute capacity."
RESIZE = "UpdateEndpointWeightsAndCapacities"


def uri(number: int) -> str:
    return f"s3://bucket/{number}/model.tar.gz"


def test_revisions_that_never_served_must_have_room_in_status() -> None:
    """Status takes 30: the oldest leave it, each update is asked for once, and what AWS has of them goes when one serves."""
    world = served()
    for number in range(40):
        world.change(uri=uri(number))
        world.aws.faults[:], world.aws.reason = ["InService"], ALARM
        world.settle(seconds=30)
    assert ("False", "UpdateRolledBack") == world.told()
    assert 40 == world.aws.operations().count("UpdateEndpoint")
    assert (30, 41) == (len(world.status.revisions), len(world.aws.configs))
    world.change(uri=uri(99))
    world.aws.faults.clear()
    for _ in range(6):
        world.look()
        world.aws.step(130)
    assert ("True", "Serving") == world.told()
    kept = {each.endpoint_config for each in world.status.revisions}
    assert (4, kept) == (len(kept), set(world.aws.configs))
    assert [] == world.aws.violations


@pytest.mark.parametrize("pinned", [False, True])
def test_revision_that_served_last_must_be_kept_longest(pinned: bool) -> None:
    """Gone back to, by the spec or by the field, it is the newest: what came between goes before it."""
    world = World()
    for number in (1, 2):
        world.change(uri=uri(number), revisionHistoryLimit=1)
        world.settle()
    first = world.status.revisions[0].revision
    world.change(uri=uri(2 if pinned else 1), revisionHistoryLimit=1, **({"revision": first} if pinned else {}))
    world.settle()
    assert first == world.status.revisions[-1].revision
    world.change(uri=uri(3), revisionHistoryLimit=1)
    world.settle()
    assert [True, False, False] == [each.collect_after is not None for each in world.status.revisions]
    assert first == world.status.revisions[1].revision


@pytest.mark.parametrize("engine", ["Sagebrush", "ApplicationAutoScaling"])
def test_pinned_revision_must_tell_what_of_the_spec_it_lacks(engine: str) -> None:
    """Its variants are its own: the spec's scaling of others has nothing to act on."""
    world = served()
    first = world.status.revision
    variants = [{"name": "a", "instanceType": "ml.m5.xlarge", "scaling": scaled(engine)}]
    world.readings = {"a": reading(50)}
    world.change(variants=variants)
    world.settle()
    for _ in range(2):
        world.aws.step()
        world.look()
    assert "True" == world.condition("ScalingActive")
    world.change(variants=variants, revision=first)
    world.settle()
    world.look()
    assert ("True", "Serving") == world.told()
    assert "it has no variant a" in world.message()
    assert "False" == world.condition("ScalingActive")


def rolled_back(reason: str, **more: Any) -> World:
    """An endpoint that our policy scales, whose update to another model AWS took back."""
    world = served(more={"scaling": scaled()}, **more)
    world.readings = {"AllTraffic": reading(50)}
    world.change(uri=OTHER, more={"scaling": scaled()}, **more)
    world.aws.faults, world.aws.reason = ["InService"], reason
    for _ in range(2):
        world.look()
        world.aws.step(30)
    world.look()
    world.aws.calls.clear()
    return world


@pytest.mark.parametrize("reason", [ALARM, ""])
def test_failed_resize_must_not_make_a_rollback_retryable(reason: str) -> None:
    """The resize failed for want of capacity, the update by the user's doing, or without a word: it stays the user's turn."""
    world = rolled_back(reason)
    assert ("False", "UpdateRolledBack") == world.told()
    world.aws.become("InService", reason=CAPACITY)
    for _ in range(6):
        assert "UpdateEndpoint" not in calls(world.look())
        assert ("False", "UpdateRolledBack") == world.told()
        assert (reason or "AWS gave no reason") in world.message()
        world.aws.now += at(100) - at(0)


def refused_resize(world: World) -> None:
    """More traffic; AWS begins to resize, and has no instances."""
    world.readings = {"AllTraffic": reading(500)}
    assert [RESIZE] == calls(world.look())
    assert world.aws.endpoint is not None
    world.aws.now += at(10) - at(0)
    for variant in world.aws.endpoint["ProductionVariants"]:
        variant["DesiredInstanceCount"] = 1
    world.aws.become("InService", reason=CAPACITY)


def test_instances_must_be_asked_for_again_later_after_a_rollback() -> None:
    """The old revision goes on growing, and what AWS had not is not asked for every few seconds."""
    world = rolled_back(ALARM)
    refused_resize(world)
    for _ in range(11):
        plan = world.look()
        assert [] == calls(plan)
        assert "held" in plan.decisions["AllTraffic"].message
        world.aws.now += at(10) - at(0)
    world.aws.now += at(10) - at(0)
    assert [RESIZE] == calls(world.look())


def test_retry_must_not_move_out_with_each_resize() -> None:
    """It waits from the failure of the update, whatever the endpoint has done since."""
    world = rolled_back(CAPACITY)
    noted = world.status.sage_maker
    assert noted is not None
    assert noted.last_update is not None
    assert noted.last_update.failed is not None
    for _ in range(3):
        world.aws.now += at(10) - at(0)
        world.aws.become("InService")
        plan = world.look()
    assert ["UpdateEndpoint"] == calls(plan)


def test_other_model_must_count_as_a_change_after_a_failure() -> None:
    """A TrainingJob that ran anew brings another configuration with the same generation: another chance, at once."""
    world = World()
    world.aws.faults, world.aws.reason = ["Failed"] * 4, ALARM
    world.settle(seconds=300)
    assert ("False", "EndpointFailed") == world.told()
    generation = world.meta.generation
    world.change(uri=OTHER)
    world.meta = replace(world.meta, generation=generation)
    assert ["DeleteEndpoint"] == calls(world.look())
    world.aws.step()
    world.settle()
    assert ("True", "Serving") == world.told()


def trained(name: str) -> SourceJob:
    artifact = ModelArtifact(uri=f"s3://bucket/{name}/model.tar.gz")
    return SourceJob(job_spec(), TrainingJobStatus(phase=TrainingPhase.COMPLETED, model_artifact=artifact))


def of_jobs(names: str, **more: Any) -> list[dict[str, Any]]:
    """A variant for each job: a letter each."""
    return [
        {
            "name": f"v{number}",
            "instanceType": "ml.m5.large",
            "model": {"trainingJobRef": {"name": name}},
            **more,
        }
        for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("names", ["ab", "aba", "abcdefgh"])
@pytest.mark.parametrize("left", ["", "a", "b"])
def test_models_of_jobs_that_are_gone_must_go_on_serving(names: str, left: str) -> None:
    """Whichever of several jobs was deleted; counts still follow the spec, and another content waits for its job."""
    world = World(jobs={name: trained(name) for name in names})
    world.change(variants=of_jobs(names))
    world.settle()
    assert ("True", "Serving") == world.told()
    before = world.status.revision
    world.jobs = {name: trained(name) for name in left}
    assert [] == calls(world.look())
    assert ("True", "Serving") == world.told()
    assert "gone, and what was trained goes on serving" in world.message()
    world.change(variants=of_jobs(names, replicas=2))
    world.settle()
    assert (2 * len(names), before) == (world.status.replicas, world.status.revision)
    world.change(variants=of_jobs(names, instanceType="ml.m5.xlarge"))
    world.look()
    assert ("False", "TrainingJobNotFound") == world.told()
    assert before == world.status.revision


def test_job_that_runs_anew_must_be_waited_for_beside_one_that_is_gone() -> None:
    """Another model is promised."""
    world = World(jobs={name: trained(name) for name in "ab"})
    world.change(variants=of_jobs("ab"))
    world.settle()
    world.jobs = {"b": SourceJob(job_spec(), TrainingJobStatus(phase=TrainingPhase.TRAINING))}
    world.look()
    assert "False" == world.told()[0]
