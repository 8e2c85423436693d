"""What the policy answers: the number of replicas, and everything that led to it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sagebrush.core.scaling.facts import Capacity
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.words import Said


class ScalingReason(StrEnum):
    """What decided; the word in ``status.scaling.reason``."""

    ABOVE_TARGET = "AboveTarget"
    """More requests than the replicas should carry: scaled out."""
    BELOW_TARGET = "BelowTarget"
    """Fewer replicas were enough for the whole scale-in period: scaled in."""
    WITHIN_TARGET = "WithinTarget"
    """The number of replicas fits the requests."""
    PREDICTED = "Predicted"
    """The history foretells more requests by the time that new replicas could be Ready."""
    BURST = "Burst"
    """Requests wait, or come faster than the ready replicas can answer."""
    STEP = "Step"
    """A step of stepPolicy was reached."""
    SCHEDULED = "Scheduled"
    """A schedule's floor holds the number up, or its cap down."""
    AT_MAXIMUM = "AtMaximum"
    """maxReplicas holds the number down."""
    AT_MINIMUM = "AtMinimum"
    """minReplicas holds the number up."""
    SCALE_IN_STABILIZING = "ScaleInStabilizing"
    """Fewer replicas would do now, and have not done for long enough."""
    SCALE_IN_COOLDOWN = "ScaleInCooldown"
    """Fewer replicas would do, and the last change is too recent."""
    SCALE_OUT_COOLDOWN = "ScaleOutCooldown"
    """More replicas are needed, and the last scale-out is too recent."""
    RATE_LIMITED = "RateLimited"
    """scaleOutLimit or scaleInLimit allows no more within its period."""
    BURST_LASTS = "BurstLasts"
    """Fewer replicas would do, and the last sign of a burst is too recent."""
    METRICS_MISSING = "MetricsMissing"
    """No request metrics: the number of replicas is held."""
    METRICS_STALE = "MetricsStale"
    """The newest request metrics are too old: the number of replicas is held."""
    METRICS_PARTIAL = "MetricsPartial"
    """Request metrics of some replicas or times are missing: may scale out, never in."""
    METRICS_FILLING = "MetricsFilling"
    """Request metrics do not reach back far enough yet: may scale out, never in."""
    METRICS_BLIND = "MetricsBlind"
    """No request metrics for 30 s: a fifth more replicas, once."""
    CAPACITY_UNKNOWN = "CapacityUnknown"
    """The target needs to know what one replica can do, and that is neither stated nor measured yet."""
    ENDPOINT_BUSY = "EndpointBusy"
    """SageMaker takes no change of the number at present: it is held until it does."""
    OTHER_SCALER = "OtherScaler"
    """An autoscaler that is not ours sets the number of replicas: it is left as it is."""
    OFF = "ScalingOff"
    """mode is Off: the number is left as it is."""


class Proposal(NamedTuple):
    """What one behaviour asks for."""

    by: str
    """Target, Prediction, Burst, StepPolicy, Schedule or Hold."""
    replicas: int
    why: Said


class Predicted(NamedTuple):
    """What is foretold."""

    requests_per_minute: float
    """The most until :attr:`until`."""
    until: datetime
    """When replicas asked for now could be Ready."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of replicas to have, and why."""

    replicas: int
    previous_replicas: int
    reason: ScalingReason
    said: Said | str
    """:attr:`message`, unmade."""
    history: History
    """What to hand to the next decision, once the number is written; the old history where writing it failed."""
    requests_per_minute: float | None = None
    """The demand decided on, over all replicas; None where nothing usable was measured."""
    observed_at: datetime | None = None
    """Time of the newest sample, on Prometheus' clock; set for stale data as well."""
    next_change_not_before: datetime | None = None
    """When the change that is being held back may be made at the earliest, where time is what holds it."""
    recommended: int | None = None
    """In mode Recommend the number that mode Auto would have."""
    proposals: tuple[Proposal, ...] = ()
    """What each behaviour that has a say asks for."""
    limited_by: str = ""
    """What bound the number, as the field of ``spec.scaling``; empty where nothing did."""
    value: float | None = None
    """The target's metric over all replicas, where that is not requests per minute."""
    target_words: Said | str = ""
    """The target in words; ``str()`` of it."""
    capacity: Capacity | None = None
    """What one replica can do, as far as known now: to be kept, and handed back in the next decision's Knowledge."""
    prediction: Predicted | None = None
    source: str = ""
    """Where the newest metrics came from: Prometheus or Pods."""
    unattainable: Said | str = ""
    """Why no policy can hold the budget here, and what would, in numbers; empty where it can be held."""

    @property
    def message(self) -> str:
        """A sentence for people; its numbers move with every reading."""
        return str(self.said)

    @property
    def changed(self) -> bool:
        """Whether the number of replicas is to be written."""
        return self.replicas != self.previous_replicas
