"""
The scaler while what it depends on is gone, with real pods and a real load: no replica goes for it, and the right number
comes soon after. The faults one by one: tests/integration/test_scaling_faults*.py.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devcluster import cluster as devcluster
from devcluster import processes
from devcluster.paths import state_dir
from examples.demo.addons import ADDONS_NAMESPACE
from examples.demo.stack import SYSTEM_NAMESPACE
from tests.e2e.conftest import World
from tests.e2e.load import Load
from tests.e2e.manifests import endpoint, training_job
from tests.e2e.test_serving import KDD, model_of
from tests.integration.replica_watch import ReplicaWatch

OUTAGE_SECONDS = 60.0
RIGHT_SECONDS = 60.0
"""From the end of an outage to the right number, in which the operator may first have to be started again by the kubelet."""
ENDPOINTS = {"by-prometheus": "Prometheus", "by-pods": "Pods"}
CONNECTIONS, PAUSE_SECONDS = 2, 0.1
PER_REPLICA = 150
"""Requests per minute; the load is of some 1,000 and more than four replicas are to carry, also where answers take 100 ms."""


def wanted(world: World, name: str) -> int:
    """What the Deployment asks for."""
    return int(world.get("deployment", name)["spec"]["replicas"])


def told(world: World, name: str) -> dict[str, Any]:
    """status.scaling."""
    return world.status("modelendpoint", name).get("scaling") or {}


@contextmanager
def lines(world: World, path: str) -> Iterator[Iterator[bytes]]:
    """The lines of an answer of the API server; OSError where there is none."""
    command = world.cluster.kubectl_command("get", "--raw", path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def served(world: World, dataset: Any) -> Iterator[dict[str, Load]]:
    """Two endpoints under load, one by each source, at the two replicas that they may have for now."""
    world.apply(training_job("source", **KDD))
    world.wait_reason("trainingjob", "source", "Completed")
    model = {"artifact": model_of(world.status("trainingjob", "source")["modelArtifact"])}
    for name, source in ENDPOINTS.items():
        world.apply(endpoint(name, model=model, scaling=policy(source, most=2)))
    loads = {}
    for name in ENDPOINTS:
        world.wait_reason("modelendpoint", name, "Serving")
        url, row = f"{world.address(name)}/invocations", dataset.sample().rows[0]
        loads[name] = Load(url, row, connections=CONNECTIONS, pause_seconds=PAUSE_SECONDS).__enter__()
    try:
        for name in ENDPOINTS:
            world.wait_status("modelendpoint", name, "two replicas", lambda status: status.get("readyReplicas") == 2)
        yield loads
    finally:
        for load in loads.values():
            load.__exit__(None, None, None)


def policy(source: str, *, most: int) -> dict[str, Any]:
    """The quickest there is to scale in, so that what is held is held by the lack of data alone."""
    return {
        "source": source,
        "maxReplicas": most,
        "target": {"requestsPerMinute": PER_REPLICA},
        "scaleInCooldown": "2s",
    }


@pytest.fixture
def watches(world: World, served: dict[str, Load]) -> Iterator[dict[str, ReplicaWatch]]:
    """Every number of replicas that either Deployment asks for."""
    found = {
        name: ReplicaWatch(lambda path: lines(world, path), namespace=world.namespace, name=name) for name in ENDPOINTS
    }
    for watch in found.values():
        watch.__enter__()
    yield found
    for watch in found.values():
        watch.__exit__(None, None, None)


def raise_maximum(world: World, most: int) -> None:
    """The load has always asked for more: from now on it may be given."""
    for name in ENDPOINTS:
        patch = f'{{"spec": {{"scaling": {{"maxReplicas": {most}}}}}}}'
        world.kubectl("patch", "modelendpoint", name, "--type=merge", "-p", patch)


def test_loss_of_prometheus_and_of_the_operator_must_remove_no_replica(
    world: World, served: dict[str, Load], watches: dict[str, ReplicaWatch]
) -> None:
    """
    Prometheus killed with all it has stored, and the operator with it: who asks Prometheus holds, who asks the pods goes
    on and scales out; and once Prometheus is back, both have what the load asks for.
    """
    addons = ("-n", ADDONS_NAMESPACE)
    try:
        world.cluster.ctl("scale", "deployment/prometheus", "--replicas=0", *addons)
        world.cluster.ctl("delete", "pods", *addons, "-l", "app=prometheus", "--force", "--grace-period=0", timeout=60)
        world.cluster.ctl("delete", "pods", "-n", SYSTEM_NAMESPACE, "--all", "--force", "--grace-period=0", timeout=60)
        blind = "by-prometheus"
        world.wait(
            f"{blind} to be blind",
            lambda: told(world, blind).get("reason") == "MetricsMissing",
            seen=lambda: told(world, blind),
        )
        raise_maximum(world, 3)
        world.wait("by-pods at three replicas", lambda: wanted(world, "by-pods") == 3, seconds=RIGHT_SECONDS)
        assert [2] == watches[blind].values
    finally:
        world.cluster.ctl("scale", "deployment/prometheus", "--replicas=1", *addons)
    world.cluster.ctl("rollout", "status", "deployment/prometheus", *addons, "--timeout=120s", timeout=130)
    world.wait("by-prometheus at three replicas", lambda: wanted(world, blind) == 3, seconds=RIGHT_SECONDS)
    assert {name: [2, 3] for name in ENDPOINTS} == {name: watch.values for name, watch in watches.items()}
    assert [] == [failure for load in served.values() for failure in load.failures]


def test_minute_without_the_api_server_must_remove_no_replica(
    world: World, served: dict[str, Load], watches: dict[str, ReplicaWatch]
) -> None:
    """
    The API server killed for a minute under load: no request is lost meanwhile, and no replica ever. Not by the operator,
    which loses its lease over it and is started again, and not when Kubernetes, back again, takes the node for lost and sends
    no requests to any pod for a while. Then the load has what it asks for.
    """
    if world.cluster.kind != "devcluster":
        pytest.skip("only the dev cluster's API server is ours to kill")
    before = {name: wanted(world, name) for name in ENDPOINTS}
    answers = {name: load.answers for name, load in served.items()}
    processes.stop(processes.recorded(state_dir())["kube-apiserver"], grace_seconds=0.0)
    begun = time.monotonic()
    try:
        while time.monotonic() < begun + OUTAGE_SECONDS:
            time.sleep(1.0)
            assert [] == [failure for load in served.values() for failure in load.failures]
    finally:
        devcluster.up()
    assert all(load.answers > answers[name] + 100 for name, load in served.items())
    for name in ENDPOINTS:
        world.wait_reason("modelendpoint", name, "Serving")
    raise_maximum(world, 4)
    for name in ENDPOINTS:
        world.wait(f"{name} at four replicas", lambda name=name: wanted(world, name) == 4, seconds=RIGHT_SECONDS)
        assert [before[name], 4] == watches[name].values
