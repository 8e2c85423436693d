"""spec.scaling of an endpoint and what status says of it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.meta import ApiModel, Duration, Text, list_map, rules


class ScalingTarget(ApiModel):
    """What each replica should carry."""

    requests_per_minute: Annotated[float, Field(gt=0)]
    """Requests per minute per replica (SageMaker's SageMakerVariantInvocationsPerInstance)."""


class StepAdjustment(ApiModel):
    """How far to go for a breach of this size."""

    lower_bound: float | None = None
    """From this distance above the alarm's threshold; from minus infinity when unset."""
    upper_bound: float | None = None
    """Up to this distance; without end when unset."""
    adjustment: int
    """Replicas, or percent, to add (negative: to remove), or to have, as adjustmentType says."""


class StepPolicy(ApiModel):
    """A step scaling policy and the CloudWatch alarm that sets it off."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    """Name, part of the policy's and the alarm's."""
    metric_name: Annotated[str, Field(min_length=1, max_length=255)] = "InvocationsPerInstance"
    """CloudWatch metric of the endpoint's variant (namespace AWS/SageMaker)."""
    statistic: Literal["Sum", "Average", "Minimum", "Maximum"] = "Sum"
    """How the points of a period become one."""
    comparison: Literal[
        "GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"
    ] = "GreaterThanThreshold"
    """When the alarm goes off."""
    threshold: float
    """The alarm's threshold."""
    period_seconds: Literal[10, 30, 60, 300] = 60
    """Length of a period; below 60 only for high-resolution metrics."""
    evaluation_periods: Annotated[int, Field(ge=1, le=60)] = 1
    """Periods in a row that must breach."""
    adjustment_type: Literal["ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity"] = "ChangeInCapacity"
    """What steps[].adjustment means."""
    steps: Annotated[
        list[StepAdjustment], Field(min_length=1, max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ]
    """The steps, without gaps or overlaps."""
    cooldown: Duration = "5m"
    """Time after a step before the next one."""


class ScheduledScaling(ApiModel):
    """Bounds that change at a time."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.minReplicas) || has(self.maxReplicas)", "give minReplicas, maxReplicas or both"),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    """Name, part of the scheduled action's."""
    schedule: Annotated[str, Field(max_length=128, pattern=r"^(at|rate|cron)\(.+\)$")]
    """at(2026-12-24T18:00:00), rate(1 day) or cron(0 8 ? * MON-FRI *), as Application Auto Scaling writes them."""
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """IANA time zone of at() and cron()."""
    min_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """New lower bound."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """New upper bound."""


class ApplicationAutoScaling(ApiModel):
    """What AWS' Application Auto Scaling takes beyond the common fields."""

    concurrent_requests_per_replica: Annotated[float, Field(gt=0)] | None = None
    """
    Second target, on the high-resolution metric SageMakerVariantConcurrentRequestsPerModelHighResolution: sees a spike
    within seconds, where invocations per instance take minutes. Of several targets the one that wants most wins.
    """
    disable_scale_in: bool = False
    """Never remove instances."""
    step_policies: Annotated[list[StepPolicy], Field(max_length=8, json_schema_extra=list_map("name"))] = []
    """Step scaling policies beside the targets."""
    schedules: Annotated[list[ScheduledScaling], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    """Scheduled actions."""


class Scaling(ApiModel):
    """Target tracking on request metrics. Missing data never scales in."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
            (
                "self.engine == 'ApplicationAutoScaling' || !has(self.applicationAutoScaling)",
                "applicationAutoScaling is honoured with engine: ApplicationAutoScaling only",
            ),
        )
    )

    engine: Literal["Sagebrush", "ApplicationAutoScaling"] = "Sagebrush"
    """Who decides: the operator, from request metrics in Prometheus, or AWS itself (backend SageMaker only)."""
    min_replicas: Annotated[
        int,
        Field(
            le=1000,
            json_schema_extra=rules(
                (
                    "self >= 1",
                    "minReplicas: at least 1; scale to zero needs a gateway that holds requests, which this version has not",
                ),
            ),
        ),
    ] = 1
    """Fewest replicas; at least 1."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas."""
    target: ScalingTarget
    """What each replica should carry."""
    scale_out_cooldown: Duration = "0s"
    """Time after a scale-out before the next one."""
    scale_in_cooldown: Duration = "5m"
    """Time for which fewer replicas must have been enough before any is removed, and since the last change."""
    application_auto_scaling: ApplicationAutoScaling | None = None
    """What AWS' own engine takes beyond these."""


class ScalingDecision(ApiModel):
    """One change of the number of replicas."""

    time: datetime
    """When it was decided."""
    from_replicas: int
    """Before."""
    to_replicas: int
    """After."""
    reason: Text
    """Why."""


class ScalingStatus(ApiModel):
    """What the policy sees and why it chose the number of replicas."""

    desired_replicas: int
    """Replicas chosen."""
    observed_requests_per_minute: float | None = None
    """Requests per minute over all replicas; unset while nothing usable was measured."""
    observed_at: datetime | None = None
    """Time of the newest sample used."""
    target_requests_per_minute: float
    """Requests per minute that each replica should carry."""
    reason: Text
    """CamelCase word: what decided."""
    message: Annotated[str, Field(max_length=2048)]
    """The decision in a sentence."""
    last_scale_time: datetime | None = None
    """When the number of replicas last changed."""
    decisions: Annotated[
        list[ScalingDecision], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """The newest changes, newest last."""
