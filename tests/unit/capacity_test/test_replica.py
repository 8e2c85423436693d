"""The copy that is tested: what it is, that nothing takes it for a replica, and that it goes whatever happens."""

import asyncio
from typing import Any

import pytest

from sagebrush.capacity_test.command import copied
from sagebrush.capacity_test.replica import (
    COPY,
    CapacityTestError,
    Endpoint,
    clear_the_way,
    copy_name,
    copy_of,
    find_endpoint,
    running_replica,
    state_of,
    with_deployment,
)
from sagebrush.core import naming
from sagebrush.kube.cache import owner_key
from sagebrush.kube.client import ApiError
from tests.fakes.kubernetes import FakeClient

REVISION = "0123456789"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def endpoint_body(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"name": "kdd", "namespace": "ml", "uid": "u1", "generation": 1},
        "spec": {"model": {"artifact": {"uri": "s3://b/m.tar.gz"}}, **spec},
        "status": {"revision": REVISION},
    }


def deployment_body(revision: str = REVISION) -> dict[str, Any]:
    labels = {**naming.labels("ModelEndpoint", "kdd"), naming.REVISION: revision}
    template = {
        "metadata": {"labels": labels, "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {"containers": [{"name": "serve", "image": "i"}], "volumes": [{"name": "tmp", "emptyDir": {}}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kdd", "namespace": "ml", "annotations": {naming.REVISION: revision}},
        "spec": {"template": template},
    }


def pod_body(name: str, labels: dict[str, str], status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ml", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


@pytest.fixture
def client() -> FakeClient:
    fake = FakeClient()
    fake.add(endpoint_body())
    fake.add(deployment_body())
    return fake


async def ready_endpoint(client: FakeClient) -> Endpoint:
    return await with_deployment(client, await find_endpoint(client, namespace="ml", name="kdd"))


async def test_copy_must_be_nobodys_replica(client: FakeClient):
    """The pod of the revision, without the labels by which Service, ReplicaSet, PodMonitor and operator choose, and bounded in time."""
    endpoint = await ready_endpoint(client)
    pod = copy_of(endpoint, name="c", seconds=300.7)
    labels = pod["metadata"]["labels"]
    assert not naming.selector("ModelEndpoint", "kdd").items() <= labels.items()
    assert naming.MANAGED_BY not in labels
    assert owner_key(pod) is None
    assert "annotations" not in pod["metadata"]
    assert labels[COPY] == "kdd"
    assert pod["spec"] == {
        **deployment_body()["spec"]["template"]["spec"],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 300,
    }
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("u1", False)


def test_copy_name_must_fit():
    """At most a label's length, whatever the endpoint's, and another one each time."""
    names = {copy_name("a" * 63) for _ in range(20)}
    assert len(names) == 20
    assert all(len(name) <= 63 for name in names)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gone": True}, "there is no ModelEndpoint ml/kdd"),
        ({"spec": {"backend": "SageMaker"}}, "runs on SageMaker"),
        ({"revision": "other"}, "is changing to another revision"),
        ({"deployment": False}, "has nothing that serves yet"),
    ],
    ids=["none", "SageMaker", "rolling out", "not serving"],
)
async def test_endpoint_that_cannot_be_tested_must_be_told(change: dict[str, Any], says: str):
    """Each with its reason, before anything is made."""
    client = FakeClient()
    if "gone" not in change:
        client.add(endpoint_body(**change.get("spec", {})))
    if change.get("deployment", True):
        client.add(deployment_body(change.get("revision", REVISION)))
    with pytest.raises(CapacityTestError, match=says):
        await ready_endpoint(client)
    assert client.writes == []


async def become_ready(client: FakeClient, status: dict[str, Any]) -> None:
    async with asyncio.timeout(10):
        while not client.of_kind("Pod"):
            await asyncio.sleep(0.01)
    (pod,) = client.of_kind("Pod")
    client.add({**pod, "status": status})


async def test_copy_must_go_at_the_end(client: FakeClient):
    """It is there while it is tested, and gone after."""
    endpoint = await ready_endpoint(client)
    kubelet = asyncio.create_task(become_ready(client, READY))
    async with copied(client, endpoint, seconds=60) as pod:
        assert [each["metadata"]["name"] for each in client.of_kind("Pod")] == [pod["metadata"]["name"]]
    assert client.of_kind("Pod") == []
    await kubelet


async def test_copy_must_go_when_interrupted(client: FakeClient):
    """Ctrl-C while the copy starts, and while it is tested."""
    for status in ({"phase": "Pending"}, READY):
        endpoint = await ready_endpoint(client)
        kubelet = asyncio.create_task(become_ready(client, status))

        async def use(endpoint: Endpoint = endpoint) -> None:
            async with copied(client, endpoint, seconds=60):
                await asyncio.sleep(60)

        task = asyncio.create_task(use())
        await kubelet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.of_kind("Pod") == []


async def test_copy_that_fails_must_tell_why_and_go(client: FakeClient):
    """A copy that crashes before it is Ready ends the test with its own last words."""
    terminated = {"terminated": {"exitCode": 1, "message": "no model"}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "serve", "state": terminated}]}
    kubelet = asyncio.create_task(become_ready(client, status))
    with pytest.raises(CapacityTestError, match=r"ended before it was Ready.*no model"):
        async with copied(client, await ready_endpoint(client), seconds=60):
            pass
    assert client.of_kind("Pod") == []
    await kubelet


async def test_refused_copy_must_tell_the_api_servers_words(client: FakeClient):
    """A quota, an admission policy, or no permission to create pods."""
    client.refuse("create Pod", 403, "exceeded quota")
    with pytest.raises(ApiError, match="exceeded quota"):
        async with copied(client, await ready_endpoint(client), seconds=60):
            pass


async def test_leftovers_must_be_cleared_and_a_running_test_respected(client: FakeClient):
    """A copy that ended alone is removed; one that runs is another test's, and this one does not begin."""
    endpoint = await ready_endpoint(client)
    client.add(pod_body("old", {COPY: "kdd"}, {"phase": "Failed"}))
    client.add(pod_body("of-another", {COPY: "other"}, {"phase": "Running"}))
    await clear_the_way(client, endpoint)
    assert [pod["metadata"]["name"] for pod in client.of_kind("Pod")] == ["of-another"]
    client.add(pod_body("running", {COPY: "kdd"}, {"phase": "Running"}))
    with pytest.raises(CapacityTestError, match="kubectl delete pod -n ml running"):
        await clear_the_way(client, endpoint)


async def test_live_replica_must_be_ready_and_of_the_revision(client: FakeClient):
    """--live takes a Ready pod of the present revision, and no other."""
    endpoint = await ready_endpoint(client)
    labels = {**naming.selector("ModelEndpoint", "kdd"), naming.REVISION: REVISION}
    client.add(pod_body("a-starting", labels, {"phase": "Running"}))
    client.add(pod_body("b-old", {**labels, naming.REVISION: "old"}, READY))
    with pytest.raises(CapacityTestError, match="no replica of the present revision is Ready"):
        await running_replica(client, endpoint)
    client.add(pod_body("c", labels, READY))
    assert (await running_replica(client, endpoint))["metadata"]["name"] == "c"


def test_deleted_copy_must_end_the_wait():
    """Somebody who removes the pod ends the test."""
    assert state_of(None) == (False, "the copy was deleted by somebody else", "")
