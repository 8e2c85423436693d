"""Calls to AWS as plain values: what a plan holds, what IAM must allow, and what an answer means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Service(StrEnum):
    """AWS' services that we call, as botocore names them; IAM has the same words before its actions."""

    SAGEMAKER = "sagemaker"
    AUTOSCALING = "application-autoscaling"
    CLOUDWATCH = "cloudwatch"
    LOGS = "logs"
    S3 = "s3"


OPERATIONS: Mapping[Service, frozenset[str]] = {
    Service.SAGEMAKER: frozenset(
        {
            "CreateTrainingJob",
            "DescribeTrainingJob",
            "StopTrainingJob",
            "DeleteTrainingJob",
            "CreateModel",
            "DescribeModel",
            "DeleteModel",
            "ListModels",
            "CreateEndpointConfig",
            "DescribeEndpointConfig",
            "DeleteEndpointConfig",
            "ListEndpointConfigs",
            "CreateEndpoint",
            "DescribeEndpoint",
            "UpdateEndpoint",
            "UpdateEndpointWeightsAndCapacities",
            "DeleteEndpoint",
            "ListTags",
        }
    ),
    Service.AUTOSCALING: frozenset(
        {
            "RegisterScalableTarget",
            "DeregisterScalableTarget",
            "DescribeScalableTargets",
            "PutScalingPolicy",
            "DeleteScalingPolicy",
            "DescribeScalingPolicies",
            "PutScheduledAction",
            "DeleteScheduledAction",
            "DescribeScheduledActions",
        }
    ),
    Service.CLOUDWATCH: frozenset({"PutMetricAlarm", "DescribeAlarms", "DeleteAlarms"}),
    Service.LOGS: frozenset({"FilterLogEvents"}),
    Service.S3: frozenset({"HeadObject", "ListObjectsV2"}),
}
"""Every call that the operator makes; the gateway refuses others, and the IAM policy allows these."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where calls go and as whom: one budget, one client for each service."""

    region: str
    assume_role_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing in AWS as its Describe shows it (times as aware datetimes), and its tags."""

    body: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)


class Problem(StrEnum):
    """What an AWS error means to us."""

    ABSENT = "Absent"  # there is no such thing
    EXISTS = "Exists"  # the name is taken: by us, or by somebody else
    BUSY = "Busy"  # an endpoint that is being changed takes no other change
    ENDED = "Ended"  # a job that has ended, or is ending, can't be stopped
    INVALID = "Invalid"  # the request itself: the user's to mend
    QUOTA = "Quota"  # the account's limit: wait until there is room
    THROTTLED = "Throttled"  # too many calls
    DENIED = "Denied"  # IAM, or no credentials
    TRANSIENT = "Transient"  # AWS' or the network's: try again


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changes something. *fine*: problems that say that it need not be made."""

    account: Account
    service: Service
    operation: str
    parameters: Mapping[str, Any]
    fine: frozenset[Problem] = frozenset()

    def __str__(self) -> str:
        return self.operation


class AwsError(Exception):
    """AWS refused a call, or could not be asked. *message* is AWS' own sentence, or ours where there is no better."""

    def __init__(self, problem: Problem, message: str, *, operation: str, code: str = "") -> None:
        super().__init__(f"{operation}: {message}")
        self.problem, self.message, self.operation, self.code = problem, message, operation, code
