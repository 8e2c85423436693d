"""Endpoints that don't start, stop serving or are taken away: said with the cause, made anew where that helps, never in a loop."""

import itertools
from typing import Any

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker.aws import BUCKET, IMAGE, ROLE, Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    LONG,
    WAITS,
    changes,
    codes,
    counts,
    edit,
    finish,
    message,
    names,
    new_model,
    region_of,
    standing,
    the_endpoint,
    things,
    wait_events,
    wait_gone,
    wait_looks,
    wait_reason,
    wait_serving,
    wait_status,
)
from tests.integration.sagemaker.jobs import slow

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")


def test_container_that_never_answers_must_be_said_with_its_log(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """A failed endpoint can only be deleted: made anew three times after waits that grow, the log's end in the condition."""
    slow(shared_aws, monkeypatch, ping_launches=0.1, endpoint_deleting=5)
    shared_aws.simulator.faults.add("fail_ping", resource=f"{namespace}-*", times=None)
    kube.apply(endpoint("kdd", namespace))
    # While the failed one is being deleted, it is that which the message tells.
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: "deleted and made anew at" in message(body))
    assert ("Reconciling", "Recreating") == standing(body)
    assert "did not pass the ping health check" in message(body)
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/model/model.joblib'" in message(body)
    assert 0 == body["status"]["replicas"]
    body = wait_reason(kube, namespace, "EndpointFailed")
    assert ("Stalled", "EndpointFailed") == standing(body)
    assert "made anew 3 times in vain" in message(body)
    assert "FileNotFoundError" in message(body)
    wait_events(kube, namespace, "Recreating", "EndpointFailed")
    wait_looks(shared_aws, namespace, 3)
    tries = shared_aws.simulator.audit.calls("CreateEndpoint", resource=f"{namespace}-*", code="OK")
    assert 4 == len(tries)
    gaps = [later.virtual_time - earlier.virtual_time for earlier, later in itertools.pairwise(tries)]
    assert all(gap >= wait for gap, wait in zip(gaps, WAITS, strict=True)), gaps
    assert 3 == codes(shared_aws, "DeleteEndpoint", namespace).count("OK")

    # What is wrong is mended in the spec, and the failed one makes room for it.
    shared_aws.simulator.faults.clear("fail_ping")
    edit(kube, namespace, {"model": {"container": {"image": IMAGE.replace(":1", ":mended")}}})
    body = wait_serving(kube, namespace)
    assert 0 == body["status"]["sageMaker"].get("recreations", 0)
    assert 5 == codes(shared_aws, "CreateEndpoint", namespace).count("OK")


def test_container_that_fails_once_must_serve_in_the_end(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """One failure is made good without anybody: deleted, made again under the same name, and the count of failures forgotten."""
    slow(shared_aws, monkeypatch, ping_launches=0.1, endpoint_deleting=5)
    shared_aws.simulator.faults.add("fail_ping", resource=f"{namespace}-*")
    kube.apply(endpoint("kdd", namespace))
    body = wait_serving(kube, namespace)
    assert ["OK", "OK"] == codes(shared_aws, "CreateEndpoint", namespace)
    assert ["OK"] == codes(shared_aws, "CreateEndpointConfig", namespace)
    assert 0 == body["status"]["sageMaker"].get("recreations", 0)


def test_update_to_a_container_that_never_answers_must_leave_the_old_one(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """A bad image rolls back: the old one serves on, no instance is lost, and nothing is tried again until the spec changes."""
    slow(shared_aws, monkeypatch, ping_launches=0.1)
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    bad = IMAGE.replace(":1", ":bad")
    shared_aws.simulator.faults.add("fail_ping", resource=f"{namespace}-*", image=bad, times=None)
    edit(kube, namespace, {"model": {"container": {"image": bad}}})
    body = wait_reason(kube, namespace, "UpdateRolledBack")
    assert ("Stalled", "UpdateRolledBack") == standing(body)
    assert "did not pass the ping health check" in message(body)
    assert {"AllTraffic": (1, 1)} == counts(the_endpoint(shared_aws, namespace))
    wait_looks(shared_aws, namespace, 2)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    assert [] == codes(shared_aws, "DeleteEndpoint", namespace)


def test_missing_instances_must_be_waited_for(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """AWS has no instances: said in its words, and made anew when it may have."""
    slow(shared_aws, monkeypatch, endpoint_capacity_failure=30, endpoint_deleting=5)
    shared_aws.simulator.faults.add("endpoint_capacity", resource=f"{namespace}-*", times=None)
    kube.apply(endpoint("kdd", namespace))
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: "deleted and made anew at" in message(body))
    assert ("Reconciling", "Recreating") == standing(body)
    assert "Unable to provision requested ML compute capacity" in message(body)
    shared_aws.simulator.faults.clear("endpoint_capacity")
    wait_serving(kube, namespace)


def test_missing_instances_must_not_stop_what_serves(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """A scale-out that AWS has no instances for: Ready with what there is, said so, asked again later and not at once."""
    slow(shared_aws, monkeypatch, endpoint_capacity_failure=30)
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add("endpoint_capacity", resource=f"{namespace}-*", times=None)
    edit(kube, namespace, {"replicas": 3})
    body = wait_reason(kube, namespace, "CapacityError")
    assert ("Ready", "CapacityError") == standing(body)
    assert "more were refused: Unable to provision" in message(body)
    assert (1, 1) == (body["status"]["replicas"], body["status"]["readyReplicas"])
    shared_aws.simulator.faults.clear("endpoint_capacity")
    kube.wait("ModelEndpoint", namespace, "kdd", lambda body: body["status"]["readyReplicas"] == 3)
    tries = shared_aws.simulator.audit.calls("UpdateEndpointWeightsAndCapacities", resource=f"{namespace}-*")
    gaps = [later.virtual_time - earlier.virtual_time for earlier, later in itertools.pairwise(tries)]
    assert gaps
    assert all(gap >= 120 for gap in gaps), gaps


@pytest.mark.parametrize("when", ["create", "update", "scale"])
def test_endpoint_beyond_the_quota_must_wait_in_line(shared_aws: Aws, kube: Kube, namespace: str, when: str):
    """The account's limit is no failure: QuotaExceeded with AWS' sentence, tried seldom, and it goes on when there is room."""
    kind = {"create": "ml.c5.large", "update": "ml.c5.xlarge", "scale": "ml.c5.2xlarge"}[when]
    limit = 0 if when == "create" else 1
    shared_aws.simulator.faults.add("quota", instance_type=kind, usage="endpoint", limit=limit)
    operation = {
        "create": "CreateEndpoint",
        "update": "UpdateEndpoint",
        "scale": "UpdateEndpointWeightsAndCapacities",
    }[when]
    try:
        kube.apply(endpoint("kdd", namespace, sagemaker={"instanceType": kind}))
        if when != "create":
            wait_serving(kube, namespace)
            edit(kube, namespace, new_model(shared_aws, 1) if when == "update" else {"replicas": 2})
        body = wait_reason(kube, namespace, "QuotaExceeded")
        assert ("Reconciling", "QuotaExceeded") == standing(body)
        assert f"The account-level service limit '{kind} for endpoint usage' is {limit} Instances" in message(body)
        wait_events(kube, namespace, "QuotaExceeded")
    finally:
        shared_aws.simulator.faults.clear("quota")
    wait_serving(kube, namespace)
    tries = shared_aws.simulator.audit.calls(operation, resource=f"{namespace}-*")
    assert "ResourceLimitExceeded" == tries[0].code
    assert "OK" == tries[-1].code
    gaps = [later.virtual_time - earlier.virtual_time for earlier, later in itertools.pairwise(tries)]
    # The look that was due anyway comes once; from then on it is a slow line: --slow-retry-seconds.
    assert all(gap >= 290 for gap in gaps[1:])


def test_endpoint_out_of_service_must_be_made_anew(shared_aws: Aws, kube: Kube, namespace: str):
    """OutOfService with nothing to update to is said, and mended by making the endpoint anew of what there is."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add("out_of_service", resource=f"{namespace}-*", times=1)
    wait_for(lambda: codes(shared_aws, "CreateEndpoint", namespace) == ["OK", "OK"], "another endpoint")
    body = wait_serving(kube, namespace)
    wait_events(kube, namespace, "Recreating")
    notes = [
        note for kind, reason, note in kube.events(namespace, "kdd") if (kind, reason) == ("Warning", "Recreating")
    ]
    assert ["is out of service: The endpoint is out of service." in note for note in notes] == [True]
    assert ["OK"] == codes(shared_aws, "CreateEndpointConfig", namespace)
    assert 0 == body["status"]["sageMaker"].get("recreations", 0)


def test_endpoint_out_of_service_must_take_an_update(shared_aws: Aws, kube: Kube, namespace: str):
    """OutOfService takes an update, and the spec asks for one: that brings it back, and it is not made anew."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add("system_update", resource=f"{namespace}-*", seconds=LONG, times=1)
    found = wait_status(shared_aws, namespace, "SystemUpdating")
    edit(kube, namespace, new_model(shared_aws, 1))
    wait_reason(kube, namespace, "SystemUpdating")
    with shared_aws.simulator.agenda.lock:
        assert found._next is not None
        found._next.cancel()
        found.go_out_of_service()
    wait_serving(kube, namespace)
    assert ["OK"] == codes(shared_aws, "CreateEndpoint", namespace)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)


def test_endpoint_deleted_behind_our_back_must_be_made_again(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """While somebody's deletion lasts nothing is called; then the same endpoint comes back, of what is still there."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]
    slow(shared_aws, monkeypatch, endpoint_creating=LONG)
    client = shared_aws.client("sagemaker")
    client.delete_endpoint(EndpointName=first["sageMaker"]["endpointName"])
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: standing(body)[0] == "Reconciling")
    finish(shared_aws, wait_status(shared_aws, namespace, "Creating"))
    second = wait_serving(kube, namespace)["status"]
    assert first["sageMaker"]["arn"] == second["sageMaker"]["arn"]
    assert ["OK", "OK"] == codes(shared_aws, "CreateEndpoint", namespace)
    assert ["OK"] == codes(shared_aws, "CreateEndpointConfig", namespace)
    assert ["OK"] == codes(shared_aws, "DeleteEndpoint", namespace), "ours was none"
    assert body["metadata"]["generation"] == 1


@pytest.mark.parametrize("missing", ["model", "endpoint-config", "endpoint"])
def test_everything_deleted_behind_our_back_must_be_made_again(
    shared_aws: Aws, kube: Kube, namespace: str, missing: str
):
    """What an endpoint needs to be made anew is made anew where it is gone too."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    with shared_aws.simulator.agenda.lock:
        region = region_of(shared_aws)
        for kind in {
            "model": ["endpoint", "endpoint-config", "model"],
            "endpoint-config": ["endpoint", "endpoint-config"],
        }.get(missing, ["endpoint"]):
            for name in names(shared_aws, namespace, kind):
                del region.of_kind(kind)[name]
    wait_for(lambda: len(things(shared_aws, namespace)) == 3, "a new endpoint")
    wait_serving(kube, namespace)
    expected = {"endpoint": 1, "endpoint-config": 1, "model": 1}
    assert expected == {kind: len(names(shared_aws, namespace, kind)) for kind in expected}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # what is wrong → the spec that is, the change that mends it, AWS' sentence
    "image": (
        {
            "model": {
                "artifact": {"uri": f"s3://{BUCKET}/pretrained/model.tar.gz"},
                "container": {"image": IMAGE.replace(":1", ":missing")},
            }
        },
        {"model": {"container": {"image": IMAGE}}},
        f"Requested image {IMAGE.replace(':1', ':missing')} not found.",
    ),
    "role": (
        {"sagemaker": {"roleArn": f"{ROLE}-other"}},
        {"sageMaker": {"roleArn": ROLE}},
        f"Could not assume role {ROLE}-other.",
    ),
    "instance type": (
        {"sagemaker": {"instanceType": "ml.nonsense.large"}},
        {"sageMaker": {"instanceType": "ml.m5.large"}},
        "Value 'ml.nonsense.large' at",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_spec_that_aws_refuses_must_stall_until_it_is_mended(shared_aws: Aws, kube: Kube, namespace: str, what: str):
    """Stalled with AWS' own sentence, asked once, and mended by the next generation; no endpoint is made of it."""
    wrong, mended, words = REFUSED[what]
    shared_aws.simulator.faults.add("missing_image", resource="*:missing")
    shared_aws.simulator.faults.add("unassumable_role", resource=f"{ROLE}-other")
    kube.apply(endpoint("kdd", namespace, **wrong))
    body = wait_reason(kube, namespace, "InvalidSpec")
    assert ("Stalled", "InvalidSpec") == standing(body)
    assert words in message(body)
    wait_events(kube, namespace, "InvalidSpec")
    refusing = "CreateEndpointConfig" if what == "instance type" else "CreateModel"
    assert ["ValidationException"] == codes(shared_aws, refusing, namespace)
    assert [] == names(shared_aws, namespace, "endpoint")
    edit(kube, namespace, mended)
    wait_serving(kube, namespace)
    assert ["ValidationException"] == [code for code in codes(shared_aws, refusing, namespace) if code != "OK"]
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)


def test_model_that_is_not_in_s3_must_be_waited_for(shared_aws: Aws, kube: Kube, namespace: str):
    """Nothing is asked of SageMaker before the artifact is there; what serves meanwhile serves on."""
    key = f"{namespace}/model.tar.gz"
    model = {"artifact": {"uri": f"s3://{BUCKET}/{key}"}, "container": {"image": IMAGE}}
    kube.apply(endpoint("kdd", namespace, model=model))
    body = wait_reason(kube, namespace, "DownloadFailed")
    assert f"nothing found at s3://{BUCKET}/{key}; put the model there" in message(body)
    assert [] == codes(shared_aws, "Create*", namespace)
    shared_aws.put_model(key)
    serving = wait_serving(kube, namespace)["status"]["revision"]
    edit(kube, namespace, {"model": {"artifact": {"uri": f"s3://{BUCKET}/{namespace}/nowhere.tar.gz"}}})
    body = wait_reason(kube, namespace, "DownloadFailed")
    assert serving == body["status"]["revision"]
    assert "InService" == the_endpoint(shared_aws, namespace).status
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)


@pytest.mark.parametrize("what", ["image"])
def test_update_that_aws_refuses_must_leave_what_serves(shared_aws: Aws, kube: Kube, namespace: str, what: str):
    """A refused change of a serving endpoint stalls the change alone: it serves on, and the old spec is Ready at once."""
    wrong, mended, words = REFUSED[what]
    shared_aws.simulator.faults.add("missing_image", resource="*:missing")
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    edit(kube, namespace, wrong)
    body = wait_reason(kube, namespace, "InvalidSpec")
    assert words in message(body)
    assert "InService" == the_endpoint(shared_aws, namespace).status
    edit(kube, namespace, mended)
    wait_serving(kube, namespace)
    assert [] == codes(shared_aws, "Update*", namespace)


PERMISSIONS = {
    # operation → the kind of thing that the sentence names
    "CreateModel": "model",
    "CreateEndpointConfig": "endpoint-config",
    "CreateEndpoint": "endpoint",
    "DescribeEndpoint": "endpoint",
    "UpdateEndpoint": "endpoint",
    "UpdateEndpointWeightsAndCapacities": "endpoint",
}


@pytest.mark.parametrize("operation", PERMISSIONS)
def test_missing_permission_must_be_named(shared_aws: Aws, kube: Kube, namespace: str, operation: str):
    """PermissionDenied says which action on which ARN; once it is allowed the endpoint goes on by itself."""
    faults = shared_aws.simulator.faults
    try:
        if operation.startswith("Update"):
            kube.apply(endpoint("kdd", namespace))
            wait_serving(kube, namespace)
        faults.add("access_denied", operation=operation, resource=f"{namespace}-*", times=None)
        if operation == "UpdateEndpoint":
            edit(kube, namespace, new_model(shared_aws, 1))
        elif operation.startswith("Update"):
            edit(kube, namespace, {"replicas": 2})
        else:
            kube.apply(endpoint("kdd", namespace))
        body = wait_reason(kube, namespace, "PermissionDenied")
    finally:
        faults.clear("access_denied")
    assert ("Reconciling", "PermissionDenied") == standing(body)
    where = f"arn:aws:sagemaker:us-east-1:123456789012:{PERMISSIONS[operation]}/{namespace}-kdd-"
    assert f"lacks sagemaker:{operation} on {where}" in message(body)
    assert "iam-policy.json" in message(body)
    wait_events(kube, namespace, "PermissionDenied")
    wait_serving(kube, namespace)


def test_permission_on_the_configuration_must_be_named_too(shared_aws: Aws, kube: Kube, namespace: str):
    """UpdateEndpoint is checked against the endpoint and its configuration: the one that is lacking is said."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/{namespace}-kdd-new"
    text = (
        "User: arn:aws:sts::123456789012:assumed-role/operator/session is not authorized to perform: "
        f"sagemaker:UpdateEndpoint on resource: {arn} because no identity-based policy allows it"
    )
    denied = {"operation": "UpdateEndpoint", "resource": f"{namespace}-*", "code": "AccessDeniedException"}
    shared_aws.simulator.faults.add("error", **denied, message=text, times=None)
    edit(kube, namespace, new_model(shared_aws, 1))
    body = wait_reason(kube, namespace, "PermissionDenied")
    assert f"lacks sagemaker:UpdateEndpoint on {arn}" in message(body)
    shared_aws.simulator.faults.clear("error")
    wait_serving(kube, namespace)


def test_creation_must_be_waited_for_however_long(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """A crash loop stays Creating for half an hour: nothing is called meanwhile, and a change waits and is said to."""
    slow(shared_aws, monkeypatch, endpoint_creating=LONG)
    kube.apply(endpoint("kdd", namespace))
    found = wait_status(shared_aws, namespace, "Creating")
    edit(kube, namespace, new_model(shared_aws, 1) | {"replicas": 2})
    body = kube.wait("ModelEndpoint", namespace, "kdd", lambda body: "then endpoint configuration" in message(body))
    assert ("Reconciling", "Creating") == standing(body)
    wait_looks(shared_aws, namespace, 4)
    assert ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"] == changes(shared_aws, namespace)
    finish(shared_aws, found)
    wait_serving(kube, namespace)
    wait_for(lambda: counts(the_endpoint(shared_aws, namespace)) == {"AllTraffic": (2, 2)}, "two instances")
    assert ["OK"] == codes(shared_aws, "CreateEndpoint", namespace)
