"""What tests of the policy are made of."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Cadence, Capacity, Fleet, Knowledge, Signals, Startup
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import compile_policy, decide
from sagebrush.core.scaling.window import Problem, Reading

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
LATENCY = {"target": {"latency": "500ms"}, "capacity": {"requestsPerSecond": 100, "concurrency": 8}}
QUICK = Knowledge(startup=Startup.of((3.0,)), cadence=Cadence(2, 2, 0))
SLOW = Knowledge(startup=Startup.of((360.0,)), cadence=Cadence(2, 2, 0), serialised=True)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def scaling(maximum: int = 100, **fields: Any) -> Scaling:
    """A policy as users write it."""
    return Scaling.model_validate({"maxReplicas": maximum, **(fields or LATENCY)})


def reading(
    per_minute: float | None, *, seconds: float = 60, problem: Problem | None = None, now: datetime = NOON
) -> Reading:
    return Reading(
        per_minute,
        now,
        complete=per_minute is not None and problem is None,
        problem=problem or (Problem.NO_DATA if per_minute is None else None),
        message="" if per_minute is not None and problem is None else "no answer",
        span=timedelta(seconds=seconds),
    )


def signals(long: float | None, *, short: float | None = None, now: datetime = NOON, **more: Any) -> Signals:
    """Requests per minute in both windows."""
    newest = long if short is None else short
    return Signals(reading(newest, seconds=6, now=now), reading(long, now=now), **more)


class Loop:
    """The loop around the policy: it carries out each decision; what was asked for is ready at once, or never."""

    def __init__(
        self,
        policy: Scaling | None = None,
        *,
        replicas: int = 1,
        knowledge: Knowledge = QUICK,
        history: History | None = None,
        starts: bool = True,
    ) -> None:
        self.policy = compile_policy(policy or scaling())
        self.replicas = self.ready = replicas
        self.knowledge, self.history, self.time, self.starts = knowledge, history or History(), 0.0, starts
        self.decisions: list[Decision] = []

    @property
    def last(self) -> Decision:
        return self.decisions[-1]

    def tick(self, long: float | None, *, seconds: float = 2, **more: Any) -> Decision:
        """Requests per minute; *more* as :func:`signals` takes it."""
        self.time += seconds
        now = after(self.time)
        decision = decide(
            self.policy,
            signals=signals(long, now=now, **more),
            fleet=Fleet(self.replicas, self.ready, self.replicas - self.ready),
            knowledge=self.knowledge,
            history=self.history,
            now=now,
        )
        self.decisions.append(decision)
        self.replicas, self.history = decision.replicas, decision.history
        self.ready = self.replicas if self.starts else min(self.ready, self.replicas)
        if decision.capacity is not None and decision.capacity is not self.knowledge.capacity:
            self.knowledge = Knowledge(
                capacity=decision.capacity,
                startup=self.knowledge.startup,
                calibration=self.knowledge.calibration,
                cadence=self.knowledge.cadence,
                serialised=self.knowledge.serialised,
            )
        return decision

    def run(self, long: float | None, *, seconds: float, step: float = 2, **more: Any) -> Decision:
        for _ in range(int(seconds / step)):
            self.tick(long, seconds=step, **more)
        return self.last


def learned(rate: float) -> Capacity:
    return Capacity(rate, 8, source="Learned")
