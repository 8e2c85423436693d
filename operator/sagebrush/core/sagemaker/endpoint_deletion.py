"""The end of an endpoint on SageMaker: waiting until AWS lets go of it, then everything of ours, then the finalizer. Pure."""

from datetime import datetime, timedelta

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.core.conditions import Outlook, Reason, set_conditions, summary
from sagebrush.core.model_source import Finding
from sagebrush.core.plan import Action, Plan, SpecError
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.autoscaling import released
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_case import Lookups, Observed, endpoint_name, is_aws_scaled
from sagebrush.core.sagemaker.endpoint_goal import Goal, goal_of
from sagebrush.core.sagemaker.endpoint_report import cost_of, finalizer_action, stamp, transition
from sagebrush.core.sagemaker.endpoint_request import Caller, account_for, hosting_of
from sagebrush.core.sagemaker.endpoint_revisions import ours
from sagebrush.core.sagemaker.endpoint_state import DELETING, FOLLOWS, Seen, seen_of

VISIBLE_AFTER = timedelta(seconds=60)
"""Time after which AWS shows what was created (eventual consistency)."""
_LOOK_AGAIN = timedelta(seconds=5)


def deletion_lookups(
    meta: Meta, spec: ModelEndpointSpec, status: ModelEndpointStatus, observed: Observed, *, defaults: AwsDefaults
) -> Lookups:
    """What must be asked of AWS beyond DescribeEndpoint."""
    if not observed.finalizer or hosting_of(spec).deletion_policy == "Retain":
        return Lookups()
    seen = _ours(meta, observed)
    if seen is not None:
        asks = seen.is_changeable and is_aws_scaled(spec, status)
        return Lookups(registrations=timedelta(0) if asks else None, alarms=True)
    goal = _goal(meta, spec, status, observed, defaults=defaults)
    configs = {each.endpoint_config for each in status.revisions} | ({goal.config_name} if goal else set())
    models = {model for each in status.revisions for model in each.models} | set(goal.models if goal else ())
    # Gone by hand, perhaps, and what scaled it is still there. The name may also be another's endpoint by now.
    asks = observed.endpoint is None and is_aws_scaled(spec, status)
    registrations = timedelta(0) if asks else None
    return Lookups(frozenset(configs), frozenset(models), listed=True, registrations=registrations, alarms=asks)


def reconcile_deletion(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    defaults: AwsDefaults,
    now: datetime,
) -> Plan[ModelEndpointStatus]:
    """The next step of a ModelEndpoint that is being deleted."""
    if not observed.finalizer:
        return Plan(status=None)
    hosting = hosting_of(spec)
    if hosting.deletion_policy == "Retain":
        return Plan(status=None, actions=(finalizer_action(meta, on=False),))
    caller = Caller(account_for(meta, spec, status, defaults=defaults), endpoint_name(meta, hosting), ())
    seen = _ours(meta, observed)
    if seen is None:
        return _swept(meta, status, observed, caller=caller, defaults=defaults, now=now)
    if not seen.is_changeable:
        since = seen.created if seen.status == "Creating" else seen.modified
        text = f"endpoint {seen.name} is {seen.status} since {stamp(since)}, {_length(now - since)}"
        if seen.status == DELETING:
            text = f"{text}; its endpoint configurations and models follow"
        else:
            follows = FOLLOWS.get(seen.status, "SageMaker is changing it")
            text = f"{text}, and can't be deleted meanwhile; {follows}. To leave all in AWS, set deletionPolicy: Retain"
        requeue = defaults.polling.active
        return _told(meta, status, text, seen=seen, caller=caller, requeue=requeue, defaults=defaults, now=now)
    return _told(
        meta,
        status,
        f"deleting endpoint {seen.name}, which was {seen.status}",
        seen=seen,
        caller=caller,
        word=DELETING,
        actions=(*_released(caller, observed), caller.delete_endpoint()),
        requeue=defaults.polling.after_change,
        defaults=defaults,
        now=now,
    )


def _released(caller: Caller, observed: Observed) -> tuple[Call, ...]:
    if observed.registered is None:
        return ()
    return released(caller.endpoint, account=caller.account, variants=None, registered=observed.registered)


def _ours(meta: Meta, observed: Observed) -> Seen | None:
    found = observed.endpoint
    return seen_of(found) if found is not None and identity.is_ours(found, meta) else None


def _goal(
    meta: Meta, spec: ModelEndpointSpec, status: ModelEndpointStatus, observed: Observed, *, defaults: AwsDefaults
) -> Goal | None:
    try:
        found = goal_of(meta, spec, status, observed.jobs, defaults=defaults)
    except SpecError:  # nothing can have been made of it
        return None
    return None if isinstance(found, Finding) else found


def _swept(
    meta: Meta,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    caller: Caller,
    defaults: AwsDefaults,
    now: datetime,
) -> Plan[ModelEndpointStatus]:
    """The endpoint is gone: its configurations, then their models, then the finalizer, once nothing can be hidden."""
    found = ours(observed.inventory, meta)
    deletes = [*_released(caller, observed)]
    deletes += [caller.delete_config(name) for name in sorted(found.configs)]
    deletes += [caller.delete_model(name) for name in sorted(found.models)]
    hidden = _hidden(status, observed, now=now)
    if not hidden:
        return Plan(status=None, actions=(*deletes, finalizer_action(meta, on=False)))
    # Nothing goes before that: an endpoint that isn't shown yet has its configuration and models in use.
    text = f"waiting: SageMaker doesn't show {hidden} yet, which may have been created a moment ago"
    return _told(
        meta,
        status,
        text,
        seen=None,
        caller=caller,
        requeue=_LOOK_AGAIN,
        defaults=defaults,
        now=now,
    )


def _hidden(status: ModelEndpointStatus, observed: Observed, *, now: datetime) -> str | None:
    """What was created so short a time ago that AWS may not show it yet."""
    told = status.sage_maker
    last = told.last_update if told else None
    if told and told.status == DELETING:
        return None  # the endpoint was seen, and its configuration with it
    if last and now - last.time < VISIBLE_AFTER and observed.endpoint is None:
        return "the endpoint"
    for each in status.revisions:
        if now - each.created < VISIBLE_AFTER and not observed.inventory.configs.get(each.endpoint_config):
            return f"endpoint configuration {each.endpoint_config}"
    if told is None and observed.deleting_since and now - observed.deleting_since < VISIBLE_AFTER:
        # The finalizer is on and nothing was ever told: we may have died between a call and its record.
        return "what may have been made"
    return None


def _told(
    meta: Meta,
    status: ModelEndpointStatus,
    text: str,
    *,
    seen: Seen | None,
    caller: Caller,
    requeue: timedelta,
    defaults: AwsDefaults,
    now: datetime,
    actions: tuple[Action, ...] = (),
    word: str | None = None,
) -> Plan[ModelEndpointStatus]:
    finding = Finding(Reason.DELETING, text)
    wanted = summary(Outlook.PROGRESSING, reason=finding.reason, message=text)
    known = status.sage_maker.variants if status.sage_maker else []
    types = {each.name: each.instance_type for each in known if each.instance_type}
    update: dict[str, object] = {
        "cost": cost_of(status, seen, types=types, region=caller.account.region, defaults=defaults, now=now),
        "observed_generation": meta.generation,
        "conditions": set_conditions(status.conditions, wanted, generation=meta.generation, now=now),
        "ready_replicas": 0,
    }
    if status.sage_maker and (word or seen):
        update["sage_maker"] = status.sage_maker.model_copy(update={"status": word or (seen.status if seen else None)})
    return Plan(
        status=status.model_copy(update=update),
        actions=actions,
        events=transition(status, finding),
        requeue_after=requeue,
    )


def _length(time: timedelta) -> str:
    minutes = max(0, int(time.total_seconds() // 60))
    return f"for {minutes} min" if minutes else "just now"
