"""A small Application Auto Scaling and CloudWatch, and what the tests of our calls to them share."""

import copy
from datetime import UTC, datetime

import botocore.session

from sagebrush.api.scaling import Scaling
from sagebrush.core.sagemaker.autoscaling import Registered, in_step
from sagebrush.core.sagemaker.calls import OPERATIONS, Account, Service

MODELS = {
    service: botocore.session.get_session().get_service_model(service)
    for service in (Service.AUTOSCALING, Service.CLOUDWATCH)
}
ACCOUNT = Account("us-east-1")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
AWS_OWN_ALARM = {"AlarmName": "TargetTracking-endpoint/e/variant/a-AlarmHigh", "AlarmActions": ["x"]}
STEP = {"name": "burst", "threshold": 100, "steps": [{"lowerBound": 0, "upperBound": 50, "adjustment": 1},
                                                     {"lowerBound": 50, "adjustment": 4}]}  # fmt: skip
MORNING = {"name": "morning", "schedule": "cron(0 8 ? * MON-FRI *)", "timezone": "Europe/Berlin", "minReplicas": 3}


def scaling(*, steps=(), schedules=(), concurrency=None, engine="ApplicationAutoScaling", disable=False, **fields):
    extra = {"stepPolicies": list(steps), "schedules": list(schedules), "disableScaleIn": disable}
    if concurrency:
        extra["concurrentRequestsPerReplica"] = concurrency
    base = {"engine": engine, "minReplicas": 1, "maxReplicas": 8, "target": {"requestsPerMinute": 30000}}
    own = {"applicationAutoScaling": extra} if engine == "ApplicationAutoScaling" else {}
    return Scaling.model_validate({**base, **own, **fields})


def where(variant):
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/e/variant/{variant}",
        "ScalableDimension": DIMENSION,
    }


class Aws:
    """As much of Application Auto Scaling and CloudWatch as the calls need, with the defaults that they fill in."""

    def __init__(self):
        self.targets, self.policies, self.actions, self.alarms = {}, {}, {}, {AWS_OWN_ALARM["AlarmName"]: AWS_OWN_ALARM}
        self.serial = 0

    def make(self, calls):
        for call in calls:
            assert call.operation in OPERATIONS[call.service]
            getattr(self, call.operation)(**copy.deepcopy(dict(call.parameters)))
        return self

    def registered(self):
        values = (self.targets, self.policies, self.actions, self.alarms)
        return Registered(*(tuple(copy.deepcopy(list(each.values()))) for each in values))

    def RegisterScalableTarget(self, **given):  # noqa: N802
        self.targets[given["ResourceId"]] = {**given, "RoleARN": "r", "CreationTime": NOW, "SuspendedState": {}}

    def DeregisterScalableTarget(self, *, ResourceId, **_):  # noqa: N802, N803
        del self.targets[ResourceId]
        for known in (self.policies, self.actions):
            for key in [key for key in known if key[0] == ResourceId]:
                del known[key]

    def PutScalingPolicy(self, **given):  # noqa: N802
        assert given["ResourceId"] in self.targets, "no scalable target registered"
        key = given["ResourceId"], given["PolicyName"]
        self.serial += 1
        arn = self.policies.get(key, {"PolicyARN": f"arn:{key[1]}:{self.serial}"})["PolicyARN"]
        if steps := given.get("StepScalingPolicyConfiguration"):
            steps["StepAdjustments"] = [dict(reversed(each.items())) for each in steps["StepAdjustments"]][::-1]
        self.policies[key] = {**given, "PolicyARN": arn, "Alarms": [], "CreationTime": NOW}

    def DeleteScalingPolicy(self, *, ResourceId, PolicyName, **_):  # noqa: N802, N803
        del self.policies[ResourceId, PolicyName]

    def PutScheduledAction(self, **given):  # noqa: N802
        assert given["ResourceId"] in self.targets, "no scalable target registered"
        key = given["ResourceId"], given["ScheduledActionName"]
        self.actions[key] = {**self.actions.get(key, {}), **given, "ScheduledActionARN": "a", "CreationTime": NOW}
        if self.actions[key].get("Timezone") == "UTC":
            del self.actions[key]["Timezone"]

    def DeleteScheduledAction(self, *, ResourceId, ScheduledActionName, **_):  # noqa: N802, N803
        del self.actions[ResourceId, ScheduledActionName]

    def PutMetricAlarm(self, **given):  # noqa: N802
        arns = {policy["PolicyARN"] for policy in self.policies.values()}
        assert set(given["AlarmActions"]) <= arns
        self.alarms[given["AlarmName"]] = {**given, "StateValue": "OK", "OKActions": [], "AlarmArn": "x"}

    def DeleteAlarms(self, *, AlarmNames):  # noqa: N802, N803
        for name in AlarmNames:
            del self.alarms[name]


def steps_to(aws, wanted, *, now=NOW):
    return in_step("e", account=ACCOUNT, wanted=wanted, registered=aws.registered(), now=now)


def settled(wanted, aws=None):
    aws = aws or Aws()
    for _ in range(3):
        if not (calls := steps_to(aws, wanted)):
            return aws
        aws.make(calls)
    raise AssertionError(f"never in step: {steps_to(aws, wanted)}")


def operations(calls):
    return [call.operation for call in calls]


FULL = scaling(steps=[STEP], schedules=[MORNING], concurrency=5)
