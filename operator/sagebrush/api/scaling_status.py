"""What status says of a variant's scaling."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from sagebrush.api.meta import ApiModel, Text


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


class ScalingProposal(ApiModel):
    """What one behaviour asks for."""

    by: Text
    """Behaviour: Target, Prediction, Burst, StepPolicy, Schedule, Hold."""
    replicas: int
    """Replicas."""
    why: Text
    """Why."""


class CapacityStatus(ApiModel):
    """What one replica can do."""

    requests_per_second: float
    """Requests per second."""
    concurrency: int = 1
    """Requests worked on at the same time."""
    source: Literal["Stated", "Tested", "Learned"]
    """Where it is known from."""
    measured_at: datetime | None = None
    """When it was measured."""
    revision: Text | None = None
    """Revision that it was measured on."""


class StartupStatus(ApiModel):
    """How long replicas take from the decision to Ready."""

    p50_seconds: float
    """Half of them take at most this long."""
    p90_seconds: float
    """Nine of ten take at most this long."""
    recent: Annotated[list[float], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})] = []
    """The newest, in seconds, newest last."""


class PredictionStatus(ApiModel):
    """What the history foretells, and how well it did so far."""

    requests_per_minute: float | None = None
    """Most that is expected until new replicas could be Ready."""
    until: datetime | None = None
    """That time."""
    error_percent: float | None = None
    """Median error of the predictions of the last day, in percent of what came."""
    learned: Text | None = None
    """What the history taught, and how the policy does over it."""
    learned_at: datetime | None = None
    """When."""


class ScalingStatus(ApiModel):
    """What the policy sees and why it chose the number of replicas."""

    desired_replicas: int
    """Replicas chosen; in mode Recommend those that there are."""
    recommended_replicas: int | None = None
    """Replicas that mode Recommend would choose."""
    observed_requests_per_minute: float | None = None
    """Requests per minute over all replicas; unset while unknown."""
    observed_value: float | None = None
    """The target's metric over all replicas, where that is not requests per minute."""
    observed_at: datetime | None = None
    """Time of the newest sample used."""
    source: Text | None = None
    """Where it came from: Prometheus or Pods."""
    target_requests_per_minute: float | None = None
    """Requests per minute that each replica should carry, where known."""
    target: Text | None = None
    """The target in words."""
    proposals: Annotated[
        list[ScalingProposal], Field(max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """What each behaviour asks for."""
    limited_by: Text | None = None
    """What bound the number."""
    next_change_after: datetime | None = None
    """When a change that is held back may come at the earliest."""
    reason: Text
    """CamelCase word: what decided."""
    message: Annotated[str, Field(max_length=2048)]
    """The decision in a sentence."""
    last_scale_time: datetime | None = None
    """When the number of replicas last changed."""
    capacity: CapacityStatus | None = None
    """What one replica can do."""
    startup: StartupStatus | None = None
    """How long replicas take to become Ready."""
    prediction: PredictionStatus | None = None
    """What the history foretells."""
    decisions: Annotated[
        list[ScalingDecision], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """The newest changes, newest last."""
