"""Scalable targets and their policies, schedules and activities (reference §4.2)."""

import math
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.sagemaker_simulator.clock import Event

if TYPE_CHECKING:
    from tests.sagemaker_simulator.schedules import Next
    from tests.sagemaker_simulator.world import Region

DEFAULT_COOLDOWN = 300
PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": "InvocationsPerInstance",
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": "ConcurrentRequestsPerModel",
    "SageMakerVariantProvisionedConcurrencyUtilization": "ServerlessProvisionedConcurrencyUtilization",
    "SageMakerInferenceComponentInvocationsPerCopy": "InvocationsPerCopy",
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": "ConcurrentRequestsPerCopy",
}


@dataclass
class Policy:
    """A scaling policy as it was put; target tracking brings its two alarms."""

    arn: str
    request: dict[str, Any]
    created: float
    alarms: list[str] = field(default_factory=list)

    @property
    def tracking(self) -> dict[str, Any] | None:
        return self.request.get("TargetTrackingScalingPolicyConfiguration")

    @property
    def step(self) -> dict[str, Any] | None:
        return self.request.get("StepScalingPolicyConfiguration")

    @property
    def metric(self) -> Any:
        """The metric it tracks."""
        specification = (self.tracking or {}).get("PredefinedMetricSpecification", {})
        custom = (self.tracking or {}).get("CustomizedMetricSpecification", {})
        predefined = PREDEFINED.get(specification.get("PredefinedMetricType", ""))
        return predefined or custom.get("MetricName")

    @property
    def high_resolution(self) -> bool:
        kind = (self.tracking or {}).get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
        return str(kind).endswith("HighResolution")


@dataclass
class Schedule:
    """A scheduled action and when it fires next."""

    request: dict[str, Any]
    arn: str
    created: float
    following: "Next"
    event: Event | None = None


@dataclass
class ScalableTarget:
    """A variant that Application Auto Scaling may resize."""

    region: "Region"
    resource_id: str
    dimension: str
    endpoint: str
    """Lower case."""
    variant: str
    least: int
    most: int
    created: float
    suspended: dict[str, bool] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    arn: str = ""
    last_out: float = -math.inf
    last_in: float = -math.inf

    def capacity(self) -> int | None:
        """The desired count of the variant; None where it is gone."""
        endpoint = self.region.endpoints.get(self.endpoint)
        variant = endpoint.fleet.variant(self.variant) if endpoint else None
        return variant.desired_count if variant else None

    def clamped(self, capacity: int) -> int:
        return max(self.least, min(self.most, capacity))

    def clamp(self, cause: str) -> None:
        """Bring the current capacity within the bounds; again later where the endpoint is busy."""
        current = self.capacity()
        if self.key not in self.region.targets or current is None or self.clamped(current) == current:
            return
        if not self.scale_to(self.clamped(current), cause):
            self.region.world.agenda.after(60, lambda: self.clamp(cause))

    @property
    def key(self) -> str:
        return f"{self.resource_id}|{self.dimension}"

    def scale_to(self, capacity: int, cause: str) -> bool:
        """Resize the variant and write the activity; False (and why, in the history) where it can't be now."""
        endpoint, current = self.region.endpoints.get(self.endpoint), self.capacity()
        wanted = self.clamped(capacity)
        if endpoint is None or current is None:
            return False
        if wanted == current:
            if capacity > current:
                self._not_scaled("AlreadyAtMaxCapacity", cause)
            return False
        if endpoint.status != "InService":
            self._not_scaled("TargetServicePutResourceAsUnscalable", cause)
            return False
        endpoint.begin_resize({self.variant: (None, wanted)})
        now, timings = self.region.world.now, self.region.world.timings
        if wanted > current:
            self.last_out = now
        else:
            self.last_in = now
        activity = self._activity(cause) | {
            "Description": f"Setting desired instance count to {wanted}.",
            "StatusCode": "InProgress",
            "StatusMessage": f"Successfully set desired instance count to {wanted}. Waiting for change to be fulfilled "
            "by sagemaker.",
        }
        self.region.activities.append(activity)
        took = timings.endpoint_scaling_out if wanted > current else timings.endpoint_scaling_in
        self.region.world.agenda.after(took, lambda: self._fulfilled(activity, wanted))
        return True

    def _fulfilled(self, activity: dict[str, Any], wanted: int) -> None:
        activity["EndTime"] = self.region.world.now
        reached = self.capacity() == wanted
        activity["StatusCode"] = "Successful" if reached else "Failed"
        activity["StatusMessage"] = (
            f"Successfully set desired instance count to {wanted}. Change successfully fulfilled by sagemaker."
            if reached
            else f"Failed to set desired instance count to {wanted}."
        )

    def _activity(self, cause: str) -> dict[str, Any]:
        return {
            "ActivityId": str(uuid.uuid4()),
            "ServiceNamespace": "sagemaker",
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
            "Cause": cause,
            "StartTime": self.region.world.now,
        }

    def _not_scaled(self, code: str, cause: str) -> None:
        reason = {
            "Code": code,
            "MaxCapacity": self.most,
            "MinCapacity": self.least,
            "CurrentCapacity": self.capacity() or 0,
        }
        self.region.activities.append(
            self._activity(cause)
            | {
                "Description": "Attempting to scale.",
                "StatusCode": "Unfulfilled",
                "EndTime": self.region.world.now,
                "NotScaledReasons": [reason],
            }
        )

    def remove_policy(self, name: str) -> None:
        for alarm in self.policies.pop(name).alarms:
            self.region.alarms.pop(alarm, None)

    def remove_schedule(self, name: str) -> None:
        if event := self.schedules.pop(name).event:
            event.cancel()

    def remove(self, region: "Region") -> None:
        """Deregistering takes policies, their alarms and schedules along."""
        for name in list(self.policies):
            self.remove_policy(name)
        for name in list(self.schedules):
            self.remove_schedule(name)
        region.targets.pop(self.key, None)

    def describe(self) -> dict[str, Any]:
        return {
            "ServiceNamespace": "sagemaker",
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
            "MinCapacity": self.least,
            "MaxCapacity": self.most,
            "RoleARN": f"arn:aws:iam::{self.region.account}:role/aws-service-role/sagemaker.application-autoscaling."
            "amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
            "CreationTime": self.created,
            "SuspendedState": {
                "DynamicScalingInSuspended": False,
                "DynamicScalingOutSuspended": False,
                "ScheduledScalingSuspended": False,
                **self.suspended,
            },
            "ScalableTargetARN": self.arn,
        }
