"""The same load under other autoscalers, in the simulator that `make bench-replay` uses: their published constants."""

import math
from typing import Any

import numpy as np

from benchmarks.scaling.options import Options
from benchmarks.scaling.shape import Shape
from sagebrush.replay.contenders import hpa, kpa, ours, target_tracking
from sagebrush.replay.queueing import Service
from sagebrush.replay.run import replay
from sagebrush.replay.shapes import daily_ramps
from sagebrush.replay.system import Outcome, System
from sagebrush.replay.trace import Trace


def beside(shape: Shape, *, options: Options, startup_seconds: int) -> list[dict[str, Any]]:
    """A row for each autoscaler: pods that take *startup_seconds* to start, as they did here; SageMaker's take six minutes."""
    seconds = math.floor(shape.seconds)
    service_seconds = options.service_ms / 1000
    service = Service(
        capacity=options.capacity,
        wait_seconds=options.latency_ms / 1000 - service_seconds,
        workers=options.workers,
    )
    rate = np.asarray([shape.rate(second) for second in range(seconds)])
    trace = Trace(name="bench-scaling", rate=rate, service=service, seed=4, kind="spikes")
    system = System(startup_seconds=startup_seconds, maximum=options.most_replicas)
    rows = []
    for contender in (ours(), hpa(0.7), kpa(0.7), target_tracking(0.7)):
        row, outcome = replay(trace, contender, system)
        rows.append(
            {
                "policy": contender.name,
                "latePercent": round(100 * row.late_share, 3),
                "lostPercent": round(100 * row.lost_share, 3),
                "replicaSeconds": round(outcome.replica_seconds),
                "startupSeconds": row.startup_seconds,
                "firstNewReadySeconds": {
                    f"{part.name} at {at:.0f} s": _first(outcome, step=round(at), until=round(at + part.seconds))
                    for part, at in shape.steps()
                },
            }
        )
    return rows


def learned() -> dict[str, Any]:
    """
    Ramps that come every day, on SageMaker's six-minute instances, after a week of history: is it there before they begin?
    A cluster can't be shown two days of traffic in a benchmark, so the operator's own `decide()` and calibration are replayed.
    """
    trace = daily_ramps()
    rows = {}
    for contender in (ours(), target_tracking(0.7)):
        row, _ = replay(trace, contender, System(startup_seconds=360, serialised=True))
        rows[contender.name] = {"latePercent": round(100 * row.late_share, 3), "costRatio": round(row.cost_ratio, 3)}
    return {"trace": trace.name, "days": trace.seconds / 86400, "policies": rows}


def _first(outcome: Outcome, *, step: int, until: int) -> int | None:
    had = int(outcome.ready[step - 1])
    above = np.flatnonzero(outcome.ready[step:until] > had)
    return int(above[0]) if len(above) else None
