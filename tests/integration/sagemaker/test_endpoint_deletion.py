"""Deletion of ModelEndpoints: it waits for SageMaker, shows it, and leaves nothing in the account, or all of it if so wished."""

import pytest

from tests.integration.kube import Kube, Manifest
from tests.integration.sagemaker.aws import Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    LONG,
    changes,
    codes,
    edit,
    finish,
    message,
    new_model,
    region_of,
    standing,
    things,
    wait_events,
    wait_gone,
    wait_looks,
    wait_reason,
    wait_serving,
    wait_status,
)
from tests.integration.sagemaker.jobs import FINALIZER, slow
from tests.sagemaker_simulator.endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")


def bring(aws: Aws, kube: Kube, namespace: str, status: str, patch: pytest.MonkeyPatch) -> Endpoint:
    """An endpoint that is in this state until a test ends it."""
    if status == "Creating":
        slow(aws, patch, endpoint_creating=LONG)
    elif status == "Failed":
        slow(aws, patch, ping_launches=0.01)
        aws.simulator.faults.add("fail_ping", resource=f"{namespace}-*")
    kube.apply(endpoint("kdd", namespace))
    if status not in {"Creating", "Failed"}:
        wait_serving(kube, namespace)
    if status == "SystemUpdating":
        aws.simulator.faults.add("system_update", resource=f"{namespace}-*", seconds=LONG, times=1)
    elif status in {"Updating", "RollingBack"}:
        slow(
            aws,
            patch,
            **{"Updating": {"endpoint_updating": LONG}, "RollingBack": {"endpoint_rolling_back": LONG}}[status],
        )
        if status == "RollingBack":
            aws.simulator.faults.add("silent_rollback", resource=f"{namespace}-*")
        edit(kube, namespace, new_model(aws, 1))
    elif status == "Deleting":
        slow(aws, patch, endpoint_deleting=LONG)
        (name,) = (each.partition("/")[2] for each in things(aws, namespace) if each.startswith("endpoint/"))
        aws.client("sagemaker").delete_endpoint(EndpointName=name)
    return wait_status(aws, namespace, status)


def wait_deleting(kube: Kube, namespace: str, word: str) -> Manifest:
    """The object once it says that it is being deleted, with this word."""
    return kube.wait(
        "ModelEndpoint",
        namespace,
        "kdd",
        lambda body: standing(body) == ("Reconciling", "Deleting") and word in message(body),
    )


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_deletion_must_wait_while_aws_is_at_it(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch, status: str
):
    """No state under way takes DeleteEndpoint: the object stays, says what it waits for, calls nothing, and goes when it can."""
    found = bring(shared_aws, kube, namespace, status, monkeypatch)
    kube.wait("ModelEndpoint", namespace, "kdd", lambda body: body["status"]["sageMaker"].get("status") == status)
    asked = codes(shared_aws, "DeleteEndpoint", namespace)
    kube.delete("ModelEndpoint", namespace, "kdd")
    body = wait_deleting(kube, namespace, f"is {status} since")
    assert FINALIZER in body["metadata"]["finalizers"]
    wait_looks(shared_aws, namespace, 3)
    assert asked == codes(shared_aws, "DeleteEndpoint", namespace), "it would be refused"
    assert [] == codes(shared_aws, "DeleteEndpointConfig", namespace)
    slow(shared_aws, monkeypatch, endpoint_creating=60, endpoint_updating=60, endpoint_rolling_back=10)
    finish(shared_aws, found)
    wait_gone(shared_aws, kube, namespace)
    wait_events(kube, namespace, "Deleting")
    order = [each for each in changes(shared_aws, namespace) if each.startswith("Delete")]
    kinds = [each for number, each in enumerate(order) if each not in order[:number]]
    assert ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"] == kinds


def test_failed_endpoint_must_be_deleted(shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch):
    """Failed takes nothing but DeleteEndpoint: nothing is waited for, and nothing made anew."""
    slow(shared_aws, monkeypatch, ping_launches=0.01, endpoint_deleting=20)
    shared_aws.simulator.faults.add("fail_ping", resource=f"{namespace}-*", times=None)
    kube.apply(endpoint("kdd", namespace))
    wait_reason(kube, namespace, "EndpointFailed")
    made = codes(shared_aws, "CreateEndpoint", namespace)
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    assert made == codes(shared_aws, "CreateEndpoint", namespace)


def test_deletion_must_take_all_revisions_along(shared_aws: Aws, kube: Kube, namespace: str):
    """Everything of ours goes, older revisions too; what somebody else has under a name like ours stays."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    for number in (1, 2):
        edit(kube, namespace, new_model(shared_aws, number))
        wait_serving(kube, namespace)
    (mark,) = {each.split("-")[-2] for each in things(shared_aws, namespace) if each.startswith("model/")}
    theirs = f"theirs-{mark}-0000000000"
    client = shared_aws.client("sagemaker")
    client.create_model(ModelName=theirs, ExecutionRoleArn="arn:aws:iam::123456789012:role/theirs", PrimaryContainer={
        "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/theirs:1"
    })  # fmt: skip
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    assert ["OK"] * 3 == codes(shared_aws, "DeleteEndpointConfig", namespace)
    assert ["OK"] * 3 == codes(shared_aws, "DeleteModel", namespace)
    assert theirs in region_of(shared_aws).models
    client.delete_model(ModelName=theirs)


@pytest.mark.parametrize("status", ["Creating", "InService"])
def test_retained_endpoint_must_be_left_alone(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch, status: str
):
    """deletionPolicy: Retain lets the object go at once, with all that it has as it is; it may be said while it waits, too."""
    found = bring(shared_aws, kube, namespace, status, monkeypatch)
    before = things(shared_aws, namespace)
    if status == "Creating":
        kube.delete("ModelEndpoint", namespace, "kdd")
        wait_deleting(kube, namespace, "set deletionPolicy: Retain")
        edit(kube, namespace, {"sageMaker": {"deletionPolicy": "Retain"}})
    else:
        edit(kube, namespace, {"sageMaker": {"deletionPolicy": "Retain"}})
        wait_serving(kube, namespace)
        kube.delete("ModelEndpoint", namespace, "kdd")
    kube.wait_gone("ModelEndpoint", namespace, "kdd")
    assert before == things(shared_aws, namespace)
    assert [] == codes(shared_aws, "Delete*", namespace)
    clear(shared_aws, namespace)
    assert found.gone or found.status in {"Creating", "InService", "Deleting"}


def clear(aws: Aws, namespace: str) -> None:
    """Remove what was retained, as somebody would by hand."""
    with aws.simulator.agenda.lock:
        region = region_of(aws)
        for kind in ("endpoint", "endpoint-config", "model"):
            for key, thing in list(region.of_kind(kind).items()):
                if thing.tags.get("sagebrush.dev/namespace") == namespace:
                    del region.of_kind(kind)[key]


@pytest.mark.parametrize("operation", ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"])
@pytest.mark.parametrize("fault", ["lost_reply", "internal_error_after_commit", "internal_error", "throttle"])
def test_deletion_must_go_on_whatever_becomes_of_a_call(
    shared_aws: Aws, kube: Kube, namespace: str, operation: str, fault: str
):
    """A deletion that had its effect is none the less one: what is gone counts as deleted, and the rest follows."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add(fault, operation=operation, resource=f"{namespace}-*")
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    told = codes(shared_aws, operation, namespace)
    assert told[0] != "OK"
    assert set(told[1:]) <= {"OK", "ValidationException"}


def test_missing_permission_must_hold_the_object(shared_aws: Aws, kube: Kube, namespace: str):
    """What may not be deleted is not forgotten: the object stays with the missing permission, and goes when it is given."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add("access_denied", operation="DeleteModel", resource=f"{namespace}-*", times=None)
    kube.delete("ModelEndpoint", namespace, "kdd")
    body = wait_reason(kube, namespace, "PermissionDenied")
    assert "lacks sagemaker:DeleteModel on " in message(body)
    assert FINALIZER in body["metadata"]["finalizers"]
    shared_aws.simulator.faults.clear("access_denied")
    wait_gone(shared_aws, kube, namespace)
