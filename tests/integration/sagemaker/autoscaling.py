"""Scaling by AWS as tests look at it: what the spec says, and what is registered."""

from typing import Any

from tests.integration.kube import Kube, Manifest, condition
from tests.integration.sagemaker.aws import Aws
from tests.integration.sagemaker.endpoints import region_of
from tests.sagemaker_simulator.autoscaling import ScalableTarget

ENGINE = "ApplicationAutoScaling"
STEP = {
    "name": "spike",
    "metricName": "Invocations",
    "threshold": 1000,
    "evaluationPeriods": 2,
    "steps": [{"lowerBound": 0, "adjustment": 2}],
    "cooldown": "2m",
}


def scaling(**policy: Any) -> Manifest:
    """Left to AWS; *policy* replaces fields."""
    return {"engine": ENGINE, "minReplicas": 1, "maxReplicas": 4, "target": {"requestsPerMinute": 600}, **policy}


def wait_registered(aws: Aws, kube: Kube, namespace: str) -> ScalableTarget:
    """The scalable target of the only variant, once all is in step."""
    kube.wait(
        "ModelEndpoint",
        namespace,
        "kdd",
        lambda body: (
            condition(body, "ScalingActive").get("status") == "True"
            and condition(body, "ScalingActive")["observedGeneration"] == body["metadata"]["generation"]
        ),
    )
    (target,) = targets(aws, namespace)
    return target


def targets(aws: Aws, namespace: str) -> list[ScalableTarget]:
    """What is registered of the namespace's endpoints."""
    return [each for each in region_of(aws).targets.values() if each.endpoint.startswith(f"{namespace}-")]


def alarms(aws: Aws, namespace: str) -> dict[str, Any]:
    """Our own alarms."""
    return {name: alarm for name, alarm in region_of(aws).alarms.items() if name.startswith(f"sagebrush/{namespace}-")}


def operations(aws: Aws, namespace: str) -> list[str]:
    """What was done to the endpoint and its registration, in this order."""
    wanted = {"UpdateEndpoint", "RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy"}
    every = aws.simulator.audit.calls()
    return [each.operation for each in every if each.operation in wanted and f"{namespace}-" in each.resource]
