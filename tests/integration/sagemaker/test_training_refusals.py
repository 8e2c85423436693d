"""What AWS or our own checks refuse: said in words that help, waited for or stalled, and mended without a second object."""

import itertools

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker.aws import BUCKET, ROLE, Aws, training_job
from tests.integration.sagemaker.jobs import (
    LONG,
    SHORT,
    codes,
    edit,
    message,
    plan_jobs,
    standing,
    wait_events,
    wait_phase,
)

OTHER_ROLE = "arn:aws:iam::123456789012:role/other"
pytestmark = pytest.mark.usefixtures("shared_operator")


def test_job_beyond_the_quota_must_wait_in_line(shared_aws: Aws, kube: Kube, namespace: str):
    """The account's limit is no failure: QuotaExceeded with AWS' sentence, and the job starts by itself when there is room."""
    shared_aws.simulator.faults.add("quota", instance_type="ml.c5.xlarge", usage="training job", limit=1)
    plan_jobs(shared_aws, namespace, "first", duration=LONG)
    plan_jobs(shared_aws, namespace, "second", duration=SHORT)
    kube.apply(training_job("first", namespace, sagemaker={"instanceType": "ml.c5.xlarge"}))
    wait_phase(kube, namespace, "Training", name="first")
    kube.apply(training_job("second", namespace, sagemaker={"instanceType": "ml.c5.xlarge"}))
    body = kube.wait_ready("TrainingJob", namespace, "second", "QuotaExceeded")
    assert ("Reconciling", "QuotaExceeded") == standing(body)
    assert "The account-level service limit 'ml.c5.xlarge for training job usage' is 1 Instances" in message(body)
    assert "startTime" not in body["status"], "another instance type may still be chosen"
    wait_events(kube, namespace, "QuotaExceeded", name="second")
    kube.delete("TrainingJob", namespace, "first")
    wait_phase(kube, namespace, "Completed", name="second")
    tries = shared_aws.simulator.audit.calls("CreateTrainingJob", resource=f"{namespace}-second-*")
    assert {"ResourceLimitExceeded", "OK"} == {entry.code for entry in tries}
    gaps = [later.virtual_time - earlier.virtual_time for earlier, later in itertools.pairwise(tries)]
    assert all(gap >= 290 for gap in gaps), "a slow line: --slow-retry-seconds"


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "DescribeTrainingJob", "ListTags"])
def test_missing_permission_must_be_named(shared_aws: Aws, kube: Kube, namespace: str, operation: str):
    """PermissionDenied says which action on which ARN; once it is allowed the job goes on by itself."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    shared_aws.simulator.faults.add("access_denied", operation=operation, resource=f"{namespace}-*", times=None)
    kube.apply(training_job("kdd", namespace))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "PermissionDenied")
    assert ("Reconciling", "PermissionDenied") == standing(body)
    assert (
        f"sagemaker:{operation} on arn:aws:sagemaker:us-east-1:123456789012:training-job/{namespace}-kdd-"
        in message(body)
    )
    assert "iam-policy.json" in message(body)
    wait_events(kube, namespace, "PermissionDenied")
    shared_aws.simulator.faults.clear("access_denied")
    wait_phase(kube, namespace, "Completed")
    assert 1 == codes(shared_aws, "CreateTrainingJob", namespace).count("OK")


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_credentials_that_aws_does_not_take_must_be_said(shared_aws: Aws, kube: Kube, namespace: str, code: str):
    """Expired or unknown keys are the operator's trouble, not the spec's: said so, and the job goes on when they are right."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    shared_aws.simulator.faults.add(
        "error", resource=f"{namespace}-*", times=None, code=code, message="The security token is wrong", status=403
    )
    kube.apply(training_job("kdd", namespace))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "PermissionDenied")
    assert ("Reconciling", "PermissionDenied") == standing(body)
    assert "The security token is wrong. Check the operator's credentials" in message(body)
    shared_aws.simulator.faults.clear("error")
    wait_phase(kube, namespace, "Completed")


def test_role_that_may_not_be_assumed_must_be_named(shared_aws: Aws, kube: Kube, namespace: str):
    """Which role can't be assumed, and what to allow; once it may be, the job starts by itself, in that role's account."""
    foreign = "arn:aws:iam::333333333333:role"
    plan_jobs(shared_aws, namespace, duration=SHORT)
    shared_aws.simulator.faults.add("access_denied", operation="AssumeRole", resource=f"{foreign}/there", times=None)
    there = {"roleArn": f"{foreign}/execution", "assumeRoleArn": f"{foreign}/there"}
    kube.apply(training_job("kdd", namespace, sagemaker=there))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "PermissionDenied")
    assert ("Reconciling", "PermissionDenied") == standing(body)
    assert "sts:AssumeRole" in message(body)
    assert "trust policy" in message(body)
    shared_aws.simulator.faults.clear("access_denied")
    status = wait_phase(kube, namespace, "Completed")["status"]
    assert ":333333333333:" in status["sageMaker"]["arn"]


REFUSED = {
    "unassumable role": ({"roleArn": OTHER_ROLE}, f"Could not assume role {OTHER_ROLE}"),
    "unknown instance type": (
        {"instanceType": "ml.nonsense.large"},
        "1 validation error detected: Value 'ml.nonsense.large'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_spec_that_aws_refuses_must_stall_until_it_is_mended(shared_aws: Aws, kube: Kube, namespace: str, case: str):
    """Stalled with AWS' own sentence and asked once; nothing has started, so the spec may be mended, and it runs."""
    wrong, words = REFUSED[case]
    shared_aws.simulator.faults.add("unassumable_role", resource=OTHER_ROLE)
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace, sagemaker=wrong))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "InvalidSpec")
    assert ("Stalled", "InvalidSpec") == standing(body)
    assert words in message(body)
    assert "startTime" not in body["status"]
    wait_events(kube, namespace, "InvalidSpec")
    asked = codes(shared_aws, "CreateTrainingJob", namespace)
    edit(kube, namespace, {"sageMaker": {"roleArn": ROLE, "instanceType": "ml.m5.large"}})
    body = wait_phase(kube, namespace, "Completed")
    assert ["ValidationException"] == asked
    assert ["ValidationException", "OK"] == codes(shared_aws, "CreateTrainingJob", namespace)
    assert ("Ready", "Completed") == standing(body)


def test_refused_spec_must_not_be_asked_again_by_itself(shared_aws: Aws, kube: Kube, namespace: str):
    """A refusal is an answer: while others wait in line and are tried again, this one is left alone."""
    shared_aws.simulator.faults.add("unassumable_role", resource=OTHER_ROLE)
    shared_aws.simulator.faults.add("quota", instance_type="ml.c5.2xlarge", usage="training job", limit=0)
    kube.apply(training_job("refused", namespace, sagemaker={"roleArn": OTHER_ROLE}))
    kube.apply(training_job("waiting", namespace, sagemaker={"instanceType": "ml.c5.2xlarge"}))
    kube.wait_ready("TrainingJob", namespace, "refused", "InvalidSpec")
    wait_for(
        lambda: shared_aws.simulator.audit.count("CreateTrainingJob", resource=f"{namespace}-waiting-*") >= 2,
        "another try of the one in line",
    )
    assert 1 == shared_aws.simulator.audit.count("CreateTrainingJob", resource=f"{namespace}-refused-*")


PREFLIGHT = {
    "hyperparameter": (
        {"hyperParameters": {"predictor_type": "binary_classifier", "epochs": "0"}},
        "spec.hyperParameters.epochs",
    ),
    "environment": ({"environment": [{"name": "LONG", "value": "x" * 513}]}, "Environment.LONG has 513 characters"),
    "spot wait": (
        {"maxRuntime": "1h", "sageMaker": {"roleArn": ROLE, "instanceType": "ml.m5.large", "spot": {"maxWait": "2h"}}},
        "spec.sageMaker.spot.maxWait: at most 1h",
    ),
    "fast file": (
        {"channels": [{"name": "train", "uri": f"s3://{BUCKET}/train", "inputMode": "FastFile"}]},
        "it must end with /",
    ),
}


@pytest.mark.parametrize("case", PREFLIGHT)
def test_preflight_must_cost_nothing(shared_aws: Aws, kube: Kube, namespace: str, case: str):
    """What can be known beforehand is refused before SageMaker is asked, names the field, and is mended by an edit."""
    wrong, words = PREFLIGHT[case]
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace, **wrong))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "InvalidSpec")
    assert ("Stalled", "InvalidSpec") == standing(body)
    assert words in message(body)
    assert [] == codes(shared_aws, "CreateTrainingJob", namespace)
    assert "startTime" not in body["status"]
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Completed")


def test_missing_input_must_be_waited_for(shared_aws: Aws, kube: Kube, namespace: str):
    """Data that isn't in S3 yet costs no job: the channel and its address are named, and the job runs once it is there."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    channels = [
        {"name": "train", "uri": f"s3://{BUCKET}/train/", "contentType": "text/csv"},
        {"name": "test", "uri": f"s3://{BUCKET}/{namespace}/late/"},
    ]
    kube.apply(training_job("kdd", namespace, channels=channels))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "DownloadFailed")
    assert ("Reconciling", "DownloadFailed") == standing(body)
    assert f"nothing found at s3://{BUCKET}/{namespace}/late/ (channel test)" in message(body)
    assert "train/ " not in message(body)
    assert "finalizers" not in body["metadata"]
    assert [] == codes(shared_aws, "CreateTrainingJob", namespace)
    shared_aws.put(f"{namespace}/late/part-0.csv")
    wait_phase(kube, namespace, "Completed")
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace)
