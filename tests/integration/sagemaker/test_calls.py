"""What the operator costs: calls in peace and in a storm."""

import pytest

from tests.fakes.prometheus import FakePrometheus
from tests.integration.kube import Kube
from tests.integration.operator_process import Operators
from tests.integration.sagemaker.aws import Aws, endpoint, over_budget
from tests.integration.sagemaker.endpoints import QUICK, looks, wait_looks, wait_serving
from tests.integration.sagemaker.jobs import slow

STEADY_SECONDS = 60
STORM = 30


@pytest.mark.parametrize("engine", ["Sagebrush", "none"])
def test_peace_must_cost_one_look_a_minute(
    aws: Aws, kube: Kube, namespace: str, operators: Operators, monkeypatch: pytest.MonkeyPatch, engine: str
):
    """An endpoint in service is one DescribeEndpoint per minute and nothing else, however often the metrics tick."""
    slow(aws, monkeypatch, **QUICK)
    with FakePrometheus() as prometheus:
        aws.start(operators, namespace, f"--prometheus-url={prometheus.url}", "--scaling-interval-seconds=0.5")
        policy = {"scaling": {"maxReplicas": 4, "target": {"requestsPerMinute": 600}}} if engine == "Sagebrush" else {}
        kube.apply(endpoint("kdd", namespace, **policy))
        prometheus.load(namespace, "kdd", requests_per_minute=60, pods=["i-0"])
        wait_serving(kube, namespace)
        wait_looks(aws, namespace, 1)
        begun, asked = len(aws.simulator.audit.entries), prometheus.queries
        since = aws.simulator.clock.now()
        wait_looks(aws, namespace, 8)
        minutes = (aws.simulator.clock.now() - since) / STEADY_SECONDS
        entries = aws.simulator.audit.entries[begun:]
        assert {"DescribeEndpoint"} == {entry.operation for entry in entries}
        assert len(entries) <= minutes * 1.2 + 1, "looks are spread by up to 15 % sooner"
        assert prometheus.queries > asked, "metrics ticked"
        assert 0 == aws.simulator.audit.count("List[!T]*")
        assert looks(aws, namespace)


def test_storm_must_keep_to_the_budget(
    aws: Aws, kube: Kube, namespace: str, operators: Operators, monkeypatch: pytest.MonkeyPatch
):
    """However many endpoints come at once: at no moment have there been more calls than the burst and the rate give."""
    rate, burst = 0.2, 5
    slow(aws, monkeypatch, **QUICK)
    aws.start(operators, namespace, f"--aws-calls-per-second={rate}", f"--aws-burst={burst}")
    names = [f"kdd-{number}" for number in range(STORM)]
    begun, since = len(aws.simulator.audit.entries), aws.simulator.clock.now()
    for name in names:
        kube.apply(endpoint(name, namespace))
    for name in names:
        wait_serving(kube, namespace, name=name)
    entries = [entry for entry in aws.simulator.audit.entries[begun:] if entry.service != "s3"]
    assert len(entries) > 10 * STORM
    assert over_budget(entries, since=since, rate=rate, burst=burst) <= 1, "one for the clock's grain"
    assert STORM == aws.simulator.audit.count("CreateEndpoint", code="OK")
