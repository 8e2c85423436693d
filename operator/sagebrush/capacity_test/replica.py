"""The one replica that is tested: a copy of the endpoint's pod that gets no other traffic, or a running one."""

import secrets
from dataclasses import dataclass
from typing import Any

from sagebrush.api.meta import Backend, parse_duration
from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.core import naming, pods
from sagebrush.core.render.deployment import KIND
from sagebrush.core.resource import Manifest, Meta, dig
from sagebrush.kube.client import Client
from sagebrush.kube.resources import DEPLOYMENTS, MODEL_ENDPOINTS, PODS

COPY = "sagebrush.dev/capacity-test"
_SPARE_SECONDS = 120


class CapacityTestError(Exception):
    """The test can't be done; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A ModelEndpoint that can be tested, and the Deployment that runs it (None with --url)."""

    meta: Meta
    spec: ModelEndpointSpec
    status: ModelEndpointStatus
    deployment: Manifest | None

    @property
    def startup_seconds(self) -> float:
        """How long a replica may take to start."""
        return parse_duration(self.spec.model.startup_timeout).total_seconds() + _SPARE_SECONDS


async def find_endpoint(client: Client, *, namespace: str, name: str) -> Endpoint:
    """Read the object. Raises CapacityTestError where there is none."""
    body = await client.get(MODEL_ENDPOINTS, namespace=namespace, name=name)
    if body is None:
        raise CapacityTestError(f"there is no ModelEndpoint {namespace}/{name}: see kubectl get modelendpoints -A")
    return Endpoint(
        Meta.of(body),
        ModelEndpointSpec.model_validate(body["spec"], extra="ignore"),
        ModelEndpointStatus.model_validate(body.get("status") or {}, extra="ignore"),
        None,
    )


async def with_deployment(client: Client, endpoint: Endpoint) -> Endpoint:
    """The endpoint with its Deployment. Raises CapacityTestError where no replica of its present revision can be made."""
    meta, status = endpoint.meta, endpoint.status
    what = f"ModelEndpoint {meta.namespace}/{meta.name}"
    if endpoint.spec.backend is not Backend.CLUSTER:
        raise CapacityTestError(
            f"{what} runs on SageMaker, which has no single replica to reach: test the same model with backend Cluster, or an "
            "address of your own with --url"
        )
    deployment = await client.get(DEPLOYMENTS, namespace=meta.namespace, name=meta.name)
    if deployment is None or status.revision is None:
        raise CapacityTestError(
            f"{what} has nothing that serves yet: kubectl describe modelendpoint {meta.name} says why"
        )
    if dig(deployment, "metadata", "annotations", naming.REVISION) != status.revision:
        raise CapacityTestError(f"{what} is changing to another revision: try again when it is Ready")
    return Endpoint(meta, endpoint.spec, status, deployment)


def copy_of(endpoint: Endpoint, *, name: str, seconds: float) -> Manifest:
    """
    The pod of a replica without what makes it one: no Service, ReplicaSet, PodMonitor or operator selects it. It belongs to
    the endpoint, and the kubelet ends it after *seconds*, whatever becomes of this process.
    """
    template = dig(endpoint.deployment, "spec", "template", default={})
    labels = {
        "app.kubernetes.io/name": "model-endpoint-capacity-test",
        "app.kubernetes.io/instance": endpoint.meta.name,
        COPY: endpoint.meta.name,
    }
    owner = {**naming.owner_reference(KIND, endpoint.meta), "controller": False, "blockOwnerDeletion": False}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": endpoint.meta.namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {**template["spec"], "restartPolicy": "Never", "activeDeadlineSeconds": int(seconds)},
    }


def copy_name(endpoint: str) -> str:
    """A new name for a copy."""
    return f"{endpoint[:40].rstrip('-')}-capacity-{secrets.token_hex(3)}"


async def clear_the_way(client: Client, endpoint: Endpoint) -> None:
    """Remove copies that ended without being removed. Raises CapacityTestError while another test runs."""
    namespace = endpoint.meta.namespace
    for pod in await client.list_all(PODS, namespace=namespace, labels=f"{COPY}={endpoint.meta.name}"):
        name = pod["metadata"]["name"]
        if pods.is_leaving(pod):
            continue
        if not pods.is_over(pod):
            raise CapacityTestError(
                f"another capacity test of this endpoint runs in pod {name}: wait for it, or remove what it left: "
                f"kubectl delete pod -n {namespace} {name}"
            )
        await client.delete(PODS, namespace=namespace, name=name)


async def running_replica(client: Client, endpoint: Endpoint) -> Manifest:
    """A Ready pod of the present revision. Raises CapacityTestError where there is none."""
    labels = {**naming.selector(KIND, endpoint.meta.name), naming.REVISION: endpoint.status.revision or ""}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = await client.list_all(PODS, namespace=endpoint.meta.namespace, labels=selector)
    ready = sorted((pod for pod in found if pods.is_ready(pod)), key=lambda pod: str(pod["metadata"]["name"]))
    if not ready:
        raise CapacityTestError("no replica of the present revision is Ready: leave out --live to test a copy")
    return ready[0]


def state_of(pod: Manifest | None) -> tuple[bool, str, str]:
    """Whether the copy is Ready, why it never will be (empty while it may), and what it is doing."""
    if pod is None:
        return False, "the copy was deleted by somebody else", ""
    if pods.is_ready(pod):
        return True, "", "Ready"
    found = pods.trouble(pod)
    phase: Any = dig(pod, "status", "phase", default="Pending")
    if pods.is_over(pod):
        said = found.message if found else dig(pod, "status", "message", default="it said nothing")
        return False, f"the copy ended before it was Ready: {said}", phase
    return False, "", found.message if found else f"{phase}: fetching and loading the model"
