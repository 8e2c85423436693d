"""Pods read directly, while Prometheus, some of the pods, or both are away."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.faulty_prometheus import FaultyPrometheus, without
from tests.fakes.kubelet import Kubelet, running
from tests.fakes.pod_metrics import PodMetrics
from tests.integration.kube import Kube, Manifest, wait_for
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import OperatorProcess, Operators
from tests.integration.replica_watch import ReplicaWatch

PODS = "sagebrush.dev/endpoint=model"
LOOKS = 4
RIGHT_SECONDS = 20.0
"""A short window of the pods' own samples, 6 s, two looks, and a busy machine."""
LOW, USUAL, MORE = 10, 170, 600
"""Requests per minute, of which a replica is to carry 60: for 1, 3 and 10 replicas."""


@dataclass
class Scene:
    """Three pods whose metrics the operator reads twice a second, and a Prometheus beside them."""

    kube: Kube
    namespace: str
    operator: OperatorProcess
    prometheus: FaultyPrometheus
    servers: list[PodMetrics]
    pods: list[str]

    def load(self, requests_per_minute: float, *, all_told: bool = True) -> None:
        """What the pods get together; Prometheus knows of it too where *all_told*."""
        for server in self.servers:
            server.load(requests_per_minute / len(self.servers))
        if all_told:
            self.told(requests_per_minute)

    def told(self, requests_per_minute: float) -> None:
        """What Prometheus says."""
        self.prometheus.load(self.namespace, "model", requests_per_minute=requests_per_minute, pods=self.pods)

    def wait_told(self, reason: str, words: str = "") -> None:
        """Return once status.scaling has this reason, with these words in its message."""

        def told(body: Manifest) -> bool:
            found = body["status"]["scaling"]
            return found["reason"] == reason and words in found["message"]

        self.kube.wait("ModelEndpoint", self.namespace, "model", told)

    def wait_replicas(self, count: int, *, seconds: float = RIGHT_SECONDS) -> None:
        """Return once the Deployment asks for this many."""
        self.kube.wait("Deployment", self.namespace, "model", lambda b: b["spec"]["replicas"] == count, seconds=seconds)

    def wait_looks(self) -> None:
        """Return after some more decisions."""
        name, labels = "sagebrush_scaler_decisions_total", {"namespace": self.namespace, "endpoint": "model"}
        before = self.operator.metric(name, **labels)
        wait_for(lambda: self.operator.metric(name, **labels) >= before + LOOKS, f"{LOOKS} decisions")


@pytest.fixture
def scene(kube: Kube, namespace: str, operators: Operators) -> Iterator[Scene]:
    """Usual load, three replicas, and the policy that is quickest to remove one."""
    with ExitStack() as stack:
        prometheus = stack.enter_context(FaultyPrometheus())
        first = stack.enter_context(PodMetrics("127.0.0.11"))
        others = [stack.enter_context(PodMetrics(f"127.0.0.{n}", port=first.port)) for n in (12, 13)]
        model = {"container": {"image": "registry.example/model:1", "metricsPort": first.port}}
        policy = scaling(source="Pods", minReplicas=3, maxReplicas=12, scaleInCooldown="0s")
        kube.apply(endpoint("model", namespace, model=model, scaling=policy))
        operator = operators.start(
            f"--namespaces={namespace}",
            f"--prometheus-url={prometheus.url}",
            "--scaling-interval-seconds=0.5",
            "--scaling-pods-interval-seconds=0.5",
            lease_namespace=namespace,
        )
        servers, kubelet = [first, *others], Kubelet(kube, namespace)
        pods = kube.wait_pods(namespace, PODS, 3)
        for pod, server in zip(pods, servers, strict=True):
            kubelet.serving(pod, since=datetime.now(UTC) - timedelta(minutes=2))
            main = [running("serve", datetime.now(UTC) - timedelta(minutes=10))]
            kubelet.report(pod, "Running", main=main, podIP=server.address, podIPs=[{"ip": server.address}])
        found = Scene(
            kube, namespace, operator, prometheus, servers=servers, pods=[p["metadata"]["name"] for p in pods]
        )
        found.load(USUAL)
        found.wait_told("WithinTarget")
        kube.patch("ModelEndpoint", namespace, "model", {"spec": {"scaling": {"minReplicas": 1}}})
        found.wait_told("WithinTarget")
        yield found


def test_pods_must_be_enough_to_scale_out_and_never_half_enough_to_scale_in(scene: Scene) -> None:
    """
    Without Prometheus a low load of less than a minute removes nothing; with half of the pods and half of Prometheus
    nothing either; the pods alone are followed out; and when Prometheus is whole again, what it knows counts.
    """
    with ReplicaWatch(scene.kube.lines, namespace=scene.namespace, name="model") as watch:
        scene.prometheus.kill()
        scene.load(LOW)
        scene.wait_told("MetricsFilling")
        scene.wait_looks()
        assert [3] == watch.values

        scene.servers[1].hang()
        scene.prometheus.heal(change=without(scene.pods[0]))
        scene.wait_told("MetricsPartial")
        scene.wait_looks()
        assert [3] == watch.values

        scene.servers[1].hang(until_told=False)
        scene.prometheus.kill()
        scene.load(MORE)
        scene.wait_replicas(10)
        assert 3 == watch.values[0]
        assert watch.values == sorted(watch.values)

        scene.load(LOW)
        scene.wait_looks()
        assert watch.values == sorted(watch.values)
        scene.prometheus.heal()
        scene.wait_replicas(
            1, seconds=RIGHT_SECONDS + 60
        )  # where the test took so long that the pods' own minute is full
