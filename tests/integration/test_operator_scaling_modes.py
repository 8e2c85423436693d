"""What the scaler leaves alone, what it remembers, and what it knows in advance: the running operator and real Deployments."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fakes.kubelet import Kubelet
from tests.fakes.prometheus import FakePrometheus
from tests.integration.kube import Kube, Manifest, condition, wait_for
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import OperatorProcess, Operators

PODS = "sagebrush.dev/endpoint=model"
LOOKS = 6
"""Decisions in which nothing happened, before it is believed that nothing will."""


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    """A Prometheus whose series the test sets."""
    with FakePrometheus() as running:
        yield running


def start(operators: Operators, prometheus: FakePrometheus, namespace: str) -> OperatorProcess:
    """An operator that looks at the metrics twice a second, and for others' autoscalers every ten seconds."""
    return operators.start(
        f"--namespaces={namespace}",
        f"--prometheus-url={prometheus.url}",
        "--scaling-interval-seconds=0.5",
        "--resync-seconds=10",
        lease_namespace=namespace,
    )


def serve(kube: Kube, kubelet: Kubelet, namespace: str, count: int) -> list[str]:
    """Names of the endpoint's pods, once there are this many, all serving."""
    pods = kube.wait_pods(namespace, PODS, count)
    for pod in pods:
        kubelet.serving(pod)
    return [pod["metadata"]["name"] for pod in pods]


def told(kube: Kube, namespace: str, **wanted: Any) -> Manifest:
    """status.scaling once it has all of this."""

    def look(body: Manifest) -> bool:
        found = body.get("status", {}).get("scaling", {})
        return wanted.items() <= found.items()

    status: Manifest = kube.wait("ModelEndpoint", namespace, "model", look)["status"]["scaling"]
    return status


def replicas(kube: Kube, namespace: str) -> int:
    """What the Deployment asks for."""
    found = kube.get("Deployment", namespace, "model")
    assert found is not None
    count: int = found["spec"]["replicas"]
    return count


def stays(kube: Kube, namespace: str, operator: OperatorProcess, count: int) -> None:
    """The Deployment asks for *count* through some more decisions."""
    labels = {"namespace": namespace, "endpoint": "model"}
    begun = operator.metric("sagebrush_scaler_decisions_total", **labels)

    def look() -> bool:
        assert count == replicas(kube, namespace)
        return operator.metric("sagebrush_scaler_decisions_total", **labels) >= begun + LOOKS

    wait_for(look, f"{LOOKS} decisions")


def change(kube: Kube, namespace: str, **policy: Any) -> None:
    """The user changes fields of spec.scaling."""
    kube.patch("ModelEndpoint", namespace, "model", {"spec": {"scaling": policy}})


def hpa(namespace: str, name: str = "theirs") -> Manifest:
    """Somebody's autoscaler of our Deployment."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "model"},
            "minReplicas": 1,
            "maxReplicas": 9,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                }
            ],
        },
    }


def test_recommend_must_show_and_change_nothing_until_it_is_auto(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
):
    """Under load mode Recommend says what it would do and leaves the Deployment; Off says nothing; Auto does it."""
    kube.apply(endpoint("model", namespace, scaling=scaling(mode="Recommend")))
    operator = start(operators, prometheus, namespace)
    prometheus.load(namespace, "model", requests_per_minute=170, pods=serve(kube, kubelet, namespace, 1))
    found = told(kube, namespace, recommendedReplicas=3, desiredReplicas=1)
    assert "mode is Recommend: nothing is changed" in found["message"]
    labels = {"namespace": namespace, "endpoint": "model"}
    wait_for(lambda: operator.metric("sagebrush_scaler_recommended_replicas", **labels) == 3, "the metric")
    stays(kube, namespace, operator, 1)
    # Somebody's hand is not taken back: neither to the recommendation nor to spec.replicas.
    kube.patch("Deployment", namespace, "model", {"spec": {"replicas": 2}})
    told(kube, namespace, desiredReplicas=2)
    stays(kube, namespace, operator, 2)
    assert [] == [event for event in kube.events(namespace, "model") if event[1] == "Scaled"]

    change(kube, namespace, mode="Off")
    found = told(kube, namespace, reason="ScalingOff", desiredReplicas=2)
    assert "recommendedReplicas" not in found
    active = condition(kube.get("ModelEndpoint", namespace, "model"), "ScalingActive")
    assert ("False", "ScalingOff") == (active["status"], active["reason"])
    assert 2 == replicas(kube, namespace)

    change(kube, namespace, mode="Auto")
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 3)


def test_someone_elses_autoscaler_must_be_told_of_and_not_fought(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
):
    """With a HorizontalPodAutoscaler on the Deployment the number is its own, and status says whose; when it goes we go on."""
    kube.create(hpa(namespace))
    kube.apply(endpoint("model", namespace, scaling=scaling()))
    operator = start(operators, prometheus, namespace)
    prometheus.load(namespace, "model", requests_per_minute=170, pods=serve(kube, kubelet, namespace, 1))
    told(kube, namespace, reason="OtherScaler", recommendedReplicas=3)
    body = kube.get("ModelEndpoint", namespace, "model")
    found = condition(body, "ScalingConflict")
    assert ("True", "OtherScaler") == (found["status"], found["reason"])
    assert "HorizontalPodAutoscaler theirs scales Deployment model" in found["message"]
    assert "mode to Recommend or Off" in found["message"]
    assert "False" == condition(body, "ScalingActive")["status"]
    assert 1 == replicas(kube, namespace), "it was seen before the first decision"
    kube.patch("Deployment", namespace, "model", {"spec": {"replicas": 2}})  # as theirs would
    told(kube, namespace, desiredReplicas=2)
    stays(kube, namespace, operator, 2)
    assert ("Warning", "ScalingConflict") in [event[:2] for event in kube.events(namespace, "model")]

    kube.delete("HorizontalPodAutoscaler", namespace, "theirs")
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 3)
    kube.wait("ModelEndpoint", namespace, "model", lambda body: not condition(body, "ScalingConflict"))
    wait_for(
        lambda: ("Normal", "ScalingConflictOver") in [event[:2] for event in kube.events(namespace, "model")],
        "the Event",
    )


def test_autoscaler_must_be_left_alone_without_a_policy(kube: Kube, namespace: str, operators: Operators):
    """Without spec.scaling a HorizontalPodAutoscaler on the Deployment is no fight with spec.replicas either, and is told."""
    kube.apply(endpoint("model", namespace))
    operators.start(f"--namespaces={namespace}", "--resync-seconds=10", lease_namespace=namespace)
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 1)
    kube.create(hpa(namespace))
    kube.wait(
        "ModelEndpoint", namespace, "model", lambda body: condition(body, "ScalingConflict").get("status") == "True"
    )
    kube.patch("Deployment", namespace, "model", {"spec": {"replicas": 3}})
    kube.delete("HorizontalPodAutoscaler", namespace, "theirs")
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 1)


def test_restarted_operator_must_know_what_was_measured(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
):
    """Start-up times and a tested capacity are in status, and outlive the operator; another revision loses the capacity."""
    kube.apply(endpoint("model", namespace, scaling=scaling(target={"percentOfCapacity": 50})))
    first = start(operators, prometheus, namespace)
    pods = serve(kube, kubelet, namespace, 1)
    prometheus.load(namespace, "model", requests_per_minute=50, pods=pods)
    body = kube.wait("ModelEndpoint", namespace, "model", lambda b: b["status"].get("scaling", {}).get("startup"))
    (seconds,) = body["status"]["scaling"]["startup"]["recent"]
    assert seconds >= 1
    told(kube, namespace, reason="CapacityUnknown")

    tested = {
        "requestsPerSecond": 1.0,
        "concurrency": 1,
        "source": "Tested",
        "measuredAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revision": body["status"]["revision"],
    }
    write_capacity(kube, namespace, tested)
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 2)  # 50/min at 30/min each
    first.kill()
    lease = kube.get("Lease", namespace, "sagebrush-operator")
    assert lease is not None
    lease["spec"]["holderIdentity"] = ""  # so that the test need not wait for it to run out
    kube.patch("Lease", namespace, "sagebrush-operator", {"spec": lease["spec"]})
    serve(kube, kubelet, namespace, 2)
    second = start(operators, prometheus, namespace)
    prometheus.load(
        namespace,
        "model",
        requests_per_minute=80,
        pods=[p["metadata"]["name"] for p in kube.wait_pods(namespace, PODS, 2)],
    )
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 3)
    found = told(kube, namespace, desiredReplicas=3)
    assert tested["requestsPerSecond"] == found["capacity"]["requestsPerSecond"]
    assert ("Tested", tested["revision"]) == (found["capacity"]["source"], found["capacity"]["revision"])
    assert seconds in found["startup"]["recent"]
    wait_for(
        lambda: second.metric("sagebrush_scaler_capacity_requests_per_second", namespace=namespace) == 1, "the metric"
    )

    kube.patch("ModelEndpoint", namespace, "model", {"spec": {"model": {"environment": [{"name": "A", "value": "1"}]}}})
    kube.wait(
        "ModelEndpoint",
        namespace,
        "model",
        lambda b: b["status"]["revision"] != tested["revision"] and "capacity" not in b["status"]["scaling"],
    )


def write_capacity(kube: Kube, namespace: str, capacity: Manifest) -> None:
    """As a capacity test does: in the operator's name, and again where the operator wrote at the same time."""

    def look() -> bool:
        body = kube.get("ModelEndpoint", namespace, "model")
        assert body is not None
        status = body["status"]
        if status["scaling"].get("capacity") == capacity:
            return True
        metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid")}
        manifest = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": metadata,
            "status": {**status, "scaling": {**status["scaling"], "capacity": capacity}},
        }
        path = f"/apis/sagebrush.dev/v1alpha1/namespaces/{namespace}/modelendpoints/model/status"
        query = {"fieldManager": "sagebrush", "force": "true"}
        kube.call("PATCH", path, manifest, content_type="application/apply-patch+yaml", **query)
        return False

    wait_for(look, "the capacity in status")


def test_schedule_must_lift_the_floor_and_let_go(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
):
    """A schedule in force holds its floor without any load, and an Event says so; one that means nothing is refused by name."""
    begin = datetime.now(UTC) - timedelta(minutes=1)
    schedule = {
        "name": "now",
        "cron": f"{begin.minute} {begin.hour} * * *",
        "duration": "1h",
        "minReplicas": 3,
    }
    kube.apply(endpoint("model", namespace, scaling=scaling(schedules=[schedule])))
    start(operators, prometheus, namespace)
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == 3)
    pods = serve(kube, kubelet, namespace, 3)
    prometheus.load(namespace, "model", requests_per_minute=30, pods=pods)
    found = told(kube, namespace, reason="Scheduled", desiredReplicas=3)
    assert "schedule now" in found["message"]
    limited = condition(kube.get("ModelEndpoint", namespace, "model"), "ScalingLimited")
    assert ("True", "BoundReached") == (limited["status"], limited["reason"])

    change(kube, namespace, schedules=[{**schedule, "timeZone": "Mars/Olympus"}])
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "InvalidSpec")
    assert "Mars/Olympus" in condition(body, "Ready")["message"]
    assert 3 == replicas(kube, namespace)


POD_IP, METRICS_PORT = "127.77.0.3", 9102


@pytest.fixture
def pod_metrics() -> Iterator[None]:
    """What answers at the pod's address: a counter of 170 requests per minute, from the first look on."""
    looks: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            looks.append(time.monotonic())
            count = (looks[-1] - looks[0]) * 170 / 60
            body = f'sagebrush_invocations_total{{endpoint_name="model",variant_name="AllTraffic"}} {count}\n'.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Quiet."""

    with ThreadingHTTPServer((POD_IP, METRICS_PORT), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@pytest.mark.usefixtures("pod_metrics")
def test_pods_themselves_must_do_without_any_prometheus(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators
):
    """With source: Pods the operator reads the replicas directly, and each look is followed by a decision."""
    kube.apply(endpoint("model", namespace, scaling=scaling(source="Pods")))
    flags = ("--scaling-pods-interval-seconds=0.5", "--scaling-interval-seconds=300")
    operators.start(f"--namespaces={namespace}", *flags, lease_namespace=namespace)
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    address = {"status": {"podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}}
    kube.patch("Pod", namespace, pod["metadata"]["name"], address, subresource="status")
    kubelet.serving(pod)
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] >= 3)

    def seen(body: Manifest) -> bool:
        found = body["status"].get("scaling", {})
        return found.get("source") == "Pods" and found["desiredReplicas"] >= 3

    kube.wait("ModelEndpoint", namespace, "model", seen)
