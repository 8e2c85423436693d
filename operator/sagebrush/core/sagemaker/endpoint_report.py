"""What status says of an endpoint in SageMaker, and which Events are posted. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sagebrush.api.aws import Cost
from sagebrush.api.meta import API_VERSION, Condition, ConditionStatus
from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.sagemaker_hosting import Revision, SageMakerEndpointStatus, UpdateAttempt
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core.conditions import READY, SCALING_ACTIVE, Outlook, Reason, find, set_conditions, summary
from sagebrush.core.model_source import Finding
from sagebrush.core.plan import Action, Announcement, Apply, Plan
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.cost import hosting_cost
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_state import SERVING, Seen
from sagebrush.core.sagemaker.endpoint_variants import AWS_ENGINE, scaling_statuses, usage, variant_statuses
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Knowledge
from sagebrush.core.variant_scaling import is_active, scaling_conditions, turns

KIND = "ModelEndpoint"
_TEXT = 1024
_NOT_TO_BE_HAD = frozenset(
    {Reason.REVISION_NOT_FOUND, Reason.NAME_CONFLICT, Reason.INVALID_SPEC, Reason.DOWNLOAD_FAILED}
)
_BAD = frozenset(
    {
        Reason.CAPACITY_ERROR,
        Reason.ROLLING_BACK,
        Reason.UPDATE_ROLLED_BACK,
        Reason.UPDATE_ROLLBACK_FAILED,
        Reason.OUT_OF_SERVICE,
        Reason.ENDPOINT_FAILED,
        Reason.RECREATING,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass comes to."""

    finding: Finding
    requeue: timedelta
    actions: tuple[Action, ...] = ()
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    last: UpdateAttempt | None = None
    recreations: int = 0
    revisions: Sequence[Revision] = ()
    aws_scales: bool = False
    """Application Auto Scaling has, or may have, a say."""
    registered: bool | None = None
    """And it has all that it needs for it; None: as far as status said."""
    status_word: str | None = None
    """EndpointStatus as it will be after the actions, where that is known."""


def finalizer_action(meta: Meta, *, on: bool) -> Apply:
    """Puts our finalizer on the object, or takes it off; others' stay."""
    metadata = {
        "name": meta.name,
        "namespace": meta.namespace,
        "uid": meta.uid,
        "finalizers": [identity.FINALIZER] if on else [],
    }
    return Apply({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata})


def invocations_url(region: str, endpoint: str) -> str:
    """Address for POST /invocations at SageMaker's runtime."""
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"https://runtime.sagemaker.{region}.amazonaws.com{suffix}/endpoints/{endpoint}/invocations"


def stamp(time: datetime) -> str:
    """A time for a message."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def report(
    meta: Meta,
    status: ModelEndpointStatus,
    outcome: Outcome,
    *,
    goal: Goal | None,
    seen: Seen | None,
    endpoint: str,
    region: str,
    types: Mapping[str, str],
    knowledge: Mapping[str, Knowledge],
    defaults: AwsDefaults,
    now: datetime,
) -> Plan[ModelEndpointStatus]:
    """The complete status, and an Event for each transition."""
    finding, variants = outcome.finding, goal.variants if goal else ()
    had = goal if finding.reason not in _NOT_TO_BE_HAD else None
    scaling = scaling_statuses(variants, outcome.decisions, status=status, knowledge=knowledge, now=now)
    only = len(variants) == 1
    current = [each.current_instances for each in seen.variants if each.current_instances is not None] if seen else []
    serves = bool(seen and goal and seen.status in SERVING and seen.config == goal.config_name)
    sage_maker = SageMakerEndpointStatus(
        endpoint_name=endpoint,
        # Kept while it isn't there: it says in which region it was.
        arn=seen.arn if seen else (status.sage_maker.arn if status.sage_maker else None),
        status=outcome.status_word or (seen.status if seen else None),
        endpoint_config=(seen.config or None) if seen else None,
        failure_reason=(seen.failure_reason[:_TEXT] or None) if seen else None,
        variants=variant_statuses(seen, types=types, scaling=_beside_variants(status, scaling, goal=goal)),
        last_update=outcome.last,
        recreations=outcome.recreations,
    )
    wanted = summary(finding.outlook, reason=finding.reason, message=finding.message)
    messages = {name: each.message for name, each in scaling.items()}
    absent = serves and seen is not None and not any(seen.variant(name) for name in messages)
    wanted += _scaling_condition(outcome, messages, absent=absent, before=find(status.conditions, SCALING_ACTIVE))
    wanted += scaling_conditions(scaling, outcome.decisions)
    new = status.model_copy(
        update={
            "observed_generation": meta.generation,
            "conditions": set_conditions(status.conditions, wanted, generation=meta.generation, now=now),
            "url": invocations_url(region, endpoint),
            "revision": had.revision if had else status.revision,
            "model": had.model if had else status.model,
            "replicas": sum(current),
            "ready_replicas": sum(current) if serves else 0,
            # Kept while there is nothing to decide on: what was measured of the instances is in it.
            "scaling": status.scaling if goal is None else next(iter(scaling.values()), None) if only else None,
            "sage_maker": sage_maker,
            "revisions": list(outcome.revisions),
            "cost": cost_of(status, seen, types=types, region=region, defaults=defaults, now=now),
        }
    )
    return Plan(
        status=new,
        actions=outcome.actions,
        events=(*_events(status, outcome, only=only), *(turns(status.conditions, wanted) if scaling else ())),
        requeue_after=outcome.requeue,
        decisions=outcome.decisions,
    )


def _beside_variants(
    status: ModelEndpointStatus, scaling: Mapping[str, ScalingStatus], *, goal: Goal | None
) -> Mapping[str, ScalingStatus]:
    if goal is not None:
        return {} if len(goal.variants) == 1 else scaling
    told = status.sage_maker.variants if status.sage_maker else []
    return {each.name: each.scaling for each in told if each.scaling}


def cost_of(
    status: ModelEndpointStatus,
    seen: Seen | None,
    *,
    types: Mapping[str, str],
    region: str,
    defaults: AwsDefaults,
    now: datetime,
) -> Cost | None:
    """What it costs, and has cost."""
    before = status.cost
    # Without an endpoint nothing was made since the last look, so that what was told stays as it is.
    created = seen.created if seen else before.billed_until if before else now
    return hosting_cost(
        defaults.prices, region=region, usage=usage(seen, types), before=before, created=created, now=now
    )


def transition(status: ModelEndpointStatus, finding: Finding) -> tuple[Announcement, ...]:
    """An Event where Ready's reason changes."""
    previous = find(status.conditions, READY)
    if previous is not None and previous.reason == finding.reason:
        return ()
    bad = finding.outlook is Outlook.STALLED or finding.reason in _BAD
    return (Announcement(finding.reason, finding.message, warning=bad),)


def _events(status: ModelEndpointStatus, outcome: Outcome, *, only: bool) -> tuple[Announcement, ...]:
    scaled = [
        Announcement("Scaled", decision.message if only else f"variant {name}: {decision.message}")
        for name, decision in outcome.decisions.items()
        if decision.changed
    ]
    return (*scaled, *transition(status, outcome.finding))


def _scaling_condition(
    outcome: Outcome, messages: Mapping[str, str], *, absent: bool, before: Condition | None
) -> tuple[tuple[str, bool, str, str], ...]:
    if outcome.aws_scales:
        text = "Application Auto Scaling decides: see status.sageMaker.variants"
        told = before is not None and before.reason == AWS_ENGINE and before.status is ConditionStatus.TRUE
        return ((SCALING_ACTIVE, told if outcome.registered is None else outcome.registered, AWS_ENGINE, text),)
    if not outcome.decisions:
        return ()
    active = not absent and all(map(is_active, outcome.decisions.values()))
    # The reason of a variant that sees nothing, if any.
    worst = min(outcome.decisions.values(), key=is_active)
    text = "; ".join(f"{name}: {text}" if len(messages) > 1 else text for name, text in messages.items())
    if absent:
        text = f"{text}; the revision that serves has no such variant"
    return ((SCALING_ACTIVE, active, str(worst.reason), text),)
