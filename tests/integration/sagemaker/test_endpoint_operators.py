"""Operators that are killed at every change of an endpoint's life: always one endpoint for the object, and nothing for nobody."""

from collections.abc import Callable

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.operator_process import Operators
from tests.integration.sagemaker.autoscaling import STEP, alarms, scaling, targets
from tests.integration.sagemaker.aws import Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    QUICK,
    codes,
    counts,
    edit,
    names,
    new_model,
    reasons,
    the_endpoint,
    things,
    wait_gone,
    wait_serving,
)
from tests.integration.sagemaker.jobs import slow
from tests.integration.sagemaker.kills import change_killer

EXTRA = {
    "stepPolicies": [STEP],
    "schedules": [{"name": "morning", "schedule": "cron(0 8 ? * MON-FRI *)", "minReplicas": 2}],
}
POLICIES = {"sagebrush-invocations", "sagebrush-step-spike"}
LIFE = (
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
    "CreateModel",
    "CreateEndpointConfig",
    "UpdateEndpoint",
    "UpdateEndpointWeightsAndCapacities",
    "UpdateEndpoint",
    "DeleteEndpoint",
    "DeleteEndpointConfig",
    "DeleteEndpointConfig",
    "DeleteModel",
    "DeleteModel",
)
"""What changes something in a life of create, update, scale, roll back and delete, in this order."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_operator_must_leave_what_the_next_goes_on_from(
    aws: Aws, kube: Kube, namespace: str, operators: Operators, monkeypatch: pytest.MonkeyPatch, after: bool
):
    """
    Every operator but the last dies after its first call that changes something, or before its second.

    So each prefix of the life's calls is one after which a new operator goes on; each call has its effect exactly once,
    nothing is made besides, and nothing is left.
    """
    slow(aws, monkeypatch, **QUICK, endpoint_deleting=30)
    killer = change_killer(aws, monkeypatch, after=after)
    first = ""

    def until(done: Callable[[], bool]) -> None:
        """Operators follow one another until this is so."""
        while not done():
            if killer.is_over():
                killer.operator = aws.start(operators, namespace)
            wait_for(lambda: done() or killer.is_over(), "a kill, or the end")

    def serves(model: str, count: int) -> bool:
        with aws.simulator.agenda.lock:
            if len(names(aws, namespace, "endpoint")) != 1:
                return False
            found = the_endpoint(aws, namespace)
            config = found.fleet.config_name
            return (
                found.status == "InService"
                and counts(found) == {"AllTraffic": (count, count)}
                and ((config == first) if model == "first" else config != first)
            )

    kube.apply(endpoint("kdd", namespace))
    until(lambda: serves("new", 1))
    first = the_endpoint(aws, namespace).fleet.config_name
    revision = aws.simulator.world.region().endpoint_configs[first].tags["sagebrush.dev/revision"]
    assert 3 == len(things(aws, namespace))
    edit(kube, namespace, new_model(aws, 1))
    until(lambda: serves("new", 1))
    assert 5 == len(things(aws, namespace))
    edit(kube, namespace, {"replicas": 2})
    until(lambda: serves("new", 2))
    edit(kube, namespace, {"sageMaker": {"revision": revision}})
    until(lambda: serves("first", 2))
    assert 5 == len(things(aws, namespace))
    kube.delete("ModelEndpoint", namespace, "kdd")
    until(lambda: kube.get("ModelEndpoint", namespace, "kdd") is None)
    aws.wait_clean()

    done = [
        entry
        for entry in aws.simulator.audit.calls()
        if entry.operation.startswith(("Create", "Update", "Delete")) and entry.code == "OK"
    ]
    assert sorted(LIFE) == sorted(entry.operation for entry in done)
    assert len(killer.killed) >= len(LIFE) - 3, killer.killed
    assert [] == [code for code in codes(aws, "*", namespace) if code == "ResourceInUse"]
    assert not {"NameConflict", "InvalidSpec", "Recreating", "UpdateRolledBack"} & set(reasons(kube, namespace))


SCALED_LIFE = (
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
    "DeleteEndpoint",
    "CreateEndpoint",
    "RegisterScalableTarget",
    "PutScalingPolicy",
    "PutScalingPolicy",
    "PutScheduledAction",
    "PutMetricAlarm",
    "CreateEndpointConfig",
    "DeleteAlarms",
    "DeregisterScalableTarget",
    "UpdateEndpoint",
    "RegisterScalableTarget",
    "PutScalingPolicy",
    "PutScalingPolicy",
    "PutScheduledAction",
    "PutMetricAlarm",
    "DeleteAlarms",
    "DeregisterScalableTarget",
    "DeleteEndpoint",
    "DeleteEndpointConfig",
    "DeleteEndpointConfig",
    "DeleteModel",
)
"""
The same of an endpoint that Application Auto Scaling scales: its first start fails, so that it is deleted and made again;
registered with two policies, a schedule and an alarm; out of scaling and in again for another instance type; deleted.
"""
REPEATABLE = {"DeleteAlarms", "DeregisterScalableTarget", "PutScalingPolicy", "PutScheduledAction", "PutMetricAlarm"}
"""What is put or taken away again is the same: who died between the effect and its record may do so."""


@pytest.mark.timeout(900)  # two dozen operators start, one after the other
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_operator_must_leave_scaling_that_the_next_goes_on_from(
    aws: Aws, kube: Kube, namespace: str, operators: Operators, monkeypatch: pytest.MonkeyPatch, after: bool
):
    """
    The same where AWS scales and the first start fails: one endpoint, registered as the spec says, and nothing left of it.

    What makes something has its effect once; a variant is never updated while it is registered.
    """
    slow(aws, monkeypatch, **QUICK, endpoint_deleting=30, ping_launches=0.1)
    aws.simulator.faults.add("fail_ping", resource=f"{namespace}-*")
    killer = change_killer(aws, monkeypatch, after=after)

    def until(done: Callable[[], bool]) -> None:
        while not done():
            if killer.is_over():
                killer.operator = aws.start(operators, namespace)
            wait_for(lambda: done() or killer.is_over(), "a kill, or the end")

    def in_step(kind: str) -> bool:
        with aws.simulator.agenda.lock:
            found = targets(aws, namespace)
            return (
                len(names(aws, namespace, "endpoint")) == 1
                and [each.instance_type for each in the_endpoint(aws, namespace).fleet.variants] == [kind]
                and the_endpoint(aws, namespace).status == "InService"
                and [(set(each.policies), set(each.schedules)) for each in found] == [(POLICIES, {"sagebrush-morning"})]
                and len(alarms(aws, namespace)) == 1
            )

    kube.apply(endpoint("kdd", namespace, scaling=scaling(applicationAutoScaling=EXTRA)))
    until(lambda: in_step("ml.m5.large"))
    edit(kube, namespace, {"sageMaker": {"instanceType": "ml.m5.xlarge"}})
    until(lambda: in_step("ml.m5.xlarge"))
    kube.delete("ModelEndpoint", namespace, "kdd")
    until(lambda: kube.get("ModelEndpoint", namespace, "kdd") is None)
    aws.wait_clean()
    assert ([], {}) == (targets(aws, namespace), alarms(aws, namespace))

    done = [e.operation for e in aws.simulator.audit.calls(code="OK") if e.operation in SCALED_LIFE]
    once = sorted(each for each in SCALED_LIFE if each not in REPEATABLE)
    assert once == sorted(each for each in done if each not in REPEATABLE)
    assert all(done.count(each) >= SCALED_LIFE.count(each) for each in REPEATABLE)
    assert len(killer.killed) >= len(SCALED_LIFE) - 4, killer.killed
    assert {*REPEATABLE, "RegisterScalableTarget", "UpdateEndpoint", "DeleteEndpoint"} <= {*killer.killed}, (
        killer.killed
    )
    refused = [entry for entry in aws.simulator.audit.calls() if entry.code == "ValidationException"]
    assert [] == [entry for entry in refused if entry.operation == "UpdateEndpoint"]


def test_operator_that_follows_must_bring_the_object_up_to_date(
    aws: Aws, kube: Kube, namespace: str, operators: Operators, monkeypatch: pytest.MonkeyPatch
):
    """What was changed while no operator ran is noticed by the next: status, a new revision, and a deletion."""
    slow(aws, monkeypatch, **QUICK)
    kube.apply(endpoint("kdd", namespace))
    first = aws.start(operators, namespace)
    wait_serving(kube, namespace)
    first.kill()
    edit(kube, namespace, new_model(aws, 1))
    second = aws.start(operators, namespace)
    wait_serving(kube, namespace)
    assert ["OK"] == codes(aws, "UpdateEndpoint", namespace)
    second.kill()
    kube.delete("ModelEndpoint", namespace, "kdd")
    aws.start(operators, namespace)
    wait_gone(aws, kube, namespace)
