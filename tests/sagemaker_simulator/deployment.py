"""How an UpdateEndpoint proceeds: its steps and their durations after the deployment configuration (reference §1.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.sagemaker_simulator.errors import invalid
from tests.sagemaker_simulator.timings import Timings


@dataclass(frozen=True)
class Step:
    """Seconds in one VariantStatus of the new fleet, and the share of traffic that it then gets."""

    status: str
    seconds: float
    share: float


def check(config: dict[str, Any]) -> None:
    """Raise for what AWS refuses in a DeploymentConfig beyond its shape."""
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green and rolling:
        raise invalid("You can specify only one of BlueGreenUpdatePolicy and RollingUpdatePolicy.")
    routing = (blue_green or {}).get("TrafficRoutingConfiguration", {})
    kind = routing.get("Type", "ALL_AT_ONCE")
    for field, owner in (("CanarySize", "CANARY"), ("LinearStepSize", "LINEAR")):
        if (field in routing) != (kind == owner):
            needs = "is required" if kind == owner else "is not allowed"
            raise invalid(f"{field} {needs} when the traffic routing type is {kind}.")
        size = routing.get(field)
        if size and size["Type"] == "CAPACITY_PERCENT" and not (1 if owner == "CANARY" else 10) <= size["Value"] <= 50:
            raise invalid(f"{field} must be at most 50% of the variant's total instance count.")
    if rolling:
        size = rolling["MaximumBatchSize"]
        if size["Type"] == "CAPACITY_PERCENT" and not 5 <= size["Value"] <= 50:
            raise invalid("MaximumBatchSize must be between 5% and 50% of the variant's total instance count.")


def is_rolling(config: dict[str, Any]) -> bool:
    return bool(config.get("RollingUpdatePolicy"))


def steps(config: dict[str, Any], *, instances: int, timings: Timings) -> list[Step]:
    """All steps of an update that succeeds; no configuration means all at once."""
    if is_rolling(config):
        return _rolling(config["RollingUpdatePolicy"], instances=instances, timings=timings)
    policy = config.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {})
    wait = routing.get("WaitIntervalInSeconds", 0)
    laid = [Step("Creating", timings.endpoint_updating - timings.endpoint_draining, 0.0)]
    for share in _shares(routing, instances=instances):
        laid += [Step("ActivatingTraffic", 0.0, share), Step("Baking", wait, share)]
    laid.append(Step("Baking", policy.get("TerminationWaitInSeconds", 0), 1.0))
    return [*laid, Step("Updating", timings.endpoint_draining, 1.0)]


def time_limit(config: dict[str, Any]) -> float:
    """MaximumExecutionTimeoutInSeconds of either policy."""
    for policy in ("BlueGreenUpdatePolicy", "RollingUpdatePolicy"):
        if limit := config.get(policy, {}).get("MaximumExecutionTimeoutInSeconds"):
            return float(limit)
    return math.inf


def _shares(routing: dict[str, Any], *, instances: int) -> Sequence[float]:
    kind = routing.get("Type", "ALL_AT_ONCE")
    if kind == "CANARY":
        return (_share(routing["CanarySize"], instances=instances), 1.0)
    if kind == "LINEAR":
        size = _share(routing["LinearStepSize"], instances=instances)
        count = math.ceil(1 / size - 1e-9)
        return [min(1.0, size * number) for number in range(1, count + 1)]
    return (1.0,)


def _share(size: dict[str, Any], *, instances: int) -> float:
    if size["Type"] == "CAPACITY_PERCENT":
        return float(size["Value"]) / 100
    return min(1.0, float(size["Value"]) / max(1, instances))


def _rolling(policy: dict[str, Any], *, instances: int, timings: Timings) -> list[Step]:
    total = max(1, instances)
    size = policy["MaximumBatchSize"]
    batch = size["Value"] if size["Type"] == "INSTANCE_COUNT" else math.floor(total * size["Value"] / 100)
    batch = max(1, batch)
    laid = []
    count = math.ceil(total / batch)
    for number in range(count):
        before, share = number * batch / total, min(1.0, (number + 1) * batch / total)
        laid += [
            Step("Creating", timings.endpoint_updating - timings.endpoint_draining, before),
            Step("ActivatingTraffic", 0.0, share),
            Step("Baking", policy["WaitIntervalInSeconds"], share),
            Step("Updating", timings.endpoint_draining, share),
        ]
    return laid
