"""Training jobs against the table of the reference §1.1."""

import itertools
from typing import Any

import pytest

from tests.contract.aws import Aws, arn, refused, training_request
from tests.sagemaker_simulator import Simulator

SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
}
CHECKPOINTS: dict[str, Any] = {"CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"}}
TERMINAL = ["Stopped", "Completed", "Failed"]
WHOLE_LIFE = 60 + 20 + 180 + 15


def bring_to(aws: Aws, simulator: Simulator, status: str) -> None:
    if status == "Failed":
        simulator.faults.add("training", failure_reason="AlgorithmError: no", resource="job")
    aws.train()
    if status in {"Completed", "Failed"}:
        simulator.advance(WHOLE_LIFE)
    if status in {"Stopping", "Stopped"}:
        simulator.advance(100)
        aws.sagemaker.stop_training_job(TrainingJobName="job")
    if status == "Stopped":
        simulator.advance(30)
    assert status == aws.job()["TrainingJobStatus"]


def transitions(job: Any) -> list[str]:
    return [each["Status"] for each in job["SecondaryStatusTransitions"]]


@pytest.mark.parametrize(
    ("seconds", "primary", "secondary"),
    [
        (0, "InProgress", "Starting"),
        (60, "InProgress", "Downloading"),
        (80, "InProgress", "Training"),
        (260, "InProgress", "Uploading"),
        (275, "Completed", "Completed"),
    ],
)
def test_job_must_pass_its_phases(aws: Aws, simulator: Simulator, seconds: float, primary: str, secondary: str) -> None:
    """A job starts, downloads, trains, uploads and completes, each at its time."""
    aws.train()
    simulator.advance(seconds)
    job = aws.job()
    assert (primary, secondary) == (job["TrainingJobStatus"], job["SecondaryStatus"])


def test_job_must_record_its_transitions(aws: Aws, simulator: Simulator) -> None:
    """SecondaryStatusTransitions lists every phase with start, end and message, without gaps."""
    aws.train()
    simulator.advance(WHOLE_LIFE)
    job = aws.job()
    assert ["Starting", "Downloading", "Training", "Uploading", "Completed"] == transitions(job)
    listed = job["SecondaryStatusTransitions"]
    assert all(before["EndTime"] == after["StartTime"] for before, after in itertools.pairwise(listed))
    assert all(each["StatusMessage"] for each in listed)


@pytest.mark.parametrize("mode", ["FastFile", "Pipe"])
def test_job_must_download_in_file_mode_only(aws: Aws, simulator: Simulator, mode: str) -> None:
    """Streamed input has no Downloading phase."""
    request = training_request()
    request["AlgorithmSpecification"]["TrainingInputMode"] = mode
    aws.train(**request)
    simulator.advance(WHOLE_LIFE)
    assert "Downloading" not in transitions(aws.job())


def test_job_must_tell_its_artifact_and_times(aws: Aws, simulator: Simulator) -> None:
    """The artifact's path is <S3OutputPath>/<job>/output/model.tar.gz; training time counts from the download on."""
    aws.train(OutputDataConfig={"S3OutputPath": "s3://bucket/out/"})
    assert "ModelArtifacts" not in aws.job()
    simulator.advance(WHOLE_LIFE)
    job = aws.job()
    assert "s3://bucket/out/job/output/model.tar.gz" == job["ModelArtifacts"]["S3ModelArtifacts"]
    assert (215, 215) == (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"])
    assert 215 == (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()


@pytest.mark.parametrize("status", ["Stopping", *TERMINAL])
def test_stop_must_be_refused_unless_in_progress(aws: Aws, simulator: Simulator, status: str) -> None:
    """Stop in any other status is a ValidationException that names the status."""
    bring_to(aws, simulator, status)
    assert (
        "ValidationException",
        f"The request was rejected because the training job is in status {status}.",
    ) == refused(aws.sagemaker.stop_training_job, TrainingJobName="job")


@pytest.mark.parametrize(("seconds", "artifact"), [(10, False), (100, True)], ids=["starting", "training"])
def test_stop_must_keep_what_was_trained(aws: Aws, simulator: Simulator, seconds: float, artifact: bool) -> None:
    """A job stopped in training uploads its artifact; one stopped before has none."""
    aws.train()
    simulator.advance(seconds)
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    assert ("Stopping", "Stopping") == (aws.job()["TrainingJobStatus"], aws.job()["SecondaryStatus"])
    simulator.advance(30)
    job = aws.job()
    assert ("Stopped", "Stopped") == (job["TrainingJobStatus"], job["SecondaryStatus"])
    assert artifact == ("ModelArtifacts" in job)


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_delete_must_be_refused_before_the_end(aws: Aws, simulator: Simulator, status: str) -> None:
    """A job that runs or stops can't be deleted."""
    bring_to(aws, simulator, status)
    assert "ValidationException" == refused(aws.sagemaker.delete_training_job, TrainingJobName="job")[0]


@pytest.mark.parametrize("status", TERMINAL)
def test_delete_must_free_the_name(aws: Aws, simulator: Simulator, status: str) -> None:
    """An ended job can be deleted, and its name used again; before, the name is burnt."""
    bring_to(aws, simulator, status)
    assert "ResourceInUse" == refused(aws.train)[0]
    aws.sagemaker.delete_training_job(TrainingJobName="job")
    simulator.advance(10)
    assert "ValidationException" == refused(aws.job)[0]
    assert "OK" == refused(aws.train)[0]


def test_delete_must_wait_for_the_warm_pool(aws: Aws, simulator: Simulator) -> None:
    """A warm pool that is Available keeps its job from being deleted."""
    resources = training_request()["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 600}
    aws.train(ResourceConfig=resources)
    simulator.advance(WHOLE_LIFE)
    assert "Available" == aws.job()["WarmPoolStatus"]["Status"]
    assert "ResourceInUse" == refused(aws.sagemaker.delete_training_job, TrainingJobName="job")[0]
    simulator.advance(600)
    assert "OK" == refused(aws.sagemaker.delete_training_job, TrainingJobName="job")[0]


def test_job_must_exceed_its_runtime(aws: Aws, simulator: Simulator) -> None:
    """MaxRuntimeInSeconds ends training as Stopped/MaxRuntimeExceeded, with the artifact so far."""
    aws.train(StoppingCondition={"MaxRuntimeInSeconds": 100})
    simulator.advance(WHOLE_LIFE)
    job = aws.job()
    assert ("Stopped", "MaxRuntimeExceeded") == (job["TrainingJobStatus"], job["SecondaryStatus"])
    assert "ModelArtifacts" in job


def test_spot_job_must_exceed_its_wait(aws: Aws, simulator: Simulator) -> None:
    """MaxWaitTimeInSeconds counts waiting too, and ends as Stopped/MaxWaitTimeExceeded."""
    simulator.faults.add("training", pending=1000, resource="job")
    aws.train(**SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 300}})
    simulator.advance(400)
    job = aws.job()
    assert ("Stopped", "MaxWaitTimeExceeded") == (job["TrainingJobStatus"], job["SecondaryStatus"])
    assert "ModelArtifacts" not in job


def test_spot_job_must_be_interrupted_and_start_again(aws: Aws, simulator: Simulator) -> None:
    """Training → Interrupted → Starting → …; with checkpoints the work goes on where it was."""
    simulator.faults.add("training", interruptions=1, resource="job")
    aws.train(**SPOT, **CHECKPOINTS)
    simulator.advance(60 + 20 + 90 + 60 + 60 + 20 + 90 + 15)
    job = aws.job()
    assert [
        "Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training", "Uploading", "Completed",
    ] == transitions(job)  # fmt: skip
    assert 235 == job["TrainingTimeInSeconds"]
    assert 70 == job["BillableTimeInSeconds"]


def test_spot_job_without_checkpoints_must_begin_anew(aws: Aws, simulator: Simulator) -> None:
    """What was trained before the interruption is lost."""
    simulator.faults.add("training", interruptions=1, resource="job")
    aws.train(**SPOT)
    simulator.advance(60 + 20 + 90 + 60 + 60 + 20 + 90 + 15)
    assert "Training" == aws.job()["SecondaryStatus"]


def test_on_demand_job_must_not_be_interrupted(aws: Aws, simulator: Simulator) -> None:
    """Only spot capacity is reclaimed."""
    simulator.faults.add("training", interruptions=2, resource="job")
    aws.train()
    simulator.advance(WHOLE_LIFE)
    assert "Interrupted" not in transitions(aws.job())


def test_job_must_restart_after_internal_errors(aws: Aws, simulator: Simulator) -> None:
    """RetryStrategy restarts the job; without it the first internal error is the end."""
    simulator.faults.add("training", restarts=1)
    aws.train("retried", RetryStrategy={"MaximumRetryAttempts": 2})
    aws.train("once")
    simulator.advance(1000)
    assert "Restarting" in transitions(aws.job("retried"))
    assert "Completed" == aws.job("retried")["TrainingJobStatus"]
    assert aws.job("once")["FailureReason"].startswith("InternalServerError:")


def test_job_must_wait_for_capacity(aws: Aws, simulator: Simulator) -> None:
    """Pending comes after Starting where capacity is short."""
    simulator.faults.add("training", pending=600)
    aws.train()
    simulator.advance(60)
    assert "Pending" == aws.job()["SecondaryStatus"]
    simulator.advance(600)
    assert "Downloading" == aws.job()["SecondaryStatus"]


@pytest.mark.parametrize(
    ("reason", "last"),
    [
        ("AlgorithmError: ValueError: bad data, exit code: 1", "Training"),
        ("ClientError: Data download failed", "Downloading"),
        ("CapacityError: Unable to provision requested ML compute capacity", "Starting"),
        ("InternalServerError: We encountered an internal error.", "Training"),
    ],
)
def test_job_must_fail_where_its_reason_belongs(aws: Aws, simulator: Simulator, reason: str, last: str) -> None:
    """Each prefix of FailureReason fails in its phase; there is no artifact."""
    simulator.faults.add("training", failure_reason=reason)
    aws.train()
    simulator.advance(WHOLE_LIFE)
    job = aws.job()
    assert ("Failed", "Failed", reason) == (job["TrainingJobStatus"], job["SecondaryStatus"], job["FailureReason"])
    assert [last, "Failed"] == transitions(job)[-2:]
    assert "ModelArtifacts" not in job


def test_failure_reason_must_be_cut(aws: Aws, simulator: Simulator) -> None:
    """FailureReason has 1024 characters at most; the log has the words of the container."""
    simulator.faults.add("training", failure_reason="AlgorithmError: " + "x" * 2000)
    aws.train()
    simulator.advance(WHOLE_LIFE)
    assert 1024 == len(aws.job()["FailureReason"])
    events = aws.logs.filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="job/")[
        "events"
    ]
    assert "Traceback (most recent call last):" == events[0]["message"]


def test_job_must_report_its_metrics(aws: Aws, simulator: Simulator) -> None:
    """FinalMetricDataList has the last value of each metric."""
    simulator.faults.add("training", metrics={"accuracy": 0.97}, duration=10)
    aws.train()
    simulator.advance(60 + 20 + 10 + 15)
    (metric,) = aws.job()["FinalMetricDataList"]
    assert ("accuracy", pytest.approx(0.97)) == (metric["MetricName"], metric["Value"])


@pytest.mark.parametrize(
    "fields",
    [
        {"EnableManagedSpotTraining": True},
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 60},
        },
        {"StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}},
        {"StoppingCondition": {"MaxRuntimeInSeconds": 29 * 86400}},
        {"InputDataConfig": training_request()["InputDataConfig"] * 2},
        {"AlgorithmSpecification": {"TrainingInputMode": "File"}},
        {"RoleArn": "arn:aws:iam::999999999999:role/other"},
    ],
    ids=[
        "spot without wait",
        "wait below runtime",
        "wait without spot",
        "29 days",
        "channel twice",
        "no image",
        "role",
    ],
)
def test_job_must_be_refused_where_fields_contradict(aws: Aws, fields: dict[str, Any]) -> None:
    """What the shapes can't say is checked too."""
    assert "ValidationException" == refused(aws.train, **fields)[0]


def test_list_must_filter_sort_and_page(aws: Aws, simulator: Simulator) -> None:
    """ListTrainingJobs knows names, statuses, order and pages."""
    for number in range(5):
        aws.train(f"job-{number}")
        simulator.advance(1)
    aws.train("other")
    aws.sagemaker.stop_training_job(TrainingJobName="job-3")
    pages = aws.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="job", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    names = [[job["TrainingJobName"] for job in page["TrainingJobSummaries"]] for page in pages]
    assert [["job-0", "job-1"], ["job-2", "job-3"], ["job-4"]] == names
    stopping = aws.sagemaker.list_training_jobs(StatusEquals="Stopping")["TrainingJobSummaries"]
    assert [arn("training-job", "job-3")] == [job["TrainingJobArn"] for job in stopping]
