"""
What Application Auto Scaling and CloudWatch should have for one variant, as the parameters of their Put calls. Pure.

Sources: API references of Application Auto Scaling (RegisterScalableTarget, PutScalingPolicy, PutScheduledAction) and of
CloudWatch (PutMetricAlarm); "Automatic scaling of Amazon SageMaker AI models" in SageMaker's developer guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebrush.api.application_auto_scaling import ApplicationAutoScaling, ScheduledScaling, StepPolicy
from sagebrush.api.meta import parse_duration
from sagebrush.api.scaling import Scaling

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
CONCURRENCY = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
OURS = "sagebrush-"
"""How the names of all our policies and scheduled actions begin; others' are left alone."""
UTC_ZONE = "UTC"
_STEP = f"{OURS}step-"
_AGGREGATIONS = frozenset({"Average", "Minimum", "Maximum"})

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepAlarm:
    """An alarm without its action: the policy's ARN is known only once the policy is there."""

    policy: str
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that one variant should have; policies and actions by name."""

    target: Parameters
    policies: Mapping[str, Parameters]
    actions: Mapping[str, Parameters]
    alarms: Mapping[str, StepAlarm]


def resource_id(endpoint: str, variant: str) -> str:
    """ResourceId of a variant."""
    return f"endpoint/{endpoint}/variant/{variant}"


def alarm_prefix(endpoint: str, variant: str | None = None) -> str:
    """How the names of our alarms for this endpoint, or this variant of it, begin."""
    return f"sagebrush/{endpoint}/" if variant is None else f"sagebrush/{endpoint}/{variant}/"


def scalable(endpoint: str, variant: str) -> dict[str, str]:
    """What every call about a variant says of it."""
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": resource_id(endpoint, variant),
        "ScalableDimension": DIMENSION,
    }


def wanted(endpoint: str, *, variant: str, scaling: Scaling) -> Wanted:
    """All that *variant* should have."""
    extra = scaling.application_auto_scaling or ApplicationAutoScaling()
    where = scalable(endpoint, variant)
    policies = [_tracking(scaling, extra, metric=INVOCATIONS, target=scaling.target.requests_per_minute or 1.0)]
    if extra.concurrent_requests_per_replica is not None:
        policies.append(_tracking(scaling, extra, metric=CONCURRENCY, target=extra.concurrent_requests_per_replica))
    policies += [_steps(step) for step in extra.step_policies]
    return Wanted(
        target={**where, "MinCapacity": scaling.min_replicas, "MaxCapacity": scaling.max_replicas},
        policies={policy["PolicyName"]: {**where, **policy} for policy in policies},
        actions={f"{OURS}{each.name}": {**where, **_action(each)} for each in extra.schedules},
        alarms={
            f"{alarm_prefix(endpoint, variant)}{step.name}": StepAlarm(
                policy=f"{_STEP}{step.name}", parameters=_alarm(step, endpoint=endpoint, variant=variant)
            )
            for step in extra.step_policies
        },
    )


def _tracking(scaling: Scaling, extra: ApplicationAutoScaling, *, metric: str, target: float) -> dict[str, Any]:
    return {
        "PolicyName": f"{OURS}{'invocations' if metric == INVOCATIONS else 'concurrency'}",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": target,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            "ScaleOutCooldown": _seconds(scaling.scale_out_cooldown),
            "ScaleInCooldown": _seconds(scaling.scale_in_cooldown),
            "DisableScaleIn": extra.disable_scale_in,
        },
    }


def _steps(step: StepPolicy) -> dict[str, Any]:
    bounds = (
        {
            "MetricIntervalLowerBound": each.lower_bound,
            "MetricIntervalUpperBound": each.upper_bound,
            "ScalingAdjustment": each.adjustment,
        }
        for each in step.steps
    )
    return {
        "PolicyName": f"{_STEP}{step.name}",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": step.adjustment_type,
            "StepAdjustments": [{key: value for key, value in each.items() if value is not None} for each in bounds],
            "Cooldown": _seconds(step.cooldown),
            "MetricAggregationType": step.statistic if step.statistic in _AGGREGATIONS else "Average",
        },
    }


def _action(schedule: ScheduledScaling) -> dict[str, Any]:
    bounds = {"MinCapacity": schedule.min_replicas, "MaxCapacity": schedule.max_replicas}
    out = {
        "ScheduledActionName": f"{OURS}{schedule.name}",
        "Schedule": schedule.schedule,
        "ScalableTargetAction": {key: value for key, value in bounds.items() if value is not None},
    }
    # Always said, where it means anything: an update leaves as it is what it doesn't name.
    return out if schedule.schedule.startswith("rate(") else {**out, "Timezone": schedule.timezone}


def _alarm(step: StepPolicy, *, endpoint: str, variant: str) -> dict[str, Any]:
    return {
        "AlarmName": f"{alarm_prefix(endpoint, variant)}{step.name}",
        "AlarmDescription": f"Sagebrush: sets off step policy {step.name} of variant {variant} of endpoint {endpoint}.",
        "ActionsEnabled": True,
        "Namespace": "AWS/SageMaker",
        "MetricName": step.metric_name,
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        "Statistic": step.statistic,
        "Period": step.period_seconds,
        "EvaluationPeriods": step.evaluation_periods,
        "Threshold": step.threshold,
        "ComparisonOperator": step.comparison,
        # Missing data never scales in, nor out.
        "TreatMissingData": "notBreaching",
    }


def _seconds(duration: str) -> int:
    return int(parse_duration(duration).total_seconds())
