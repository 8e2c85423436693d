"""The IAM policy that the chart brings: what the operator's calls take, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sagebrush.core.naming import MANAGER
from sagebrush.core.sagemaker.calls import OPERATIONS, Service
from sagebrush.core.sagemaker.identity import MANAGED_TAG

ROOT = Path(__file__).parents[3]
FILE = ROOT / "charts/sagebrush/files/iam-policy.json"
POLICY: dict[str, Any] = json.loads(FILE.read_text())
STATEMENTS: list[dict[str, Any]] = POLICY["Statement"]

LARGEST_MANAGED_POLICY = 6144
"""Characters without white space (IAM User Guide, "IAM and AWS STS quotas")."""

NAMED_OTHERWISE = {"s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket"}
"""Operations whose permission has another name (Amazon S3 User Guide, "Required permissions")."""

BESIDE = {
    "sagemaker:AddTags": "tags in a Create call take it (SageMaker Developer Guide, tagging resources)",
    "iam:PassRole": "spec.sageMaker.roleArn is handed to SageMaker",
    "iam:CreateServiceLinkedRole": "the first RegisterScalableTarget of an account makes the role that scales",
    "kms:CreateGrant": "volumes under a customer's key, where the execution role itself may not make the grant",
    "sts:AssumeRole": "assumeRoleArn and aws.namespaceRoles: another account",
}
"""What AWS checks although it is no call of ours."""

CHANGING = re.compile(r":(Delete|Stop|Deregister|Update|Put)")
UNNAMED = {"List"}
"""Statements for AWS' actions without a resource: they only read."""


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statement(sid: str) -> dict[str, Any]:
    (found,) = (each for each in STATEMENTS if each["Sid"] == sid)
    return found


def allowing(action: str) -> list[dict[str, Any]]:
    return [each for each in STATEMENTS if action in listed(each["Action"])]


def test_policy_must_allow_exactly_what_is_called() -> None:
    """Each call has its permission, each permission a call or a reason of its own."""
    called = {f"{service}:{operation}" for service, names in OPERATIONS.items() for operation in names}
    wanted = {NAMED_OTHERWISE.get(action, action) for action in called} | BESIDE.keys()
    assert wanted == {action for each in STATEMENTS for action in listed(each["Action"])}


def test_policy_must_use_no_wildcard_action() -> None:
    """Permissions are named one by one, allowed only, and never as what they are not."""
    assert [] == [action for each in STATEMENTS for action in listed(each["Action"]) if "*" in action]
    assert {"Allow"} == {each["Effect"] for each in STATEMENTS}
    assert all(each.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"} for each in STATEMENTS)
    assert len(STATEMENTS) == len({each["Sid"] for each in STATEMENTS})


def test_policy_must_name_resources() -> None:
    """Only what AWS lets nobody limit, lists, applies to everything."""
    unlimited = {each["Sid"] for each in STATEMENTS if "*" in listed(each["Resource"])}
    assert unlimited == UNNAMED
    assert all(re.search(r":(List|Describe)", action) for sid in UNNAMED for action in listed(statement(sid)["Action"]))


@pytest.mark.parametrize("each", STATEMENTS, ids=lambda each: str(each["Sid"]))
def test_change_must_be_limited_to_our_own(each: dict[str, Any]) -> None:
    """What deletes, stops or changes carries a condition, or ends at names that are only ours or AWS' scaling's."""
    changing = [action for action in listed(each["Action"]) if CHANGING.search(action)]
    if each["Sid"] == "UpdateToFreshConfig":
        # The other half of UpdateEndpoint, on the endpoint itself, is in ChangeMarked.
        assert ["sagemaker:UpdateEndpoint"] == changing
        assert all(":endpoint-config/" in resource for resource in listed(each["Resource"]))
    elif changing and "Condition" not in each:
        names = [resource.partition(":alarm:")[2] for resource in listed(each["Resource"])]
        assert ["sagebrush/*", "TargetTracking-endpoint/*"] == names


@pytest.mark.parametrize(
    ("sid", "key", "actions"),
    [
        ("CreateMarked", "aws:RequestTag", r"Create"),
        ("ChangeMarked", "aws:ResourceTag", r"Delete|Stop|Update"),
    ],
)
def test_sagemaker_must_be_limited_by_our_mark(sid: str, key: str, actions: str) -> None:
    """Nothing is made without the tag that every thing of ours carries, and nothing is touched that lacks it."""
    assert {"StringEquals": {f"{key}/{MANAGED_TAG}": MANAGER}} == statement(sid)["Condition"]
    names = {name for name in OPERATIONS[Service.SAGEMAKER] if re.match(actions, name)}
    assert {f"sagemaker:{name}" for name in names} == set(listed(statement(sid)["Action"]))


def test_update_must_reach_both_resources() -> None:
    """UpdateEndpoint is checked against the endpoint and its configuration; a fresh one's tags may not be seen yet."""
    reached = {
        (resource.split(":")[5].partition("/")[0], "Condition" in each)
        for each in allowing("sagemaker:UpdateEndpoint")
        for resource in listed(each["Resource"])
    }
    assert {("endpoint", True), ("endpoint-config", False)} <= reached
    assert ("endpoint", False) not in reached


def test_tags_must_come_with_a_create_only() -> None:
    """The operator can't mark what exists as its own: then it could delete it."""
    (found,) = allowing("sagemaker:AddTags")
    created = {name for name in OPERATIONS[Service.SAGEMAKER] if name.startswith("Create")}
    assert created == set(found["Condition"]["StringEquals"]["sagemaker:TaggingAction"])


@pytest.mark.parametrize(
    ("action", "condition"),
    [
        ("iam:PassRole", {"iam:PassedToService": "sagemaker.amazonaws.com"}),
        (
            "iam:CreateServiceLinkedRole",
            {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"},
        ),
        ("application-autoscaling:RegisterScalableTarget", {"application-autoscaling:service-namespace": "sagemaker"}),
    ],
)
def test_powerful_action_must_be_bound_to_its_service(action: str, condition: dict[str, str]) -> None:
    """Roles are passed, roles are made and targets are scaled for SageMaker alone."""
    (found,) = allowing(action)
    assert {"StringEquals": condition} == found["Condition"]
    assert "*" not in listed(found["Resource"])


def test_policy_must_fit_a_managed_policy() -> None:
    """IAM takes it as one managed policy, with room for the names that replace the placeholders."""
    size = len(re.sub(r"\s", "", json.dumps(POLICY)))
    assert size < LARGEST_MANAGED_POLICY - 500, size


def test_every_placeholder_must_be_documented() -> None:
    """What the user has to fill in, and what may be left out, stands in the documentation."""
    text = (ROOT / "docs/sagemaker.md").read_text()
    resources = " ".join(resource for each in STATEMENTS for resource in listed(each["Resource"]))
    placeholders = set(re.findall(r"(?<![A-Za-z_])[A-Z][A-Z_]*[A-Z](?![A-Za-z])", resources))
    assert placeholders >= {"REGION", "ACCOUNT_ID", "EXECUTION_ROLE", "DATA_BUCKET"}
    optional = {each["Sid"] for each in STATEMENTS if each["Sid"].startswith("Optional")}
    assert {"OptionalLookAtData", "OptionalEncrypt", "OptionalOtherAccounts"} == optional
    assert [] == [
        word for word in sorted(placeholders | {each["Sid"] for each in STATEMENTS}) if f"`{word}`" not in text
    ]
