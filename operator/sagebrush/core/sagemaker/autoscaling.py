"""
Application Auto Scaling kept in step with the spec. Pure.

Ours are the policies and scheduled actions whose names begin with ``sagebrush-``, and the alarms under
``sagebrush/<endpoint>/``. Others' on the same variant are left alone, and so is a variant that has only others'.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sagebrush.api.scaling import Scaling
from sagebrush.core.sagemaker.autoscaling_request import (
    DIMENSION,
    OURS,
    UTC_ZONE,
    Wanted,
    alarm_prefix,
    resource_id,
)
from sagebrush.core.sagemaker.autoscaling_request import (
    wanted as wanted_of,
)
from sagebrush.core.sagemaker.calls import Account, Call, Problem, Service

_GONE = frozenset({Problem.ABSENT})


@dataclass(frozen=True, slots=True)
class Registered:
    """What Application Auto Scaling and CloudWatch have for one endpoint, as their Describe calls show it."""

    targets: tuple[Mapping[str, Any], ...] = ()
    policies: tuple[Mapping[str, Any], ...] = ()
    actions: tuple[Mapping[str, Any], ...] = ()
    alarms: tuple[Mapping[str, Any], ...] = ()


def in_step(
    endpoint: str,
    *,
    account: Account,
    wanted: Mapping[str, Scaling],
    registered: Registered,
    now: datetime | None = None,
) -> tuple[Call, ...]:
    """
    The calls that make what is registered what is wanted: variant name → policy; empty when all is in step.

    Policies whose engine isn't ApplicationAutoScaling count as not wanted. What is new comes before what goes, so that a
    variant is never without a policy between two; alarms go before their policies, which are what tells of them after a
    crash. A step policy's alarm needs the policy's ARN and so comes in the pass after the policy's. Bounds that one of
    the scheduled actions has set stay as they are. With *now*, one-time actions of the past aren't put any more: AWS
    refuses them.
    """
    step = _Step(endpoint, account, registered)
    plans = {
        name: wanted_of(endpoint, variant=name, scaling=scaling)
        for name, scaling in sorted(wanted.items())
        if scaling.engine == "ApplicationAutoScaling"
    }
    calls = [call for name, plan in plans.items() for call in step.puts(name, plan, now=now)]
    calls += [call for plan in plans.values() for call in step.alarms(plan)]
    calls += step.leftovers(plans)
    return tuple(calls)


def released(
    endpoint: str, *, account: Account, variants: Collection[str] | None, registered: Registered
) -> tuple[Call, ...]:
    """
    The calls that take these variants (None: all) out of scaling, before they change instance type or go.

    Others' policies and scheduled actions on them go too: AWS lets no registered variant change its type or go
    ("Update or delete endpoints that use automatic scaling", SageMaker's developer guide).
    """
    prefixes = [alarm_prefix(endpoint)] if variants is None else [alarm_prefix(endpoint, name) for name in variants]
    alarms = sorted(each["AlarmName"] for each in registered.alarms if each["AlarmName"].startswith(tuple(prefixes)))
    ids = None if variants is None else {resource_id(endpoint, name) for name in variants}
    calls = [_delete_alarms(account, alarms)] if alarms else []
    calls += [_deregister(account, each) for each in registered.targets if ids is None or each["ResourceId"] in ids]
    return tuple(calls)


@dataclass(frozen=True, slots=True)
class _Step:
    endpoint: str
    account: Account
    registered: Registered

    def puts(self, variant: str, plan: Wanted, *, now: datetime | None) -> Iterator[Call]:
        """Registration, policies and scheduled actions of one variant, where they differ."""
        where = resource_id(self.endpoint, variant)
        target = next((each for each in self.registered.targets if _is(each, where)), None)
        bounds = _bounds(plan, target)
        if target is None or not _holds(target, bounds):
            yield self._scale("RegisterScalableTarget", bounds)
        policies = {each["PolicyName"]: each for each in self.registered.policies if _is(each, where)}
        for name, policy in plan.policies.items():
            if name not in policies or not _holds(policies[name], policy):
                yield self._scale("PutScalingPolicy", policy)
        actions = {each["ScheduledActionName"]: each for each in self.registered.actions if _is(each, where)}
        for name, action in plan.actions.items():
            there = name in actions and _holds({"Timezone": UTC_ZONE, **actions[name]}, action)
            if not there and not _is_past(action, now=now):
                yield self._scale("PutScheduledAction", action)

    def alarms(self, plan: Wanted) -> Iterator[Call]:
        """Alarms of the step policies that are there, where they differ."""
        there = {each["AlarmName"]: each for each in self.registered.alarms}
        arns = {
            each["PolicyName"]: each["PolicyARN"]
            for each in self.registered.policies
            if _is(each, plan.target["ResourceId"])
        }
        for name, alarm in plan.alarms.items():
            if alarm.policy in arns:
                parameters = {**alarm.parameters, "AlarmActions": [arns[alarm.policy]]}
                if name not in there or not _holds(there[name], parameters):
                    yield Call(self.account, Service.CLOUDWATCH, "PutMetricAlarm", parameters)

    def leftovers(self, plans: Mapping[str, Wanted]) -> list[Call]:
        """Ours that nobody wants any more: alarms, then policies and actions, then registrations."""
        by_id = {plan.target["ResourceId"]: plan for plan in plans.values()}
        kept = {name for plan in plans.values() for name in plan.alarms}
        prefix = alarm_prefix(self.endpoint)
        names = {each["AlarmName"] for each in self.registered.alarms if each["AlarmName"].startswith(prefix)}
        calls = [_delete_alarms(self.account, sorted(names - kept))] if names - kept else []
        gone = [each for each in self.registered.targets if self._is_released(each, by_id)]
        going = {each["ResourceId"] for each in gone}
        for found, key, operation in (
            (self.registered.policies, "PolicyName", "DeleteScalingPolicy"),
            (self.registered.actions, "ScheduledActionName", "DeleteScheduledAction"),
        ):
            for each in found:
                plan, where = by_id.get(each["ResourceId"]), each["ResourceId"]
                wanted = () if plan is None else plan.policies if key == "PolicyName" else plan.actions
                if _is(each, where) and _is_ours(each) and each[key] not in wanted and where not in going:
                    calls.append(self._scale(operation, {**_where(each), key: each[key]}, fine=_GONE))
        return [*calls, *(_deregister(self.account, each) for each in gone)]

    def _is_released(self, target: Mapping[str, Any], by_id: Mapping[str, Wanted]) -> bool:
        """A registration that nobody wants and nobody else uses. Deregistering takes our policies and actions along."""
        where = target["ResourceId"]
        rest = (*self.registered.policies, *self.registered.actions)
        return _is(target, where) and where not in by_id and all(_is_ours(each) for each in rest if _is(each, where))

    def _scale(self, operation: str, parameters: Mapping[str, Any], *, fine: frozenset[Problem] = frozenset()) -> Call:
        return Call(self.account, Service.AUTOSCALING, operation, parameters, fine)


def _is(found: Mapping[str, Any], where: str) -> bool:
    return bool(found["ResourceId"] == where and found["ScalableDimension"] == DIMENSION)


def _is_ours(found: Mapping[str, Any]) -> bool:
    return str(found.get("PolicyName") or found.get("ScheduledActionName")).startswith(OURS)


def _where(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}


def _deregister(account: Account, target: Mapping[str, Any]) -> Call:
    return Call(account, Service.AUTOSCALING, "DeregisterScalableTarget", _where(target), _GONE)


def _delete_alarms(account: Account, names: list[str]) -> Call:
    return Call(account, Service.CLOUDWATCH, "DeleteAlarms", {"AlarmNames": names}, _GONE)


def _bounds(plan: Wanted, target: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The registration that is wanted: the spec's bounds, or those that a scheduled action of ours has set since."""
    kept = dict(plan.target)
    for key in ("MinCapacity", "MaxCapacity"):
        set_by = {action["ScalableTargetAction"].get(key) for action in plan.actions.values()} - {None}
        if target is not None and target[key] in set_by:
            kept[key] = target[key]
    return kept if kept["MinCapacity"] <= kept["MaxCapacity"] else plan.target


def _is_past(action: Mapping[str, Any], *, now: datetime | None) -> bool:
    schedule = action["Schedule"]
    if now is None or not schedule.startswith("at("):
        return False
    try:
        time = datetime.fromisoformat(schedule[3:-1].strip()).replace(tzinfo=ZoneInfo(action["Timezone"]))
    except (ValueError, KeyError, OSError):  # AWS says what is wrong with it
        return False
    return time <= now


def _holds(found: Any, wanted: Any) -> bool:
    """
    Whether what AWS describes is what we would put, whatever it says beyond that; lists in any order.

    The parts of a list, and a scheduled action's bounds, are equal in full: what they lack has a meaning.
    """
    if not isinstance(wanted, Mapping):
        return bool(_plain(found) == _plain(wanted))
    if not isinstance(found, Mapping):
        return False
    whole = wanted.keys() & {"ScalableTargetAction"}
    return all(_plain(found.get(key)) == _plain(wanted[key]) for key in whole) and all(
        _holds(found.get(key), value) for key, value in wanted.items() if key not in whole
    )


def _plain(value: Any) -> Any:
    """In a form in which equal things are written alike."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value) if value[key] is not None}
    if isinstance(value, list | tuple):
        return sorted((_plain(each) for each in value), key=repr)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
