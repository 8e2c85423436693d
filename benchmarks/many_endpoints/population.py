"""The endpoints: five sorts of policy in turn, each with a load that three replicas carry, and the number that is right."""

from dataclasses import dataclass
from typing import Any

from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.compiled import TargetKind, compile_policy
from sagebrush.core.scaling.facts import Capacity, Knowledge
from sagebrush.core.scaling.targets import sizing_of

NAMESPACE = "bench"
CAPACITY = 20.0
"""Requests per second of a replica."""
SERVICE_SECONDS = 0.05
SORTS = ("requestsPerMinute", "latency", "schedule", "percentOfCapacity", "inFlight")
_MODEL = {"uri": "s3://bucket/model.tar.gz", "sha256": "cd" * 32}
_REPLICAS = {"minReplicas": 2, "maxReplicas": 20}
_FLOOR = 3


@dataclass(frozen=True)
class Subject:
    """One endpoint, by number."""

    number: int

    @property
    def name(self) -> str:
        """Of the ModelEndpoint."""
        return f"endpoint-{self.number:04d}"

    @property
    def sort(self) -> str:
        """The kind of its policy."""
        return SORTS[self.number % len(SORTS)]

    @property
    def base(self) -> float:
        """Requests per minute at level 1."""
        return {
            "requestsPerMinute": 1500.0,
            "latency": 1800.0,
            "schedule": 900.0,
            "percentOfCapacity": 2100.0,
            "inFlight": 1500.0,
        }[self.sort]

    @property
    def scaling(self) -> dict[str, Any]:
        """``spec.scaling``; all that isn't said is the default: prediction and burst are on."""
        match self.sort:
            case "requestsPerMinute":
                return {**_REPLICAS, "target": {"requestsPerMinute": 600}}
            case "latency":
                capacity = {"requestsPerSecond": CAPACITY}
                return {**_REPLICAS, "target": {"latency": "500ms"}, "capacity": capacity}
            case "schedule":
                always = {"name": "always", "cron": "0 * * * *", "duration": "1h", "minReplicas": _FLOOR}
                return {**_REPLICAS, "target": {"requestsPerMinute": 600}, "schedules": [always]}
            case "percentOfCapacity":
                capacity = {"requestsPerSecond": CAPACITY}
                return {**_REPLICAS, "target": {"percentOfCapacity": 70}, "capacity": capacity}
            case _:
                return {**_REPLICAS, "target": {"inFlight": 0.5}}

    @property
    def spare(self) -> int:
        """Replicas more than that which are as right: the noise's, and a latency bound's headroom until it is given up."""
        return 2 if self.sort == "latency" else 1

    @property
    def manifest(self) -> dict[str, Any]:
        """The ModelEndpoint."""
        return {
            "apiVersion": "sagebrush.dev/v1alpha1",
            "kind": "ModelEndpoint",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {"model": {"artifact": _MODEL}, "scaling": self.scaling},
        }

    def right(self, level: float) -> int:
        """The replicas that its policy asks for at this level of load, by the policy's own sizing."""
        scaling = Scaling.model_validate(self.scaling)
        policy = compile_policy(scaling)
        sizing = sizing_of(policy, capacity=policy.stated or Capacity(CAPACITY), knowledge=Knowledge())
        if sizing is None:
            raise ValueError(f"{self.name}: no capacity")
        demand = self.base * level
        value = demand / 60 * SERVICE_SECONDS if policy.kind is TargetKind.IN_FLIGHT else demand
        floor = _FLOOR if self.sort == "schedule" else policy.minimum
        return max(floor, min(sizing.needed(value), policy.maximum))
