"""What operators called, against the IAM policy that the chart brings."""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.integration.sagemaker.aws import OWN_KEY, Aws

FILE = Path(__file__).parents[3] / "charts/sagebrush/files/iam-policy.json"

FREE = {
    "sts:GetCallerIdentity": "IAM asks for no permission",
    "sts:AssumeRoleWithWebIdentity": "the token is the permission",
}
UNSEEN = {
    "s3:GetObject": "moto serves S3, and keeps no log",
    "s3:ListBucket": "moto serves S3, and keeps no log",
    "sagemaker:AddTags": "tags in a Create call take it",
}
"""What the policy allows and no log of ours shows, and why."""
SERVICES = ("sagemaker", "application-autoscaling", "cloudwatch", "logs", "s3", "sts")


def allowed() -> set[str]:
    """The actions of the policy."""
    statements = json.loads(FILE.read_text())["Statement"]
    actions = (each["Action"] for each in statements)
    return {action for each in actions for action in ([each] if isinstance(each, str) else each)}


def operations_in(account: Aws) -> set[str]:
    """What others than the test itself called in this account, as IAM names it."""
    entries = account.simulator.audit.calls()
    return {f"{entry.service}:{entry.operation}" for entry in entries if entry.access_key != OWN_KEY}


def not_allowed(used: Iterable[str]) -> list[str]:
    """Actions that were used and that the policy lacks."""
    return sorted(set(used) - allowed() - FREE.keys())


def not_used(used: Iterable[str]) -> list[str]:
    """Actions of the policy on the services that we call, that nobody used, and no reason is known for it."""
    ours = {action for action in allowed() if action.startswith(tuple(f"{name}:" for name in SERVICES))}
    return sorted(ours - set(used) - UNSEEN.keys())
