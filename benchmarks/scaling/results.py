"""From samples and requests to figures."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.driving import Driven
from benchmarks.scaling.shape import Shape
from benchmarks.scaling.watching import Sample

GOAL_SECONDS = 10.0
"""From the step in load to the first new replica Ready."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One endpoint under the load."""

    source: str
    shape: Shape
    driven: Driven
    samples: list[Sample]
    decisions: list[dict[str, Any]]
    missed_looks: int


def first_new_replica(samples: Sequence[Sample], *, step: float, until: float) -> float | None:
    """Seconds from *step* to the first sample with more Ready pods than at that moment; None where none came by *until*."""
    before = [sample.ready for sample in samples if sample.time <= step]
    had = before[-1] if before else 0
    return next((sample.time - step for sample in samples if step < sample.time <= until and sample.ready > had), None)


def ready_at(samples: Sequence[Sample], moment: float) -> int:
    """Ready pods at a Unix time."""
    before = [sample.ready for sample in samples if sample.time <= moment]
    return before[-1] if before else 0


def figures(run: Run, *, latency_seconds: float, capacity: float) -> dict[str, Any]:
    """All figures of a run, as JSON types."""
    began, driven = run.driven.began, run.driven
    parts = []
    steps = {at for _, at in run.shape.steps()}
    for part, begin, end in run.shape.bounds():
        chosen = [late for due, late in zip(driven.due, driven.latencies, strict=True) if begin <= due < end]
        told: dict[str, Any] = {"part": part.name, "from": begin, "to": end, **latencies(chosen, bound=latency_seconds)}
        told["mostReady"] = max((s.ready for s in run.samples if began + begin <= s.time < began + end), default=None)
        if begin in steps:
            had = ready_at(run.samples, began + begin)
            told["readyBefore"] = had
            told["needed"] = math.ceil(part.begin / capacity)
            found = first_new_replica(run.samples, step=began + begin, until=began + end)
            told["firstNewReadySeconds"] = None if found is None else round(found, 2)
        parts.append(told)
    return {
        "source": run.source,
        **latencies(driven.latencies, bound=latency_seconds),
        "failed": sum(driven.failures.values()),
        "failures": dict(driven.failures),
        "wrongAnswers": driven.wrong,
        "generatorLagP99Ms": round(driven.lag_p99 * 1000, 1),
        "replicaSeconds": round(replica_seconds(run.samples, begin=began, end=began + run.shape.seconds), 1),
        "changes": len(run.decisions),
        "missedLooks": run.missed_looks,
        "parts": parts,
        "decisions": run.decisions,
        "replicas": [[round(sample.time - began, 2), sample.asked, sample.ready] for sample in _changes(run.samples)],
    }


def latencies(values: Sequence[float], *, bound: float) -> dict[str, Any]:
    """Count, late share and percentiles in milliseconds of those that were answered; failed requests are late."""
    answered = sorted(value for value in values if math.isfinite(value))

    def at(share: float) -> float | None:
        return round(answered[max(0, math.ceil(share * len(answered)) - 1)] * 1000, 1) if answered else None

    late = sum(value > bound for value in values)
    return {
        "requests": len(values),
        "latePercent": round(100 * late / len(values), 3) if values else None,
        "p50Ms": at(0.5),
        "p99Ms": at(0.99),
        "maxMs": at(1.0),
    }


def replica_seconds(samples: Sequence[Sample], *, begin: float, end: float) -> float:
    """Replicas asked for, over time: what is paid."""
    inside = [sample for sample in samples if begin <= sample.time <= end]
    return sum(a.asked * (b.time - a.time) for a, b in itertools.pairwise(inside))


def _changes(samples: Sequence[Sample]) -> list[Sample]:
    found: list[Sample] = []
    for sample in samples:
        if not found or (found[-1].asked, found[-1].ready) != (sample.asked, sample.ready):
            found.append(sample)
    return found


def checks(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What must hold: correctness (the exit code) and the goals (told)."""
    found = []
    for run in document["runs"]:
        found.append(_check(f"{run['source']}: no failed request", run["failed"] == 0, run["failed"], must=True))
        found.append(
            _check(f"{run['source']}: every answer right", run["wrongAnswers"] == 0, run["wrongAnswers"], must=True)
        )
        for part in run["parts"]:
            if "firstNewReadySeconds" in part and part["readyBefore"] < part["needed"]:
                took = part["firstNewReadySeconds"]
                name = f"{run['source']}, {part['part']}: a new replica Ready within {GOAL_SECONDS:g} s"
                found.append(_check(name, took is not None and took <= GOAL_SECONDS, took, must=False))
    known = document.get("schedule")
    if known:
        name = f"schedule: {known['floor']} replicas Ready before the step"
        found.append(_check(name, known["readyAtStep"] >= known["floor"], known["readyAtStep"], must=False))
        found.append(_check("schedule: no failed request", known["failed"] == 0, known["failed"], must=True))
    return found


def _check(name: str, passed: bool, value: Any, *, must: bool) -> dict[str, Any]:
    return {"check": name, "passed": passed, "value": value, "must": must}
