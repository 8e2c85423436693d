"""Older revisions: kept for a rollback by one field, collected in two steps, and never while something needs them."""

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker.aws import Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    LONG,
    artifact,
    codes,
    edit,
    finish,
    message,
    models_of,
    names,
    new_model,
    region_of,
    standing,
    the_config,
    wait_events,
    wait_looks,
    wait_reason,
    wait_serving,
    wait_status,
)
from tests.integration.sagemaker.jobs import slow

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")


def test_one_field_must_roll_back_and_its_removal_go_on(shared_aws: Aws, kube: Kube, namespace: str):
    """spec.sageMaker.revision serves an older revision of what is still there; without it the spec's own comes back."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]
    edit(kube, namespace, new_model(shared_aws, 1))
    second = wait_serving(kube, namespace)["status"]
    edit(kube, namespace, {"sageMaker": {"revision": first["revision"]}})
    body = wait_serving(kube, namespace)
    assert first["sageMaker"]["endpointConfig"] == the_config(shared_aws, namespace).name
    assert first["revision"] == body["status"]["revision"]
    assert first["model"]["uri"] == body["status"]["model"]["uri"]
    assert "which spec.sageMaker.revision asks for" in message(body)

    # What the spec says meanwhile waits.
    edit(kube, namespace, new_model(shared_aws, 2))
    wait_serving(kube, namespace)
    assert first["sageMaker"]["endpointConfig"] == the_config(shared_aws, namespace).name
    edit(kube, namespace, {"sageMaker": {"revision": None}, **new_model(shared_aws, 1)})
    body = wait_serving(kube, namespace)
    assert second["revision"] == body["status"]["revision"]
    (model,) = models_of(shared_aws, the_config(shared_aws, namespace)).values()
    assert artifact(1) == model.request["PrimaryContainer"]["ModelDataUrl"]
    assert ["OK"] * 3 == codes(shared_aws, "UpdateEndpoint", namespace)
    assert ["OK"] * 2 == codes(shared_aws, "CreateEndpointConfig", namespace), "the same content is the same revision"


def test_revision_that_is_not_there_must_be_said_with_those_that_are(shared_aws: Aws, kube: Kube, namespace: str):
    """A wrong value changes nothing: RevisionNotFound names the legal ones, and one of them, or none, mends it."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]["revision"]
    edit(kube, namespace, new_model(shared_aws, 1))
    second = wait_serving(kube, namespace)["status"]["revision"]
    edit(kube, namespace, {"sageMaker": {"revision": "0123456789"}})
    body = wait_reason(kube, namespace, "RevisionNotFound")
    assert ("Stalled", "RevisionNotFound") == standing(body)
    assert f"one of {first}, {second}, or remove it" in message(body)
    assert second == body["status"]["revision"]
    wait_events(kube, namespace, "RevisionNotFound")
    wait_looks(shared_aws, namespace, 2)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    edit(kube, namespace, {"sageMaker": {"revision": None}})
    wait_serving(kube, namespace)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)


def test_older_revisions_must_be_collected_in_two_steps(shared_aws: Aws, kube: Kube, namespace: str):
    """What is beyond the limit is marked, and removed two minutes later, configurations before models; the newest stay."""
    kube.apply(endpoint("kdd", namespace, sagemaker={"revisionHistoryLimit": 1}))
    every = [wait_serving(kube, namespace)["status"]["revisions"][-1]]
    for number in range(1, 4):
        edit(kube, namespace, new_model(shared_aws, number))
        every.append(wait_serving(kube, namespace)["status"]["revisions"][-1])
    kept = [each["endpointConfig"] for each in every[-2:]]
    wait_for(
        lambda: names(shared_aws, namespace, "endpoint-config") == sorted(kept),
        "the end of the older ones",
        otherwise=lambda: str(names(shared_aws, namespace, "endpoint-config")),
    )
    wait_for(lambda: len(names(shared_aws, namespace, "model")) == 2, "the end of their models")
    assert sorted(model for each in every[-2:] for model in each["models"]) == names(shared_aws, namespace, "model")
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: len(body["status"]["revisions"]) == 2)
    assert [each["revision"] for each in every[-2:]] == [each["revision"] for each in body["status"]["revisions"]]
    assert ("Ready", "Serving") == standing(body)

    # Marked means two minutes without use: the log of calls tells when which was replaced.
    audit = shared_aws.simulator.audit
    (third,) = audit.calls("CreateEndpointConfig", resource=every[2]["endpointConfig"])
    (gone,) = audit.calls("DeleteEndpointConfig", resource=every[0]["endpointConfig"])
    assert gone.virtual_time - third.virtual_time >= 120
    assert 0 == audit.count("List*", code="ThrottlingException")
    # The one that is kept serves again.
    edit(kube, namespace, {"sageMaker": {"revision": every[-2]["revision"]}})
    wait_serving(kube, namespace)


def test_revision_must_stay_while_the_endpoint_may_go_back_to_it(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Though nothing is to be kept: while an update is under way both are needed, and after a rollback the old one serves."""
    kube.apply(endpoint("kdd", namespace, sagemaker={"revisionHistoryLimit": 0}))
    first = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointConfig"]
    slow(shared_aws, monkeypatch, endpoint_updating=LONG)
    shared_aws.simulator.faults.add("silent_rollback", resource=f"{namespace}-*")
    edit(kube, namespace, new_model(shared_aws, 1))
    found = wait_status(shared_aws, namespace, "Updating")
    wait_looks(shared_aws, namespace, 12)  # three minutes
    assert 2 == len(names(shared_aws, namespace, "endpoint-config"))
    slow(shared_aws, monkeypatch, endpoint_updating=60)
    finish(shared_aws, found)
    wait_reason(kube, namespace, "UpdateRolledBack")
    wait_looks(shared_aws, namespace, 3)  # three minutes, again
    assert first in names(shared_aws, namespace, "endpoint-config")
    assert [] == codes(shared_aws, "Delete*", namespace)

    kube.apply(endpoint("kdd", namespace, sagemaker={"revisionHistoryLimit": 0}))
    wait_serving(kube, namespace)
    wait_for(lambda: names(shared_aws, namespace, "endpoint-config") == [first], "the end of the failed one")


def test_revision_that_comes_back_must_lose_its_mark(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Marked, and then wanted again before its time: it is not removed."""
    manifest = endpoint("kdd", namespace, sagemaker={"revisionHistoryLimit": 0})
    kube.apply(manifest)
    first = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointConfig"]
    slow(shared_aws, monkeypatch, endpoint_updating=LONG)
    edit(kube, namespace, new_model(shared_aws, 1))
    updating = wait_status(shared_aws, namespace, "Updating")
    kube.apply(manifest)
    slow(shared_aws, monkeypatch, endpoint_updating=60)
    finish(shared_aws, updating)
    wait_serving(kube, namespace)
    wait_for(lambda: names(shared_aws, namespace, "endpoint-config") == [first], "the end of the other one")
    assert 0 == shared_aws.simulator.audit.count("DeleteEndpointConfig", resource=first)


def test_model_of_two_revisions_must_outlive_one(shared_aws: Aws, kube: Kube, namespace: str):
    """Another instance type is another configuration of the same model: the model stays with the one that is left."""
    kube.apply(endpoint("kdd", namespace, sagemaker={"revisionHistoryLimit": 0}))
    wait_serving(kube, namespace)
    (model,) = names(shared_aws, namespace, "model")
    edit(kube, namespace, {"sageMaker": {"instanceType": "ml.m5.xlarge"}})
    second = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointConfig"]
    wait_for(lambda: names(shared_aws, namespace, "endpoint-config") == [second], "the end of the first one")
    wait_looks(shared_aws, namespace, 2)
    assert [model] == names(shared_aws, namespace, "model")
    assert [] == codes(shared_aws, "DeleteModel", namespace)


def delete_behind(aws: Aws, config: str) -> None:
    """Somebody tidies up; AWS lets a configuration in use go without a word."""
    with aws.simulator.agenda.lock:
        aws.simulator.agenda.catch_up()
        del region_of(aws).endpoint_configs[config]


def test_configuration_deleted_behind_our_back_must_be_made_again_for_the_update(
    shared_aws: Aws, kube: Kube, namespace: str
):
    """AWS takes no update from a configuration that is no more: it is made again first, the same by name and content."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointConfig"]
    before = the_config(shared_aws, namespace)
    delete_behind(shared_aws, first)
    edit(kube, namespace, new_model(shared_aws, 1))
    body = wait_serving(kube, namespace)
    assert first != body["status"]["sageMaker"]["endpointConfig"]
    after = region_of(shared_aws).endpoint_configs[first]
    assert (before.request, before.tags) == (after.request, after.tags)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace), "none was tried in vain"


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_pinned_configuration_deleted_behind_our_back_must_be_made_again_or_told(
    shared_aws: Aws, kube: Kube, namespace: str, known: bool
):
    """A rollback by one field makes it again from what status keeps; where status doesn't, Stalled says what to do."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]
    config = first["sageMaker"]["endpointConfig"]
    edit(kube, namespace, {"sageMaker": {"instanceType": "ml.m5.xlarge"}, **new_model(shared_aws, 1)})
    second = wait_serving(kube, namespace)["status"]["revision"]
    delete_behind(shared_aws, config)
    if not known:
        forget_content(kube, namespace)
    edit(kube, namespace, {"sageMaker": {"revision": first["revision"]}})
    if known:
        wait_serving(kube, namespace)
        assert config == the_config(shared_aws, namespace).name
        assert ["OK"] * 2 == codes(shared_aws, "UpdateEndpoint", namespace)
        return
    body = wait_reason(kube, namespace, "RevisionNotFound")
    assert ("Stalled", "RevisionNotFound") == standing(body)
    assert f"no endpoint configuration {config}, and what it said isn't known; name one of {second}" in message(body)
    wait_looks(shared_aws, namespace, 2)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    edit(kube, namespace, {"sageMaker": {"revision": None}})
    wait_serving(kube, namespace)


def forget_content(kube: Kube, namespace: str) -> None:
    """Status as an older version wrote it, without what configurations say."""

    def forgotten() -> bool:
        body = kube.get("ModelEndpoint", namespace, "kdd")
        assert body is not None
        kept = [{key: each[key] for key in each if key != "configuration"} for each in body["status"]["revisions"]]
        return all("configuration" not in each for each in body["status"]["revisions"]) or not kube.patch(
            "ModelEndpoint", namespace, "kdd", {"status": {"revisions": kept}}, subresource="status"
        )

    wait_for(forgotten, "a status without contents")


def test_configuration_in_service_that_nobody_knows_must_stall_updates(shared_aws: Aws, kube: Kube, namespace: str):
    """No update is tried in vain and none for ever: Stalled says what to do, and doing it makes the configuration again."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]
    config = first["sageMaker"]["endpointConfig"]
    delete_behind(shared_aws, config)
    # The spec's own revision is known from the spec, so that what is pinned must be another one's.
    forget_content(kube, namespace)
    edit(kube, namespace, new_model(shared_aws, 1))
    body = wait_reason(kube, namespace, "RevisionNotFound")
    assert ("Stalled", "RevisionNotFound") == standing(body)
    assert f"somebody deleted endpoint configuration {config}" in message(body)
    wait_looks(shared_aws, namespace, 2)
    assert [] == codes(shared_aws, "UpdateEndpoint", namespace)
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    wait_for(lambda: config in names(shared_aws, namespace, "endpoint-config"), "the configuration")
    edit(kube, namespace, new_model(shared_aws, 1))
    wait_serving(kube, namespace)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
