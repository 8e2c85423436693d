"""What is replayed for which goal, and when a goal is met."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from sagebrush.replay.autoscaler import PODS, PROMETHEUS_15S, Outage
from sagebrush.replay.contenders import (
    IN_CLUSTER,
    ON_SAGEMAKER,
    OURS,
    SAGEMAKER_STARTUP_SECONDS,
    Contender,
    hpa,
    keda,
    kpa,
    ours,
)
from sagebrush.replay.files import read_trace
from sagebrush.replay.queueing import Floats
from sagebrush.replay.run import Row
from sagebrush.replay.shapes import GENERATED
from sagebrush.replay.system import System
from sagebrush.replay.trace import DAY, Trace

OURS_PROMETHEUS = f"{OURS}, Prometheus"
OUTAGE_SECONDS = 2400
_SMOOTH_MINUTES = 5
STEEP = ("worldcup", "daily web")
"""Beginnings of the names of traces whose load multiplies within the length of an outage."""

WRONG_CAPACITY = 1.3

PODS_10S = System(startup_seconds=10, pipeline=PODS)
PODS_3S_BOUNDED = System(startup_seconds=3, bounded_queue=True, pipeline=PODS)
SAGEMAKER = System(startup_seconds=SAGEMAKER_STARTUP_SECONDS, serialised=True, pipeline=PROMETHEUS_15S)
WRONG = replace(PODS_10S, stated_capacity=WRONG_CAPACITY, tells_busy=False)
"""
Replicas do not say how busy they are either: with that, a wrong capacity is seen at the first request, and not only
when replicas are saturated.
"""

Load = Callable[[], Trace]


@dataclass(frozen=True, slots=True)
class Case:
    """One trace on one system under several policies: a piece of work."""

    goal: str
    load: Load
    system: System
    contenders: tuple[Contender, ...]
    outage: str = ""
    """Where Prometheus is away for 40 minutes: "rise" or "peak"; empty: nowhere."""

    def situation(self) -> tuple[Trace, System, str]:
        """The trace, the system, and what to call the two together."""
        trace = self.load()
        if not self.outage:
            return trace, self.system, trace.name
        begin = steepest(trace) if self.outage == "rise" else busiest(trace)
        system = replace(self.system, outages=(Outage(begin=begin, end=begin + OUTAGE_SECONDS),))
        return trace, system, f"{trace.name}, {self.outage}"


def cases(folder: Path | None) -> list[Case]:
    """Everything, longest first. Without a folder of traces daily-shaped ones are generated."""
    files = sorted(folder.glob("*.csv")) if folder else []
    recorded: list[Load] = [_Recorded(file) for file in files]
    daily = (
        [load for load in recorded if len(load()) >= DAY]
        if folder
        else [_Generated("daily models"), _Generated("daily web")]
    )
    short = [load for load in recorded if len(load()) < DAY]
    spikes, ramps = _Generated("article spikes"), _Generated("daily ramps")
    mine, by_prometheus = ours(), ours(name=OURS_PROMETHEUS, pipeline=PROMETHEUS_15S)
    found = [Case("G1", load, PODS_10S, (mine, by_prometheus, *IN_CLUSTER)) for load in daily]
    found += [Case("G4", load, SAGEMAKER, (mine, *ON_SAGEMAKER)) for load in daily]
    found += [Case("G6", load, WRONG, (mine, hpa(0.7), kpa(0.7), kpa(0.6))) for load in daily]
    for load in daily:
        for where in ("rise", "peak"):
            found.append(Case("G5", load, PODS_10S, (mine, by_prometheus, hpa(0.7), keda(0.7)), outage=where))
    found.append(Case("G2", spikes, PODS_3S_BOUNDED, (mine, *IN_CLUSTER)))
    found.append(Case("G2", spikes, SAGEMAKER, ON_SAGEMAKER))
    found.append(Case("G3", ramps, SAGEMAKER, (mine, *ON_SAGEMAKER)))
    others: list[Load] = [spikes, _Generated("article ramp"), ramps, *short]
    found += [Case("G7", load, PODS_10S, (mine, *IN_CLUSTER)) for load in others]
    return found


class _Generated:
    """A generated trace, made once in a process."""

    _made: ClassVar[dict[str, Trace]] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> Trace:
        if self.name not in self._made:
            self._made[self.name] = GENERATED[self.name]()
        return self._made[self.name]


class _Recorded:
    """A file, read when it is wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> Trace:
        return read_trace(self.path)


def steepest(trace: Trace) -> int:
    """Where to begin an outage so that holding the replicas hurts the most: the load multiplies while it lasts.

    By the requests of the 40 minutes that are beyond 1.4 times the rate at its beginning, which is what a target of
    0.7 of the capacity leaves room for; never in the first hour that is judged.
    """
    minutes, first = _minutes(trace)
    length = OUTAGE_SECONDS // 60
    if len(minutes) < 60 + length + _SMOOTH_MINUTES:
        return first
    before = np.convolve(minutes, np.ones(_SMOOTH_MINUTES) / _SMOOTH_MINUTES, mode="valid")
    windows = np.lib.stride_tricks.sliding_window_view(minutes, length)[_SMOOTH_MINUTES:]
    beyond = np.maximum(windows - 1.4 * before[: len(windows), None], 0.0).sum(axis=1)
    skipped = 60 - _SMOOTH_MINUTES
    return first + (60 + int(np.argmax(beyond[skipped:]))) * 60


def busiest(trace: Trace) -> int:
    """Where to begin an outage so that the most requests fall into it; never in the first hour that is judged."""
    minutes, first = _minutes(trace)
    held = np.convolve(minutes, np.ones(OUTAGE_SECONDS // 60), mode="valid")
    return first + (int(np.argmax(held[60:])) + 60 if len(held) > 60 else 0) * 60


def by_minute(rates: Floats) -> Floats:
    """The mean of each whole minute of a rate per second."""
    return np.asarray(rates[: len(rates) // 60 * 60].reshape(-1, 60).mean(axis=1))


def _minutes(trace: Trace) -> tuple[Floats, int]:
    return by_minute(trace.judged), trace.evaluated_from


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the table of goals."""

    goal: str
    wanted: str
    found: str
    met: bool


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Every goal of the table that something was run for, for our policy."""
    if not _of(rows, goal="G1"):
        # A folder of short traces only: no days, so nothing to judge but spikes and ramps.
        return [_spikes(rows), _ramps(rows)]
    return [
        _late_and_cost(rows, "G1", late=0.001, cost=1.10, what="daily-shaped traces, Ready in 10 s"),
        _spikes(rows),
        _ramps(rows),
        _late_and_cost(rows, "G4", late=0.001, cost=1.25, what="SageMaker, daily-shaped traces"),
        _outage(rows),
        _late_and_cost(rows, "G6", late=0.002, cost=None, what="capacity stated 30 % too high"),
        _pace(rows),
    ]


def _spikes(rows: Sequence[Row]) -> Verdict:
    what = "2-4-minute spikes, Ready in 3 s, bounded queue"
    return _late_and_cost(rows, "G2", late=0.009, cost=1.5, what=what)


def _ramps(rows: Sequence[Row]) -> Verdict:
    return _late_and_cost(rows, "G3", late=0.001, cost=1.22, what="SageMaker, predictable daily ramps")


def _of(rows: Sequence[Row], *, goal: str, policy: str = OURS) -> list[Row]:
    return [row for row in rows if row.goal == goal and row.policy == policy]


def _late_and_cost(rows: Sequence[Row], goal: str, *, late: float, cost: float | None, what: str) -> Verdict:
    mine = _of(rows, goal=goal)
    worst = max(row.late_share for row in mine)
    mean = sum(row.cost_ratio for row in mine) / len(mine)
    return Verdict(
        goal=goal,
        wanted=f"{what}: each ≤ {100 * late:g} % late" + (f" at a mean ≤ {cost:g}×" if cost else ""),
        found=f"worst {100 * worst:.3f} %, mean cost {mean:.3f}×",
        met=worst <= late and (cost is None or mean <= cost),
    )


def _outage(rows: Sequence[Row]) -> Verdict:
    """
    Late is judged where it can be told from what a policy may be late anyway: on the steep traces. The others spend
    their budget of 0.1 % with or without an outage.
    """
    direct, blind = _of(rows, goal="G5"), _of(rows, goal="G5", policy=OURS_PROMETHEUS)
    direct = [row for row in direct if row.trace.startswith(STEEP)] or direct
    late = max(row.late_share for row in direct)
    removed = sum(row.scale_ins_blind for row in blind)
    return Verdict(
        goal="G5",
        wanted="40 minutes without Prometheus: no scale-in; ≤ 0.02 % late with pods read directly",
        found=f"{removed} scale-ins; {100 * late:.3f} % with pods on steep traces, "
        f"{100 * max(row.late_share for row in blind):.3f} % at worst by Prometheus alone",
        met=removed == 0 and late <= 0.0002,
    )


def _pace(rows: Sequence[Row]) -> Verdict:
    mine = [*_of(rows, goal="G1"), *_of(rows, goal="G7")]
    every = [row for row in rows if row.policy.startswith(OURS)]
    changes = sum(row.changes_per_hour for row in mine) / len(mine)
    decision = sum(row.decision_milliseconds for row in every) / len(every)
    calibration = max(row.calibration_seconds for row in every)
    return Verdict(
        goal="G7",
        wanted="≤ 40 changes an hour on average; ≤ 1 ms a decision; ≤ 2 s CPU for a calibration",
        found=f"{changes:.1f} changes; {decision:.3f} ms; {calibration:.2f} s",
        met=changes <= 40 and decision <= 1 and calibration <= 2,
    )
