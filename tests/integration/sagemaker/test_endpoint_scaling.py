"""Scaling by the operator's own policy: Prometheus says how much, UpdateEndpointWeightsAndCapacities makes it so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.prometheus import FakePrometheus
from tests.integration.kube import Kube, Manifest, wait_for
from tests.integration.operator_process import OperatorProcess, Operators
from tests.integration.sagemaker.aws import BUCKET, REGION, ROLE, Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    LONG,
    QUICK,
    codes,
    counts,
    edit,
    finish,
    new_model,
    standing,
    the_endpoint,
    wait_gone,
    wait_looks,
    wait_serving,
    wait_status,
)
from tests.integration.sagemaker.jobs import slow

EXAMPLES = Path(__file__).parents[3] / "examples/kdd/sagemaker"
ARTICLE = 72_000
"""Requests per minute."""


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    """A Prometheus whose series the test sets."""
    with FakePrometheus() as running:
        yield running


def start(aws: Aws, operators: Operators, namespace: str, prometheus: FakePrometheus) -> OperatorProcess:
    """An operator that looks at the metrics twice a second."""
    return aws.start(operators, namespace, f"--prometheus-url={prometheus.url}", "--scaling-interval-seconds=0.5")


def scaling(target: float, **policy: Any) -> Manifest:
    """At most eight instances for *target* requests per minute each."""
    return {"maxReplicas": 8, "target": {"requestsPerMinute": target}, **policy}


def load(prometheus: FakePrometheus, namespace: str, rate: float, instances: int) -> None:
    """So much over so many instances."""
    pods = [f"i-{number}" for number in range(instances)]
    prometheus.load(namespace, "kdd", requests_per_minute=rate, pods=pods)


def wait_count(aws: Aws, namespace: str, count: int) -> None:
    """Return once so many instances serve."""
    wait_for(
        lambda: counts(the_endpoint(aws, namespace)) == {"AllTraffic": (count, count)},
        f"{count} instances",
        otherwise=lambda: str(counts(the_endpoint(aws, namespace))),
    )


def wait_scaling(kube: Kube, namespace: str, reason: str, *, replicas: int | None = None) -> Manifest:
    """status.scaling once it has this reason."""

    def told(body: Manifest) -> bool:
        found = body.get("status", {}).get("scaling") or {}
        return found.get("reason") == reason and replicas in (None, found["desiredReplicas"])

    status: Manifest = kube.wait("ModelEndpoint", namespace, "kdd", told)["status"]["scaling"]
    return status


# Not as fast as elsewhere: metrics are looked at twice a second of the wall, and half a minute without is a gap.
@pytest.mark.parametrize("aws", [20.0], indirect=True)
def test_article_must_scale_to_three_and_to_five(
    aws: Aws,
    kube: Kube,
    namespace: str,
    operators: Operators,
    prometheus: FakePrometheus,
    monkeypatch: pytest.MonkeyPatch,
):
    """72,000 requests a minute are three instances at 30,000 each and five at 15,000, one; busy states and gaps hold."""
    slow(aws, monkeypatch, **{name: seconds / 6 for name, seconds in QUICK.items()})
    start(aws, operators, namespace, prometheus)
    policy = scaling(30_000, scaleInCooldown="1m")
    kube.apply(endpoint("kdd", namespace, scaling=policy))
    wait_serving(kube, namespace)
    told = wait_scaling(kube, namespace, "MetricsMissing")
    assert "holding 1 replica" in told["message"]
    load(prometheus, namespace, ARTICLE, 1)
    wait_count(aws, namespace, 3)
    load(prometheus, namespace, ARTICLE, 3)
    wait_scaling(kube, namespace, "WithinTarget", replicas=3)
    assert ["OK"] == codes(aws, "UpdateEndpointWeightsAndCapacities", namespace)

    # While AWS is at something else, the number is held and nothing is asked for in vain.
    aws.simulator.faults.add("system_update", resource=f"{namespace}-*", seconds=LONG, times=1)
    found = wait_status(aws, namespace, "SystemUpdating")
    kube.wait("ModelEndpoint", namespace, "kdd", lambda body: standing(body) == ("Ready", "SystemUpdating"))
    edit(kube, namespace, {"scaling": {"target": {"requestsPerMinute": 15_000}}})
    told = wait_scaling(kube, namespace, "EndpointBusy")
    assert 3 == told["desiredReplicas"]
    assert "scaling out from 3 to 5" in told["message"]
    wait_looks(aws, namespace, 2)
    assert ["OK"] == codes(aws, "UpdateEndpointWeightsAndCapacities", namespace)
    finish(aws, found)
    wait_count(aws, namespace, 5)
    assert ["OK", "OK"] == codes(aws, "UpdateEndpointWeightsAndCapacities", namespace)

    # An update keeps what was scaled.
    load(prometheus, namespace, ARTICLE, 5)
    edit(kube, namespace, new_model(aws, 1))
    wait_serving(kube, namespace)
    assert {"AllTraffic": (5, 5)} == counts(the_endpoint(aws, namespace))

    # No data is no reason to remove anything, for longer than the scale-in period.
    for mode in ("broken", "empty"):
        prometheus.mode = mode
        told = wait_scaling(kube, namespace, "MetricsMissing", replicas=5)
    wait_looks(aws, namespace, 2)
    assert {"AllTraffic": (5, 5)} == counts(the_endpoint(aws, namespace))
    prometheus.mode = "series"
    load(prometheus, namespace, 600, 5)
    wait_count(aws, namespace, 1)
    assert ["OK"] * 3 == codes(aws, "UpdateEndpointWeightsAndCapacities", namespace)
    changes = kube.wait(
        "ModelEndpoint", namespace, "kdd", lambda body: len(body["status"]["scaling"].get("decisions", [])) == 3
    )["status"]["scaling"]["decisions"]
    assert [(1, 3), (3, 5), (5, 1)] == [(each["fromReplicas"], each["toReplicas"]) for each in changes]
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(aws, kube, namespace)


def example(name: str, namespace: str) -> Manifest:
    """A manifest of the documentation, with the placeholders filled in and nothing else changed."""
    text = (EXAMPLES / name).read_text()
    for placeholder, value in (
        ("arn:aws:iam::111122223333:role/EXECUTION_ROLE", ROLE),
        ("DATA_BUCKET", BUCKET),
    ):
        text = text.replace(placeholder, value)
    manifest: Manifest = yaml.safe_load(text)
    manifest["metadata"]["namespace"] = namespace
    return manifest


def test_examples_must_serve_scale_and_go(
    aws: Aws,
    kube: Kube,
    namespace: str,
    operators: Operators,
    prometheus: FakePrometheus,
    monkeypatch: pytest.MonkeyPatch,
):
    """The manifests of the documentation, as they are: trained, served, scaled as the article did, and deleted clean."""
    slow(aws, monkeypatch, **QUICK)
    aws.put("kdd/train/part-0.csv")
    aws.put("kdd/validation/part-0.csv")
    start(aws, operators, namespace, prometheus)
    kube.apply(example("endpoint.yaml", namespace))
    kube.apply(example("training-job.yaml", namespace))
    body = wait_serving(kube, namespace)
    assert f"arn:aws:sagemaker:{REGION}:" in body["status"]["sageMaker"]["arn"]
    assert "linear-learner" in body["status"]["model"]["image"]

    load(prometheus, namespace, 1_800, 1)
    wait_count(aws, namespace, 2)
    load(prometheus, namespace, ARTICLE, 2)
    edit(kube, namespace, {"scaling": {"maxReplicas": 8, "target": {"requestsPerMinute": 30_000}}})
    wait_count(aws, namespace, 3)
    load(prometheus, namespace, ARTICLE, 3)
    edit(kube, namespace, {"scaling": {"target": {"requestsPerMinute": 15_000}}})
    wait_count(aws, namespace, 5)
    for kind in ("ModelEndpoint", "TrainingJob"):
        kube.delete(kind, namespace, "kdd")
    wait_gone(aws, kube, namespace)
    kube.wait_gone("TrainingJob", namespace, "kdd")
    aws.wait_clean()
