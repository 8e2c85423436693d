"""Scaling by AWS itself: what is registered is what the spec says, kept in step, never undone, and let go at the end."""

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker.autoscaling import STEP, alarms, operations, scaling, targets, wait_registered
from tests.integration.sagemaker.aws import Aws, endpoint
from tests.integration.sagemaker.endpoints import (
    codes,
    counts,
    edit,
    new_model,
    the_endpoint,
    wait_gone,
    wait_looks,
    wait_serving,
)

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")


def test_what_is_registered_must_be_what_the_spec_says(shared_aws: Aws, kube: Kube, namespace: str):
    """Bounds, both targets, a step policy with its alarm and a schedule; each change of the spec follows; the end takes all."""
    extra = {
        "concurrentRequestsPerReplica": 8,
        "stepPolicies": [STEP],
        "schedules": [
            {
                "name": "morning",
                "schedule": "cron(0 8 ? * MON-FRI *)",
                "timezone": "Europe/Berlin",
                "minReplicas": 2,
            }
        ],
    }
    kube.apply(endpoint("kdd", namespace, scaling=scaling(scaleOutCooldown="1m", applicationAutoScaling=extra)))
    wait_serving(kube, namespace)
    target = wait_registered(shared_aws, kube, namespace)
    assert (1, 4) == (target.least, target.most)
    tracking = {name: policy.tracking for name, policy in target.policies.items() if policy.tracking}
    common = {"ScaleOutCooldown": 60, "ScaleInCooldown": 300, "DisableScaleIn": False}
    assert {
        "sagebrush-invocations": {
            "TargetValue": 600,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            **common,
        },
        "sagebrush-concurrency": {
            "TargetValue": 8,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
            },
            **common,
        },
    } == tracking
    step = target.policies["sagebrush-step-spike"]
    assert {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 2}],
        "Cooldown": 120,
        "MetricAggregationType": "Average",
    } == step.step
    (alarm,) = alarms(shared_aws, namespace).values()
    assert {
        "MetricName": "Invocations",
        "Threshold": 1000,
        "EvaluationPeriods": 2,
        "AlarmActions": [step.arn],
        "TreatMissingData": "notBreaching",
    }.items() <= alarm.items()
    (action,) = target.schedules.values()
    assert {
        "ScheduledActionName": "sagebrush-morning",
        "Schedule": "cron(0 8 ? * MON-FRI *)",
        "Timezone": "Europe/Berlin",
        "ScalableTargetAction": {"MinCapacity": 2},
    }.items() <= action.request.items()

    # Others' are left alone, ours that nobody wants any more go.
    client = shared_aws.client("application-autoscaling")
    where = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": target.resource_id,
        "ScalableDimension": target.dimension,
    }
    client.put_scheduled_action(
        **where,
        ScheduledActionName="theirs",
        Schedule="rate(1 day)",
        ScalableTargetAction={"MaxCapacity": 4},
    )
    changed = scaling(maxReplicas=6, target={"requestsPerMinute": 900})
    edit(kube, namespace, {"scaling": {**changed, "scaleOutCooldown": None, "applicationAutoScaling": None}})
    wait_for(lambda: set(target.policies) == {"sagebrush-invocations"}, "the end of the other policies")
    wait_registered(shared_aws, kube, namespace)
    assert (1, 6, {"theirs"}) == (target.least, target.most, set(target.schedules))
    tracked = target.policies["sagebrush-invocations"].tracking or {}
    assert (900, 0) == (tracked["TargetValue"], tracked["ScaleOutCooldown"])
    assert {} == alarms(shared_aws, namespace)

    kube.delete("ModelEndpoint", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    assert [] == targets(shared_aws, namespace)


def test_what_aws_scales_must_not_be_undone(shared_aws: Aws, kube: Kube, namespace: str):
    """The count is AWS': no call of ours sets it, an update keeps it, and status shows it."""
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    name = wait_serving(kube, namespace)["status"]["sageMaker"]["endpointName"]
    wait_registered(shared_aws, kube, namespace)
    shared_aws.simulator.traffic.set(name, 1500.0)
    wait_for(lambda: counts(the_endpoint(shared_aws, namespace)) == {"AllTraffic": (3, 3)}, "three instances")
    kube.wait("ModelEndpoint", namespace, "kdd", lambda body: body["status"]["readyReplicas"] == 3)
    wait_looks(shared_aws, namespace, 2)
    edit(kube, namespace, new_model(shared_aws, 1))
    wait_serving(kube, namespace)
    assert {"AllTraffic": 3} == {
        each.name: each.desired_count for each in the_endpoint(shared_aws, namespace).fleet.variants
    }
    assert [] == codes(shared_aws, "UpdateEndpointWeightsAndCapacities", namespace)
    shared_aws.simulator.traffic.set(name, 0.0)


def test_other_instance_type_must_be_deregistered_for(shared_aws: Aws, kube: Kube, namespace: str):
    """AWS refuses to change the type of a registered variant: out of scaling, updated, and in again as it was."""
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    wait_serving(kube, namespace)
    wait_registered(shared_aws, kube, namespace)
    edit(kube, namespace, {"sageMaker": {"instanceType": "ml.m5.xlarge"}})
    wait_serving(kube, namespace)
    wait_registered(shared_aws, kube, namespace)
    register = ["RegisterScalableTarget", "PutScalingPolicy"]
    assert [*register, "DeregisterScalableTarget", "UpdateEndpoint", *register] == operations(shared_aws, namespace)
    assert ["OK"] == codes(shared_aws, "UpdateEndpoint", namespace)


def test_engine_that_is_no_more_must_let_go(shared_aws: Aws, kube: Kube, namespace: str):
    """Without AWS' engine nothing of ours stays registered, and the count is the operator's again."""
    kube.apply(
        endpoint("kdd", namespace, scaling=scaling(minReplicas=2, applicationAutoScaling={"stepPolicies": [STEP]}))
    )
    wait_serving(kube, namespace)
    wait_registered(shared_aws, kube, namespace)
    wait_for(lambda: alarms(shared_aws, namespace), "the alarm")
    edit(kube, namespace, {"scaling": None, "replicas": 1})
    wait_for(lambda: not targets(shared_aws, namespace), "the end of the registration")
    wait_for(lambda: counts(the_endpoint(shared_aws, namespace)) == {"AllTraffic": (1, 1)}, "one instance")
    wait_for(lambda: not alarms(shared_aws, namespace), "the end of the alarm")


@pytest.mark.parametrize("operation", ["RegisterScalableTarget", "PutScalingPolicy"])
@pytest.mark.parametrize("fault", ["ConcurrentUpdateException", "lost_reply"])
def test_registration_must_be_tried_again(shared_aws: Aws, kube: Kube, namespace: str, operation: str, fault: str):
    """ConcurrentUpdateException and a lost answer are no failures: what isn't in step is put again."""
    resource = f"endpoint/{namespace}-*"
    if fault == "lost_reply":
        shared_aws.simulator.faults.add(fault, operation=operation, resource=resource)
    else:
        shared_aws.simulator.faults.add(
            "error", operation=operation, resource=resource, code=fault, message="A concurrent update is in progress."
        )
    kube.apply(endpoint("kdd", namespace, scaling=scaling()))
    wait_serving(kube, namespace)
    target = wait_registered(shared_aws, kube, namespace)
    assert {"sagebrush-invocations"} == set(target.policies)
    assert 1 == shared_aws.simulator.faults.rules[-1].struck
