"""Evaluates alarms every ten virtual seconds and lets policies act (reference §0.10, §4.2)."""

import math
from typing import TYPE_CHECKING, Any

from tests.sagemaker_simulator.autoscaling import DEFAULT_COOLDOWN, Policy, ScalableTarget
from tests.sagemaker_simulator.metrics import RESOLUTION, Series

if TYPE_CHECKING:
    from tests.sagemaker_simulator.world import Region, World

COMPARISONS = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


def ensure_ticking(world: "World") -> None:
    """Begin to evaluate, at the next ten seconds of virtual time; ends by itself when nothing is watched."""
    if not world.ticking:
        world.ticking = True
        for region in world.regions.values():
            region.series.clear()
            for key, endpoint in region.endpoints.items():
                world.traffic.settle(endpoint)
                for variant in endpoint.fleet.variants:
                    region.series.setdefault((key, variant.name), Series()).begin(variant)
        world.agenda.at((world.now // RESOLUTION + 1) * RESOLUTION, lambda: _tick(world))


def _tick(world: "World") -> None:
    for region in list(world.regions.values()):
        _measure(region)
        for alarm in list(region.alarms.values()):
            _evaluate(region, alarm)
        for target in list(region.targets.values()):
            _track(target)
    world.ticking = any(region.alarms for region in world.regions.values())
    if world.ticking:
        world.agenda.after(RESOLUTION, lambda: _tick(world))


def _measure(region: "Region") -> None:
    world = region.world
    for key, endpoint in region.endpoints.items():
        world.traffic.settle(endpoint)
        if endpoint.status not in {"Creating", "Failed", "Deleting"}:
            for variant in endpoint.fleet.variants:
                series = region.series.setdefault((key, variant.name), Series())
                series.take(variant, latency=world.timings.model_latency)


def _evaluate(region: "Region", alarm: dict[str, Any]) -> None:
    """Set the alarm's state; a breaching one lets the step policies that it names act."""
    if round(region.world.now) % alarm["Period"]:
        return
    values = _values(region, alarm)
    if values is None:
        alarm["StateValue"] = "INSUFFICIENT_DATA"
        return
    breaching = sum(bool(COMPARISONS[alarm["ComparisonOperator"]](value, alarm["Threshold"])) for value in values)
    alarm["StateValue"] = "ALARM" if breaching >= alarm.get("DatapointsToAlarm", len(values)) else "OK"
    alarm["LastValue"] = values[-1]
    if alarm["StateValue"] == "ALARM":
        for target in region.targets.values():
            for policy in target.policies.values():
                if policy.step and policy.arn in alarm.get("AlarmActions", []):
                    _step(target, policy, alarm, value=values[-1])


def _values(region: "Region", alarm: dict[str, Any]) -> list[float] | None:
    names = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", [])}
    series = region.series.get((names.get("EndpointName", "").lower(), names.get("VariantName", "")))
    if series is None or alarm.get("Namespace") != "AWS/SageMaker":
        return None
    return series.values(alarm["MetricName"], period=alarm["Period"], count=alarm["EvaluationPeriods"])


def _step(target: ScalableTarget, policy: Policy, alarm: dict[str, Any], *, value: float) -> None:
    config, current = policy.step or {}, target.capacity()
    difference = value - alarm["Threshold"]
    for step in config.get("StepAdjustments", []):
        low = step.get("MetricIntervalLowerBound", -math.inf)
        high = step.get("MetricIntervalUpperBound", math.inf)
        if low <= difference < high and current is not None:
            wanted = _adjusted(config, current, step["ScalingAdjustment"])
            cooldown = config.get("Cooldown", DEFAULT_COOLDOWN)
            _act(target, wanted, cause=_cause(alarm, policy), out=cooldown, inward=cooldown)
            return


def _adjusted(config: dict[str, Any], current: int, adjustment: int) -> int:
    match config.get("AdjustmentType"):
        case "ExactCapacity":
            return adjustment
        case "PercentChangeInCapacity":
            change = current * adjustment / 100
            least = config.get("MinAdjustmentMagnitude", 1)
            size = max(least, math.floor(abs(change)))
            return current + int(math.copysign(size, adjustment))
        case _:
            return current + adjustment


def _track(target: ScalableTarget) -> None:
    """The largest capacity that a policy asks for wins; in only if all agree."""
    current = target.capacity()
    tracking = [policy for policy in target.policies.values() if policy.tracking]
    if current is None or not tracking:
        return
    proposals = []
    for policy in tracking:
        config = policy.tracking or {}
        alarms = [target.region.alarms[name] for name in policy.alarms if name in target.region.alarms]
        high = next((alarm for alarm in alarms if "AlarmHigh" in alarm["AlarmName"]), None)
        low = next((alarm for alarm in alarms if "AlarmLow" in alarm["AlarmName"]), None)
        if round(target.region.world.now) % (high or low or {"Period": 60})["Period"]:
            return
        if high is not None and high["StateValue"] == "ALARM":
            wanted = math.ceil(current * high["LastValue"] / config["TargetValue"] - 1e-9)
            proposals.append((max(current, wanted), high, policy))
        elif low is not None and low["StateValue"] == "ALARM":
            wanted = math.ceil(current * low["LastValue"] / config["TargetValue"] - 1e-9)
            proposals.append((min(current, wanted), low, policy))
        else:
            proposals.append((current, high or low or {}, policy))
    wanted, alarm, policy = max(proposals, key=lambda proposal: proposal[0])
    if wanted != current:
        config = policy.tracking or {}
        out, inward = (config.get(f"Scale{way}Cooldown", DEFAULT_COOLDOWN) for way in ("Out", "In"))
        _act(target, wanted, cause=_cause(alarm, policy), out=out, inward=inward)


def _cause(alarm: dict[str, Any], policy: Policy) -> str:
    return f"monitor alarm {alarm['AlarmName']} in state ALARM triggered policy {policy.request['PolicyName']}"


def _act(target: ScalableTarget, wanted: int, *, cause: str, out: float, inward: float) -> None:
    """Scale unless suspended or cooling down; scaling out ends the wait for scaling in."""
    current, now = target.capacity() or 0, target.region.world.now
    if wanted > current:
        if not target.suspended.get("DynamicScalingOutSuspended") and now - target.last_out >= out:
            target.scale_to(wanted, cause)
        return
    cooled = now - max(target.last_in, target.last_out) >= inward
    if wanted < current and cooled and not target.suspended.get("DynamicScalingInSuspended"):
        target.scale_to(wanted, cause)
