"""Configurations and models that somebody deleted behind our back: made again before they are needed, or told."""

import pytest

from sagebrush.core.conditions import find
from sagebrush.core.sagemaker.endpoint_revisions import content_kept, recovered
from tests.unit.sagemaker.endpoint_builders import CREATES, World, calls, parameters, served

OTHER = "s3://bucket/other/model.tar.gz"
MODEL = {"artifact": {"uri": "s3://bucket/b/model.tar.gz"}, "startupTimeout": "3m"}
SEVERAL = [
    {"name": "b", "instanceType": "ml.c5.large", "weight": 0.25, "replicas": 2, "model": MODEL},
    {"name": "a", "serverless": {"memorySizeInMb": 1024, "maxConcurrency": 5}},
]
CAPTURE = {"samplingPercentage": 10, "destinationUri": "s3://bucket/captured"}
SPECS = {
    "one variant": {"instanceType": "ml.m5.large", "volumeSizeGiB": 20, "modelDownloadTimeout": "5m"},
    "several": {"variants": SEVERAL, "kmsKeyId": "key", "dataCapture": CAPTURE},
}


def config_in_service(world: World) -> str:
    assert world.aws.endpoint is not None
    return str(world.aws.endpoint["EndpointConfigName"])


def forget_content(world: World) -> None:
    """Status as an older version wrote it."""
    kept = [each.model_copy(update={"configuration": None}) for each in world.status.revisions]
    world.status = world.status.model_copy(update={"revisions": kept})


def said(world: World, config: str) -> dict[str, object]:
    """What a configuration says, without the numbers to begin with and the time of its making."""
    body = {key: value for key, value in world.aws.configs[config].items() if key != "CreationTime"}
    numbers = ("InitialInstanceCount", "InitialVariantWeight")
    variants = [
        {key: value for key, value in each.items() if key not in numbers} for each in body["ProductionVariants"]
    ]
    return {**body, "ProductionVariants": variants}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_lost_configuration_in_service_must_be_made_again_before_the_update(spec: dict) -> None:
    """AWS refuses an update from a configuration that is no more; the same content comes back under the same name."""
    world = served(**spec)
    lost = config_in_service(world)
    before = said(world, lost)
    del world.aws.configs[lost]
    world.change(uri=OTHER)
    plan = world.look()
    assert "CreateEndpointConfig" in calls(plan)
    assert before == said(world, lost)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert config_in_service(world) != lost
    assert 1 == world.aws.operations().count("UpdateEndpoint")
    assert [] == world.aws.violations


def test_configuration_made_again_must_have_the_numbers_in_force() -> None:
    """Counts and weights are no part of a revision: those that the endpoint has, where the spec no longer names them."""
    world = served(variants=SEVERAL)
    lost = config_in_service(world)
    del world.aws.configs[lost]
    world.change(uri=OTHER)
    (made,) = [
        call.parameters["ProductionVariants"]
        for call in world.plan().actions
        if getattr(call, "operation", "") == "CreateEndpointConfig" and call.parameters["EndpointConfigName"] == lost
    ]
    numbers = {each["VariantName"]: (each.get("InitialInstanceCount"), each["InitialVariantWeight"]) for each in made}
    assert {"a": (None, 1.0), "b": (2, 0.25)} == numbers


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_lost_pinned_configuration_must_be_made_again(spec: dict) -> None:
    """A rollback by one field does not depend on nobody having tidied up; though the spec says nothing of it any more."""
    world = served(**spec)
    first, lost = world.status.revisions[0], config_in_service(world)
    before = said(world, lost)
    world.change(uri=OTHER, instanceType="ml.m5.4xlarge")
    world.settle()
    del world.aws.configs[lost]
    world.change(uri=OTHER, instanceType="ml.m5.4xlarge", revision=first.revision)
    assert ["CreateEndpointConfig"] == calls(world.look())
    world.settle()
    assert ("True", "Serving", lost) == (*world.told(), config_in_service(world))
    assert before == said(world, lost)
    assert first.revision == world.status.revision


def test_lost_configuration_in_service_must_stall_where_nobody_knows_it() -> None:
    """A status of an older version: no update is tried in vain, and what to do is told; it does help."""
    world = served()
    lost = config_in_service(world)
    forget_content(world)
    del world.aws.configs[lost]
    world.change(uri=OTHER)
    assert [] == calls(world.look())
    assert ("False", "RevisionNotFound", True) == (*world.told(), world.stalled())
    assert lost in world.message()
    assert "apply the spec that serves" in world.message()
    world.change()
    world.settle()
    assert lost in world.aws.configs
    world.change(uri=OTHER)
    world.settle()
    assert ("True", "Serving") == world.told()
    assert config_in_service(world) != lost


def test_lost_model_of_a_lost_configuration_must_be_told() -> None:
    """A configuration names its models, and AWS refuses one without them."""
    world = served()
    lost = world.status.revisions[0]
    del world.aws.configs[lost.endpoint_config], world.aws.models[lost.models[0]]
    world.change(uri=OTHER)
    assert [] == calls(world.look())
    assert ("False", "RevisionNotFound", True) == (*world.told(), world.stalled())
    assert lost.models[0] in world.message()


def test_kept_revision_that_is_awaited_must_be_told_without_a_pin() -> None:
    """While a model is awaited the previous one serves; where it can't, there is no field to blame."""
    world = served()
    kept = world.status.revisions[0]
    del world.aws.models[kept.models[0]]
    world.aws.endpoint = None
    environment = [{"name": "NEW", "value": "1"}]
    world.change(more={"model": {"trainingJobRef": {"name": "later"}, "environment": environment}})
    world.look()
    assert ("False", "RevisionNotFound") == world.told()
    assert "spec.sageMaker.revision" not in world.message()
    assert "give spec.model a model that is there" in world.message()


def test_loss_in_service_must_be_mended_when_something_goes_wrong() -> None:
    """AWS' maintenance failed for it, as FailureReason says: the configuration and its model are made again, once."""
    world = served()
    (config,), (model,) = world.aws.configs, world.aws.models
    del world.aws.configs[config], world.aws.models[model]
    assert [] == calls(world.look()), "in peace nothing is asked for"
    world.aws.become("InService", reason=f'Could not find endpoint configuration "{config}".')
    plan = world.look()
    assert CREATES == calls(plan)
    assert f"{model}, {config} was deleted in SageMaker, and is made again" in world.message()
    assert ("True", "Serving") == world.told()
    assert [] == calls(world.look())


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_content_of_a_recovered_revision_must_be_kept_too(spec: dict) -> None:
    """What AWS describes has the same hash, so that it is remembered; anything else is not."""
    world = served(**spec)
    (kept,) = world.status.revisions
    found = world.aws.resource(world.aws.configs, kept.endpoint_config)
    assert found is not None
    assert kept.configuration == recovered(kept.revision, found).configuration is not None
    assert recovered("0123456789", found).configuration is None


@pytest.mark.parametrize("text", [None, "", "{", "{}", '{"variants":[]}', "null"])
def test_content_that_is_not_the_revisions_must_count_as_unknown(text: str | None) -> None:
    """Its hash proves it: what somebody else wrote into status is not sent to AWS."""
    (kept,) = served().status.revisions
    assert content_kept(kept) is not None
    assert content_kept(kept.model_copy(update={"configuration": text})) is None


def test_content_must_be_noted_of_revisions_that_an_older_version_recorded() -> None:
    """The next pass fills in what the spec tells."""
    world = served()
    forget_content(world)
    world.look()
    assert world.status.revisions[0].configuration is not None
    ready = find(world.status.conditions, "Ready")
    assert ready is not None
    assert "True" == ready.status


def test_failed_endpoint_that_is_pinned_must_be_made_anew_of_what_is_kept() -> None:
    """The endpoint goes and comes again, and so does the configuration that somebody deleted meanwhile."""
    world = served()
    first = world.status.revisions[0]
    world.change(uri=OTHER)
    world.settle()
    world.change(uri=OTHER, revision=first.revision)
    world.settle()
    del world.aws.configs[first.endpoint_config]
    world.aws.step(300)
    world.aws.endpoint = None
    plan = world.look()
    assert first.endpoint_config == parameters(plan, "CreateEndpointConfig")["EndpointConfigName"]
    world.settle()
    assert ("True", "Serving") == world.told()
    assert first.endpoint_config == config_in_service(world)
