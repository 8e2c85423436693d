"""Policies by traces: one row of figures for each pair."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sagebrush.replay.contenders import Contender
from sagebrush.replay.oracle import optimum
from sagebrush.replay.system import Outcome, System, simulate
from sagebrush.replay.trace import Trace

_TIMES = ("decision_milliseconds", "calibration_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one policy made of one trace."""

    goal: str
    """What the row is measured for, such as "G1"; empty outside the benchmark."""
    trace: str
    policy: str
    late_share: float
    """Requests that waited too long or were lost, by all."""
    lost_share: float
    cost_ratio: float
    """Replica-seconds by the clairvoyant minimum's."""
    changes_per_hour: float
    replica_hours: float
    price: float | None
    """Of the replica hours, where one is given for an hour."""
    startup_seconds: int
    hours: float
    """Time that was judged."""
    scale_ins_blind: int
    """Times that replicas were removed while a source of metrics was away."""
    decision_milliseconds: float
    """CPU time of a decision, without calibrations; differs between runs, like the next."""
    calibration_seconds: float
    """CPU time of the longest calibration; 0 for policies that have none."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, without the CPU times: the same for the same replay."""
        return {name: value for name, value in asdict(self).items() if name not in _TIMES}

    def times(self) -> dict[str, Any]:
        """The CPU times, and whose they are."""
        told = {"goal": self.goal, "trace": self.trace, "policy": self.policy}
        return told | {name: round(getattr(self, name), 4) for name in _TIMES}


def replay(
    trace: Trace,
    contender: Contender,
    system: System,
    *,
    goal: str = "",
    label: str | None = None,
    price_per_hour: float | None = None,
) -> tuple[Row, Outcome]:
    """The row, and the seconds behind it. *label* is what the row calls the trace, where its own name says too little."""
    within = contender.within(system)
    makes: list[Any] = []

    def make(*arguments: Any) -> Any:
        makes.append(contender.make(*arguments))
        return makes[-1]

    outcome = simulate(trace, make, within)
    calibrations = getattr(makes[-1], "calibration_cost", None)
    spent = outcome.policy_seconds - (calibrations.total_seconds if calibrations else 0.0)
    hours = outcome.replica_seconds / 3600
    row = Row(
        goal=goal,
        trace=label or trace.name,
        policy=contender.name,
        late_share=outcome.late_share,
        lost_share=float(outcome.lost.sum() / max(outcome.arrivals.sum(), 1.0)),
        cost_ratio=outcome.replica_seconds / minimum_seconds(trace, startup_seconds=within.startup_seconds),
        changes_per_hour=outcome.changes_per_hour,
        replica_hours=hours,
        price=None if price_per_hour is None else hours * price_per_hour,
        startup_seconds=within.startup_seconds,
        hours=trace.seconds / 3600,
        scale_ins_blind=_scale_ins(outcome, within, begin=trace.evaluated_from),
        decision_milliseconds=1000 * spent / max(outcome.looks, 1),
        calibration_seconds=calibrations.longest_seconds if calibrations else 0.0,
    )
    return row, outcome


@lru_cache(maxsize=8)
def minimum_seconds(trace: Trace, *, startup_seconds: int) -> float:
    """Replica-seconds of the clairvoyant minimum."""
    return optimum(trace.judged, trace.service, startup_seconds=startup_seconds).replica_seconds


def _scale_ins(outcome: Outcome, system: System, *, begin: int) -> int:
    """Removals within any outage, whether the policy's own source was away or not."""
    removed = np.flatnonzero(np.diff(outcome.asked) < 0) + 1 + begin
    return sum(int(((removed >= outage.begin) & (removed < outage.end)).sum()) for outage in system.outages)
