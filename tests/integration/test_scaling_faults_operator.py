"""The operator killed in the middle of a change, and the API server gone: nothing wrong is ever written, and all is made good."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devcluster.controlplane import ControlPlane
from tests.fakes.faulty_prometheus import FaultyPrometheus
from tests.fakes.kubelet import Kubelet
from tests.integration.api_door import ApiDoor, Matches
from tests.integration.kube import Kube, wait_for
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import OperatorProcess, Operators
from tests.integration.replica_watch import ReplicaWatch

PODS = "sagebrush.dev/endpoint=model"
LOOKS = 3
RIGHT_SECONDS = 15.0
"""From the moment the operator and all that it needs are there again to the right number, on a busy machine."""
LOW, USUAL, MORE = 10, 170, 230
"""Requests per minute, of which a replica is to carry 60: for 1, 3 and 4 replicas."""
NO_LEASE = "--leader-election=false"
LEASE_SECONDS = 15.0
"""Until the lease of an operator that did not give it back is over, for one of another name."""


@pytest.fixture
def prometheus() -> Iterator[FaultyPrometheus]:
    """One that tells the load which the test sets."""
    with FaultyPrometheus() as running:
        yield running


@pytest.fixture
def door(kube: Kube) -> Iterator[ApiDoor]:
    """The operator's way to the API server."""
    with ApiDoor(kube) as standing:
        yield standing


class Scene:
    """An endpoint, its load and its operators, one after the other."""

    def __init__(self, kube: Kube, namespace: str, prometheus: FaultyPrometheus, operators: Operators) -> None:
        self.kube, self.namespace, self.prometheus, self._operators = kube, namespace, prometheus, operators
        self.pods: list[str] = []

    def start(self, *flags: str, **more: Any) -> OperatorProcess:
        """An operator that looks twice a second."""
        return self._operators.start(
            f"--namespaces={self.namespace}", f"--prometheus-url={self.prometheus.url}",
            "--scaling-interval-seconds=0.5", *flags, lease_namespace=self.namespace, **more,
        )  # fmt: skip

    def serve(self, count: int) -> None:
        """That many pods take requests."""
        pods = self.kube.wait_pods(self.namespace, PODS, count)
        for pod in pods:
            Kubelet(self.kube, self.namespace).serving(pod, since=datetime.now(UTC) - timedelta(minutes=2))
        self.pods = [pod["metadata"]["name"] for pod in pods]

    def load(self, requests_per_minute: float) -> None:
        """What all that serve get together."""
        self.prometheus.load(self.namespace, "model", requests_per_minute=requests_per_minute, pods=self.pods)

    def wait_replicas(self, count: int, *, seconds: float = RIGHT_SECONDS) -> None:
        """Return once the Deployment asks for this many."""
        self.kube.wait("Deployment", self.namespace, "model", lambda b: b["spec"]["replicas"] == count, seconds=seconds)

    def wait_reason(self, reason: str) -> str:
        """The message of status.scaling, once it has this reason."""
        body = self.kube.wait(
            "ModelEndpoint", self.namespace, "model", lambda b: b["status"]["scaling"]["reason"] == reason
        )
        message: str = body["status"]["scaling"]["message"]
        return message

    def wait_looks(self, operator: OperatorProcess) -> None:
        """Return after some more decisions."""
        name, labels = "sagebrush_scaler_decisions_total", {"namespace": self.namespace, "endpoint": "model"}
        before = operator.metric(name, **labels)
        wait_for(lambda: operator.metric(name, **labels) >= before + LOOKS, f"{LOOKS} decisions")

    def wait_vain(self, operator: OperatorProcess) -> None:
        """Return once a decision by the load set last could not be written."""
        seen = self.prometheus.queries
        wait_for(lambda: self.prometheus.queries >= seen + 2, "two looks")
        words = "; again in"
        said = operator.text().count(words)
        wait_for(lambda: operator.text().count(words) > said, "an attempt to write")

    def watch(self) -> ReplicaWatch:
        """All that the Deployment ever asks for, in the block."""
        self.kube.wait("Deployment", self.namespace, "model")
        return ReplicaWatch(self.kube.lines, namespace=self.namespace, name="model")

    def three(self) -> None:
        """Three replicas that serve the usual load."""
        self.serve(1)
        self.load(USUAL)
        self.serve(3)
        self.load(USUAL)
        self.wait_reason("WithinTarget")


@pytest.fixture
def scene(kube: Kube, namespace: str, prometheus: FaultyPrometheus, operators: Operators) -> Scene:
    """The parts together; the test starts its operators."""
    return Scene(kube, namespace, prometheus, operators)


def write_of(replicas: int) -> Matches:
    """Whether a request asks for so many replicas of the Deployment."""

    def matches(method: str, path: str, body: bytes) -> bool:
        mine = method == "PATCH" and path.partition("?")[0].endswith("/deployments/model")
        return mine and json.loads(body)["spec"]["replicas"] == replicas

    return matches


def test_scale_out_must_be_made_again_where_it_was_not_written(scene: Scene, door: ApiDoor, tmp_path: Path) -> None:
    """Killed between the decision and the write, the next operator decides the same, and once."""
    scene.kube.apply(endpoint("model", scene.namespace, scaling=scaling(scaleInCooldown="10m")))
    way = door.kubeconfig(tmp_path)
    first = scene.start(NO_LEASE, kubeconfig=way)
    with scene.watch() as watch:
        scene.serve(1)
        door.hold(write_of(3), cut="before")
        scene.load(USUAL)
        door.wait_caught()
        first.kill()
        assert [1] == watch.values
        door.release()
        scene.start(NO_LEASE, kubeconfig=way)
        scene.wait_replicas(3)
        assert [1, 3] == watch.values


def test_scale_out_must_stay_where_it_was_written_and_not_told(scene: Scene, door: ApiDoor, tmp_path: Path) -> None:
    """Killed right after the write, before any status: the next one takes the number as it is, and its cooldown for begun."""
    scene.kube.apply(endpoint("model", scene.namespace, scaling=scaling(scaleInCooldown="10m")))
    way = door.kubeconfig(tmp_path)
    first = scene.start(NO_LEASE, kubeconfig=way)
    with scene.watch() as watch:
        scene.serve(1)
        door.hold(write_of(3), cut="after")
        scene.load(USUAL)
        door.wait_caught()
        first.kill()
        door.release()
        scene.serve(3)
        scene.load(LOW)
        second = scene.start(NO_LEASE, kubeconfig=way)
        scene.wait_reason("ScaleInStabilizing")
        scene.wait_looks(second)
        assert [1, 3] == watch.values
        body = scene.kube.get("ModelEndpoint", scene.namespace, "model")
        assert body is not None
        assert 3 == body["status"]["scaling"]["desiredReplicas"]


def test_scale_in_must_not_come_late(scene: Scene, door: ApiDoor, tmp_path: Path) -> None:
    """Killed between the decision to scale in and the write, the next operator sees the load that has come back, and scales out."""
    scene.kube.apply(endpoint("model", scene.namespace, scaling=scaling(scaleInCooldown="0s")))
    way = door.kubeconfig(tmp_path)
    first = scene.start(NO_LEASE, kubeconfig=way)
    scene.three()
    with scene.watch() as watch:
        door.hold(write_of(1), cut="before")
        scene.load(LOW)
        door.wait_caught()
        first.kill()
        scene.load(MORE)
        door.release()
        scene.start(NO_LEASE, kubeconfig=way)
        scene.wait_replicas(4)
        assert [3, 4] == watch.values


def test_scale_in_must_not_outlast_a_hanging_api(scene: Scene, door: ApiDoor, tmp_path: Path) -> None:
    """A change that the API server does not take in time is given up, and decided anew by what is seen then."""
    scene.kube.apply(endpoint("model", scene.namespace, scaling=scaling(scaleInCooldown="0s")))
    scene.start(NO_LEASE, kubeconfig=door.kubeconfig(tmp_path))
    scene.three()
    with scene.watch() as watch:
        door.hold(write_of(1), cut="before")
        scene.load(LOW)
        door.wait_caught()
        scene.load(MORE)
        scene.wait_replicas(4)
        assert [3, 4] == watch.values


@pytest.mark.parametrize("lease", [False, True], ids=["without-lease", "with-lease"])
def test_outage_of_the_api_must_write_nothing_late(scene: Scene, control_plane: ControlPlane, lease: bool) -> None:
    """
    With the API server away a scale-in is decided that cannot be written; the load that comes then is what counts when it
    is back. An operator that has lost its lease over it has ended, and another one waits for the API server.
    """
    scene.kube.apply(endpoint("model", scene.namespace, scaling=scaling(scaleInCooldown="0s")))
    flags = [] if lease else [NO_LEASE]
    operator = scene.start(*flags)
    scene.three()
    with scene.watch() as watch:
        control_plane.stop_api_server()
        try:
            scene.load(LOW)
            scene.wait_vain(operator)
            scene.load(MORE)
            if lease:
                assert 1 == operator.process.wait(timeout=60)
                scene.start(*flags, ready=False).wait_said("the Lease was not renewed")
            else:
                scene.wait_vain(operator)
        finally:
            control_plane.start_api_server()
        scene.wait_replicas(4, seconds=RIGHT_SECONDS + (LEASE_SECONDS if lease else 0))
        assert [3, 4] == watch.values
