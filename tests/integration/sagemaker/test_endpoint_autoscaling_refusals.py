"""What Application Auto Scaling refuses: shown in its words, tried again as the refusal asks for, in step once it is over."""

from typing import Any

import pytest

from tests.integration.kube import Kube, Manifest, condition, wait_for
from tests.integration.sagemaker.autoscaling import STEP, alarms, operations, scaling, targets, wait_registered
from tests.integration.sagemaker.aws import Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    codes,
    edit,
    message,
    region_of,
    standing,
    the_endpoint,
    wait_gone,
    wait_looks,
    wait_reason,
    wait_serving,
)
from tests.sagemaker_simulator.faults import Rule

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")

EXTRA = {
    "stepPolicies": [STEP],
    "schedules": [{"name": "morning", "schedule": "cron(0 8 ? * MON-FRI *)", "timezone": "UTC", "minReplicas": 2}],
}
CONCURRENT = "You already have a pending update to an Auto Scaling resource."
LIMIT = "You have reached the limit of scaling policies or scheduled actions for this resource."
INVALID = "1 validation error detected: Value '4' at 'maxCapacity' failed to satisfy constraint."
VANISHED = "No scalable target registered for service namespace: sagemaker, resource ID: x, scalable dimension: y"
REFUSALS: dict[str, tuple[dict[str, Any], tuple[str, str], str]] = {
    # how it is refused: the rule, which condition says it, and with which words
    "concurrent update": (
        {"kind": "error", "code": "ConcurrentUpdateException", "message": CONCURRENT},
        ("Reconciling", "ApplyFailed"),
        CONCURRENT,
    ),
    "throttle": ({"kind": "throttle"}, ("Reconciling", "Throttled"), "Rate exceeded"),
    "limit": (
        {"kind": "error", "code": "LimitExceededException", "message": LIMIT},
        ("Reconciling", "QuotaExceeded"),
        LIMIT,
    ),
    "validation": (
        {"kind": "error", "code": "ValidationException", "message": INVALID},
        ("Stalled", "InvalidSpec"),
        INVALID,
    ),
    "permission": (
        {"kind": "access_denied"},
        ("Reconciling", "PermissionDenied"),
        "lacks {service}:{operation}",
    ),
    "service role": (
        {"kind": "error", "code": "FailedResourceAccessException", "message": "The role can't be assumed."},
        ("Reconciling", "PermissionDenied"),
        "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
    ),
    "internal": (
        {"kind": "error", "code": "InternalServiceException", "message": "Try again.", "status": 500},
        ("Reconciling", "ApplyFailed"),
        "Try again.",
    ),
}
OTHERS = [
    ("PutScalingPolicy", "concurrent update"),
    ("PutScalingPolicy", "limit"),
    ("PutScheduledAction", "validation"),
    ("PutScheduledAction", "concurrent update"),
    ("PutMetricAlarm", "permission"),
    ("PutMetricAlarm", "limit"),
]
EVERY = [*(("RegisterScalableTarget", each) for each in REFUSALS), *OTHERS]


def refuse(aws: Aws, namespace: str, operation: str, kind: str, **how: Any) -> Rule:
    """From now on this call about the namespace's things is refused, until `lift`."""
    prefix = "sagebrush" if operation.endswith("Alarm") else "endpoint"
    resource = f"{prefix}/{namespace}-*"
    return aws.simulator.faults.add(kind, operation=operation, resource=resource, times=None, **how)


def lift(rule: Rule) -> None:
    """It is over."""
    rule.times = 0


def wait_told(kube: Kube, namespace: str, where: tuple[str, str], words: str) -> Manifest:
    """The endpoint once this condition has this reason and these words for the present generation."""

    def told(body: Manifest) -> bool:
        found = condition(body, where[0])
        present = found.get("observedGeneration") == body["metadata"]["generation"]
        return present and (found["status"], found["reason"]) == ("True", where[1]) and words in found["message"]

    return kube.wait("ModelEndpoint", namespace, "kdd", told, seconds=40)


@pytest.mark.parametrize(("operation", "how"), EVERY, ids=map("-".join, EVERY))
def test_refused_registration_must_be_told_and_made_later(
    shared_aws: Aws, kube: Kube, namespace: str, operation: str, how: str
):
    """The condition has AWS' sentence and what to do; the endpoint serves on; when AWS takes it, all is in step."""
    rule_of, where, words = REFUSALS[how]
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    rule = refuse(shared_aws, namespace, operation, **rule_of)
    edit(kube, namespace, {"scaling": scaling(applicationAutoScaling=EXTRA)})
    service = "cloudwatch" if operation == "PutMetricAlarm" else "application-autoscaling"
    body = wait_told(kube, namespace, where, words.format(service=service, operation=operation))
    assert operation in condition(body, where[0])["message"]
    assert "True" != condition(body, "ScalingActive").get("status")
    assert "InService" == the_endpoint(shared_aws, namespace).status
    lift(rule)
    target = wait_registered(shared_aws, kube, namespace)
    wait_serving(kube, namespace)
    assert {"sagebrush-invocations", "sagebrush-step-spike"} == set(target.policies)
    assert {"sagebrush-morning"} == set(target.schedules)
    wait_for(lambda: len(alarms(shared_aws, namespace)) == 1, "the alarm of the step policy")
    assert [] == codes(shared_aws, "UpdateEndpointWeightsAndCapacities", namespace)


def test_target_that_vanishes_must_be_registered_before_its_policy_is_put(shared_aws: Aws, kube: Kube, namespace: str):
    """ObjectNotFoundException says that somebody deregistered the variant between two calls: told, and registered again."""
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    wait_serving(kube, namespace)
    target = wait_registered(shared_aws, kube, namespace)
    rule = refuse(shared_aws, namespace, "PutScalingPolicy", "error", code="ObjectNotFoundException", message=VANISHED)
    edit(kube, namespace, {"scaling": {"target": {"requestsPerMinute": 900}}})
    wait_for(lambda: rule.struck, "a refusal")
    with shared_aws.simulator.agenda.lock:
        target.remove(region_of(shared_aws))
    wait_told(kube, namespace, ("Reconciling", "ApplyFailed"), f"PutScalingPolicy: {VANISHED}")
    lift(rule)
    wait_for(lambda: [each for each in targets(shared_aws, namespace) if each.policies], "the policy")
    (again,) = targets(shared_aws, namespace)
    assert target is not again
    assert 900 == (again.policies["sagebrush-invocations"].tracking or {})["TargetValue"]
    assert 2 == operations(shared_aws, namespace).count("RegisterScalableTarget")


def test_refusal_in_peace_must_not_take_readiness(shared_aws: Aws, kube: Kube, namespace: str):
    """Somebody deregisters what the spec wants, and AWS takes it back late: what serves is Ready, Reconciling says why."""
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    wait_serving(kube, namespace)
    target = wait_registered(shared_aws, kube, namespace)
    rule = refuse(shared_aws, namespace, "RegisterScalableTarget", **REFUSALS["permission"][0])
    with shared_aws.simulator.agenda.lock:
        target.remove(region_of(shared_aws))
    body = wait_told(kube, namespace, ("Reconciling", "PermissionDenied"), "RegisterScalableTarget")
    assert ("True", "Serving") == tuple(condition(body, "Ready")[key] for key in ("status", "reason"))
    lift(rule)
    wait_for(lambda: targets(shared_aws, namespace), "the registration")
    peace = kube.wait(
        "ModelEndpoint", namespace, "kdd", lambda body: condition(body, "Reconciling")["status"] == "False"
    )
    assert ("Ready", "Serving") == standing(peace)


@pytest.mark.parametrize("how", ["permission", "concurrent update", "throttle", "limit"])
@pytest.mark.parametrize("why", ["deletion", "instance type", "engine"])
def test_refused_deregistration_must_hold_up_what_needs_it(
    shared_aws: Aws, kube: Kube, namespace: str, how: str, why: str
):
    """Nothing is deleted or updated over a registration that AWS would not give up; it goes on when AWS does."""
    rule_of, where, words = REFUSALS[how]
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    wait_serving(kube, namespace)
    wait_registered(shared_aws, kube, namespace)
    rule = refuse(shared_aws, namespace, "DeregisterScalableTarget", **rule_of)
    if why == "deletion":
        kube.delete("ModelEndpoint", namespace, "kdd")
    else:
        edit(kube, namespace, {"sageMaker": {"instanceType": "ml.m5.xlarge"}} if why == "instance type" else FIXED)
    said = words.format(service="application-autoscaling", operation="DeregisterScalableTarget")
    body = wait_told(kube, namespace, where, said)
    assert "DeregisterScalableTarget" in message(body)
    assert 1 == len(targets(shared_aws, namespace))
    assert [] == codes(shared_aws, "DeleteEndpoint", namespace) + codes(shared_aws, "UpdateEndpoint", namespace)
    lift(rule)
    if why == "deletion":
        wait_gone(shared_aws, kube, namespace)
    else:
        wait_serving(kube, namespace)
    if why == "instance type":
        wait_registered(shared_aws, kube, namespace)
        assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)
    else:
        wait_for(lambda: not targets(shared_aws, namespace), "the end of the registration")


FIXED = {"scaling": None, "replicas": 1}


def test_deregistration_of_what_is_gone_must_be_as_well(shared_aws: Aws, kube: Kube, namespace: str):
    """ObjectNotFoundException of a deregistration is what was wanted: the deletion goes on."""
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    wait_serving(kube, namespace)
    wait_registered(shared_aws, kube, namespace)
    rule = refuse(
        shared_aws, namespace, "DeregisterScalableTarget", "error", code="ObjectNotFoundException", message=VANISHED
    )
    rule.times = 1  # for as long as it strikes, AWS' own deregistration within DeleteEndpoint is refused too
    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    assert rule.struck
    assert [] == targets(shared_aws, namespace)


@pytest.mark.parametrize("how", ["limit", "permission"])
def test_refusal_that_time_does_not_mend_must_be_tried_seldom(shared_aws: Aws, kube: Kube, namespace: str, how: str):
    """Neither quota nor permission mends itself within seconds: a try every few minutes, in a slow line."""
    rule_of, where, _ = REFUSALS[how]
    kube.apply(endpoint("kdd", namespace))
    wait_serving(kube, namespace)
    rule = refuse(shared_aws, namespace, "RegisterScalableTarget", **rule_of)
    edit(kube, namespace, {"scaling": scaling()})
    wait_reason(kube, namespace, where[1])
    begun, struck = shared_aws.simulator.clock.now(), rule.struck
    wait_looks(shared_aws, namespace, 10, seconds=40)
    minutes = (shared_aws.simulator.clock.now() - begun) / 60
    assert rule.struck - struck <= minutes / 4 + 1
    lift(rule)
    wait_registered(shared_aws, kube, namespace)
