"""What is read of Application Auto Scaling is all that the decision needs, and no more."""

from datetime import timedelta

import pytest
from botocore.validate import ParamValidator

from sagebrush.backends.sagemaker.autoscaling import read_registered
from sagebrush.core.sagemaker.autoscaling import Registered, in_step
from tests.unit.sagemaker.autoscaling_fake import ACCOUNT, FULL, MODELS, Aws, scaling, settled


class Reader:
    """A gateway that answers from the fake, and writes down what it was asked."""

    def __init__(self, aws):
        self.aws, self.asked = aws, []

    async def read(self, account, *, service, operation, parameters, max_age):
        self.asked.append((operation, max_age))
        shape = MODELS[service].operation_model(operation).input_shape
        assert not ParamValidator().validate(dict(parameters), shape).has_errors()
        found = self.aws.registered()
        return {
            "DescribeScalableTargets": {
                "ScalableTargets": [
                    each for each in found.targets if each["ResourceId"] in parameters.get("ResourceIds", [])
                ]
            },
            "DescribeScalingPolicies": {
                "ScalingPolicies": [
                    each for each in found.policies if each["ResourceId"] == parameters.get("ResourceId")
                ]
            },
            "DescribeScheduledActions": {
                "ScheduledActions": [
                    each for each in found.actions if each["ResourceId"] == parameters.get("ResourceId")
                ]
            },
            "DescribeAlarms": {
                "MetricAlarms": [
                    each
                    for each in found.alarms
                    if each["AlarmName"].startswith(parameters.get("AlarmNamePrefix", "-"))
                ]
            },
        }[operation]


async def read(gateway, **more):
    return await read_registered(gateway, ACCOUNT, endpoint="e", max_age=timedelta(minutes=5), **more)


async def test_read_must_bring_what_in_step_needs():
    """What was read is enough to see that all is in step."""
    gateway = Reader(settled({"a": FULL, "b": scaling()}))
    registered = await read(gateway, variants=["a", "b"])
    assert () == in_step("e", account=ACCOUNT, wanted={"a": FULL, "b": scaling()}, registered=registered)
    assert {timedelta(minutes=5)} == {age for _, age in gateway.asked}


@pytest.mark.parametrize(
    ("wanted", "more", "expected"),
    [
        ({}, {}, ["DescribeScalableTargets"]),
        ({}, {"alarms": True}, ["DescribeScalableTargets", "DescribeAlarms"]),
        ({"a": scaling()}, {}, ["DescribeScalableTargets", "DescribeScalingPolicies", "DescribeScheduledActions"]),
    ],
)
async def test_read_must_ask_no_more_than_it_needs(wanted, more, expected):
    """Without a registration there are no policies, and without step policies no alarms."""
    gateway = Reader(settled(wanted))
    await read(gateway, variants=["a", "b"], **more)
    assert expected == [operation for operation, _ in gateway.asked]


async def test_read_must_ask_nothing_without_variants():
    """An endpoint that isn't there has none."""
    gateway = Reader(Aws())
    assert Registered() == await read(gateway, variants=[])
    assert [] == gateway.asked
