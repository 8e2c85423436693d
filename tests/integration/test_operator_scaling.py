"""The scaler in the running operator: real Deployments, and a server that speaks Prometheus' query API."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.kubelet import Kubelet
from tests.fakes.prometheus import FakePrometheus
from tests.integration.kube import Kube, Manifest, condition, wait_for
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import OperatorProcess, Operators

PODS = "sagebrush.dev/endpoint=model"
COOLDOWN_SECONDS = 6


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    """A Prometheus whose series the test sets."""
    with FakePrometheus() as running:
        yield running


def start(operators: Operators, prometheus: FakePrometheus, namespace: str) -> OperatorProcess:
    """An operator that looks at the metrics twice a second."""
    return operators.start(
        f"--namespaces={namespace}",
        f"--prometheus-url={prometheus.url}",
        "--scaling-interval-seconds=0.5",
        lease_namespace=namespace,
    )


@pytest.fixture
def scaled(kube: Kube, namespace: str) -> None:
    """An endpoint with one to four replicas for 60 requests per minute each."""
    kube.apply(endpoint("model", namespace, scaling=scaling(scaleInCooldown=f"{COOLDOWN_SECONDS}s")))


def serve(kube: Kube, kubelet: Kubelet, namespace: str, count: int) -> list[str]:
    """Names of the endpoint's pods, once there are this many, all serving."""
    pods = kube.wait_pods(namespace, PODS, count)
    for pod in pods:
        kubelet.serving(pod, since=datetime.now(UTC) - timedelta(minutes=2))
    return [pod["metadata"]["name"] for pod in pods]


def wait_scaling(kube: Kube, namespace: str, reason: str, *, replicas: int | None = None) -> Manifest:
    """status.scaling once it has this reason."""

    def told(body: Manifest) -> bool:
        found = body.get("status", {}).get("scaling", {})
        return found.get("reason") == reason and replicas in (None, found["desiredReplicas"])

    status: Manifest = kube.wait("ModelEndpoint", namespace, "model", told)["status"]["scaling"]
    return status


def wait_replicas(kube: Kube, namespace: str, count: int) -> None:
    """Return once the Deployment wants this many."""
    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] == count)


def time_of(text: str) -> datetime:
    """A Kubernetes timestamp."""
    return datetime.fromisoformat(text)


@pytest.mark.usefixtures("scaled")
def test_scaler_must_follow_the_load_and_hold_without_data(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
):
    """Out with the load and its reason; still with the last number when the metrics break off; in once all pods are seen again."""
    operator = start(operators, prometheus, namespace)
    pods = serve(kube, kubelet, namespace, 1)

    # Success without series is not zero requests.
    told = wait_scaling(kube, namespace, "MetricsMissing")
    assert "holding 1 replica" in told["message"]

    prometheus.load(namespace, "model", requests_per_minute=170, pods=pods)
    wait_replicas(kube, namespace, 3)
    told = kube.wait("ModelEndpoint", namespace, "model", lambda b: b["status"]["scaling"].get("decisions"))["status"][
        "scaling"
    ]
    (decision,) = told["decisions"]
    assert (decision["fromReplicas"], decision["toReplicas"]) == (1, 3)
    assert (
        "170 requests/min over 1 replica is above the target of 60 per replica: scaling out from 1 to 3"
        in decision["reason"]
    )
    events = wait_for(lambda: [e for e in kube.events(namespace, "model") if e[1] == "Scaled"], "an Event Scaled")
    assert events == [("Normal", "Scaled", decision["reason"])]

    pods = serve(kube, kubelet, namespace, 3)
    prometheus.load(namespace, "model", requests_per_minute=170, pods=pods)
    told = wait_scaling(kube, namespace, "WithinTarget", replicas=3)
    assert abs(told["observedRequestsPerMinute"] - 170) < 2
    desired = {"namespace": namespace, "endpoint": "model"}
    wait_for(lambda: operator.metric("sagebrush_scaler_desired_replicas", **desired) == 3, "the metric")
    status = kube.get("ModelEndpoint", namespace, "model")
    assert condition(status, "ScalingActive")["status"] == "True"

    # The server answers 503, then with nothing: both hold, for longer than the scale-in period.
    for mode in ("broken", "empty"):
        prometheus.mode = mode
        told = wait_scaling(kube, namespace, "MetricsMissing", replicas=3)
        assert "holding 3 replicas" in told["message"]
        assert condition(kube.get("ModelEndpoint", namespace, "model"), "ScalingActive")["status"] == "False"
    asked, since = prometheus.queries, datetime.now(UTC)
    wait_for(
        lambda: (
            datetime.now(UTC) - since > timedelta(seconds=COOLDOWN_SECONDS + 1) and prometheus.queries >= asked + 10
        ),
        "ten queries over a scale-in period",
    )
    assert kube.get("Deployment", namespace, "model")["spec"]["replicas"] == 3

    # One pod is missing from the data: enough to scale out on, never to scale in on.
    prometheus.mode = "series"
    prometheus.load(namespace, "model", requests_per_minute=10, pods=pods[:2])
    told = wait_scaling(kube, namespace, "MetricsPartial", replicas=3)
    assert pods[2] in told["message"]

    prometheus.load(namespace, "model", requests_per_minute=10, pods=pods)
    wait_replicas(kube, namespace, 1)
    told = wait_scaling(kube, namespace, "WithinTarget", replicas=1)
    out, back = told["decisions"]
    assert (back["fromReplicas"], back["toReplicas"]) == (3, 1)
    assert f"enough for all of the last {COOLDOWN_SECONDS} s" in back["reason"]
    assert time_of(back["time"]) - time_of(out["time"]) >= timedelta(seconds=COOLDOWN_SECONDS)


@pytest.mark.usefixtures("scaled")
def test_restarted_scaler_must_see_a_full_period_before_it_scales_in(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
):
    """What happened while no operator looked is unknown: after a restart nothing is removed before a whole period was seen."""
    first = start(operators, prometheus, namespace)
    prometheus.load(namespace, "model", requests_per_minute=170, pods=serve(kube, kubelet, namespace, 1))
    wait_replicas(kube, namespace, 3)
    pods = serve(kube, kubelet, namespace, 3)
    last = kube.wait("ModelEndpoint", namespace, "model", lambda b: b["status"].get("scaling", {}).get("lastScaleTime"))
    changed = time_of(last["status"]["scaling"]["lastScaleTime"])
    first.kill()
    prometheus.load(namespace, "model", requests_per_minute=10, pods=pods)
    lease = kube.get("Lease", namespace, "sagebrush-operator")
    lease["spec"]["holderIdentity"] = ""  # so that the test need not wait for it to run out
    kube.patch("Lease", namespace, "sagebrush-operator", {"spec": lease["spec"]})
    wait_for(
        lambda: datetime.now(UTC) - changed > timedelta(seconds=COOLDOWN_SECONDS),
        "the end of the cooldown of the last change",
    )
    # A long period until it has been seen that it is waited for, and then the short one.
    kube.patch("ModelEndpoint", namespace, "model", {"spec": {"scaling": {"scaleInCooldown": "10m"}}})
    restarted = datetime.now(UTC)
    start(operators, prometheus, namespace)
    told = wait_scaling(kube, namespace, "ScaleInStabilizing", replicas=3)
    assert "metrics are complete only since" in told["message"]
    kube.patch("ModelEndpoint", namespace, "model", {"spec": {"scaling": {"scaleInCooldown": f"{COOLDOWN_SECONDS}s"}}})
    wait_replicas(kube, namespace, 1)
    decisions = kube.wait("ModelEndpoint", namespace, "model", lambda b: len(b["status"]["scaling"]["decisions"]) == 2)[
        "status"
    ]["scaling"]["decisions"]
    assert time_of(decisions[-1]["time"]) - restarted >= timedelta(seconds=COOLDOWN_SECONDS)
    assert [(d["fromReplicas"], d["toReplicas"]) for d in decisions] == [(1, 3), (3, 1)]


@pytest.mark.usefixtures("scaled")
def test_scaler_without_prometheus_must_say_so(kube: Kube, namespace: str, operators: Operators):
    """An endpoint with a policy and an operator without Prometheus: the replicas are held, and status says which flag is missing."""
    operators.start(f"--namespaces={namespace}", "--scaling-interval-seconds=0.5", lease_namespace=namespace)
    told = wait_scaling(kube, namespace, "MetricsMissing")
    assert "set --prometheus-url" in told["message"]
    wait_replicas(kube, namespace, 1)
