"""The command `sagebrush capacity-test` against a real API server, with a played kubelet and a replica of known capacity."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.controlplane import ControlPlane
from tests.fakes.kubelet import Kubelet
from tests.integration.kube import Kube, Manifest, wait_for
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import Operators
from tests.unit.capacity_test.servers import FakeServer

COPY = "sagebrush.dev/capacity-test=model"
REPLICA = "sagebrush.dev/endpoint=model"
POD_IP = "127.77.0.1"
SLOTS, SERVICE_SECONDS = 4, 0.02


@pytest.fixture
def replica() -> Iterator[FakeServer]:
    """What answers at the pod's address: 200 requests per second."""
    fake = FakeServer(slots=SLOTS, service_seconds=SERVICE_SECONDS)
    fake._free = [0.0] * SLOTS
    loop, listening, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(fake.serve, POD_IP, 8080)
        listening.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert listening.wait(10)
    yield fake
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture
def serving(kube: Kube, kubelet: Kubelet, namespace: str, operators: Operators) -> str:
    """An endpoint with a policy and one replica that serves; the revision."""
    operators.start(f"--namespaces={namespace}", "--scaling-interval-seconds=0.5", lease_namespace=namespace)
    kube.apply(endpoint("model", namespace, scaling=scaling(target={"requestsPerMinute": 600})))
    for pod in kube.wait_pods(namespace, REPLICA, 1):
        kubelet.serving(pod)
    kube.wait_ready("ModelEndpoint", namespace, "model", "Serving")
    found = kube.wait("ModelEndpoint", namespace, "model", lambda body: body["status"]["scaling"])
    revision: str = found["status"]["revision"]
    return revision


def start(control_plane: ControlPlane, folder: Path, namespace: str, *more: str) -> "subprocess.Popen[str]":
    payload = folder / "payload.csv"
    payload.write_text("1,2,3\n")
    command = [sys.executable, "-m", "sagebrush", "capacity-test", "model", "-n", namespace, "--payload", str(payload)]
    environment = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig), "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        [*command, "--duration", "6s", "--latency", "1s", *more],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ready_copy(kube: Kube, kubelet: Kubelet, namespace: str) -> Manifest:
    """The copy, once it was made; it serves from now on."""
    (pod,) = kube.wait_pods(namespace, COPY, 1)
    kube.patch(
        "Pod",
        namespace,
        pod["metadata"]["name"],
        {"status": {"podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}},
        subresource="status",
    )
    kubelet.serving(pod)
    return pod


def test_capacity_test_must_measure_a_copy_and_write_what_it_found(
    kube: Kube,
    kubelet: Kubelet,
    namespace: str,
    control_plane: ControlPlane,
    serving: str,
    replica: FakeServer,
    tmp_path: Path,
):
    """The copy takes the load and goes; the endpoint keeps its one replica; status tells capacity, source and revision, and keeps them."""
    report = tmp_path / "report.json"
    process = start(control_plane, tmp_path, namespace, "--via", "pod", "--report", str(report), "--write")
    pod = ready_copy(kube, kubelet, namespace)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert f"removed pod {pod['metadata']['name']}" in said
    assert "its own address" in said
    measured = json.loads(report.read_text())
    assert 0.6 * SLOTS / SERVICE_SECONDS <= measured["capacity"]["requestsPerSecond"] <= 1.05 * SLOTS / SERVICE_SECONDS
    assert {body for body in replica.bodies if body} == {b"1,2,3\n"}
    capacity = kube.get("ModelEndpoint", namespace, "model")["status"]["scaling"]["capacity"]
    assert (capacity["source"], capacity["revision"]) == ("Tested", serving)
    assert capacity["requestsPerSecond"] == measured["capacity"]["requestsPerSecond"]
    wait_for(lambda: not kube.find_all("Pod", namespace, COPY), "the end of the copy")
    assert len(kube.find_all("Pod", namespace, REPLICA)) == 1


@pytest.mark.usefixtures("serving", "replica")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_capacity_test_must_leave_nothing(
    kube: Kube, kubelet: Kubelet, namespace: str, control_plane: ControlPlane, tmp_path: Path, number: signal.Signals
):
    """Ctrl-C, or SIGTERM, in the middle of the load: the copy is deleted before the command ends."""
    process = start(control_plane, tmp_path, namespace, "--via", "pod", "--duration", "60s")
    ready_copy(kube, kubelet, namespace)
    assert process.stdout is not None
    for line in process.stdout:
        if "as it goes" in line:
            break
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    wait_for(lambda: not kube.find_all("Pod", namespace, COPY), "the end of the copy")


def test_capacity_test_must_tell_what_it_cannot_test(
    kube: Kube, namespace: str, control_plane: ControlPlane, tmp_path: Path
):
    """An endpoint that is not there, and one that nothing serves yet: a sentence, exit code 1, and no pod."""
    process = start(control_plane, tmp_path, namespace)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, f"there is no ModelEndpoint {namespace}/model" in said) == (1, True), said
    kube.apply(endpoint("model", namespace))
    process = start(control_plane, tmp_path, namespace)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, "has nothing that serves yet" in said) == (1, True), said
    assert kube.find_all("Pod", namespace) == []
