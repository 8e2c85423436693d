"""
What AWS' errors mean to us, as one table; and what we tell people about them. Pure.

Sources: botocore's service models (codes), the texts that SageMaker is known to answer with (it has one code,
ValidationException, for what is absent, what exists, what is busy and what is wrong), and "Common Errors" of the API
references of Application Auto Scaling, CloudWatch, CloudWatch Logs, S3 and STS.
"""

import re
from dataclasses import dataclass

from sagebrush.core.sagemaker.calls import Problem

POLICY = "charts/sagebrush/files/iam-policy.json"
_CREDENTIALS = (
    "Check the operator's credentials: the service account's role (IRSA or EKS Pod Identity), or the keys in its "
    "environment, and that they haven't expired."
)
_CLOCK = "Check the clock of the operator's node and the operator's credentials."
_QUOTA = "Ask for more at AWS Service Quotas, or free some; the operator tries again every few minutes."
_DEREGISTER = (
    "A scalable target at Application Auto Scaling that isn't the operator's holds the variant: deregister it there, or "
    "keep the variant and its instance type."
)
_SERVICE_ROLE = (
    "Application Auto Scaling's own role can't reach the endpoint or its alarms: check the service-linked role "
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint."
)
_REGION = "Enable the region in the account, or set spec.sageMaker.region to another one."
_BUCKET_REGION = "The bucket is in another region: use one of the job's or endpoint's region."
_ARCHIVED = "The object is archived: restore it, or name another."
_FLAGS = re.IGNORECASE | re.DOTALL
_HEAD = "S3 answers so for a missing object too, where the caller lacks s3:ListBucket on the bucket."


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: it applies if all that is set applies. Patterns ignore case; *code* and *operation* match whole."""

    problem: Problem
    code: str = ".*"
    message: str = ""
    operation: str = ".*"
    statuses: range = range(1000)
    hint: str = ""

    def applies(self, operation: str, *, code: str, message: str, http_status: int) -> bool:
        """Whether this row is about that error."""
        return (
            http_status in self.statuses
            and re.fullmatch(self.code, code, _FLAGS) is not None
            and re.fullmatch(self.operation, operation, _FLAGS) is not None
            and re.search(self.message, message, _FLAGS) is not None
        )


_INVALID_CODES = (
    r"Validation(Exception|Error)|ParamValidationError|InvalidParameter\w*|MissingParameter\w*|MissingRequiredParameter\w*"
    r"|InvalidInput\w*|InvalidFormat\w*|InvalidArgument\w*|InvalidRequest(Exception)?|InvalidBucketName|BadRequestException"
    r"|SerializationException|MalformedPolicyDocument\w*|PackedPolicyTooLarge\w*|TooManyTagsException|ConflictingTag\w*"
)
_VALIDATION = r"Validation(Exception|Error)"

TABLE: tuple[Row, ...] = (
    # The texts hold what the user wrote, so what quotes it comes first, and patterns begin where AWS' sentence does.
    Row(Problem.INVALID, _VALIDATION, r"^\d+ validation errors? detected"),
    Row(
        Problem.THROTTLED,
        r"Throttling\w*|ThrottledException|RequestThrottled\w*|TooManyRequests\w*|RequestLimitExceeded\w*|SlowDown"
        r"|BandwidthLimitExceeded|PriorRequestNotComplete|ProvisionedThroughputExceeded\w*|LimitExceededForThrottling",
    ),
    Row(Problem.THROTTLED, message=r"^rate exceeded"),
    # AWS' own trouble says nothing of the request, whatever the text; the call may have had its effect.
    Row(Problem.TRANSIENT, statuses=range(500, 600)),
    # Quota
    Row(
        Problem.QUOTA,
        r"ResourceLimitExceeded\w*|LimitExceeded(Exception|Fault)?|ServiceQuotaExceeded\w*|AccountLimitExceeded\w*",
        hint=_QUOTA,
    ),
    # Who we are, and what we may
    Row(
        Problem.DENIED,
        r"ExpiredToken\w*|TokenRefreshRequired|UnrecognizedClient\w*|InvalidClientTokenId|InvalidAccessKeyId|InvalidToken"
        r"|MissingAuthenticationToken\w*|IncompleteSignature\w*|AuthFailure|InvalidIdentityToken\w*|IDPRejectedClaim\w*"
        r"|NoCredentials\w*|PartialCredentials\w*|CredentialRetrieval\w*|TokenRetrieval\w*|\w*SSOToken\w*|NoAuthToken\w*"
        r"|ProfileNotFound|ExpiredTradeInToken\w*",
        hint=_CREDENTIALS,
    ),
    Row(
        Problem.DENIED,
        r"SignatureDoesNotMatch|InvalidSignature\w*|RequestExpired|RequestTimeTooSkewed|RequestInTheFuture\w*",
        hint=_CLOCK,
    ),
    Row(Problem.DENIED, r"OptInRequired|RegionDisabled\w*|SubscriptionRequired\w*", hint=_REGION),
    Row(Problem.DENIED, "FailedResourceAccess\\w*", hint=_SERVICE_ROLE),
    Row(
        Problem.DENIED,
        r"\w*AccessDenied\w*|Unauthorized\w*|NotAuthorized\w*|AllAccessDisabled|AccountProblem|Forbidden\w*|401",
    ),
    Row(Problem.DENIED, "403", hint=_HEAD),
    Row(Problem.DENIED, message=r"the IAM identity used to invoke \w+ does not have \S+ permission"),
    Row(Problem.DENIED, message=r"^User: \S+ is not authorized to perform"),
    # There is no such thing
    Row(Problem.ABSENT, r"ResourceNotFound\w*|ObjectNotFound\w*|NoSuchKey|NoSuchBucket|NotFound|404"),
    Row(Problem.INVALID, _VALIDATION, r"^could not find model data"),
    Row(Problem.ABSENT, _VALIDATION, r"^could not find [a-z -]+([\"']|arn:)"),
    Row(Problem.ABSENT, _VALIDATION, r"^requested resource not found"),
    Row(
        Problem.ABSENT,
        _VALIDATION,
        r"(does not|doesn't) exist|^no (scalable target|scaling policy|scheduled action)",
        r"\w+(ScalableTargets?|ScalingPolic(y|ies)|ScheduledActions?)",
    ),
    # There is one already
    Row(Problem.EXISTS, r"ResourceInUse\w*|ResourceAlreadyExists\w*|AlreadyExists\w*", operation=r"Create\w+"),
    Row(Problem.EXISTS, _VALIDATION, r"^cannot create already existing|already exists", r"Create\w+"),
    # Not now
    Row(Problem.BUSY, r"ResourceInUse\w*|ResourceConflict\w*", operation=r"(Delete|Update|Stop)\w+"),
    Row(Problem.BUSY, _VALIDATION, r"^cannot \w+ in-progress"),
    Row(Problem.BUSY, _VALIDATION, r"^cannot (update|delete) endpoint .*\b(with|in) (status|state)\b"),
    Row(Problem.BUSY, _VALIDATION, r"\bis in (status|state)\b", r"\w+(ScalableTarget|ScalingPolicy|ScheduledAction)"),
    Row(
        Problem.ENDED,
        _VALIDATION,
        r"^the request was rejected because the training job is in status",
        "StopTrainingJob",
    ),
    Row(Problem.BUSY, _VALIDATION, r"^the request was rejected because the training job is in status"),
    # The user's to mend
    Row(Problem.INVALID, _VALIDATION, r"registered .*scalable target|deregister", hint=_DEREGISTER),
    Row(Problem.INVALID, r"PermanentRedirect|301|IllegalLocationConstraint\w*", hint=_BUCKET_REGION),
    Row(Problem.INVALID, r"InvalidObjectState", hint=_ARCHIVED),
    Row(Problem.INVALID, _INVALID_CODES),
    # What the code doesn't tell, the status of the answer does. An unknown 404 is no proof of absence: a wrong address has it too.
    Row(Problem.THROTTLED, statuses=range(429, 430)),
    Row(Problem.DENIED, statuses=range(401, 402), hint=_CREDENTIALS),
    Row(Problem.DENIED, statuses=range(403, 404)),
    # ConcurrentUpdateException, InternalServiceException, the network's trouble, and what is new to us.
    Row(Problem.TRANSIENT),
)
"""The first row that applies counts. The last one always does."""


def problem_of(operation: str, *, code: str, message: str, http_status: int) -> Problem:
    """What an error means. *code*: AWS', or the name of botocore's exception where nobody answered (*http_status* 0)."""
    return _row(operation, code=code, message=message, http_status=http_status).problem


def sentence_of(operation: str, *, code: str, message: str) -> str:
    """AWS' own sentence, and what to do next where it isn't in it."""
    text = " ".join(message.split()) or f"{operation} failed with {code or 'no answer'}"
    text = _CHOICES.sub(_fewer, text)
    row = _row(operation, code=code, message=message, http_status=0)
    if row.problem is Problem.DENIED and row.hint in ("", _HEAD):
        return " ".join(part for part in (_sentence(_lacking(operation, text)), row.hint) if part)
    return f"{_sentence(text)} {row.hint}" if row.hint else text


def _fewer(match: re.Match[str]) -> str:
    """The first choices of a list that would fill the screen: there are 145 instance types."""
    choices = match[1].split(", ")
    more = len(choices) - _CHOICES_SHOWN
    return match[0] if more <= 0 else f"[{', '.join(choices[:_CHOICES_SHOWN])} and {more} more]"


def _row(operation: str, *, code: str, message: str, http_status: int) -> Row:
    text = message.strip()
    return next(row for row in TABLE if row.applies(operation, code=code, message=text, http_status=http_status))


_CHOICES = re.compile(r"(?<=enum value set: )\[([^\]]*)\]")
_CHOICES_SHOWN = 12
_USER = re.compile(
    r"User: (?P<who>\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)(?: on resource: [\"']?(?P<arn>[^\s\"']+))?"
)
_IDENTITY = re.compile(r"does not have (?P<action>[\w-]+:\w+) permission")


def _lacking(operation: str, text: str) -> str:
    if "explicit deny" in text:
        return f"{_sentence(text)} A policy that denies it outweighs {POLICY}: ask those who keep it"
    match = _USER.search(text) or _IDENTITY.search(text)
    if match is None:
        return f"{operation}: {_sentence(text)} Attach the policy {POLICY} to the operator's role"
    found = match.groupdict()
    who, action, arn = found.get("who") or "The operator's role", found["action"], found.get("arn")
    lacks = f"{who} lacks {action}{f' on {arn}' if arn else ''}"
    if action == "sts:AssumeRole":
        return f"{lacks}: allow it there, and let that role's trust policy name the operator's role. AWS: {text}"
    if action == "iam:PassRole":
        return f"{lacks}: allow it to pass spec.sageMaker.roleArn, as {POLICY} does. AWS: {text}"
    return f"{lacks}: attach the policy {POLICY} to the operator's role. AWS: {text}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
