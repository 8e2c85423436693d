"""Application Auto Scaling is brought in step with the spec, from wherever it stands, and others' policies are left alone."""

import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.core.sagemaker.autoscaling import Registered, released
from sagebrush.core.sagemaker.calls import Problem
from tests.unit.sagemaker.autoscaling_fake import (
    ACCOUNT,
    AWS_OWN_ALARM,
    FULL,
    MODELS,
    MORNING,
    STEP,
    Aws,
    operations,
    scaling,
    settled,
    steps_to,
    where,
)


def test_first_calls_must_register_then_put():
    """A policy needs its target, an alarm its policy's ARN, which the next pass knows."""
    aws = Aws()
    first = steps_to(aws, {"a": FULL})
    assert ["RegisterScalableTarget", *["PutScalingPolicy"] * 3, "PutScheduledAction"] == operations(first)
    second = steps_to(aws.make(first), {"a": FULL})
    assert ["PutMetricAlarm"] == operations(second)
    assert () == steps_to(aws.make(second), {"a": FULL})


def test_target_tracking_must_say_what_the_spec_says():
    """Requests per minute are InvocationsPerInstance's own unit; cooldowns go in seconds."""
    calls = steps_to(Aws(), {"a": scaling(scaleOutCooldown="1m30s", disable=True, concurrency=4)})
    assert {**where("a"), "MinCapacity": 1, "MaxCapacity": 8} == calls[0].parameters
    expected = [("sagebrush-invocations", "SageMakerVariantInvocationsPerInstance", 30000.0),
                ("sagebrush-concurrency", "SageMakerVariantConcurrentRequestsPerModelHighResolution", 4.0)]  # fmt: skip
    assert [
        {
            **where("a"),
            "PolicyName": name,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
                "ScaleOutCooldown": 90,
                "ScaleInCooldown": 300,
                "DisableScaleIn": True,
            },
        }
        for name, metric, target in expected
    ] == [dict(call.parameters) for call in calls[1:]]


def test_alarm_must_set_off_its_policy():
    """The alarm watches this variant and names the step policy's ARN."""
    aws = settled({"a": scaling(steps=[STEP])})
    alarm = aws.alarms["sagebrush/e/a/burst"]
    policy = aws.policies["endpoint/e/variant/a", "sagebrush-step-burst"]
    assert [policy["PolicyARN"]] == alarm["AlarmActions"]
    dimensions = [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "a"}]
    assert (dimensions, "AWS/SageMaker", "notBreaching") == (
        alarm["Dimensions"],
        alarm["Namespace"],
        alarm["TreatMissingData"],
    )


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (scaling(steps=[STEP], schedules=[MORNING], concurrency=5, maxReplicas=9), ["RegisterScalableTarget"]),
        (scaling(steps=[STEP], schedules=[MORNING], concurrency=6), ["PutScalingPolicy"]),
        (
            scaling(steps=[STEP], schedules=[MORNING], concurrency=5, target={"requestsPerMinute": 15000}),
            ["PutScalingPolicy"],
        ),
        (scaling(steps=[STEP], schedules=[MORNING], concurrency=5, scaleInCooldown="6m"), ["PutScalingPolicy"] * 2),
        (scaling(steps=[STEP], schedules=[MORNING]), ["DeleteScalingPolicy"]),
        (scaling(schedules=[MORNING], concurrency=5), ["DeleteAlarms", "DeleteScalingPolicy"]),
        (scaling(steps=[STEP], concurrency=5), ["DeleteScheduledAction"]),
        (
            scaling(steps=[{**STEP, "threshold": 90}], schedules=[MORNING], concurrency=5),
            ["PutMetricAlarm"],
        ),
        (
            scaling(steps=[{**STEP, "steps": STEP["steps"][:1]}], schedules=[MORNING], concurrency=5),
            ["PutScalingPolicy"],
        ),
        (
            scaling(steps=[STEP], schedules=[{**MORNING, "maxReplicas": 9}], concurrency=5),
            ["PutScheduledAction"],
        ),
        (scaling(steps=[STEP], schedules=[{**MORNING, "timezone": "UTC"}], concurrency=5), ["PutScheduledAction"]),
        (scaling(engine="Sagebrush"), ["DeleteAlarms", "DeregisterScalableTarget"]),
    ],
)
def test_change_must_make_the_calls_it_needs_and_no_more(after, expected):
    """What is in step isn't put again."""
    assert expected == operations(steps_to(settled({"a": FULL}), {"a": after}))


def test_alarm_must_follow_its_policy_made_anew():
    """Deregistering takes the policies along, and their ARNs change."""
    aws = settled({"a": FULL})
    aws.DeregisterScalableTarget(**where("a"))
    settled({"a": FULL}, aws)
    arns = {policy["PolicyARN"] for policy in aws.policies.values()}
    assert set(aws.alarms["sagebrush/e/a/burst"]["AlarmActions"]) <= arns


def test_alarms_must_go_before_their_policies():
    """A step policy is what tells of its alarm: after a crash between the two, the alarm is still found."""
    calls = steps_to(settled({"a": FULL}), {"a": scaling()})
    assert calls[0].operation == "DeleteAlarms"


def others(aws):
    """What somebody else has on the same endpoint."""
    aws.PutScalingPolicy(**where("a"), PolicyName="theirs", PolicyType="StepScaling")
    aws.PutScheduledAction(**where("a"), ScheduledActionName="theirs", Schedule="rate(1 day)", ScalableTargetAction={})
    aws.RegisterScalableTarget(**where("b"), MinCapacity=2, MaxCapacity=3)
    aws.PutScalingPolicy(**where("b"), PolicyName="theirs", PolicyType="StepScaling")
    aws.alarms["theirs"] = {"AlarmName": "theirs"}
    aws.alarms["sagebrush/e2/a/x"] = {"AlarmName": "sagebrush/e2/a/x"}


def test_others_policies_must_be_left_alone():
    """Names tell whose a policy is; a variant that others scale stays registered when we have done with it."""
    aws = settled({"a": FULL})
    others(aws)
    assert () == steps_to(aws, {"a": FULL})

    aws.make(steps_to(aws, {}))

    assert ["endpoint/e/variant/a", "endpoint/e/variant/b"] == sorted(aws.targets)
    assert {"theirs"} == {name for _, name in aws.policies} == {name for _, name in aws.actions}
    assert {AWS_OWN_ALARM["AlarmName"], "theirs", "sagebrush/e2/a/x"} == set(aws.alarms)


def test_bounds_of_a_scheduled_action_must_stay():
    """What AWS did at the scheduled time is no drift."""
    wanted = {"a": scaling(schedules=[MORNING])}
    aws = settled(wanted)
    aws.targets["endpoint/e/variant/a"]["MinCapacity"] = 3
    assert () == steps_to(aws, wanted)
    aws.targets["endpoint/e/variant/a"]["MinCapacity"] = 4
    assert ["RegisterScalableTarget"] == operations(steps_to(aws, wanted))


def test_bound_that_a_schedule_sets_no_more_must_be_put():
    """An upper bound that was taken out of the spec doesn't stay in the action."""
    aws = settled({"a": scaling(schedules=[{**MORNING, "maxReplicas": 9}])})
    calls = steps_to(aws, {"a": scaling(schedules=[MORNING])})
    assert [{"MinCapacity": 3}] == [call.parameters["ScalableTargetAction"] for call in calls]


def test_bounds_of_a_scheduled_action_must_never_cross_the_spec():
    """The spec wins where both together make no range."""
    aws = settled({"a": scaling(schedules=[MORNING])})
    aws.targets["endpoint/e/variant/a"]["MinCapacity"] = 3
    calls = steps_to(aws, {"a": scaling(schedules=[MORNING], maxReplicas=2)})
    assert [(1, 2)] == [(call.parameters["MinCapacity"], call.parameters["MaxCapacity"]) for call in calls]


@pytest.mark.parametrize(
    ("schedule", "timezone", "expected"),
    [
        ("at(2026-11-23T11:59:00)", "UTC", []),
        ("at(2026-11-23T12:01:00)", "UTC", ["PutScheduledAction"]),
        ("at(2026-11-23T12:59:00)", "Europe/Berlin", []),
        ("at(2026-11-23T12:59:00)", "Mars/Olympus", ["PutScheduledAction"]),
        ("at(soon)", "UTC", ["PutScheduledAction"]),
        ("rate(1 day)", "UTC", ["PutScheduledAction"]),
    ],
)
def test_action_of_the_past_must_not_be_put(schedule, timezone, expected):
    """AWS refuses it, and would stall the endpoint for what was right when it was written."""
    once = {"name": "once", "schedule": schedule, "timezone": timezone, "minReplicas": 2}
    assert expected == operations(steps_to(settled({"a": scaling()}), {"a": scaling(schedules=[once])}))


def test_released_must_deregister_variants_and_delete_their_alarms():
    """A variant that changes its instance type leaves scaling first, whoever registered it."""
    aws = settled({"a": FULL, "b": FULL})
    calls = released("e", account=ACCOUNT, variants=["a"], registered=aws.registered())
    assert [
        ("DeleteAlarms", {"AlarmNames": ["sagebrush/e/a/burst"]}, {Problem.ABSENT}),
        ("DeregisterScalableTarget", where("a"), {Problem.ABSENT}),
    ] == [(call.operation, call.parameters, call.fine) for call in calls]

    aws.make(released("e", account=ACCOUNT, variants=None, registered=aws.registered()))

    assert ({}, {}, {}, [AWS_OWN_ALARM["AlarmName"]]) == (aws.targets, aws.policies, aws.actions, list(aws.alarms))


@pytest.mark.parametrize("variants", [None, [], ["a"]])
def test_released_must_be_nothing_where_nothing_is(variants):
    """No call without a cause."""
    assert () == released("e", account=ACCOUNT, variants=variants, registered=Registered())


STEPS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["burst", "calm"]),
        "threshold": st.integers(1, 3),
        "statistic": st.sampled_from(["Sum", "Average"]),
        "steps": st.sampled_from([STEP["steps"], [{"lowerBound": 0.0, "adjustment": 2}]]),
    }
)
SCHEDULES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["morning", "evening"]),
        "schedule": st.sampled_from(["cron(0 8 * * ? *)", "rate(1 day)", "at(2026-12-24T18:00:00)"]),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "minReplicas": st.integers(1, 2),
    },
    optional={"maxReplicas": st.integers(2, 9)},
)
SCALINGS = st.builds(
    scaling,
    steps=st.lists(STEPS, max_size=2, unique_by=lambda step: step["name"]),
    schedules=st.lists(SCHEDULES, max_size=2, unique_by=lambda schedule: schedule["name"]),
    concurrency=st.sampled_from([None, 5]),
    engine=st.sampled_from(["ApplicationAutoScaling"] * 3 + ["Sagebrush"]),
    maxReplicas=st.integers(2, 4),
)
WANTED = st.dictionaries(st.sampled_from(["a", "b", "c"]), SCALINGS)


@settings(max_examples=150, deadline=None)
@given(specs=st.lists(st.tuples(WANTED, st.integers(0, 12)), max_size=4), last=WANTED, foreign=st.booleans())
def test_any_beginning_must_converge(specs, last, foreign):
    """From wherever the operator was killed, under whatever spec, the last spec is reached, and nothing of ours is left over."""
    aws = Aws()
    for wanted, made in specs:
        aws.make(steps_to(aws, wanted)[:made])
    if foreign:
        aws.RegisterScalableTarget(**where("a"), MinCapacity=2, MaxCapacity=3)
        others(aws)

    settled(last, aws)

    fresh = settled(last)
    mine = {key: value for key, value in aws.policies.items() if key[1].startswith("sagebrush-")}
    assert fresh.policies.keys() == mine.keys()
    assert fresh.actions.keys() == {key for key in aws.actions if key[1].startswith("sagebrush-")}
    assert {n for n in fresh.alarms if n.startswith("sagebrush/e/")} == {
        n for n in aws.alarms if n.startswith("sagebrush/e/")
    }
    assert foreign or fresh.targets.keys() == aws.targets.keys()


@given(wanted=WANTED)
@settings(max_examples=20, deadline=None)
def test_calls_must_be_legal_by_botocores_model(wanted):
    """Required fields and types, by AWS' own API model."""
    aws = Aws()
    for _ in range(2):
        for call in (calls := steps_to(aws, wanted)):
            shape = MODELS[call.service].operation_model(call.operation).input_shape
            assert not ParamValidator().validate(dict(call.parameters), shape).has_errors()
        aws.make(calls)
