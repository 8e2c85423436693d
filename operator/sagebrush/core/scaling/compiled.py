"""``spec.scaling`` in plain numbers, so that a decision parses nothing."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from sagebrush.api.meta import parse_duration
from sagebrush.api.scaling import ChangeLimit, Scaling, ScalingTarget, Step
from sagebrush.core.scaling.facts import Capacity
from sagebrush.core.scaling.schedule import Plan, compile_schedules

DEFAULT_LATE_PERCENT = 0.1


class TargetKind(StrEnum):
    """The field of ``spec.scaling.target`` that is given."""

    REQUESTS_PER_MINUTE = "requestsPerMinute"
    IN_FLIGHT = "inFlight"
    LATENCY = "latency"
    PERCENT_OF_CAPACITY = "percentOfCapacity"
    QUERY = "query"


class StepRule(NamedTuple):
    """A step of stepPolicy."""

    above: float | None
    below: float | None
    change: int | None
    percent: int | None


class Limit(NamedTuple):
    """Most by which the number may change within a period."""

    replicas: int
    percent: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, ready to decide with."""

    mode: str
    minimum: int
    maximum: int
    kind: TargetKind
    target: float
    """Of one replica: requests per minute, requests in flight, seconds of latency, share of capacity, or the query's value."""
    late_share: float
    """Share of requests that may be later than the latency bound."""
    stated: Capacity | None
    """What the owner says of one replica's capacity."""
    concurrency: int | None
    """Requests that a replica works on at the same time, as its owner says; None: not said."""
    out_cooldown: timedelta
    in_cooldown: timedelta
    steps: tuple[StepRule, ...] = ()
    step_cooldown: timedelta = timedelta(0)
    schedules: tuple[Plan, ...] = ()
    predicts: bool = True
    """Whether predictions raise the number; they are shown in any case."""
    foresees: bool = True
    """Whether predictions are made at all."""
    prediction_maximum: int | None = None
    bursts: bool = True
    burst_hold: timedelta = timedelta(seconds=60)
    burst_percent: int = 900
    out_limit: Limit | None = None
    in_limit: Limit | None = None


def compile_policy(scaling: Scaling) -> Policy:
    """The policy that *scaling* describes. Raises ValueError where a schedule's cron or time zone means nothing."""
    kind, target = _target(scaling.target)
    stated, prediction, burst = scaling.capacity, scaling.prediction, scaling.burst
    concurrency = stated.concurrency if stated else None
    rate = stated.requests_per_second if stated else None
    return Policy(
        mode=scaling.mode,
        minimum=scaling.min_replicas,
        maximum=scaling.max_replicas,
        kind=kind,
        target=target,
        late_share=(scaling.target.late_percent or DEFAULT_LATE_PERCENT) / 100,
        stated=Capacity(rate, concurrency or 1) if rate else None,
        concurrency=concurrency,
        out_cooldown=parse_duration(scaling.scale_out_cooldown),
        in_cooldown=parse_duration(scaling.scale_in_cooldown),
        steps=tuple(_step(step) for step in scaling.step_policy.steps) if scaling.step_policy else (),
        step_cooldown=parse_duration(scaling.step_policy.cooldown) if scaling.step_policy else timedelta(0),
        schedules=compile_schedules(scaling.schedules),
        predicts=prediction is None or prediction.mode == "Auto",
        foresees=prediction is None or prediction.mode != "Off",
        prediction_maximum=prediction.max_replicas if prediction else None,
        bursts=burst is None or burst.mode == "Auto",
        burst_hold=parse_duration(burst.hold) if burst else timedelta(seconds=60),
        burst_percent=burst.max_percent if burst else 900,
        out_limit=_limit(scaling.scale_out_limit),
        in_limit=_limit(scaling.scale_in_limit),
    )


def _target(target: ScalingTarget) -> tuple[TargetKind, float]:
    if target.requests_per_minute is not None:
        return TargetKind.REQUESTS_PER_MINUTE, target.requests_per_minute
    if target.in_flight is not None:
        return TargetKind.IN_FLIGHT, target.in_flight
    if target.percent_of_capacity is not None:
        return TargetKind.PERCENT_OF_CAPACITY, target.percent_of_capacity / 100
    if target.query is not None:
        return TargetKind.QUERY, target.query.per_replica
    return TargetKind.LATENCY, latency_seconds(target.latency or "1s")


def latency_seconds(text: str) -> float:
    """``500ms`` or ``2s`` in seconds."""
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def _step(step: Step) -> StepRule:
    return StepRule(above=step.above, below=step.below, change=step.change, percent=step.change_percent)


def _limit(limit: ChangeLimit | None) -> Limit | None:
    if limit is None:
        return None
    return Limit(replicas=limit.replicas or 0, percent=limit.percent or 0, period=parse_duration(limit.period))
