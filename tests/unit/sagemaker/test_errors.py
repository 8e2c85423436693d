"""Every error that AWS has means one thing to us, and people are told what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.core.sagemaker import errors
from sagebrush.core.sagemaker.calls import OPERATIONS, Problem
from sagebrush.core.sagemaker.errors import POLICY, TABLE, problem_of, sentence_of

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
USER = "User: arn:aws:sts::123456789012:assumed-role/operator/session is not authorized to perform:"
V = "ValidationException"
NO_DEREGISTER = (
    "An Application AutoScaling scalable target exists for a variant being deleted, and the IAM identity used to invoke "
    "DeleteEndpoint does not have application-autoscaling:DeregisterScalableTarget permission to deregister the scalable "
    "target."
)
STATUS = "The request was rejected because the training job is in status"

CASES = [
    # operation, code, message, http status, problem
    # ValidationException, by its text
    ("DescribeEndpoint", V, f'Could not find endpoint "{ARN}:endpoint/e".', 400, Problem.ABSENT),
    ("DescribeEndpointConfig", V, f'Could not find endpoint configuration "{ARN}:endpoint-config/e".', 400, "Absent"),
    ("DeleteModel", V, f'Could not find model "{ARN}:model/m".', 400, Problem.ABSENT),
    ("UpdateEndpoint", V, f"Could not find endpoint configuration {ARN}:endpoint-config/e", 400, Problem.ABSENT),
    ("CreateEndpoint", V, f'Could not find endpoint configuration "{ARN}:endpoint-config/e".', 400, Problem.ABSENT),
    ("CreateEndpointConfig", V, f'Could not find model "{ARN}:model/m".', 400, Problem.ABSENT),
    ("DescribeTrainingJob", V, "Requested resource not found.", 400, Problem.ABSENT),
    ("StopTrainingJob", V, "Requested resource not found.", 400, Problem.ABSENT),
    ("CreateModel", V, 'Could not find model data "s3://b/model.tar.gz".', 400, Problem.INVALID),
    ("CreateModel", V, "Could not find model data at s3://b/model.tar.gz.", 400, Problem.INVALID),
    ("CreateModel", V, "Requested image 123.dkr.ecr.us-east-1.amazonaws.com/x not found.", 400, Problem.INVALID),
    ("CreateModel", V, f'Cannot create already existing model "{ARN}:model/m".', 400, Problem.EXISTS),
    ("CreateEndpointConfig", V, f'Cannot create already existing endpoint configuration "{ARN}".', 400, Problem.EXISTS),
    ("CreateEndpoint", V, f'Cannot create already existing endpoint "{ARN}:endpoint/E".', 400, Problem.EXISTS),
    ("UpdateEndpoint", V, f'Cannot update in-progress endpoint "{ARN}:endpoint/e".', 400, Problem.BUSY),
    ("UpdateEndpointWeightsAndCapacities", V, f'Cannot update in-progress endpoint "{ARN}".', 400, Problem.BUSY),
    ("DeleteEndpoint", V, f'Cannot update in-progress endpoint "{ARN}:endpoint/e".', 400, Problem.BUSY),
    ("UpdateEndpoint", V, f'Cannot update endpoint "{ARN}" with status "Failed".', 400, Problem.BUSY),
    ("StopTrainingJob", V, f"{STATUS} Completed.", 400, Problem.ENDED),
    ("StopTrainingJob", V, f"{STATUS} Stopping.", 400, Problem.ENDED),
    ("DeleteTrainingJob", V, f"{STATUS} InProgress.", 400, Problem.BUSY),
    ("CreateModel", V, "1 validation error detected: Value 'already exists' at 'x' failed", 400, Problem.INVALID),
    ("CreateEndpoint", V, "2 validation errors detected: Value 'deregister' at 'x' failed", 400, Problem.INVALID),
    ("UpdateEndpoint", V, 'The variant(s) "a" must be deregistered as scalable targets first', 400, Problem.INVALID),
    ("UpdateEndpoint", V, 'Variant "a" is registered with a scalable target', 400, Problem.INVALID),
    ("CreateTrainingJob", V, "Could not assume role arn:aws:iam::1:role/x. Please ensure", 400, Problem.INVALID),
    ("CreateTrainingJob", V, "No S3 objects found under S3 URL", 400, Problem.INVALID),
    (
        "DeleteEndpoint",
        V,
        NO_DEREGISTER,
        400,
        Problem.DENIED,
    ),
    ("CreateModel", V, f"{USER} iam:PassRole on resource: arn:aws:iam::1:role/x", 400, Problem.DENIED),
    # SageMaker's own codes
    ("CreateTrainingJob", "ResourceInUse", "Training job names must be unique within", 400, Problem.EXISTS),
    ("DeleteTrainingJob", "ResourceInUse", "The warm pool is in use", 400, Problem.BUSY),
    ("DeleteTrainingJob", "ResourceNotFound", "Requested resource not found.", 400, Problem.ABSENT),
    ("CreateModel", "ResourceAlreadyExists", "", 400, Problem.EXISTS),
    ("CreateEndpoint", "ResourceLimitExceeded", "The account-level service limit 'ml.m5.large' is 0", 400, "Quota"),
    ("CreateEndpoint", "ConflictException", "", 409, Problem.TRANSIENT),
    # too many calls
    ("DescribeEndpoint", "ThrottlingException", "Rate exceeded", 400, Problem.THROTTLED),
    ("DescribeEndpoint", "ThrottlingException", "Rate exceeded", 503, Problem.THROTTLED),
    ("DescribeAlarms", "Throttling", "Rate exceeded", 400, Problem.THROTTLED),
    ("CreateEndpoint", "TooManyRequestsException", "", 429, Problem.THROTTLED),
    ("CreateEndpoint", "RequestLimitExceeded", "", 400, Problem.THROTTLED),
    ("HeadObject", "SlowDown", "Please reduce your request rate.", 503, Problem.THROTTLED),
    ("CreateEndpoint", V, "Rate exceeded", 400, Problem.THROTTLED),
    ("CreateEndpoint", "New", "", 429, Problem.THROTTLED),
    # AWS' own trouble, and the network's
    ("CreateEndpoint", "InternalFailure", "", 500, Problem.TRANSIENT),
    ("CreateEndpoint", "ServiceUnavailable", "", 503, Problem.TRANSIENT),
    ("CreateEndpoint", V, "Could not find endpoint 'e'", 502, Problem.TRANSIENT),
    ("CreateEndpoint", "ReadTimeoutError", "Read timeout on endpoint URL", 0, Problem.TRANSIENT),
    ("CreateEndpoint", "EndpointConnectionError", "Could not connect to the endpoint URL", 0, Problem.TRANSIENT),
    ("CreateEndpoint", "SomethingNew", "", 400, Problem.TRANSIENT),
    ("DescribeEndpoint", "UnknownOperationException", "", 404, Problem.TRANSIENT),
    # credentials and permissions
    ("CreateEndpoint", "AccessDeniedException", f"{USER} sagemaker:CreateEndpoint on resource: {ARN}", 400, "Denied"),
    ("HeadObject", "AccessDenied", "Access Denied", 403, Problem.DENIED),
    ("HeadObject", "403", "Forbidden", 403, Problem.DENIED),
    ("HeadObject", "ExpiredToken", "The provided token has expired.", 400, Problem.DENIED),
    ("CreateEndpoint", "ExpiredTokenException", "The security token included is expired", 400, Problem.DENIED),
    ("CreateEndpoint", "UnrecognizedClientException", "The security token is invalid.", 400, Problem.DENIED),
    ("AssumeRole", "AccessDenied", f"{USER} sts:AssumeRole on resource: arn:aws:iam::1:role/x", 403, Problem.DENIED),
    ("AssumeRole", "InvalidClientTokenId", "", 403, Problem.DENIED),
    ("AssumeRoleWithWebIdentity", "InvalidIdentityToken", "No OpenIDConnect provider found", 400, Problem.DENIED),
    ("AssumeRole", "RegionDisabledException", "STS is not activated in this region", 403, Problem.DENIED),
    ("CreateEndpoint", "NoCredentialsError", "Unable to locate credentials", 0, Problem.DENIED),
    ("CreateEndpoint", "SignatureDoesNotMatch", "Signature expired", 403, Problem.DENIED),
    ("CreateEndpoint", "New", "", 403, Problem.DENIED),
    ("CreateEndpoint", "New", "", 401, Problem.DENIED),
    # Application Auto Scaling
    ("PutScalingPolicy", "ConcurrentUpdateException", "", 400, Problem.TRANSIENT),
    ("DeregisterScalableTarget", "ObjectNotFoundException", "No scalable target found", 400, Problem.ABSENT),
    ("PutScalingPolicy", "ObjectNotFoundException", "No scalable target registered", 400, Problem.ABSENT),
    ("RegisterScalableTarget", V, "SageMaker variant doesn't exist: endpoint/e/variant/v", 400, Problem.ABSENT),
    ("RegisterScalableTarget", V, "Minimum capacity cannot be greater than maximum capacity", 400, Problem.INVALID),
    ("RegisterScalableTarget", V, f'Endpoint "{ARN}:endpoint/e" is in status Creating', 400, Problem.BUSY),
    ("RegisterScalableTarget", V, f'Could not find variant "v" of endpoint "{ARN}".', 400, Problem.ABSENT),
    ("PutScalingPolicy", "LimitExceededException", "", 400, Problem.QUOTA),
    ("DescribeScalingPolicies", "FailedResourceAccessException", "", 400, Problem.DENIED),
    ("RegisterScalableTarget", "InternalServiceException", "", 500, Problem.TRANSIENT),
    # CloudWatch, Logs, S3
    ("PutMetricAlarm", "LimitExceeded", "", 400, Problem.QUOTA),
    ("PutMetricAlarm", "InvalidParameterValue", "", 400, Problem.INVALID),
    ("DeleteAlarms", "ResourceNotFound", "", 404, Problem.ABSENT),
    ("FilterLogEvents", "ResourceNotFoundException", "The specified log group does not exist.", 400, Problem.ABSENT),
    ("HeadObject", "404", "Not Found", 404, Problem.ABSENT),
    ("HeadObject", "NoSuchKey", "", 404, Problem.ABSENT),
    ("ListObjectsV2", "NoSuchBucket", "The specified bucket does not exist", 404, Problem.ABSENT),
    ("HeadObject", "301", "Moved Permanently", 301, Problem.INVALID),
    ("HeadObject", "InvalidObjectState", "", 403, Problem.INVALID),
    ("CreateModel", "ParamValidationError", "Parameter validation failed", 0, Problem.INVALID),
]


@pytest.mark.parametrize(("operation", "code", "message", "status", "expected"), CASES)
def test_problem_must_be_what_the_taxonomy_says(operation, code, message, status, expected):
    """One error, one meaning."""
    assert expected == problem_of(operation, code=code, message=message, http_status=status)


@pytest.mark.parametrize("row", TABLE[:-1], ids=lambda row: f"{row.problem}-{row.code}-{row.message}"[:60])
def test_row_must_be_guarded_by_a_case(row, monkeypatch):
    """Without any one row, some case above has another meaning, or loses its advice."""

    def results():
        return [
            (problem_of(operation, code=code, message=text, http_status=status), sentence_of(operation, code=code, message=text))
            for operation, code, text, status, _ in CASES
        ]  # fmt: skip

    with_row = results()
    monkeypatch.setattr(errors, "TABLE", tuple(each for each in TABLE if each is not row))
    assert with_row != results()


ANY_CALL = st.sampled_from(sorted(set().union(*OPERATIONS.values())))
CODES = st.one_of(st.text(max_size=40), st.sampled_from(sorted({case[1] for case in CASES})))
MESSAGES = st.one_of(st.text(max_size=200), st.sampled_from([case[2] for case in CASES]))


@given(operation=ANY_CALL, code=CODES, message=MESSAGES, status=st.integers(0, 999))
def test_every_error_must_have_a_problem_and_a_sentence(operation, code, message, status):
    """Whatever AWS answers, the operator goes on and says something."""
    assert isinstance(problem_of(operation, code=code, message=message, http_status=status), Problem)
    assert sentence_of(operation, code=code, message=message).strip()


@given(operation=ANY_CALL, code=CODES, message=MESSAGES, status=st.integers(500, 599))
def test_failure_at_aws_must_never_be_read_as_an_answer(operation, code, message, status):
    """A 5xx may come after the call had its effect: it says neither that a thing is there nor that it isn't."""
    found = problem_of(operation, code=code, message=message, http_status=status)
    assert found in {Problem.TRANSIENT, Problem.THROTTLED}


@pytest.mark.parametrize(
    ("operation", "code", "message", "expected"),
    [
        (
            "UpdateEndpoint",
            "AccessDeniedException",
            f"{USER} sagemaker:UpdateEndpoint on resource: {ARN}:endpoint-config/c because no identity-based policy",
            ["operator/session lacks sagemaker:UpdateEndpoint", f"on {ARN}:endpoint-config/c:", f"the policy {POLICY}"],
        ),
        ("HeadObject", "AccessDenied", "Access Denied", ["HeadObject: Access Denied.", f"Attach the policy {POLICY}"]),
        ("HeadObject", "403", "Forbidden", ["HeadObject: Forbidden.", "s3:ListBucket"]),
        (
            "AssumeRole",
            "AccessDenied",
            f"{USER} sts:AssumeRole on resource: arn:aws:iam::1:role/x",
            ["lacks sts:AssumeRole on arn:aws:iam::1:role/x", "trust policy"],
        ),
        (
            "CreateModel",
            "AccessDeniedException",
            f"{USER} iam:PassRole on resource: arn:aws:iam::1:role/x because",
            ["lacks iam:PassRole on arn:aws:iam::1:role/x", "spec.sageMaker.roleArn"],
        ),
        (
            "CreateModel",
            "AccessDeniedException",
            f"{USER} sagemaker:CreateModel on resource: {ARN} with an explicit deny in a service control policy",
            ["explicit deny in a service control policy.", "ask those who keep it"],
        ),
        ("DeleteEndpoint", V, NO_DEREGISTER, ["role lacks application-autoscaling:DeregisterScalableTarget:", POLICY]),
        ("CreateEndpoint", "ResourceLimitExceeded", "The limit is 0", ["The limit is 0. Ask for more at AWS Service"]),
        ("CreateEndpoint", "ExpiredToken", "It has expired.", ["It has expired. Check the operator's credentials"]),
        ("CreateEndpoint", "NoCredentialsError", "Unable to locate credentials", ["credentials. Check the operator's"]),
        ("UpdateEndpoint", V, "a must be deregistered as scalable targets", ["targets. A scalable target at"]),
        ("CreateEndpoint", "InternalFailure", "", ["CreateEndpoint failed with InternalFailure"]),
        ("CreateModel", V, "1 validation error detected: x", ["1 validation error detected: x"]),
    ],
)
def test_sentence_must_tell_what_to_do_next(operation, code, message, expected):
    """AWS' own sentence, and the next step."""
    sentence = sentence_of(operation, code=code, message=message)
    assert [] == [part for part in expected if part not in sentence], sentence


def test_sentence_must_not_list_every_instance_type() -> None:
    """AWS names all legal values; the first dozen tell what they look like."""
    text = "Value 'x' at 'a' failed to satisfy constraint: Member must satisfy enum value set: "
    many = sentence_of("CreateModel", code="ValidationException", message=f"{text}[{', '.join(map(str, range(145)))}]")
    assert f"{text}[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 133 more]" == many
    assert f"{text}[a, b]" == sentence_of("CreateModel", code="ValidationException", message=f"{text}[a, b]")
