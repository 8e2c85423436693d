"""How an update reaches an endpoint, in AWS' words. Pure."""

from typing import Any

from sagebrush.api.sagemaker_hosting import CapacitySize, Deployment

_ROUTING = {"AllAtOnce": "ALL_AT_ONCE", "Canary": "CANARY", "Linear": "LINEAR"}
_SIZES = {"InstanceCount": "INSTANCE_COUNT", "CapacityPercent": "CAPACITY_PERCENT"}


def deployment_config(deployment: Deployment) -> dict[str, Any]:
    """``spec.sageMaker.deployment`` in AWS' words (API reference, DeploymentConfig)."""
    out: dict[str, Any] = {}
    limit = deployment.maximum_execution_timeout_seconds
    limits = {} if limit is None else {"MaximumExecutionTimeoutInSeconds": limit}
    if deployment.blue_green:
        given = deployment.blue_green
        routing: dict[str, Any] = {
            "Type": _ROUTING[given.traffic],
            "WaitIntervalInSeconds": given.wait_interval_seconds,
        }
        if given.canary_size:
            routing["CanarySize"] = _size(given.canary_size)
        if given.step_size:
            routing["LinearStepSize"] = _size(given.step_size)
        out["BlueGreenUpdatePolicy"] = {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": given.termination_wait_seconds,
            **limits,
        }
    if deployment.rolling:
        rolling = deployment.rolling
        policy = {
            "MaximumBatchSize": _size(rolling.maximum_batch_size),
            "WaitIntervalInSeconds": rolling.wait_interval_seconds,
            **limits,
        }
        if rolling.rollback_maximum_batch_size:
            policy["RollbackMaximumBatchSize"] = _size(rolling.rollback_maximum_batch_size)
        out["RollingUpdatePolicy"] = policy
    if deployment.auto_rollback_alarms:
        alarms = [{"AlarmName": name} for name in deployment.auto_rollback_alarms]
        out["AutoRollbackConfiguration"] = {"Alarms": alarms}
    return out


def _size(size: CapacitySize) -> dict[str, Any]:
    return {"Type": _SIZES[size.type], "Value": size.value}
