"""Traffic that everyone could have predicted: the running operator learns it, and has replicas Ready before it comes."""

import time
from collections.abc import Iterator

import pytest

from tests.fakes.kubelet import Kubelet
from tests.fakes.prometheus import FakePrometheus
from tests.integration.kube import Kube, Manifest
from tests.integration.manifests import endpoint, scaling
from tests.integration.operator_process import Operators

PODS = "sagebrush.dev/endpoint=model"
DAY, HOUR = 86_400, 3600
QUIET, BUSY = 5.0, 50.0
"""Requests per second, of which a replica can do 10."""
DAYS_KNOWN = 4
STARTUP_SECONDS = 300.0
AHEAD_SECONDS = 240.0
"""From the test's begin to the hour that is busy every day: less than replicas took to be Ready so far."""
SOON_SECONDS = 90.0
"""For the operator to read the history, learn, and ask for replicas; a busy machine may take as long."""


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    """One with a past of some days."""
    with FakePrometheus() as running:
        yield running


def test_learned_season_must_have_replicas_ready_before_the_ramp(
    kube: Kube, namespace: str, kubelet: Kubelet, operators: Operators, prometheus: FakePrometheus
) -> None:
    """Some days with the same busy hour; today, minutes before it, requests are few still, and replicas are there."""
    ramp = time.time() + AHEAD_SECONDS

    def past(at: float) -> float:
        if at < ramp - DAYS_KNOWN * DAY - HOUR:
            return 0.0
        return BUSY if 0 <= (at - ramp) % DAY < HOUR else QUIET

    prometheus.past = past
    policy = scaling(maxReplicas=12, target={"latency": "1s"}, capacity={"requestsPerSecond": 10, "concurrency": 4})
    kube.apply(endpoint("model", namespace, scaling=policy))
    startup = {"p50Seconds": STARTUP_SECONDS, "p90Seconds": STARTUP_SECONDS, "recent": [STARTUP_SECONDS] * 10}
    told = {"desiredReplicas": 1, "reason": "WithinTarget", "message": "as it was yesterday", "startup": startup}
    kube.patch("ModelEndpoint", namespace, "model", {"status": {"scaling": told}}, subresource="status")
    operators.start(
        f"--namespaces={namespace}", f"--prometheus-url={prometheus.url}", "--scaling-interval-seconds=0.5",
        "--scaling-history-days=4", lease_namespace=namespace,
    )  # fmt: skip
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    kubelet.serving(pod)
    prometheus.load(namespace, "model", requests_per_minute=QUIET * 60, pods=[pod["metadata"]["name"]])

    kube.wait("Deployment", namespace, "model", lambda body: body["spec"]["replicas"] * 10 > BUSY, seconds=SOON_SECONDS)
    wanted = kube.wait("Deployment", namespace, "model", lambda _: True)["spec"]["replicas"]
    for each in kube.wait_pods(namespace, PODS, wanted):
        kubelet.serving(each)

    def foretold(body: Manifest) -> bool:
        found = body["status"].get("scaling", {})
        return {"Prediction", "Target"} <= {each["by"] for each in found.get("proposals", ())}

    status = kube.wait("ModelEndpoint", namespace, "model", foretold)["status"]["scaling"]
    assert time.time() < ramp
    asked = {each["by"]: each["replicas"] for each in status["proposals"]}
    assert asked["Target"] < 4 < BUSY / 10 < asked["Prediction"]
    assert status["observedRequestsPerMinute"] < 2 * QUIET * 60
    assert "day" in status["prediction"]["learned"]
