"""STS: who one is, and keys for roles of any account."""

from datetime import UTC, datetime
from typing import Any

from tests.sagemaker_simulator.calls import Call, operation
from tests.sagemaker_simulator.errors import AwsError

KEY_SECONDS = 3600


@operation("sts", "GetCallerIdentity")
def get_caller_identity(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    return {"UserId": call.identity.user_id, "Account": call.identity.account, "Arn": call.identity.arn}


@operation("sts", "AssumeRole")
def assume_role(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Keys that stand for the role's account from now on."""
    return _keys(call, request)


def _keys(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    role, session = request.get("RoleArn", ""), request.get("RoleSessionName")
    if not role.startswith("arn:aws:iam::") or not session:
        raise AwsError("ValidationError", f"{role} is invalid")
    key, identity = call.world.assume(role, session)
    expires = datetime.now(tz=UTC).timestamp() + int(request.get("DurationSeconds", KEY_SECONDS))
    return {
        "Credentials": {
            "AccessKeyId": key,
            "SecretAccessKey": "simulated",
            "SessionToken": "simulated",
            "Expiration": datetime.fromtimestamp(expires, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "AssumedRoleUser": {"AssumedRoleId": identity.user_id, "Arn": identity.arn},
    }


@operation("sts", "AssumeRoleWithWebIdentity")
def assume_role_with_web_identity(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The same for a service account's token, which is not looked into."""
    if not request.get("WebIdentityToken"):
        raise AwsError("InvalidIdentityToken", "No token was given.")
    return {**_keys(call, request), "Provider": "kubernetes", "Audience": "sts.amazonaws.com"}
