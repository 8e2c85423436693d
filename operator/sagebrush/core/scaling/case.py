"""One decision in the making."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sagebrush.core.scaling.compiled import Policy, TargetKind
from sagebrush.core.scaling.decision import Decision, Predicted, Proposal, ScalingReason
from sagebrush.core.scaling.demand import Pace
from sagebrush.core.scaling.facts import Capacity, Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.schedule import Bounds
from sagebrush.core.scaling.targets import Sizing
from sagebrush.core.scaling.words import Said, sentence

_LONGEST_HOLD_SECONDS = 900.0
_SHORTEST_HOLD_SECONDS = 60.0
_HORIZONS_HELD = 8.0
_SETTLE = timedelta(seconds=30)


@dataclass(slots=True)
class Case:
    """The policy, the moment, and what was concluded of it so far."""

    policy: Policy
    signals: Signals
    fleet: Fleet
    knowledge: Knowledge
    now: datetime
    bounds: Bounds
    minimum: int
    maximum: int
    replicas: int
    """Asked for at present, brought within the bounds."""
    history: History
    capacity: Capacity | None = None
    sizing: Sizing | None = None
    value: float = 0.0
    """Demand to provide for, in the target's unit."""
    observed: float | None = None
    """Requests per minute."""
    prediction: Predicted | None = None
    foretold: float | None = None
    """What is predicted, in the target's unit."""
    steep: float = 0.0
    """Requests per minute that a steep rise adds over the horizon."""
    trusted: bool = False
    burst: Said | None = None
    """Why it is a burst, where it is one."""
    burst_replicas: int = 0
    unattainable: Said | str = ""
    proposals: list[Proposal] = field(default_factory=list)
    limited_by: str = ""

    def bounded(self, replicas: int) -> int:
        """Within the bounds in force."""
        return max(self.minimum, min(replicas, self.maximum))

    @property
    def pace(self) -> Pace:
        """The rate's usual course, as it was remembered at the last decision."""
        before = self.history
        return Pace(before.wiggle, before.level, before.usual_level, before.slow, before.recent)

    @property
    def hold(self) -> timedelta:
        """For how long fewer replicas must have been enough before any is removed."""
        policy = self.policy
        if policy.kind is not TargetKind.LATENCY:
            return policy.in_cooldown
        calibration = self.knowledge.calibration
        if calibration is not None:
            return min(timedelta(seconds=calibration.hold_seconds), policy.in_cooldown)
        seconds = _HORIZONS_HELD * self.knowledge.horizon_seconds
        return min(
            timedelta(seconds=min(max(seconds, _SHORTEST_HOLD_SECONDS), _LONGEST_HOLD_SECONDS)), policy.in_cooldown
        )

    @property
    def settled(self) -> timedelta:
        """Time since the last change before replicas are removed."""
        return min(_SETTLE, self.hold) if self.policy.kind is TargetKind.LATENCY else self.policy.in_cooldown

    @property
    def load(self) -> Said:
        """What comes, over what there is."""
        unit = {
            TargetKind.IN_FLIGHT: "{0:num} requests in flight",
            TargetKind.QUERY: "a value of {0:num} of the query",
        }.get(self.policy.kind, "{0:num} requests/min")
        value = self.value
        if self.policy.kind is TargetKind.LATENCY and self.observed is not None:
            value = self.observed  # not what is provided for, which has its headroom in it
        if self.fleet.ready == self.replicas:
            return sentence(unit + " over {1:rep}", value, self.replicas)
        return sentence(unit + " over {1:rep} ({2} ready)", value, self.replicas, self.fleet.ready)

    def stay(self, reason: ScalingReason, *, said: Said, not_before: datetime | None = None) -> Decision:
        """The number stays."""
        return self.go(self.replicas, reason=reason, said=said, not_before=not_before)

    def go(self, replicas: int, *, reason: ScalingReason, said: Said, not_before: datetime | None = None) -> Decision:
        """The number becomes *replicas*."""
        history = self.history
        if replicas != self.replicas:
            history = history.scaled(before=self.replicas, after=replicas, now=self.now, keep=self.limit_period)
        value = None
        if self.sizing is not None and self.policy.kind in (TargetKind.IN_FLIGHT, TargetKind.QUERY):
            value = self.value
        return Decision(
            replicas=replicas,
            previous_replicas=self.replicas,
            reason=reason,
            said=said,
            history=history,
            requests_per_minute=self.observed,
            next_change_not_before=not_before,
            proposals=tuple(self.proposals),
            limited_by=self.limited_by,
            value=value,
            target_words=self.sizing.words if self.sizing else "",
            capacity=self.capacity,
            prediction=self.prediction,
            source=self.signals.source,
            unattainable=self.unattainable,
        )

    @property
    def limit_period(self) -> timedelta:
        """How long changes are remembered for the rate limits."""
        limits = (self.policy.out_limit, self.policy.in_limit)
        return max((limit.period for limit in limits if limit is not None), default=timedelta(0))
