"""The autoscalers that a policy is measured against, with their own published algorithms and constants.

Sources: Kubernetes' ``replica_calculator.go`` and the defaults of ``HPAScalingRules``; Knative's ``autoscaler.go`` and
``config-autoscaler``; KEDA's ``prometheus_scaler.go``; AWS' documentation of Application Auto Scaling and the alarms
it makes. Where AWS publishes nothing the assumption is named.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil, floor

from sagebrush.replay.autoscaler import Situation, View
from sagebrush.replay.queueing import Floats

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaConstants:
    """autoscaling/v2's defaults."""

    interval_seconds: int = 15
    tolerance: float = 0.1
    up_percent: float = 100.0
    up_pods: int = 4
    up_period_seconds: int = 15
    down_percent: float = 100.0
    down_period_seconds: int = 15
    down_stabilization_seconds: int = 300


class HorizontalPodAutoscaler:
    """HPA on an external metric: the request rate over a window of Prometheus, by a target for each pod (AverageValue)."""

    def __init__(
        self,
        situation: Situation,
        *,
        utilisation: float,
        window_seconds: int = 60,
        empty_is_zero: bool = False,
        constants: HpaConstants | None = None,
    ) -> None:
        """*utilisation* of a replica's capacity is the target. *empty_is_zero*: KEDA's ``ignoreNullValues: true``."""
        self.constants = constants or HpaConstants()
        self.interval_seconds = self.constants.interval_seconds
        self.target = situation.service.capacity * utilisation
        self.window_seconds = window_seconds
        self.empty_is_zero = empty_is_zero
        self._wanted: deque[tuple[int, int]] = deque()
        self._grown: deque[tuple[int, int]] = deque()

    def look(self, view: View) -> int:
        """The number that the HPA would write."""
        rate = view.rate(self.window_seconds)
        if rate is None:
            if not (self.empty_is_zero and view.blind):
                return view.replicas
            rate = 0.0
        constants, now = self.constants, view.now
        ratio = rate / (self.target * view.replicas)
        desired = view.replicas
        if abs(ratio - 1.0) > constants.tolerance:
            desired = ceil(rate / self.target - _ROUNDING)
        # The highest recommendation of the stabilisation window, for scaling down only.
        while self._wanted and self._wanted[0][0] <= now - constants.down_stabilization_seconds:
            self._wanted.popleft()
        while self._wanted and self._wanted[-1][1] <= desired:
            self._wanted.pop()
        self._wanted.append((now, desired))
        desired = max(desired, min(view.replicas, self._wanted[0][1]))
        if desired > view.replicas:
            desired = min(desired, self._most(view))
            self._grown.append((now, desired - view.replicas))
        return desired

    def _most(self, view: View) -> int:
        """The larger of +100 % and +4 pods on what there was a period ago."""
        constants = self.constants
        while self._grown and self._grown[0][0] <= view.now - constants.up_period_seconds:
            self._grown.popleft()
        base = view.replicas - sum(added for _, added in self._grown)
        return max(base + constants.up_pods, ceil(base * (1 + constants.up_percent / 100)))


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaConstants:
    """``config-autoscaler``'s defaults."""

    tick_seconds: int = 2
    stable_window_seconds: int = 60
    panic_window_percentage: float = 10.0
    panic_threshold_percentage: float = 200.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    target_utilisation: float = 0.7


class KnativePodAutoscaler:
    """KPA on requests per second, whose queue proxies report each pod's last second."""

    def __init__(self, situation: Situation, *, utilisation: float, constants: KpaConstants | None = None) -> None:
        self.constants = constants or KpaConstants()
        self.interval_seconds = self.constants.tick_seconds
        self.target = situation.service.capacity * utilisation
        self._panic_window = round(self.constants.stable_window_seconds * self.constants.panic_window_percentage / 100)
        # With more than one pod it starts in panic, so that a restart removes none.
        self._panic_since: int | None = situation.first_second if situation.replicas > 1 else None
        self._panic_most = situation.replicas if situation.replicas > 1 else 0

    def look(self, view: View) -> int:
        """The number that the KPA would want."""
        constants = self.constants
        stable, panic = view.rate(constants.stable_window_seconds), view.rate(self._panic_window)
        if stable is None or panic is None:
            return view.replicas
        ready = max(view.ready, 1)
        most = ceil(constants.max_scale_up_rate * ready)
        least = floor(ready / constants.max_scale_down_rate)
        want_stable = min(max(ceil(stable / self.target - _ROUNDING), least), most)
        want_panic = min(max(ceil(panic / self.target - _ROUNDING), least), most)
        over = ceil(panic / self.target - _ROUNDING) / ready >= constants.panic_threshold_percentage / 100
        if over:
            if self._panic_since is None:
                self._panic_most = 0
            self._panic_since = view.now
        elif self._panic_since is not None and view.now >= self._panic_since + constants.stable_window_seconds:
            self._panic_since = None
        if self._panic_since is None:
            return max(want_stable, 1)
        self._panic_most = max(self._panic_most, want_stable, want_panic)
        return self._panic_most


class Keda(HorizontalPodAutoscaler):
    """KEDA's Prometheus scaler: an HPA on the query of its documentation (two minutes), for which nothing is zero."""

    def __init__(
        self, situation: Situation, *, utilisation: float, window_seconds: int = 120, empty_is_zero: bool = True
    ) -> None:
        super().__init__(situation, utilisation=utilisation, window_seconds=window_seconds, empty_is_zero=empty_is_zero)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTrackingConstants:
    """The alarms that Application Auto Scaling makes, which nobody can change."""

    period_seconds: int = 60
    high_periods: int = 3
    low_periods: int = 15
    low_threshold: float = 0.9
    """By the target; from users' observations, not documented."""
    cooldown_out_seconds: int = 300
    cooldown_in_seconds: int = 300


STANDARD = TargetTrackingConstants()
HIGH_RESOLUTION = TargetTrackingConstants(period_seconds=10)
"""For metrics of 10 s. AWS publishes no constants for its alarms: three and fifteen periods are assumed here too."""


class TargetTracking:
    """Application Auto Scaling on invocations per instance."""

    def __init__(
        self, situation: Situation, *, utilisation: float, constants: TargetTrackingConstants = STANDARD
    ) -> None:
        self.constants = constants
        self.interval_seconds = constants.period_seconds
        self.target = situation.service.capacity * utilisation
        self._points: deque[float] = deque(maxlen=constants.low_periods)
        self._out_until = self._in_until = situation.first_second
        self._instances = float(situation.replicas)

    def look(self, view: View) -> int:
        """The capacity that the alarms' state asks for."""
        constants, now = self.constants, view.now
        period = constants.period_seconds
        if view.blind or view.seen_until < period:
            self._points.clear()
            return view.replicas
        newest = view.seen_until // period * period
        each = view.count(newest - period, newest) / period / max(view.ready, 1)
        self._points.append(each)
        points = list(self._points)
        high = points[-constants.high_periods :]
        if view.updating:
            return view.replicas
        if len(high) == constants.high_periods and min(high) > self.target:
            if now < self._out_until:
                return view.replicas
            self._out_until = now + constants.cooldown_out_seconds
            return max(view.replicas, ceil(view.ready * each / self.target - _ROUNDING))
        low = self.target * constants.low_threshold
        if len(points) == constants.low_periods and max(points) < low and now >= max(self._in_until, self._out_until):
            self._in_until = now + constants.cooldown_in_seconds
            return min(view.replicas, max(1, ceil(view.ready * max(points) / self.target - _ROUNDING)))
        return view.replicas


def hpa(situation: Situation, _: Floats) -> HorizontalPodAutoscaler:
    """HPA at 0.7 of capacity, with the usual query over one minute."""
    return HorizontalPodAutoscaler(situation, utilisation=0.7)
