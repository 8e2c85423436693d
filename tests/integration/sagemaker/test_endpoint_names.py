"""Whose endpoint it is: exactly one for each object, whatever becomes of a call, and never somebody else's."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker.aws import IMAGE, ROLE, Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    codes,
    counts,
    edit,
    message,
    names,
    new_model,
    reasons,
    region_of,
    standing,
    the_endpoint,
    things,
    wait_events,
    wait_reason,
    wait_serving,
)

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")

STRANGERS: dict[str, tuple[dict[str, str], str]] = {
    "nobody's": ({}, "no mark of Sagebrush"),
    "another cluster's": (
        {
            "sagebrush.dev/uid": "another-uid",
            "sagebrush.dev/namespace": "there",
            "sagebrush.dev/name": "kdd",
            "sagebrush.dev/cluster-id": "another-cluster",
        },
        "belongs to there/kdd (uid another-uid) of cluster another-cluster",
    ),
}


@contextlib.contextmanager
def stranger(aws: Aws, name: str, tags: dict[str, str]) -> Iterator[None]:
    """An endpoint that somebody else has made, for a while."""
    client = aws.client("sagemaker")
    theirs = f"theirs-{name}"[:63]
    client.create_model(ModelName=theirs, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})
    variant: dict[str, Any] = {"VariantName": "v", "ModelName": theirs, "InstanceType": "ml.m5.large"}
    client.create_endpoint_config(
        EndpointConfigName=theirs, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    client.create_endpoint(
        EndpointName=name,
        EndpointConfigName=theirs,
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    try:
        yield
    finally:
        with aws.simulator.agenda.lock:
            region = region_of(aws)
            del region.endpoints[name.lower()], region.endpoint_configs[theirs], region.models[theirs]


@pytest.mark.parametrize("owner", STRANGERS)
@pytest.mark.parametrize("upper", [False, True])
def test_endpoint_of_another_must_never_be_touched(
    shared_aws: Aws, kube: Kube, namespace: str, owner: str, upper: bool
):
    """A name that is taken, in whatever letters, is a conflict that says whose; nothing of theirs changes; it ends with them."""
    tags, words = STRANGERS[owner]
    name = f"{namespace}-taken"
    with stranger(shared_aws, name.upper() if upper else name, tags):
        kube.apply(endpoint("kdd", namespace, replicas=2, sagemaker={"name": name}))
        body = wait_reason(kube, namespace, "NameConflict")
        assert ("Stalled", "NameConflict") == standing(body)
        assert words in message(body)
        assert "or give spec.sageMaker.name another value" in message(body)
        wait_events(kube, namespace, "NameConflict")
        kube.delete("ModelEndpoint", namespace, "kdd")
        kube.wait_gone("ModelEndpoint", namespace, "kdd")
        assert {"v": 1} == {
            each.name: each.desired_count for each in region_of(shared_aws).endpoints[name].fleet.variants
        }
        kube.apply(endpoint("kdd", namespace, sagemaker={"name": name}))
        wait_reason(kube, namespace, "NameConflict")
        assert [] == codes(shared_aws, "UpdateEndpoint*", namespace)
        assert [] == codes(shared_aws, "DeleteEndpoint", namespace)
    wait_serving(kube, namespace)
    assert [name] == names(shared_aws, namespace, "endpoint")


def test_model_of_another_must_be_a_conflict_too(shared_aws: Aws, kube: Kube, namespace: str):
    """A model or configuration under a name of ours that isn't ours is neither used nor deleted."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    with shared_aws.simulator.agenda.lock:
        region = region_of(shared_aws)
        (name,) = names(shared_aws, namespace, "model")
        taken = region.models[name]
        tags, taken.tags = taken.tags, {}
        for kind in ("endpoint", "endpoint-config", "model"):
            for each in names(shared_aws, namespace, kind):
                del region.of_kind(kind)[each]
        taken.created += 1  # another one than that whose tags are known
    body = wait_reason(kube, namespace, "NameConflict")
    assert f"SageMaker has a model {name}, and it carries no mark of Sagebrush; delete it" in message(body)
    assert [] == names(shared_aws, namespace, "endpoint")
    assert name in region_of(shared_aws).models
    with shared_aws.simulator.agenda.lock:
        del region.models[name]
    assert tags
    wait_serving(kube, namespace)


def test_namesake_must_get_an_endpoint_of_its_own(shared_aws: Aws, kube: Kube, namespace: str):
    """Deleted and applied anew under the same name, the object is another one: it takes nothing over, and both go clean."""
    kube.apply(endpoint("kdd", namespace))
    first = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointName"]
    kube.delete("ModelEndpoint", namespace, "kdd")
    kube.wait_gone("ModelEndpoint", namespace, "kdd")
    kube.apply(endpoint("kdd", namespace))
    second = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointName"]
    assert first != second
    assert [second] == names(shared_aws, namespace, "endpoint")


FAULTS = {
    # what befalls a call → whether it has its effect
    "lost_reply": True,
    "internal_error_after_commit": True,
    "lost_request": False,
    "internal_error": False,
    "throttle": False,
}
CREATES = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")


@pytest.mark.parametrize("operation", CREATES)
@pytest.mark.parametrize("fault", FAULTS)
def test_endpoint_must_be_made_once_whatever_becomes_of_a_call(
    shared_aws: Aws, kube: Kube, namespace: str, operation: str, fault: str
):
    """A call that had its effect is not repeated though its answer is lost: what is there is known by its tag, and kept."""
    shared_aws.simulator.faults.add(fault, operation=operation, resource=f"{namespace}-*")
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    told = codes(shared_aws, operation, namespace)
    assert 1 == shared_aws.simulator.faults.rules[-1].struck
    assert ([] if FAULTS[fault] else ["OK"]) == told[1:]
    assert 3 == len(things(shared_aws, namespace))
    assert not {"NameConflict", "InvalidSpec"} & set(reasons(kube, namespace))


@pytest.mark.parametrize("operation", ["UpdateEndpoint", "UpdateEndpointWeightsAndCapacities"])
@pytest.mark.parametrize("fault", FAULTS)
def test_change_must_be_made_once_whatever_becomes_of_a_call(
    shared_aws: Aws, kube: Kube, namespace: str, operation: str, fault: str
):
    """The same for changes: what AWS is at is seen and waited for, and what it doesn't know of is asked for again."""
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    shared_aws.simulator.faults.add(fault, operation=operation, resource=f"{namespace}-*")
    edit(kube, namespace, new_model(shared_aws, 1) if operation == "UpdateEndpoint" else {"replicas": 2})
    wait_for(lambda: codes(shared_aws, operation, namespace), "the call")
    wait_serving(kube, namespace)
    wanted = 1 if operation == "UpdateEndpoint" else 2
    wait_for(lambda: counts(the_endpoint(shared_aws, namespace)) == {"AllTraffic": (wanted, wanted)}, "the change")
    wait_serving(kube, namespace)
    told = codes(shared_aws, operation, namespace)
    assert ([] if FAULTS[fault] else ["OK"]) == told[1:]


@pytest.mark.parametrize("operation", ["DescribeEndpoint", "DescribeModel", "DescribeEndpointConfig", "ListTags"])
@pytest.mark.parametrize("fault", ["throttle", "internal_error", "lost_reply"])
def test_look_that_fails_must_be_repeated_quietly(
    shared_aws: Aws, kube: Kube, namespace: str, operation: str, fault: str
):
    """What can't be seen for a moment is no news: nothing is made twice, and nobody is told."""
    shared_aws.simulator.faults.add(fault, operation=operation, resource=f"{namespace}-*")
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    assert not {"Throttled", "ApplyFailed", "PermissionDenied"} & set(reasons(kube, namespace))
    assert ["OK"] == codes(shared_aws, "CreateEndpoint", namespace)


def test_throttles_that_last_must_be_said(shared_aws: Aws, kube: Kube, namespace: str):
    """Throttled for long is told, and over when it is over."""
    shared_aws.simulator.faults.add("throttle", operation="CreateEndpointConfig", resource=f"{namespace}-*", times=None)
    kube.apply(endpoint("kdd", namespace))
    body = wait_reason(kube, namespace, "Throttled")
    assert "Reconciling" == standing(body)[0]
    assert "Rate exceeded" in message(body)
    shared_aws.simulator.faults.clear("throttle")
    wait_serving(kube, namespace)
