"""The operator and a ModelEndpoint's children, in a real API with the real Deployment controller and garbage collector."""

import pytest

from tests.fakes.kubelet import Kubelet, ended, waiting
from tests.integration.kube import Kube, Manifest, condition, wait_for
from tests.integration.manifests import changed, endpoint
from tests.integration.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("operator")

PODS = "sagebrush.dev/endpoint=model"


def test_children_must_belong_to_the_endpoint(kube: Kube, namespace: str):
    """Deployment and Service carry the endpoint as controlling owner and the field manager sagebrush."""
    owner = kube.apply(endpoint("model", namespace))
    for kind in ("Deployment", "Service"):
        metadata = kube.wait(kind, namespace, "model")["metadata"]
        (reference,) = metadata["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (owner["metadata"]["uid"], True)
        assert reference["kind"] == "ModelEndpoint"
        managers = {entry["manager"]: entry["operation"] for entry in metadata["managedFields"]}
        assert managers["sagebrush"] == "Apply"
    status = kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")["status"]
    assert status["url"] == f"http://model.{namespace}.svc.cluster.local/invocations"
    assert status["selector"] == "app.kubernetes.io/managed-by=sagebrush,sagebrush.dev/endpoint=model"


def test_endpoint_must_be_ready_once_a_pod_serves(kube: Kube, namespace: str, kubelet: Kubelet):
    """Ready follows a pod that answers /ping, not one that merely exists; the Event says so once."""
    kube.apply(endpoint("model", namespace))
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    assert [condition(body, kind)["status"] for kind in ("Ready", "Reconciling", "Stalled")] == [
        "False",
        "True",
        "False",
    ]
    kubelet.serving(pod)
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
    assert [condition(body, kind)["status"] for kind in ("Ready", "Reconciling", "Stalled")] == [
        "True",
        "False",
        "False",
    ]
    assert condition(body, "Ready")["message"] == "1 of 1 replicas serve"
    serving = wait_for(
        lambda: [e for e in kube.events(namespace, "model") if e[1] == "Serving"], "an Event with reason Serving"
    )
    assert serving == [("Normal", "Serving", "1 of 1 replicas serve")]


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_deleted_child_must_be_made_again(kube: Kube, namespace: str, kind: str):
    """A child that somebody deletes comes back."""
    kube.apply(endpoint("model", namespace))
    uid = kube.wait(kind, namespace, "model")["metadata"]["uid"]
    kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    kube.delete(kind, namespace, "model")
    kube.wait(kind, namespace, "model", lambda body: body["metadata"]["uid"] != uid)


def _container(body: Manifest) -> Manifest:
    return body["spec"]["template"]["spec"]["containers"][0]


def test_edited_child_must_be_repaired(kube: Kube, namespace: str):
    """What somebody changes by hand on a child is put back: replicas, image, ports, labels."""
    kube.apply(endpoint("model", namespace))
    kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    kube.wait("Service", namespace, "model")
    image = _container(kube.wait("Deployment", namespace, "model"))["image"]
    kube.patch("Deployment", namespace, "model", {"spec": {"replicas": 5}})
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 1)
    containers = [{**_container(kube.get("Deployment", namespace, "model")), "image": "evil"}]
    kube.patch("Deployment", namespace, "model", {"spec": {"template": {"spec": {"containers": containers}}}})
    kube.wait("Deployment", namespace, "model", lambda body: _container(body)["image"] == image)
    kube.patch("Service", namespace, "model", {"spec": {"selector": {"app": "other"}}})
    kube.wait(
        "Service", namespace, "model", lambda body: body["spec"]["selector"].get("sagebrush.dev/endpoint") == "model"
    )
    kube.patch("Deployment", namespace, "model", {"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}})
    kube.wait(
        "Deployment",
        namespace,
        "model",
        lambda body: body["metadata"]["labels"]["app.kubernetes.io/name"] == "model-endpoint",
    )


def test_spec_change_must_roll_out_a_new_revision(kube: Kube, namespace: str, kubelet: Kubelet):
    """A new artifact is a new revision: the old pod serves until a new one does, and Ready is False in between."""
    kube.apply(endpoint("model", namespace))
    kubelet.serving(kube.wait_pods(namespace, PODS, 1)[0])
    before = kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")["status"]["revision"]
    kube.apply(changed(endpoint("model", namespace), {"spec.model.artifact.sha256": "ef" * 32}))
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "RollingOut")
    after = body["status"]["revision"]
    assert after != before
    assert condition(body, "Ready")["status"] == "False"
    assert body["status"]["model"]["sha256"] == "ef" * 32
    (old,) = kube.wait_pods(namespace, PODS, 1, revision=before)
    (new,) = kube.wait_pods(namespace, PODS, 1, revision=after)
    assert "ef" * 32 in new["spec"]["initContainers"][0]["env"][0]["value"]
    kubelet.serving(new)
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
    assert (body["status"]["revision"], body["status"]["readyReplicas"]) == (after, 1)
    kube.wait_gone("Pod", namespace, old["metadata"]["name"])


def test_service_change_must_roll_out_nothing(kube: Kube, namespace: str, kubelet: Kubelet):
    """Another port of the Service restarts no model."""
    kube.apply(endpoint("model", namespace))
    kubelet.serving(kube.wait_pods(namespace, PODS, 1)[0])
    revision = kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")["status"]["revision"]
    kube.apply(changed(endpoint("model", namespace), {"spec.cluster.service": {"port": 8080}}))
    kube.wait("Service", namespace, "model", lambda body: body["spec"]["ports"][0]["port"] == 8080)
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
    assert body["status"]["revision"] == revision
    assert body["status"]["url"].endswith(":8080/invocations")


def test_unacceptable_child_must_stall_without_a_loop(kube: Kube, namespace: str, operator: OperatorProcess):
    """What only the API server can refuse stalls with its sentence, is not tried again, and goes on after a change."""
    resources = {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}
    kube.apply(endpoint("model", namespace, cluster={"resources": resources}))
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "InvalidSpec")
    assert condition(body, "Stalled")["status"] == "True"
    assert "must be less than or equal to memory limit" in condition(body, "Stalled")["message"]
    version = body["metadata"]["resourceVersion"]

    def refusals() -> float:
        return operator.metric("sagebrush_reconcile_errors_total", **{"kind": "ModelEndpoint", "class": "Invalid"})

    def stalled() -> float:
        return operator.metric("sagebrush_reconciles_total", kind="ModelEndpoint", outcome="stalled")

    refused, skipped = refusals(), stalled()
    assert refused >= 1
    # The Service was made before the Deployment was refused: news of it must not have the Deployment tried again.
    kube.patch("Service", namespace, "model", {"metadata": {"annotations": {"seen": "again"}}})
    wait_for(lambda: stalled() > skipped, "a pass that leaves the endpoint alone")
    assert refusals() == refused
    assert stalled() - skipped < 10
    assert kube.get("ModelEndpoint", namespace, "model")["metadata"]["resourceVersion"] == version
    kube.apply(endpoint("model", namespace, cluster={"resources": {"limits": {"memory": "1Gi"}}}))
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    assert condition(body, "Stalled")["status"] == "False"
    kube.wait("Deployment", namespace, "model")


@pytest.mark.parametrize("written", ["1024Mi", "1Gi"])
def test_steady_endpoint_must_be_left_alone(
    kube: Kube, namespace: str, operator: OperatorProcess, kubelet: Kubelet, written: str
):
    """An endpoint that is as it should be is not written again, however its quantities were spelled."""
    resources = {"limits": {"memory": written, "cpu": "1000m" if written == "1024Mi" else "1"}}
    kube.apply(endpoint("model", namespace, cluster={"resources": resources}))
    kubelet.serving(kube.wait_pods(namespace, PODS, 1)[0])
    kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
    passes = operator.metric("sagebrush_reconciles_total", kind="ModelEndpoint")
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    kube.patch("Pod", namespace, pod["metadata"]["name"], {"metadata": {"annotations": {"seen": "again"}}})
    wait_for(
        lambda: operator.metric("sagebrush_reconciles_total", kind="ModelEndpoint") > passes,
        "a pass after the pod's change",
    )
    lines = [line for line in operator.text().splitlines() if f"{namespace}/model]" in line]
    assert sum("applied Deployment" in line for line in lines) == 1
    assert sum("applied Service" in line for line in lines) == 1


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_foreign_child_must_not_be_taken_over(kube: Kube, namespace: str, kind: str):
    """An object of the same name that is not ours stays as it is; the endpoint says what to do, and goes on once it is gone."""
    labels = {"app": "theirs"}
    container = {"name": "main", "image": "theirs"}
    if kind == "Deployment":
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        theirs = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": "model", "namespace": namespace},
            "spec": spec,
        }
    else:
        spec = {"ports": [{"port": 1}], "selector": labels}
        theirs = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "model", "namespace": namespace}, "spec": spec}
    uid = kube.create(theirs)["metadata"]["uid"]
    kube.apply(endpoint("model", namespace))
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "NameConflict")
    assert condition(body, "Stalled")["status"] == "True"
    assert f"{kind} model exists and is not this ModelEndpoint's; delete it" in condition(body, "Stalled")["message"]
    found = kube.get(kind, namespace, "model")
    assert (found["metadata"]["uid"], found["metadata"].get("ownerReferences")) == (uid, None)
    kube.delete(kind, namespace, "model")
    kube.wait_gone(kind, namespace, "model")
    kube.apply(endpoint("model", namespace, replicas=2))
    kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    assert kube.wait(kind, namespace, "model")["metadata"]["ownerReferences"][0]["kind"] == "ModelEndpoint"


TROUBLES = {
    "image": (
        [waiting("fetch", "ImagePullBackOff", 'Back-off pulling image "x"')],
        [waiting("serve")],
        "ImagePullFailed",
        "image of container fetch can't be pulled (ImagePullBackOff): Back-off pulling",
    ),
    "fetch": (
        [ended("fetch", 2, message="artifact s3://bucket/model.tar.gz: no such key")],
        [waiting("serve")],
        "DownloadFailed",
        "s3://bucket/model.tar.gz: no such key",
    ),
    "memory": (
        [ended("fetch")],
        [ended("serve", 137, reason="OOMKilled")],
        "OutOfMemory",
        "raise spec.cluster.resources",
    ),
    "crash": ([ended("fetch")], [ended("serve", 1, message="boom")], "CrashLoop", "ended with exit code 1: boom"),
    "config": (
        [ended("fetch")],
        [waiting("serve", "CreateContainerConfigError", "secret not found")],
        "ContainerCannotStart",
        "secret not found",
    ),
}


@pytest.mark.parametrize(("init", "main", "reason", "words"), TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_of_a_pod_must_be_told(kube: Kube, namespace: str, kubelet: Kubelet, init, main, reason, words):
    """What keeps a replica from serving stands in the condition, with the words of the kubelet or the container, and in an Event."""
    kube.apply(endpoint("model", namespace))
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    kubelet.report(pod, "Pending", init=init, main=main)
    body = kube.wait_ready("ModelEndpoint", namespace, "model", reason)
    assert words in condition(body, "Ready")["message"]
    events = wait_for(lambda: [e for e in kube.events(namespace, "model") if e[1] == reason], f"an Event {reason}")
    assert events[0][0] == "Warning"


def test_deleted_endpoint_must_leave_nothing(kube: Kube, namespace: str):
    """Deleting the endpoint removes its children through their owner references, without any finalizer of ours."""
    kube.apply(endpoint("model", namespace))
    kube.wait_pods(namespace, PODS, 1)
    assert "finalizers" not in kube.get("ModelEndpoint", namespace, "model")["metadata"]
    kube.delete("ModelEndpoint", namespace, "model")
    for kind in ("ModelEndpoint", "Deployment", "Service"):
        kube.wait_gone(kind, namespace, "model")
    wait_for(lambda: not kube.find_all("Pod", namespace), "the end of the pods")
