"""What AWS' Application Auto Scaling takes beyond the fields that both engines have."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sagebrush.api.meta import ApiModel, Duration, list_map, rules


class StepAdjustment(ApiModel):
    """How far to go for a breach of this size."""

    lower_bound: float | None = None
    """From this distance above the threshold; minus infinity when unset."""
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
    """Second target (SageMakerVariantConcurrentRequestsPerModelHighResolution), which sees a spike in seconds; the larger wins."""
    disable_scale_in: bool = False
    """Never remove instances."""
    step_policies: Annotated[list[StepPolicy], Field(max_length=8, json_schema_extra=list_map("name"))] = []
    """Step scaling policies beside the targets."""
    schedules: Annotated[list[ScheduledScaling], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    """Scheduled actions."""
