"""AWS's errors with their texts (reference §1.4); the one room where texts live."""


class AwsError(Exception):
    """An answer that is an error: code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class ConnectionLost(Exception):  # noqa: N818 - it is no error of ours but an event on the wire
    """The connection is closed without an answer."""


KINDS = {
    "training-job": "training job",
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
}


def invalid(message: str) -> AwsError:
    """A ValidationException."""
    return AwsError("ValidationException", message)


def missing(kind: str, arn: str) -> AwsError:
    """The thing isn't there; its text depends on the kind."""
    if kind == "training-job":
        return invalid("Requested resource not found.")
    return invalid(f'Could not find {KINDS[kind]} "{arn}".')


def existing(kind: str, arn: str) -> AwsError:
    """The name is taken."""
    if kind == "training-job":
        return AwsError(
            "ResourceInUse",
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({arn})",
        )
    return invalid(f'Cannot create already existing {KINDS[kind]} "{arn}".')


def in_progress(arn: str) -> AwsError:
    """The endpoint is changing, so it can't be changed."""
    return invalid(f'Cannot update in-progress endpoint "{arn}".')


def job_status(status: str) -> AwsError:
    """The training job's status forbids this."""
    return invalid(f"The request was rejected because the training job is in status {status}.")


def throttled() -> AwsError:
    """Too many requests."""
    return AwsError("ThrottlingException", "Rate exceeded")


def quota(instance_type: str, usage: str, limit: int, used: int, delta: int) -> AwsError:
    """The account-level service limit would be exceeded. botocore does not retry it."""
    return AwsError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{instance_type} for {usage} usage' is {limit} Instances, with current "
        f"utilization of {used} Instances and a request delta of {delta} Instances. Please use AWS Service Quotas to "
        "request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request "
        "an increase for this quota.",
    )


def denied(caller: str, action: str, resource: str) -> AwsError:
    """IAM says no."""
    return AwsError(
        "AccessDeniedException",
        f"User: {caller} is not authorized to perform: {action} on resource: {resource} because no identity-based "
        f"policy allows the {action} action",
    )


def ping_failed(variant: str) -> str:
    """FailureReason of an endpoint whose container doesn't answer GET /ping."""
    return (
        f"The primary container for production variant {variant} did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )


NO_CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)
