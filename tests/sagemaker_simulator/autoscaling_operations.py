"""Application Auto Scaling's operations, for variants of endpoints (reference §4.2, §8)."""

import re
import uuid
from typing import Any

from tests.sagemaker_simulator import schedules
from tests.sagemaker_simulator.autoscaling import PREDEFINED, Policy, ScalableTarget, Schedule
from tests.sagemaker_simulator.calls import Call, operation, page
from tests.sagemaker_simulator.endpoint_operations import is_async
from tests.sagemaker_simulator.errors import AwsError, invalid
from tests.sagemaker_simulator.scaler import ensure_ticking
from tests.sagemaker_simulator.schedule_runner import arm

SERVICE = "application-autoscaling"
VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
COUNT = "sagemaker:variant:DesiredInstanceCount"
DIMENSIONS = {COUNT, "sagemaker:variant:DesiredProvisionedConcurrency"}
SCALABLE = {"InService", "Updating", "SystemUpdating", "RollingBack"}


def _key(request: dict[str, Any]) -> str:
    return f"{request['ResourceId']}|{request['ScalableDimension']}"


def _absent(what: str, request: dict[str, Any], extra: str = "") -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        f"No {what} for service namespace: {request['ServiceNamespace']}, resource ID: {request['ResourceId']}, "
        f"scalable dimension: {request['ScalableDimension']}{extra}",
    )


def _target(call: Call, request: dict[str, Any], what: str = "scalable target registered") -> ScalableTarget:
    target = call.region.targets.get(_key(request))
    if target is None:
        raise _absent(what, request)
    return target


@operation(SERVICE, "RegisterScalableTarget")
def register_scalable_target(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Registers or updates; the capacity is brought within the bounds."""
    known = call.region.targets.get(_key(request))
    endpoint, variant = _resource(call, request)
    least = request.get("MinCapacity", known.least if known else None)
    most = request.get("MaxCapacity", known.most if known else None)
    if least is None or most is None:
        raise invalid("Both minimum capacity and maximum capacity must be specified when registering a new target.")
    if most < least:
        raise invalid("Maximum capacity cannot be less than minimum capacity")
    if least == 0 and not is_async(call, call.region.endpoints[endpoint.lower()]):
        raise invalid("Minimum capacity cannot be less than 1 for a real-time endpoint variant.")
    if known is None:
        known = ScalableTarget(
            region=call.region,
            resource_id=request["ResourceId"],
            dimension=request["ScalableDimension"],
            endpoint=endpoint.lower(),
            variant=variant,
            least=least,
            most=most,
            created=call.world.now,
            arn=f"arn:aws:application-autoscaling:{call.region.name}:{call.region.account}:scalable-target/"
            f"{uuid.uuid4().hex}",
        )
        call.region.targets[known.key] = known
    known.least, known.most = least, most
    known.suspended |= request.get("SuspendedState", {})
    known.clamp("scalable target was registered with these bounds")
    return {"ScalableTargetARN": known.arn}


def _resource(call: Call, request: dict[str, Any]) -> tuple[str, str]:
    """Endpoint and variant that the request names, if they can be scaled."""
    if request["ServiceNamespace"] != "sagemaker" or request["ScalableDimension"] not in DIMENSIONS:
        raise invalid(
            f"Unsupported service namespace, resource type or scalable dimension: {request['ScalableDimension']}"
        )
    match = VARIANT.fullmatch(request["ResourceId"])
    if match is None:
        raise invalid(f"Unsupported resource ID: {request['ResourceId']}")
    endpoint = call.region.find("endpoint", match[1])
    if endpoint.status not in SCALABLE:
        raise invalid(f'Endpoint "{endpoint.arn}" is in status {endpoint.status} and can\'t be scaled.')
    variant = endpoint.fleet.variant(match[2])
    if variant is None:
        raise invalid(f'Could not find variant "{match[2]}" of endpoint "{endpoint.arn}".')
    if request["ScalableDimension"] == COUNT and variant.serverless:
        raise invalid(f'Variant "{match[2]}" is serverless and has no instance count.')
    if (variant.instance_type or "").startswith("ml.t2."):
        raise invalid(f"Instance type {variant.instance_type} does not support automatic scaling.")
    return match[1], match[2]


@operation(SERVICE, "DeregisterScalableTarget")
def deregister_scalable_target(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    _target(call, request, "scalable target found").remove(call.region)
    return {}


@operation(SERVICE, "DescribeScalableTargets")
def describe_scalable_targets(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    wanted = request.get("ResourceIds")
    targets = [
        target.describe()
        for target in call.region.targets.values()
        if (not wanted or target.resource_id in wanted)
        and request.get("ScalableDimension", target.dimension) == target.dimension
    ]
    shown, token = page(request, targets, default=50)
    return {"ScalableTargets": shown, "NextToken": token}


@operation(SERVICE, "PutScalingPolicy")
def put_scaling_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """An upsert by name; a target tracking policy answers with its alarms."""
    kind = request.get("PolicyType", "StepScaling")
    if kind == "PredictiveScaling":
        raise invalid("Predictive scaling is only supported for Amazon ECS.")
    target = _target(call, request)
    name, tracking = request["PolicyName"], request.get("TargetTrackingScalingPolicyConfiguration")
    if (kind == "TargetTrackingScaling") != bool(tracking):
        raise invalid(f"The configuration does not belong to a policy of type {kind}.")
    if kind == "StepScaling" and not request.get("StepScalingPolicyConfiguration"):
        raise invalid("StepScalingPolicyConfiguration is required for a policy of type StepScaling.")
    known = target.policies.get(name)
    policy = Policy(
        arn=known.arn
        if known
        else f"arn:aws:autoscaling:{call.region.name}:{call.region.account}:scalingPolicy:{uuid.uuid4()}:"
        f"resource/sagemaker/{target.resource_id}:policyName/{name}",
        request={**request, "PolicyType": kind},
        created=known.created if known else call.world.now,
        alarms=known.alarms if known else [],
    )
    if tracking:
        _check_tracking(target, policy)
        _track(call, target, policy)
    target.policies[name] = policy
    ensure_ticking(call.world)
    alarms = [_alarm_of(call, alarm) for alarm in policy.alarms]
    return {"PolicyARN": policy.arn, "Alarms": alarms}


def _check_tracking(target: ScalableTarget, policy: Policy) -> None:
    tracking = policy.tracking or {}
    predefined = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    if bool(predefined) == bool(tracking.get("CustomizedMetricSpecification")):
        raise invalid("Exactly one of a predefined and a customized metric specification must be given.")
    if predefined and predefined not in PREDEFINED:
        raise invalid(f"Predefined metric type {predefined} is not supported for service namespace sagemaker.")
    for other in target.policies.values():
        if other.request["PolicyName"] != policy.request["PolicyName"] and other.metric == policy.metric is not None:
            raise invalid("Only one TargetTrackingScaling policy for a given metric specification is allowed.")


def _track(call: Call, target: ScalableTarget, policy: Policy) -> None:
    """Lay the two alarms: 3 of 3 points above the target, 15 minutes below 90 % of it (reference §0.10)."""
    value = float((policy.tracking or {})["TargetValue"])
    period = 10 if policy.high_resolution else 60
    for alarm in policy.alarms:
        call.region.alarms.pop(alarm, None)
    policy.alarms = []
    sides = [("AlarmHigh", "GreaterThanThreshold", value, 3)]
    if not (policy.tracking or {}).get("DisableScaleIn"):
        sides.append(("AlarmLow", "LessThanThreshold", value * 0.9, 15 * 60 // period))
    for side, comparison, threshold, periods in sides:
        name = f"TargetTracking-{target.resource_id}-{side}-{uuid.uuid4()}"
        policy.alarms.append(name)
        call.region.alarms[name] = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:{call.region.name}:{call.region.account}:alarm:{name}",
            "AlarmActions": [policy.arn],
            "StateValue": "INSUFFICIENT_DATA",
            "MetricName": policy.metric,
            "Namespace": "AWS/SageMaker",
            "Statistic": "Sum" if period == 60 else "Average",
            "Dimensions": [
                {"Name": "EndpointName", "Value": target.resource_id.split("/")[1]},
                {"Name": "VariantName", "Value": target.variant},
            ],
            "Period": period,
            "EvaluationPeriods": periods,
            "Threshold": threshold,
            "ComparisonOperator": comparison,
        }


def _alarm_of(call: Call, name: str) -> dict[str, Any]:
    return {"AlarmName": name, "AlarmARN": call.region.alarms[name]["AlarmArn"]}


@operation(SERVICE, "DeleteScalingPolicy")
def delete_scaling_policy(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    target = call.region.targets.get(_key(request))
    if target is None or request["PolicyName"] not in target.policies:
        raise _absent("scaling policy found", request, f", policy name: {request['PolicyName']}")
    target.remove_policy(request["PolicyName"])
    return {}


def _chosen(call: Call, request: dict[str, Any]) -> list[ScalableTarget]:
    return [
        target
        for target in call.region.targets.values()
        if request.get("ResourceId", target.resource_id) == target.resource_id
        and request.get("ScalableDimension", target.dimension) == target.dimension
    ]


@operation(SERVICE, "DescribeScalingPolicies")
def describe_scaling_policies(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    found = [
        {
            **policy.request,
            "PolicyARN": policy.arn,
            "CreationTime": policy.created,
            "Alarms": [_alarm_of(call, alarm) for alarm in policy.alarms],
        }
        for target in _chosen(call, request)
        for name, policy in target.policies.items()
        if not request.get("PolicyNames") or name in request["PolicyNames"]
    ]
    shown, token = page(request, found, default=10)
    return {"ScalingPolicies": shown, "NextToken": token}


@operation(SERVICE, "PutScheduledAction")
def put_scheduled_action(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """An upsert by name; what is omitted of an existing action stays as it is."""
    target, name = _target(call, request), request["ScheduledActionName"]
    known = target.schedules.get(name)
    merged = {**(known.request if known else {}), **request}
    if "Schedule" not in merged:
        raise invalid("Schedule is required for a new scheduled action.")
    bounds = merged.get("ScalableTargetAction", {})
    if not bounds.keys() & {"MinCapacity", "MaxCapacity"}:
        raise invalid("ScalableTargetAction must specify MinCapacity, MaxCapacity or both.")
    if bounds.get("MinCapacity", 0) > bounds.get("MaxCapacity", float("inf")):
        raise invalid("Maximum capacity cannot be less than minimum capacity")
    start = merged.get("StartTime", call.world.now)
    following = schedules.parse(merged["Schedule"], timezone=merged.get("Timezone", "UTC"), start=start)
    if merged["Schedule"].startswith("at(") and following(call.world.now) is None:
        raise invalid("Scheduled action's time is in the past.")
    if known:
        target.remove_schedule(name)
    arn = known.arn if known else (
        f"arn:aws:autoscaling:{call.region.name}:{call.region.account}:scheduledAction:{uuid.uuid4()}:"
        f"resource/sagemaker/{target.resource_id}:scheduledActionName/{name}"
    )  # fmt: skip
    schedule = Schedule(request=merged, arn=arn, created=call.world.now, following=following)
    target.schedules[name] = schedule
    arm(target, schedule)
    return {}


@operation(SERVICE, "DeleteScheduledAction")
def delete_scheduled_action(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    target = call.region.targets.get(_key(request))
    if target is None or request["ScheduledActionName"] not in target.schedules:
        extra = f", scheduled action name: {request['ScheduledActionName']}"
        raise _absent("scheduled action found", request, extra)
    target.remove_schedule(request["ScheduledActionName"])
    return {}


@operation(SERVICE, "DescribeScheduledActions")
def describe_scheduled_actions(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    found = [
        {**schedule.request, "ScheduledActionARN": schedule.arn, "CreationTime": schedule.created}
        for target in _chosen(call, request)
        for name, schedule in target.schedules.items()
        if not request.get("ScheduledActionNames") or name in request["ScheduledActionNames"]
    ]
    shown, token = page(request, found, default=50)
    return {"ScheduledActions": shown, "NextToken": token}


@operation(SERVICE, "DescribeScalingActivities")
def describe_scaling_activities(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Newest first; attempts that changed nothing only when asked for."""
    found = [
        activity
        for activity in reversed(call.region.activities)
        if request.get("ResourceId", activity["ResourceId"]) == activity["ResourceId"]
        and (request.get("IncludeNotScaledActivities") or "NotScaledReasons" not in activity)
    ]
    shown, token = page(request, found, default=50)
    return {"ScalingActivities": shown, "NextToken": token}
