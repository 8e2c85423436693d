"""Whatever happens to Prometheus, no replica goes for it: each fault alone, under the policy that is quickest to remove one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from devcluster.controlplane import ControlPlane
from tests.fakes.faulty_prometheus import FaultyPrometheus, between, with_gap, without, without_values
from tests.fakes.kubelet import Kubelet, running
from tests.integration.kube import Kube, Manifest, wait_for
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import OperatorProcess, Operators
from tests.integration.replica_watch import ReplicaWatch

NAMESPACE = "test-scaling-faults"
PODS = "sagebrush.dev/endpoint=model"
LOOKS = 3
"""Decisions under a fault: with no cooldown each of them removes replicas where it believes what it sees."""
RIGHT_SECONDS = 15.0
"""From the end of any fault to the right number: one look every 0.5 s, a question that hangs for 2 s, and a busy machine."""
LOW, USUAL, MORE = 10, 170, 230
"""Requests per minute, of which a replica is to carry 60: for 1, 3 and 4 replicas."""


@dataclass
class Scene:
    """An endpoint with three replicas under its usual load, and what a test does to it."""

    kube: Kube
    operator: OperatorProcess
    prometheus: FaultyPrometheus
    pods: list[str]
    watch: ReplicaWatch

    def load(self, requests_per_minute: float) -> None:
        """What the three pods get together."""
        self.prometheus.load(NAMESPACE, "model", requests_per_minute=requests_per_minute, pods=self.pods)

    def wait_told(self, reason: str, words: str = "") -> None:
        """Return once status.scaling has this reason, with these words in its message."""

        def told(body: Manifest) -> bool:
            scaling = body["status"]["scaling"]
            return scaling["reason"] == reason and words in scaling["message"]

        self.kube.wait("ModelEndpoint", NAMESPACE, "model", told)

    def wait_replicas(self, count: int, *, seconds: float = RIGHT_SECONDS) -> None:
        """Return once the Deployment asks for this many."""
        self.kube.wait("Deployment", NAMESPACE, "model", lambda b: b["spec"]["replicas"] == count, seconds=seconds)

    def wait_looks(self, count: int = LOOKS) -> None:
        """Return after so many decisions more."""
        name, labels = "sagebrush_scaler_decisions_total", {"namespace": NAMESPACE, "endpoint": "model"}
        before = self.operator.metric(name, **labels)
        wait_for(lambda: self.operator.metric(name, **labels) >= before + count, f"{count} decisions")


@pytest.fixture(scope="module")
def prometheus() -> Iterator[FaultyPrometheus]:
    """One that tests break."""
    with FaultyPrometheus() as running:
        yield running


@pytest.fixture(scope="module")
def started(
    control_plane: ControlPlane,
    kube: Kube,
    prometheus: FaultyPrometheus,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """The operator, and an endpoint whose replicas go at once where fewer would do."""
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kube.wait("ServiceAccount", NAMESPACE, "default")
    kube.apply(endpoint("model", NAMESPACE, scaling=scaling(minReplicas=1, maxReplicas=6, scaleInCooldown="0s")))
    operators = Operators(kubeconfig=control_plane.kubeconfig, folder=tmp_path_factory.mktemp("faults"))
    try:
        operator = operators.start(
            f"--namespaces={NAMESPACE}",
            f"--prometheus-url={prometheus.url}",
            "--scaling-interval-seconds=0.5",
            lease_namespace=NAMESPACE,
        )
        pods = _serve(kube, count=1)
        with ReplicaWatch(kube.lines, namespace=NAMESPACE, name="model") as watch:
            yield Scene(kube, operator, prometheus, pods, watch)
    finally:
        operators.end()
        kube.delete("Namespace", None, NAMESPACE)


def _serve(kube: Kube, *, count: int) -> list[str]:
    pods, kubelet = kube.wait_pods(NAMESPACE, PODS, count), Kubelet(kube, NAMESPACE)
    for pod in pods:
        # The counters of the fake Prometheus have been running for two minutes.
        since = datetime.now(UTC) - timedelta(minutes=10)
        kubelet.serving(pod, since=since)
        kubelet.report(pod, "Running", main=[running("serve", since)])
    return [pod["metadata"]["name"] for pod in pods]


@pytest.fixture
def scene(started: Scene) -> Iterator[Scene]:
    """The same for each test: healthy, usual load, three replicas."""
    started.prometheus.heal()
    deployment = started.kube.get("Deployment", NAMESPACE, "model")
    assert deployment is not None
    started.pods = _serve(started.kube, count=deployment["spec"]["replicas"])
    for load, replicas in (LOW, 1), (USUAL, 3):
        started.load(load)
        started.wait_replicas(replicas)
        started.pods = _serve(started.kube, count=replicas)
    started.load(USUAL)
    started.wait_told("WithinTarget")
    started.watch.since()
    yield started
    started.prometheus.heal()


@dataclass
class Fault:
    """One way to go wrong, the load that comes while it lasts, and what the scaler must make of it."""

    name: str
    begin: Callable[[Scene], None]
    reason: str
    load: float = USUAL
    words: str = ""


def _changed(make: Callable[[Scene], object]) -> Callable[[Scene], None]:
    return lambda scene: setattr(scene.prometheus, "change", make(scene))


def _set(name: str, value: object) -> Callable[[Scene], None]:
    return lambda scene: setattr(scene.prometheus, name, value)


FAULTS = [
    Fault("killed", lambda s: s.prometheus.kill(), "MetricsMissing", words="cannot be reached"),
    Fault("hanging", lambda s: s.prometheus.hang(), "MetricsMissing", words="did not answer within 2 s"),
    Fault("HTTP 500", _set("status", 500), "MetricsMissing", words="HTTP status 500"),
    Fault("unavailable", _set("mode", "broken"), "MetricsMissing", words="the test broke it"),
    Fault("somebody else", lambda s: s.prometheus.usurp(), "MetricsMissing", words="HTTP status 404"),
    Fault("empty success", _set("mode", "empty"), "MetricsMissing", words="no samples"),
    Fault("all NaN", _changed(lambda _: without_values()), "MetricsMissing", words="no samples"),
    Fault("one pod NaN", _changed(lambda s: without_values(s.pods[0])), "MetricsPartial", words="no fresh samples"),
    Fault("one pod missing", _changed(lambda s: without(s.pods[0])), "MetricsPartial", words="no fresh samples"),
    Fault("most series missing", _changed(lambda s: without(*s.pods[:2])), "MetricsPartial", words="2 pods"),
    # What is seen is a low load, and all of it; only that it is not the present, or not the whole minute.
    Fault("no scrapes", _changed(lambda _: between(newest_seconds=30)), "MetricsStale", LOW, "more than 10 s ago"),
    Fault("just begun", _changed(lambda _: between(oldest_seconds=15)), "MetricsPartial", LOW, "it is not known"),
    Fault("back", _changed(lambda _: with_gap(begin_seconds=40, end_seconds=20)), "MetricsPartial", LOW, "no pod was"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_of_prometheus_must_remove_no_replica(scene: Scene, fault: Fault) -> None:
    """Held through every look at the fault, with its reason; what comes after it is followed within RIGHT_SECONDS, both ways."""
    fault.begin(scene)
    if fault.load != USUAL:
        scene.load(fault.load)
    scene.wait_told(fault.reason, fault.words)
    scene.wait_looks()
    assert [3] == scene.watch.values
    scene.load(MORE)
    scene.prometheus.heal()
    scene.wait_replicas(4)
    assert [3, 4] == scene.watch.values
    scene.load(LOW)
    scene.wait_replicas(1)
    assert [3, 4, 1] == scene.watch.values


def test_late_answers_must_be_followed(scene: Scene) -> None:
    """An answer that takes longer than the interval between two, and comes in time, is as good as any."""
    scene.prometheus.late_seconds = 1.2
    scene.load(MORE)
    scene.wait_replicas(4)
    assert [3, 4] == scene.watch.values


def test_half_an_answer_must_still_scale_out(scene: Scene) -> None:
    """What is seen of some pods is the least there was: enough to add replicas on."""
    scene.prometheus.change = without(scene.pods[0])
    scene.load(MORE * 1.5)  # two thirds of it are for 4 replicas
    scene.wait_replicas(4)
    scene.prometheus.heal()
    scene.wait_replicas(6)
    assert [3, 4, 6] == scene.watch.values


def test_fault_upon_fault_must_remove_no_replica(scene: Scene) -> None:
    """Killed, back with nothing, with half of it, with a minute that has a hole: held until the whole of it is there."""
    scene.prometheus.kill()
    scene.wait_told("MetricsMissing")
    scene.load(LOW)
    for change, reason in (
        (without(*scene.pods), "MetricsMissing"),
        (between(oldest_seconds=2), "MetricsFilling"),
        (without(scene.pods[1]), "MetricsPartial"),
        (with_gap(begin_seconds=40, end_seconds=20), "MetricsPartial"),
    ):
        scene.prometheus.heal(change=change)
        scene.wait_told(reason)
        scene.wait_looks()
    assert [3] == scene.watch.values
    scene.prometheus.heal()
    scene.wait_replicas(1)


def test_replicas_that_are_not_ready_must_not_look_like_no_load(scene: Scene) -> None:
    """Where no replica takes requests nobody can count them, so that none of the replicas is removed for it."""
    pods = [scene.kube.get("Pod", NAMESPACE, name) for name in scene.pods]
    for pod in pods:
        conditions = [
            {**each, "status": "False"} if each["type"] in ("Ready", "ContainersReady") else each
            for each in pod["status"]["conditions"]
        ]
        scene.kube.patch("Pod", NAMESPACE, pod["metadata"]["name"], {"status": {"conditions": conditions}},
                         subresource="status")  # fmt: skip
    scene.kube.wait("ModelEndpoint", NAMESPACE, "model", lambda b: b["status"]["readyReplicas"] == 0)
    scene.load(0)
    scene.wait_looks()
    assert [3] == scene.watch.values
    # They take requests again: the minute that is seen whole is still one in which nobody did.
    for pod in pods:
        Kubelet(scene.kube, NAMESPACE).serving(pod)
    scene.wait_told("MetricsFilling", "no replica was ready before")
    scene.wait_looks()
    assert [3] == scene.watch.values
