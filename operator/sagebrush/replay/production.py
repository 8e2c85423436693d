"""The policy that the operator runs, in the simulator: the very ``decide()``, with the signals that it would have.

What the operator measures it is given as measured: readings of both windows, requests that wait or are refused, how
busy the replicas are, the start-up time. It is calibrated from the history at the start and every six hours, as the
operator does.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import process_time

import numpy as np

from sagebrush.api.scaling import Scaling
from sagebrush.core.sagemaker.endpoint_variants import held
from sagebrush.core.scaling.calibrate import DemandHistory, calibrate
from sagebrush.core.scaling.compiled import Policy, compile_policy
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Cadence, Capacity, Fleet, Knowledge, Signals, Startup
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import decide
from sagebrush.core.scaling.window import LONG_WINDOW, Problem, Reading, Readings, short_window, unknown
from sagebrush.replay.autoscaler import Maker, Situation, View
from sagebrush.replay.queueing import Floats

CALIBRATION_SECONDS = 6 * 3600
"""Between two calibrations."""

_HISTORY_SECONDS = 14 * 86_400
_FEWEST_BINS = 4
_LONG_SECONDS = round(LONG_WINDOW.total_seconds())


def default_scaling(situation: Situation) -> Scaling:
    """The one configuration of the benchmark: the bound on latency, and what a replica is said to do; no more."""
    return Scaling.model_validate(
        {
            "minReplicas": situation.minimum,
            "maxReplicas": situation.maximum,
            "target": {"latency": f"{round(1000 * situation.latency_seconds)}ms"},
            "capacity": {
                "requestsPerSecond": situation.service.capacity,
                "concurrency": situation.service.workers,
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time that a policy took, in seconds."""

    calibrations: int = 0
    total_seconds: float = 0.0
    longest_seconds: float = 0.0

    def plus(self, seconds: float) -> "Cost":
        """With one calibration more."""
        return Cost(self.calibrations + 1, self.total_seconds + seconds, max(self.longest_seconds, seconds))


class Production:
    """The operator's policy for one situation."""

    def __init__(self, situation: Situation, *, scaling: Scaling) -> None:
        pipeline = situation.pipeline
        self.interval_seconds = pipeline.step if pipeline.pods else 5
        self.policy: Policy = compile_policy(scaling)
        self.situation = situation
        self.short_seconds = round(short_window(pipeline.step).total_seconds())
        self.history_step = max(5, pipeline.step)
        self.history = History()
        stated = scaling.capacity is not None and scaling.capacity.requests_per_second is not None
        service = situation.service
        self.knowledge = Knowledge(
            capacity=None
            if stated
            else Capacity(requests_per_second=service.capacity, concurrency=service.workers, source="Tested"),
            startup=Startup.of((float(situation.startup_seconds),)),
            cadence=Cadence(
                interval_seconds=float(self.interval_seconds),
                scrape_seconds=float(pipeline.step),
                lag_seconds=float(pipeline.lag),
            ),
            serialised=situation.serialised,
        )
        self.calibration_cost = Cost()
        self.decision: Decision | None = None
        """The last one."""
        self._next_calibration = situation.first_second
        self._source = "Pods" if pipeline.pods else "Prometheus"

    def look(self, view: View) -> int:
        """The number that the operator would write."""
        now = datetime.fromtimestamp(self.situation.start_unix + view.now, UTC)
        if view.now >= self._next_calibration:
            self._next_calibration = view.now + CALIBRATION_SECONDS
            self._calibrate(view, now=now)
        decision = decide(
            self.policy,
            signals=self._signals(view, now=now),
            fleet=Fleet(replicas=view.replicas, ready=view.ready, starting=view.starting),
            knowledge=self.knowledge,
            history=self.history,
            now=now,
        )
        if view.updating:
            decision = held(decision, before=self.history, message="a start is under way")
        self.history = decision.history
        self.decision = decision
        if decision.capacity is not None and decision.capacity is not self.knowledge.capacity:
            self.knowledge = replace(self.knowledge, capacity=decision.capacity)
        return decision.replicas

    def _calibrate(self, view: View, *, now: datetime) -> None:
        begin = max(0, view.now - _HISTORY_SECONDS)
        rates = view.history(begin, view.now, step=self.history_step)
        if len(rates) < _FEWEST_BINS or not np.isfinite(rates).any():
            return
        history = DemandHistory(
            step_seconds=float(self.history_step),
            start=datetime.fromtimestamp(self.situation.start_unix + begin, UTC),
            rates=rates,
        )
        before = process_time()
        calibration = calibrate(history, policy=self.policy, knowledge=self.knowledge, now=now)
        self.calibration_cost = self.calibration_cost.plus(process_time() - before)
        self.knowledge = replace(self.knowledge, calibration=calibration)

    def _signals(self, view: View, *, now: datetime) -> Signals:
        if view.blind:
            blind = unknown(Problem.SOURCE, message="the source of metrics does not answer")
            return Signals(short=blind.short, long=blind.long, source=self._source)
        readings = self._readings(view, now=now)
        end = view.seen_until
        begin = end - self.short_seconds
        return Signals(
            short=readings.short,
            long=readings.long,
            waiting=view.queue,
            in_flight=view.in_flight(self.short_seconds),
            refused_per_minute=view.rejected(begin, end) / self.short_seconds * 60,
            busy=view.busy(begin, end) if self.situation.tells_busy else None,
            source=self._source,
        )

    def _readings(self, view: View, *, now: datetime) -> Readings:
        newest = now - timedelta(seconds=view.now - view.seen_until)
        return Readings(
            short=self._reading(view, window=self.short_seconds, newest=newest),
            long=self._reading(view, window=_LONG_SECONDS, newest=newest),
        )

    def _reading(self, view: View, *, window: int, newest: datetime) -> Reading:
        covered = min(window, view.seen_until - view.seen_from)
        if covered < self.short_seconds / 2:
            message = "too few samples yet to tell a rate"
            return Reading(None, newest, complete=False, problem=Problem.TOO_SHORT, message=message)
        rate = view.rate_to_newest(window)
        full = covered >= window
        return Reading(
            requests_per_minute=None if rate is None else rate * 60,
            newest=newest,
            complete=full,
            problem=None if full else Problem.FILLING,
            message="" if full else f"the samples do not reach back {window} s yet",
            span=timedelta(seconds=covered),
            age=timedelta(seconds=view.now - view.seen_until),
        )


def production(scaling: Scaling | None = None) -> Maker:
    """The operator's policy; without *scaling* the one configuration of the benchmark."""

    def make(situation: Situation, _: Floats) -> Production:
        return Production(situation, scaling=scaling or default_scaling(situation))

    return make
