"""The operator as a process: killed, restarted, two at once, stopped, asked for its health, and shut into namespaces."""

import re
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from devcluster.controlplane import ControlPlane
from sagebrush.kube.lease import RENEW_DEADLINE
from tests.fakes.kubelet import Kubelet, uploaded
from tests.integration.kube import Kube, Manifest, condition, wait_for
from tests.integration.manifests import changed, endpoint, training_job
from tests.integration.operator_process import START_SECONDS, OperatorProcess, Operators

TEMPLATES = Path(__file__).resolve().parents[2] / "charts" / "sagebrush" / "templates"
RULES = TEMPLATES / "_rules.tpl"
LEASE = "sagebrush-operator"


def start(operators: Operators, namespace: str, *, ready: bool = True) -> OperatorProcess:
    """An operator of this namespace, without waiting for the Lease of a killed one."""
    return operators.start(
        f"--namespaces={namespace}", "--leader-election=false", lease_namespace=namespace, ready=ready
    )


def has_settled(deployment: Manifest) -> bool:
    """Whether the Deployment controller has nothing more to say of one replica that serves."""
    status = deployment["status"]
    counts = {status[kind] for kind in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    seen = status["observedGeneration"] == deployment["metadata"]["generation"]
    return counts == {1} and seen and condition(deployment, "Progressing")["reason"] == "NewReplicaSetAvailable"


def test_restarted_operator_must_write_nothing_anew(kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators):
    """A restart changes neither children nor status of what is as it should be."""
    start(operators, namespace)
    kube.apply(endpoint("model", namespace))
    kubelet.serving(kube.wait_pods(namespace, "sagebrush.dev/endpoint=model", 1)[0])
    kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
    settled = kube.wait("Deployment", namespace, "model", has_settled)
    before = kube.wait(
        "ModelEndpoint",
        namespace,
        "model",
        lambda body: (body["status"]["replicas"], body["status"]["readyReplicas"]) == (1, 1),
    )
    operators.started[-1].kill()
    second = start(operators, namespace)
    wait_for(
        lambda: second.metric("sagebrush_reconciles_total", kind="ModelEndpoint", outcome="ok"),
        "a pass over the endpoint",
    )
    after = kube.get("Deployment", namespace, "model")["metadata"]
    assert (after["generation"], after["uid"]) == (settled["metadata"]["generation"], settled["metadata"]["uid"])
    assert "applied" not in second.text()
    assert kube.get("ModelEndpoint", namespace, "model")["status"] == before["status"]


def test_second_operator_must_wait_and_take_over(kube: Kube, namespace: str, operators: Operators):
    """One acts; the other says why it is not ready, and acts once the first has not renewed the Lease for its duration."""
    first = operators.start(f"--namespaces={namespace}", lease_namespace=namespace)
    lease = kube.wait("Lease", namespace, LEASE)
    assert lease["spec"]["holderIdentity"] == first.name
    second = operators.start(f"--namespaces={namespace}", lease_namespace=namespace, ready=False)
    second.wait_said(f"waiting: {first.name} holds the Lease")
    status, text = second.answer("/readyz")
    assert status == 503
    assert "not leader yet" in text
    assert second.answer("/healthz")[0] == 200
    kube.apply(endpoint("one", namespace))
    kube.wait("Deployment", namespace, "one")
    assert "applied" not in second.text()
    first.kill()
    last = kube.get("Lease", namespace, LEASE)["spec"]
    assert last["holderIdentity"] == first.name
    kube.apply(endpoint("two", namespace))
    kube.wait("Deployment", namespace, "two")
    spec = kube.get("Lease", namespace, LEASE)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == (second.name, 1)
    taken, renewed = (datetime.fromisoformat(text) for text in (spec["acquireTime"], last["renewTime"]))
    assert taken - renewed > RENEW_DEADLINE
    second.wait_ready()


def test_operator_without_its_lease_must_end(kube: Kube, namespace: str, operators: Operators):
    """Whoever loses the Lease stops acting at once, with an exit code that has the pod started again."""
    first = operators.start(f"--namespaces={namespace}", lease_namespace=namespace)
    kube.wait("Lease", namespace, LEASE)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    kube.patch("Lease", namespace, LEASE, {"spec": {"holderIdentity": "somebody-else", "renewTime": now}})
    wait_for(lambda: first.process.poll() is not None, "the end of the operator")
    assert first.process.returncode == 1
    assert "the Lease was lost" in first.text()
    assert kube.get("Lease", namespace, LEASE)["spec"]["holderIdentity"] == "somebody-else"


def grace_seconds() -> int:
    """What the chart gives the operator to end in."""
    found = re.search(r"terminationGracePeriodSeconds: (\d+)", (TEMPLATES / "deployment.yaml").read_text())
    assert found, "charts/sagebrush/templates/deployment.yaml has no terminationGracePeriodSeconds"
    return int(found[1])


def test_stopped_operator_must_end_soon_and_free_the_lease(kube: Kube, namespace: str, operators: Operators):
    """SIGTERM: exit code 0 before a kubelet would kill it, and the next one need not wait for the Lease to run out."""
    running = operators.start(f"--namespaces={namespace}", lease_namespace=namespace)
    code, seconds = running.stop()
    assert (code, seconds < grace_seconds()) == (0, True)
    assert not kube.get("Lease", namespace, LEASE)["spec"].get("holderIdentity")
    again = operators.start(f"--namespaces={namespace}", lease_namespace=namespace, ready=False)
    again.wait_said(f"leader: {again.name}")
    waiting = operators.start(f"--namespaces={namespace}", lease_namespace=namespace, ready=False)
    waiting.wait_said("holds the Lease")
    assert waiting.stop()[0] == 0, "one that waits for the Lease ends as well"


def test_metrics_must_tell_what_the_operator_does(kube: Kube, namespace: str, operators: Operators):
    """Passes by outcome, their durations, errors by class, and the depth of the queue."""
    running = start(operators, namespace)
    kube.apply(endpoint("model", namespace))
    kube.apply(
        training_job("job", namespace, algorithm={"image": "x", "metricDefinitions": [{"name": "a", "regex": "("}]})
    )
    kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    kube.wait_ready("TrainingJob", namespace, "job", "InvalidSpec")
    invalid = {"kind": "TrainingJob", "class": "Invalid"}  # a pass is counted when it has ended, after the status
    for name, labels in (
        ("sagebrush_reconciles_total", {"kind": "ModelEndpoint", "outcome": "ok"}),
        ("sagebrush_reconcile_duration_seconds_count", {"kind": "ModelEndpoint"}),
        ("sagebrush_reconcile_errors_total", invalid),
    ):
        wait_for(lambda name=name, labels=labels: running.metric(name, **labels) >= 1, f"{name} of {labels}")
    wait_for(lambda: running.metric("sagebrush_queue_depth", backend="Cluster") == 0, "an empty queue")
    assert "sagebrush_queue_depth" in running.answer("/metrics")[1]


def rules() -> list[dict]:
    """The rights that the chart grants in each watched namespace."""
    text = RULES.read_text()
    body = re.search(r'\{\{- define "sagebrush.rules" -\}\}(.*?)\{\{- end -\}\}', text, re.DOTALL)
    assert body, "charts/sagebrush/templates/_rules.tpl has no sagebrush.rules"
    found: list[dict] = yaml.safe_load(body[1])
    return found


def test_namespaced_operator_must_need_no_more_than_its_namespace(
    control_plane: ControlPlane, kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators
):
    """With only the chart's Role in one namespace the operator works there, leaves the others alone, and is denied nothing."""
    account = {"kind": "ServiceAccount", "name": "sagebrush", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    lease = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    leases = [
        {**lease, "verbs": ["create"]},
        {**lease, "resourceNames": [LEASE], "verbs": ["get", "update"]},
    ]
    metadata = {"name": "sagebrush", "namespace": namespace}
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    kube.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules() + leases})
    role = {"apiGroup": rbac, "kind": "Role", "name": "sagebrush"}
    kube.create(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [account],
        }
    )
    elsewhere = f"{namespace}-elsewhere"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}})
    try:
        kubeconfig = control_plane.kubeconfig_for(f"system:serviceaccount:{namespace}:sagebrush")
        running = operators.start(f"--namespaces={namespace}", lease_namespace=namespace, kubeconfig=kubeconfig)
        kube.apply(endpoint("model", elsewhere))
        kube.apply(training_job("job", namespace, instanceCount=2))
        kube.apply(endpoint("model", namespace))
        kubelet.serving(kube.wait_pods(namespace, "sagebrush.dev/endpoint=model", 1)[0])
        kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
        for pod in kube.wait_pods(namespace, "sagebrush.dev/training-job=job", 2):
            kubelet.completed(pod)
        kube.wait_ready("TrainingJob", namespace, "job", "Completed")
        kube.delete("Deployment", namespace, "model")
        kube.wait("Deployment", namespace, "model")
        wait_for(lambda: [e for e in kube.events(namespace, "job") if e[1] == "Completed"], "an Event")
        assert running.metric("sagebrush_reconcile_errors_total") == 0
        assert "orbidden" not in running.text()
        assert kube.get("Deployment", elsewhere, "model") is None
        assert "status" not in kube.get("ModelEndpoint", elsewhere, "model")
    finally:
        kube.delete("Namespace", None, elsewhere)


def test_missing_rights_must_be_told(control_plane: ControlPlane, kube: Kube, namespace: str, operators: Operators):
    """An operator that may not list what it watches stays unready, and its log names the resource."""
    kubeconfig = control_plane.kubeconfig_for(f"nobody-{namespace}")
    running = operators.start(
        f"--namespaces={namespace}",
        "--leader-election=false",
        lease_namespace=namespace,
        kubeconfig=kubeconfig,
        ready=False,
    )
    running.wait_said("the first list failed")
    assert 'cannot list resource "trainingjobs"' in running.text()
    assert running.answer("/readyz")[0] == 503
    assert running.stop()[0] == 0


def test_denied_child_must_be_told(control_plane: ControlPlane, kube: Kube, namespace: str, operators: Operators):
    """A right that is missing for one kind of child shows as PermissionDenied with the API server's sentence."""
    some = [rule for rule in rules() if rule["apiGroups"] != ["apps"]]
    some.append({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]})
    metadata = {"name": "weak", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    kube.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": some})
    role = {"apiGroup": rbac, "kind": "Role", "name": "weak"}
    user = {"apiGroup": rbac, "kind": "User", "name": f"weak-{namespace}"}
    kube.create(
        {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [user]}
    )
    kubeconfig = control_plane.kubeconfig_for(f"weak-{namespace}")
    operators.start(
        f"--namespaces={namespace}", "--leader-election=false", lease_namespace=namespace, kubeconfig=kubeconfig
    )
    kube.apply(endpoint("model", namespace))
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "PermissionDenied")
    assert "Deployment model" in condition(body, "Ready")["message"]
    assert "forbidden" in condition(body, "Ready")["message"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers=0"], "--workers / SAGEBRUSH_WORKERS"),
        (["--prometheus-url=prometheus:9090"], "start it with http:// or https://"),
    ],
)
def test_illegal_settings_must_end_the_start(kube: Kube, namespace: str, operators: Operators, flags, words):
    """A setting that is not legal is named with what is, and nothing starts."""
    running = operators.start(*flags, lease_namespace=namespace, ready=False)
    assert running.process.wait(timeout=START_SECONDS) == 2
    assert words in running.text()


def test_killed_operator_must_converge_when_it_returns(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators
):
    """Killed at any point (just started, children half made, job running, rollout begun), the next one finishes the work once."""
    # Right after the objects come, when some children exist and others don't.
    kube.apply(training_job("job", namespace))
    kube.apply(endpoint("model", namespace, model={"trainingJobRef": {"name": "job"}}))
    kube.apply(endpoint("other", namespace))
    first = start(operators, namespace, ready=False)
    wait_for(
        lambda: kube.find_all("Job", namespace) or kube.find_all("Service", namespace),
        "the first child",
        seconds=START_SECONDS,
    )
    first.kill()

    second = start(operators, namespace)
    (pod,) = kube.wait_pods(namespace, "sagebrush.dev/training-job=job", 1)
    kube.wait_ready("TrainingJob", namespace, "job", "Pending")
    kube.wait_ready("ModelEndpoint", namespace, "other", "Starting")
    second.kill()

    # What happens while nobody looks is found afterwards: the job's end, an edit, a deletion.
    kubelet.completed(pod, message=uploaded())
    kube.wait("Job", namespace, "job", lambda body: body["status"].get("succeeded") == 1)
    kube.delete("Service", namespace, "other")
    kube.apply(changed(endpoint("other", namespace), {"spec.model.artifact.sha256": "ef" * 32}))
    third = start(operators, namespace)
    kube.wait_ready("TrainingJob", namespace, "job", "Completed")
    kube.wait("Service", namespace, "other")
    kube.wait("Deployment", namespace, "model")
    body = kube.wait("Deployment", namespace, "other", lambda body: "ef" * 32 in str(body["spec"]["template"]))
    third.kill()

    # An object deleted while nobody looks takes its children along, and none comes back.
    kube.delete("ModelEndpoint", namespace, "other")
    for kind in ("ModelEndpoint", "Deployment", "Service"):
        kube.wait_gone(kind, namespace, "other")
    fourth = start(operators, namespace)
    kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")
    kube.wait("Service", namespace, "model")
    assert {d["metadata"]["name"] for d in kube.find_all("Deployment", namespace)} == {"model"}
    assert {d["metadata"]["name"] for d in kube.find_all("Service", namespace)} == {"model"}
    assert [j["metadata"]["name"] for j in kube.find_all("Job", namespace)] == ["job"]
    assert fourth.metric("sagebrush_reconcile_errors_total") == 0
    assert body["metadata"]["ownerReferences"][0]["name"] == "other"
