"""What the state of an endpoint in AWS means, and what may be done in it. Pure.

The table is AWS' (API reference, DescribeEndpoint.EndpointStatus), with what is known beyond it: a failed update ends in
InService on the *old* configuration, sometimes without a FailureReason, so that only ``EndpointConfigName`` proves one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sagebrush.api.sagemaker_hosting import UpdateAttempt
from sagebrush.core.conditions import Reason
from sagebrush.core.sagemaker.calls import Resource

IN_SERVICE, FAILED, DELETING = "InService", "Failed", "Deleting"
OUT_OF_SERVICE, ROLLBACK_FAILED = "OutOfService", "UpdateRollbackFailed"
SERVING = frozenset({IN_SERVICE, "Updating", "SystemUpdating", "RollingBack", ROLLBACK_FAILED})
CHANGEABLE = frozenset({IN_SERVICE, FAILED, OUT_OF_SERVICE, ROLLBACK_FAILED})
"""The states in which AWS takes a change, be it only DeleteEndpoint. Every other, and every one that is new, is waited out."""

REASONS: Mapping[str, Reason] = {
    "Creating": Reason.CREATING,
    "Updating": Reason.UPDATING,
    "SystemUpdating": Reason.SYSTEM_UPDATING,
    "RollingBack": Reason.ROLLING_BACK,
    "Deleting": Reason.DELETING,
}
FOLLOWS: Mapping[str, str] = {
    "Creating": "SageMaker starts instances and waits for /ping; InService or Failed follows, after up to half an hour",
    "Updating": "SageMaker brings the change to the instances; the endpoint goes on serving",
    "SystemUpdating": "SageMaker maintains the endpoint by itself and takes no changes meanwhile; it goes on serving",
    "RollingBack": "SageMaker goes back to the previous endpoint configuration, which goes on serving",
    "Deleting": "SageMaker removes the endpoint",
}

MOST_ATTEMPTS = 3
"""Updates to the same configuration, where the failure may have been AWS' own."""
MOST_RECREATIONS = 3
SETTLE = timedelta(seconds=30)
"""Time after an update was asked for in which a description may still be the one from before (eventual consistency)."""
CAPACITY_WAIT = timedelta(minutes=2)
"""Time before instances are asked for again that AWS had not."""
_FIRST_WAIT = timedelta(seconds=30)
_WAIT_FACTOR = 4
NO_REASON = "AWS gave no reason: look at the container's log"
"""Noted in place of AWS' words where there are none."""
_CAPACITY = re.compile(r"capacity", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SeenVariant:
    """A production variant as DescribeEndpoint shows it."""

    name: str
    current_instances: int | None
    desired_instances: int | None
    current_weight: float | None
    desired_weight: float | None
    serverless: bool
    instance_type: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """An endpoint as DescribeEndpoint shows it."""

    name: str
    arn: str
    status: str
    config: str
    failure_reason: str
    created: datetime
    modified: datetime
    variants: tuple[SeenVariant, ...] = ()
    pending_config: str | None = None
    pending_since: datetime | None = None
    pending_variants: tuple[SeenVariant, ...] = ()

    @property
    def is_changeable(self) -> bool:
        """Whether AWS takes a change now."""
        return self.status in CHANGEABLE

    def variant(self, name: str) -> SeenVariant | None:
        """The variant of this name."""
        return next((each for each in self.variants if each.name == name), None)


def seen_of(resource: Resource) -> Seen:
    """Read from DescribeEndpoint's answer; what AWS leaves out is empty."""
    body = resource.body
    pending = body.get("PendingDeploymentSummary") or {}
    return Seen(
        name=body["EndpointName"],
        arn=body["EndpointArn"],
        status=body["EndpointStatus"],
        config=body.get("EndpointConfigName") or "",
        failure_reason=body.get("FailureReason") or "",
        created=body["CreationTime"],
        modified=body["LastModifiedTime"],
        variants=tuple(map(_variant, body.get("ProductionVariants") or ())),
        pending_config=pending.get("EndpointConfigName"),
        pending_since=pending.get("StartTime"),
        pending_variants=tuple(map(_variant, pending.get("ProductionVariants") or ())),
    )


def _variant(body: Mapping[str, Any]) -> SeenVariant:
    serverless = bool(body.get("CurrentServerlessConfig") or body.get("DesiredServerlessConfig"))
    states = body.get("VariantStatus") or ()
    return SeenVariant(
        name=body["VariantName"],
        current_instances=None if serverless else body.get("CurrentInstanceCount"),
        desired_instances=None if serverless else body.get("DesiredInstanceCount"),
        current_weight=body.get("CurrentWeight"),
        desired_weight=body.get("DesiredWeight"),
        serverless=serverless,
        instance_type=body.get("InstanceType"),
        status=states[-1]["Status"] if states else None,
    )


class Step(Enum):
    """What is to be done with an endpoint that is there."""

    WAIT = "wait"  # AWS is at it: nothing is called
    SERVE = "serve"  # the desired revision serves: counts, weights, scaling, collection
    UPDATE = "update"  # bring the desired configuration
    UPDATE_LATER = "update later"  # the last update failed by no fault of the user's
    ROLLED_BACK = "rolled back"  # it failed: the spec's turn
    RECREATE = "recreate"
    RECREATE_LATER = "recreate later"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The step, and when, for one that is put off."""

    step: Step
    until: datetime | None = None
    afresh: bool = False
    """The spec has changed since the failure: earlier attempts don't count."""


def verdict(
    seen: Seen,
    *,
    before: str | None,
    desired: str,
    last: UpdateAttempt | None,
    recreations: int,
    generation: int,
    now: datetime,
) -> Verdict:
    """What an endpoint in this state needs to serve configuration *desired*. *before*: its state at the last look."""
    if not seen.is_changeable:
        return Verdict(Step.WAIT)
    if seen.status == IN_SERVICE and seen.config == desired:
        return Verdict(Step.SERVE)
    tried = last if last and (last.endpoint_config, last.generation) == (desired, generation) else None
    updatable = seen.status in (IN_SERVICE, ROLLBACK_FAILED) or (
        seen.status == OUT_OF_SERVICE and seen.config != desired
    )
    if updatable and tried is None:
        return Verdict(Step.UPDATE, afresh=True)
    if tried and seen.status == IN_SERVICE:
        begun = before is not None and before not in CHANGEABLE
        return _after_update(seen, tried, begun=begun, now=now)
    if tried and seen.status == ROLLBACK_FAILED:
        return _again(seen, tried, now=now)
    # A TrainingJob that ran anew brings another configuration with the same generation.
    changed = tried is None if last else seen.config != desired
    return _anew(seen, last, changed=changed, recreations=recreations, now=now)


def _anew(seen: Seen, last: UpdateAttempt | None, *, changed: bool, recreations: int, now: datetime) -> Verdict:
    """Failed, or out of service with nothing to update to: deleted, after waits that grow."""
    if changed:
        return Verdict(Step.RECREATE, afresh=True)
    if recreations >= MOST_RECREATIONS:
        return Verdict(Step.GIVEN_UP)
    until = failed_at(seen, last, now=now) + _wait(recreations)
    return Verdict(Step.RECREATE if now >= until else Step.RECREATE_LATER, until)


def _after_update(seen: Seen, last: UpdateAttempt, *, begun: bool, now: datetime) -> Verdict:
    """InService on another configuration than the one that was asked for: over, unless it has not *begun* yet."""
    over = begun or last.failure is not None or last.time < seen.modified <= now
    if not over and now - last.time < SETTLE:
        return Verdict(Step.WAIT)
    if not is_retryable(failure_of(seen, last)):
        return Verdict(Step.ROLLED_BACK)
    return _again(seen, last, now=now)


def _again(seen: Seen, last: UpdateAttempt, *, now: datetime) -> Verdict:
    if last.attempts >= MOST_ATTEMPTS:
        return Verdict(Step.ROLLED_BACK)
    until = (last.failed or failed_at(seen, last, now=now)) + _wait(last.attempts - 1)
    return Verdict(Step.UPDATE if now >= until else Step.UPDATE_LATER, until)


def failed_at(seen: Seen, last: UpdateAttempt | None, *, now: datetime) -> datetime:
    """When the endpoint came to its present state, as far as our clock can tell."""
    # Where AWS' clock is ahead of ours the time might never come: then our own record counts.
    if seen.modified <= now:
        return seen.modified
    return min(last.time, now) if last else now - _wait(MOST_RECREATIONS)


def _wait(times: int) -> timedelta:
    return _FIRST_WAIT * int(_WAIT_FACTOR**times)


def failure_of(seen: Seen, last: UpdateAttempt | None) -> str:
    """AWS' words of the failed update; empty where there were none."""
    # Once noted they stay: those of now may be of a resize, which came later and failed in another way.
    if last is None or last.failure is None:
        return seen.failure_reason
    return "" if last.failure == NO_REASON else last.failure


def is_capacity(reason: str) -> bool:
    """Whether AWS had no instances."""
    return bool(_CAPACITY.search(reason))


def is_retryable(reason: str) -> bool:
    """Whether the failure was AWS' own, so that the same request may succeed."""
    return reason.startswith("Request to service failed") or is_capacity(reason)
