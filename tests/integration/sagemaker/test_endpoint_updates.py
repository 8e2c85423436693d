"""Updates of endpoints: another revision, other counts and weights, how they reach the endpoint, and SageMaker's own."""

import itertools
import re
from typing import Any

import pytest

from tests.integration.kube import Kube, Manifest, condition, wait_for
from tests.integration.sagemaker.aws import IMAGE, Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    LONG,
    WAITS,
    artifact,
    codes,
    counts,
    edit,
    finish,
    message,
    models_of,
    new_model,
    standing,
    the_config,
    the_endpoint,
    things,
    wait_events,
    wait_looks,
    wait_reason,
    wait_serving,
    wait_status,
)
from tests.integration.sagemaker.jobs import slow

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")


def test_new_artifact_must_become_a_new_revision(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Models and configurations never change: new ones, one UpdateEndpoint, and Ready only when the new one serves."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]
    slow(shared_aws, monkeypatch, endpoint_updating=LONG)
    edit(kube, namespace, new_model(shared_aws, 1))
    found = wait_status(shared_aws, namespace, "Updating")
    wait_looks(shared_aws, namespace, 2)
    body = wait_reason(kube, namespace, "Updating")
    assert ("Reconciling", "Updating") == standing(body)
    assert (1, 0) == (body["status"]["replicas"], body["status"]["readyReplicas"])
    assert body["status"]["sageMaker"]["endpointConfig"] == first["sageMaker"]["endpointConfig"]
    assert 0.24 == body["status"]["cost"]["hourly"], "both fleets are paid for"
    slow(shared_aws, monkeypatch, endpoint_draining=1)
    finish(shared_aws, found)

    second = wait_serving(kube, namespace)["status"]
    config = the_config(shared_aws, namespace)
    assert second["sageMaker"]["endpointConfig"] == config.name != first["sageMaker"]["endpointConfig"]
    (model,) = models_of(shared_aws, config).values()
    assert artifact(1) == model.request["PrimaryContainer"]["ModelDataUrl"]
    assert [first["revision"], second["revision"]] == [each["revision"] for each in second["revisions"]]
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    assert first["sageMaker"]["arn"] == second["sageMaker"]["arn"]
    assert ["OK"] == codes(shared_aws, "CreateEndpoint", namespace)


SIZES = {
    "canary": (
        {
            "blueGreen": {
                "traffic": "Canary",
                "canarySize": {"type": "InstanceCount", "value": 1},
                "waitIntervalSeconds": 20,
                "terminationWaitSeconds": 10,
            },
            "maximumExecutionTimeoutSeconds": 3600,
            "autoRollbackAlarms": ["too-many-errors"],
        },
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "WaitIntervalInSeconds": 20,
                    "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
                },
                "TerminationWaitInSeconds": 10,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "too-many-errors"}]},
        },
    ),
    "linear": (
        {
            "blueGreen": {
                "traffic": "Linear",
                "stepSize": {"type": "CapacityPercent", "value": 50},
                "waitIntervalSeconds": 10,
            }
        },
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "LINEAR",
                    "WaitIntervalInSeconds": 10,
                    "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                },
                "TerminationWaitInSeconds": 0,
            }
        },
    ),
    "all at once": (
        {"blueGreen": {"traffic": "AllAtOnce", "waitIntervalSeconds": 0}},
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 0,
            }
        },
    ),
    "rolling": (
        {
            "rolling": {
                "maximumBatchSize": {"type": "InstanceCount", "value": 1},
                "rollbackMaximumBatchSize": {"type": "InstanceCount", "value": 2},
                "waitIntervalSeconds": 10,
            }
        },
        {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "RollbackMaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 2},
                "WaitIntervalInSeconds": 10,
            }
        },
    ),
}


@pytest.mark.parametrize("kind", SIZES)
def test_update_must_go_as_the_deployment_says(shared_aws: Aws, kube: Kube, namespace: str, kind: str):
    """How the traffic moves, in which steps and with which alarms, reaches UpdateEndpoint as the manifest says it."""
    deployment, asked = SIZES[kind]
    kube.apply(endpoint("kdd", namespace, replicas=2, sagemaker={"deployment": deployment}))
    wait_serving(kube, namespace)
    assert the_endpoint(shared_aws, namespace).last_deployment is None
    edit(kube, namespace, new_model(shared_aws, 1))
    wait_serving(kube, namespace)
    assert asked == the_endpoint(shared_aws, namespace).last_deployment
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)


def test_scale_must_change_the_count_alone(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """`kubectl scale` is one UpdateEndpointWeightsAndCapacities, Ready meanwhile; an update keeps what it set."""
    kube.apply(endpoint("kdd", namespace))
    revision = wait_serving(kube, namespace)["status"]["revision"]
    slow(shared_aws, monkeypatch, endpoint_scaling_out=LONG)
    kube.patch("ModelEndpoint", namespace, "kdd", {"spec": {"replicas": 3}}, subresource="scale")
    found = wait_status(shared_aws, namespace, "Updating")
    body = kube.wait(
        "ModelEndpoint", namespace, "kdd", lambda body: body["status"]["sageMaker"]["status"] == "Updating"
    )
    assert ("Ready", "Serving") == standing(body)
    finish(shared_aws, found)
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: body["status"]["readyReplicas"] == 3)
    assert revision == body["status"]["revision"]
    assert ["OK"] == codes(shared_aws, "UpdateEndpointWeightsAndCapacities", namespace)
    assert ["OK"] == codes(shared_aws, "CreateEndpointConfig", namespace)
    wait_serving(kube, namespace)

    edit(kube, namespace, new_model(shared_aws, 1))
    wait_serving(kube, namespace)
    assert {"AllTraffic": (3, 3)} == counts(the_endpoint(shared_aws, namespace))
    # Back to the configuration that says 1: what was scaled stays.
    edit(kube, namespace, {"sageMaker": {"revision": revision}})
    wait_serving(kube, namespace)
    (variant,) = the_config(shared_aws, namespace).request["ProductionVariants"]
    assert (1, {"AllTraffic": (3, 3)}) == (
        variant["InitialInstanceCount"],
        counts(the_endpoint(shared_aws, namespace)),
    )
    assert ["OK"] == codes(shared_aws, "UpdateEndpointWeightsAndCapacities", namespace)


def two_variants(*weights: float, replicas: int = 1) -> Manifest:
    """Variants a and b, of which a has the replicas."""
    first, second = weights
    return {
        "instanceType": None,
        "variants": [
            {"name": "a", "weight": first, "instanceType": "ml.m5.large", "replicas": replicas},
            {"name": "b", "weight": second, "instanceType": "ml.m5.large"},
        ],
    }


def test_weights_and_counts_must_change_without_a_new_revision(shared_aws: Aws, kube: Kube, namespace: str):
    """Both of all variants in one call; what is the same stays, and the configuration that serves is the same."""
    kube.apply(endpoint("kdd", namespace, sagemaker=two_variants(1, 1)))
    revision = wait_serving(kube, namespace)["status"]["revision"]
    kube.apply(endpoint("kdd", namespace, sagemaker=two_variants(1, 0.25, replicas=2)))
    wait_for(lambda: counts(the_endpoint(shared_aws, namespace)) == {"a": (2, 2), "b": (1, 1)}, "two instances")
    body = wait_serving(kube, namespace)
    weights = {each.name: each.current_weight for each in the_endpoint(shared_aws, namespace).fleet.variants}
    assert {"a": 1.0, "b": 0.25} == weights
    assert revision == body["status"]["revision"]
    told = {each["name"]: each["currentWeight"] for each in body["status"]["sageMaker"]["variants"]}
    assert weights == told
    assert ["OK"] == codes(shared_aws, "UpdateEndpointWeightsAndCapacities", namespace)
    assert [] == codes(shared_aws, "UpdateEndpoint", namespace)


@pytest.mark.parametrize("reason", ["The alarm too-many-errors went off.", None])
def test_rolled_back_update_must_be_seen_and_not_repeated(
    shared_aws: Aws, kube: Kube, namespace: str, reason: str | None
):
    """InService is no success: the old configuration serves, which is said with AWS' reason if any; the spec mends it."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]
    shared_aws.simulator.faults.add("silent_rollback", resource=f"{namespace}-*", failure_reason=reason)
    edit(kube, namespace, new_model(shared_aws, 1))
    body = wait_reason(kube, namespace, "UpdateRolledBack")
    assert ("Stalled", "UpdateRolledBack") == standing(body)
    assert (reason or "AWS gave no reason") in message(body)
    assert first["sageMaker"]["endpointConfig"] == body["status"]["sageMaker"]["endpointConfig"]
    assert f"{first['sageMaker']['endpointConfig']} goes on serving" in message(body)
    wait_events(kube, namespace, "UpdateRolledBack")
    wait_looks(shared_aws, namespace, 4)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace), "the same update would fail again"
    assert ("Stalled", "UpdateRolledBack") == standing(kube.get("ModelEndpoint", namespace, "kdd") or {})

    edit(kube, namespace, new_model(shared_aws, 2))
    body = wait_serving(kube, namespace)
    assert ["OK", "OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    assert "lastUpdate" not in body["status"]["sageMaker"]


def test_rolled_back_update_must_be_given_up_by_going_back(shared_aws: Aws, kube: Kube, namespace: str):
    """The old spec again is no update: what serves is what is wanted, and a second try of the new one is one more update."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add("silent_rollback", resource=f"{namespace}-*")
    edit(kube, namespace, new_model(shared_aws, 1))
    wait_reason(kube, namespace, "UpdateRolledBack")
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    edit(kube, namespace, new_model(shared_aws, 1))
    wait_serving(kube, namespace)
    assert ["OK", "OK"] == codes(shared_aws, "UpdateEndpoint", namespace)


@pytest.mark.parametrize("kind", ["silent_rollback", "endpoint_capacity"])
@pytest.mark.parametrize("times", [2, None])
def test_failure_of_aws_own_must_be_tried_again_but_not_for_ever(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch, kind: str, times: int | None
):
    """What is not the user's fault is repeated after a wait that grows, three times at most, and then said."""
    slow(shared_aws, monkeypatch, endpoint_capacity_failure=60)
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    why = "Request to service failed. If failure persists after retry, contact customer support."
    said = {"silent_rollback": why, "endpoint_capacity": "Unable to provision requested ML compute capacity"}[kind]
    shared_aws.simulator.faults.add(kind, resource=f"{namespace}-*", failure_reason=why, times=times)
    edit(kube, namespace, new_model(shared_aws, 1))
    if times is not None:  # the last attempt succeeds, and the wait before it is long enough to be said on any machine
        wait_serving(kube, namespace)
        assert ["OK"] * 3 == codes(shared_aws, "UpdateEndpoint", namespace)
        wait_events(kube, namespace, "CapacityError" if kind == "endpoint_capacity" else "UpdateRolledBack")
        return
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: standing(body)[0] == "Stalled")
    assert ("Stalled", "UpdateRolledBack") == standing(body)
    assert said in message(body)
    wait_looks(shared_aws, namespace, 3)
    tries = shared_aws.simulator.audit.calls("UpdateEndpoint", resource=f"{namespace}-*")
    assert ["OK"] * 3 == [entry.code for entry in tries]
    gaps = [later.virtual_time - earlier.virtual_time for earlier, later in itertools.pairwise(tries)]
    assert all(gap >= wait for gap, wait in zip(gaps, WAITS[:2], strict=True)), gaps
    shared_aws.simulator.faults.clear(kind)
    edit(kube, namespace, new_model(shared_aws, 2))
    wait_serving(kube, namespace)


def test_update_whose_rollback_fails_must_be_said_and_mended(shared_aws: Aws, kube: Kube, namespace: str):
    """Instances of both configurations serve: said so, tried again three times at most, and mended by the next change."""
    rolling = {"rolling": {"maximumBatchSize": {"type": "InstanceCount", "value": 1}, "waitIntervalSeconds": 0}}
    kube.apply(endpoint("kdd", namespace, replicas=2, sagemaker={"deployment": rolling}))
    wait_serving(kube, namespace)
    why = "Rollback failed."
    shared_aws.simulator.faults.add("update_rollback_failed", resource=f"{namespace}-*", failure_reason=why, times=None)
    edit(kube, namespace, new_model(shared_aws, 1))
    # The first wait may be over before anybody looks, the second is four times as long.
    again = re.compile("instances of both endpoint configurations serve; attempt [23] of 3")
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: again.search(message(body)))
    assert "UpdateRollbackFailed" == condition(body, "Ready")["reason"]
    assert "False" == condition(body, "Ready")["status"]
    assert why in message(body)
    body = kube.wait(
        "ModelEndpoint", namespace, "kdd", lambda body: standing(body) == ("Stalled", "UpdateRollbackFailed")
    )
    wait_looks(shared_aws, namespace, 3)
    assert ["OK"] * 3 == codes(shared_aws, "UpdateEndpoint", namespace)
    shared_aws.simulator.faults.clear("update_rollback_failed")
    edit(kube, namespace, new_model(shared_aws, 2))
    wait_serving(kube, namespace)
    assert ["OK"] * 4 == codes(shared_aws, "UpdateEndpoint", namespace)


def test_maintenance_must_be_waited_out(shared_aws: Aws, kube: Kube, namespace: str):
    """SystemUpdating comes unprompted: the endpoint serves and is Ready, nothing is called, and changes follow when it is over."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add("system_update", resource=f"{namespace}-*", seconds=LONG, times=1)
    found = wait_status(shared_aws, namespace, "SystemUpdating")
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: standing(body) == ("Ready", "SystemUpdating"))
    assert (1, 1) == (body["status"]["replicas"], body["status"]["readyReplicas"])
    assert "True" == condition(body, "Ready")["status"]

    edit(kube, namespace, new_model(shared_aws, 1) | {"replicas": 2})
    body = kube.wait(
        "ModelEndpoint", namespace, "kdd", lambda body: standing(body) == ("Reconciling", "SystemUpdating")
    )
    assert "takes no changes meanwhile" in message(body)
    wait_looks(shared_aws, namespace, 4)
    assert [] == codes(shared_aws, "Update*", namespace)
    finish(shared_aws, found)
    wait_serving(kube, namespace)
    wait_for(lambda: counts(the_endpoint(shared_aws, namespace)) == {"AllTraffic": (2, 2)}, "the second instance")
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    assert ["OK"] == codes(shared_aws, "UpdateEndpointWeightsAndCapacities", namespace)


def test_change_during_an_update_must_wait_for_its_end(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Another change while SageMaker is at one is announced, waits without a refused call, and follows."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    slow(shared_aws, monkeypatch, endpoint_updating=LONG)
    edit(kube, namespace, new_model(shared_aws, 1))
    found = wait_status(shared_aws, namespace, "Updating")
    edit(kube, namespace, new_model(shared_aws, 2))
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: "then endpoint configuration" in message(body))
    assert ("Reconciling", "Updating") == standing(body)
    slow(shared_aws, monkeypatch, endpoint_updating=60)
    finish(shared_aws, found)
    wait_serving(kube, namespace)
    assert ["OK", "OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    (model,) = models_of(shared_aws, the_config(shared_aws, namespace)).values()
    assert artifact(2) == model.request["PrimaryContainer"]["ModelDataUrl"]


CONTENT: dict[str, dict[str, Any]] = {
    "instance type": {"sageMaker": {"instanceType": "ml.m5.xlarge"}},
    "environment": {"model": {"environment": [{"name": "A", "value": "1"}]}},
    "image": {"model": {"container": {"image": IMAGE.replace(":1", ":2")}}},
    "start": {"model": {"startupTimeout": "3m"}},
}


@pytest.mark.parametrize("what", CONTENT)
def test_every_content_must_make_a_revision(shared_aws: Aws, kube: Kube, namespace: str, what: str):
    """What a configuration or a model holds can't be changed in place: each change is an update to a new one."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]["revision"]
    edit(kube, namespace, CONTENT[what])
    assert first != wait_serving(kube, namespace)["status"]["revision"]
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    assert ["OK", "OK"] == codes(shared_aws, "CreateEndpointConfig", namespace)


def test_settings_beside_the_content_must_make_none(shared_aws: Aws, kube: Kube, namespace: str):
    """How updates go, what is kept and what happens at the end is the operator's to know: no call."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    before = things(shared_aws, namespace)
    edit(kube, namespace, {"sageMaker": {"revisionHistoryLimit": 5, "deployment": SIZES["linear"][0]}})
    wait_serving(kube, namespace)
    assert [] == codes(shared_aws, "Update*", namespace)
    assert before == things(shared_aws, namespace)
