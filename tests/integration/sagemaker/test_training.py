"""TrainingJobs on the simulated SageMaker: every row of the lifecycle, seen through a real API server and unmodified boto3."""

import pytest

from tests.integration.kube import Kube, condition, wait_for
from tests.integration.sagemaker.aws import BUCKET, Aws, training_job
from tests.integration.sagemaker.jobs import (
    LONG,
    SHORT,
    UNHURRIED,
    codes,
    edit,
    finish,
    jobs,
    message,
    plan_jobs,
    slow,
    standing,
    wait_events,
    wait_gone,
    wait_phase,
    wait_status,
)

pytestmark = pytest.mark.usefixtures("shared_operator")

OWN_RESTARTS = {"maximumRetryAttempts": 1}
SPOT = {"spot": {"maxWait": "30m"}}


def test_job_must_run_to_its_end_and_leave_nothing(shared_aws: Aws, kube: Kube, namespace: str):
    """From the manifest to the artifact: phases, Events, metrics, money; and deleted, nothing is left in the account."""
    plan_jobs(shared_aws, namespace, metrics={"validation:accuracy": 0.97})
    kube.apply(training_job("kdd", namespace))
    body = wait_phase(kube, namespace, "Completed")
    status = body["status"]
    name = status["jobName"]
    assert f"s3://{BUCKET}/output/{name}/output/model.tar.gz" == status["modelArtifact"]["uri"]
    shared_aws.client("s3").head_object(Bucket=BUCKET, Key=f"output/{name}/output/model.tar.gz")
    assert [{"name": "validation:accuracy", "value": 0.97}] == status["metrics"]
    (job,) = jobs(shared_aws, namespace)
    assert [each["Status"] for each in job.transitions] == [
        entry["message"].partition(":")[0] for entry in status["transitions"]
    ]
    assert ["Pending", "Downloading", "Training", "Uploading", "Completed"] == [
        entry["phase"] for entry in status["transitions"]
    ]
    assert all(entry.get("endTime") for entry in status["transitions"])
    wait_events(kube, namespace, "Starting", "Downloading", "Training", "Uploading", "Completed")
    described = job.describe()
    assert described["BillableTimeInSeconds"] == status["sageMaker"]["billableSeconds"]
    assert described["TrainingTimeInSeconds"] == status["trainingSeconds"]
    assert (job.arn, "Completed") == (status["sageMaker"]["arn"], status["sageMaker"]["status"])
    assert name in status["sageMaker"]["logUrl"]
    assert ("Ready", "Completed") == standing(body)
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace)

    kube.delete("TrainingJob", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)


def test_cost_must_be_the_tables_price_of_what_aws_bills(shared_aws: Aws, kube: Kube, namespace: str):
    """While it runs a job shows its price an hour; at the end the total is instances × price × billable seconds."""
    plan_jobs(shared_aws, namespace, duration=UNHURRIED)
    kube.apply(training_job("kdd", namespace, instanceCount=2))
    body = wait_phase(kube, namespace, "Training")
    assert (0.72, "USD", "2026-11-01") == tuple(
        body["status"]["cost"][field] for field in ("hourly", "currency", "pricesAsOf")
    )
    finish(shared_aws, wait_status(shared_aws, namespace, "Training"))
    status = wait_phase(kube, namespace, "Completed")["status"]
    billable = status["sageMaker"]["billableSeconds"]
    assert 0 < billable == jobs(shared_aws, namespace)[0].describe()["BillableTimeInSeconds"]
    assert (0, pytest.approx(2 * 0.36 * billable / 3600, abs=1e-5)) == (
        status["cost"]["hourly"],
        status["cost"]["total"],
    )


def test_failure_must_say_who_can_mend_it(shared_aws: Aws, kube: Kube, namespace: str):
    """AWS' FailureReason is sorted by its prefix: the user's, no capacity, or the platform's; AWS' words are kept."""
    rows = {
        "algorithm": ("AlgorithmError: bad data, exit code: 3", "User", "AlgorithmError"),
        "client": ("ClientError: Data download failed: AccessDenied", "User", "ClientError"),
        "capacity": ("CapacityError: Unable to provision requested ML compute capacity", "Capacity", "CapacityError"),
        "internal": ("InternalServerError: We encountered an internal error", "Platform", "InternalError"),
    }
    for name, (said, _, _) in rows.items():
        plan_jobs(shared_aws, namespace, name, failure_reason=said, duration=SHORT)
        kube.apply(training_job(name, namespace))
    for name, (said, kind, reason) in rows.items():
        body = wait_phase(kube, namespace, "Failed", name=name)
        failure = body["status"]["failure"]
        assert (kind, said) == (failure["failureClass"], failure["message"]), name
        assert ("Stalled", reason) == standing(body), name
        assert said.rstrip(".") in message(body)
        assert "modelArtifact" not in body["status"]
        wait_events(kube, namespace, "Failed", name=name)
        assert [said] == [
            note[: len(said)]
            for kind, why, note in kube.events(namespace, name)
            if (kind, why) == ("Warning", "Failed")
        ]
        if name == "algorithm":
            assert 3 == failure["exitCode"]


def test_spot_job_must_come_through_its_interruptions(shared_aws: Aws, kube: Kube, namespace: str):
    """Each interruption is a transition and a warning, the job goes on by itself, and status says what spot saved."""
    plan_jobs(shared_aws, namespace, interruptions=2, duration=120)
    checkpoint = {"checkpoint": {"uri": f"s3://{BUCKET}/checkpoints/"}}
    kube.apply(training_job("kdd", namespace, sagemaker={**SPOT, **checkpoint}, maxRuntime="20m"))
    status = wait_phase(kube, namespace, "Completed")["status"]
    phases = [entry["phase"] for entry in status["transitions"]]
    assert 2 == phases.count("Interrupted")
    assert 3 == phases.count("Training")
    assert 70 == pytest.approx(status["sageMaker"]["spotSavingPercent"], abs=2)
    (job,) = jobs(shared_aws, namespace)
    assert job.describe()["BillableTimeInSeconds"] == status["sageMaker"]["billableSeconds"]
    wait_events(kube, namespace, "Interrupted", "Completed")
    assert {"Warning"} == {kind for kind, reason, _ in kube.events(namespace, "kdd") if reason == "Interrupted"}
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace)


def test_interrupted_job_must_show_it(shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch):
    """While spot capacity is gone the phase is Interrupted, not Failed: it goes on without anybody's doing."""
    slow(shared_aws, monkeypatch, training_interrupted=LONG)
    plan_jobs(shared_aws, namespace, interruptions=1, duration=SHORT)
    kube.apply(training_job("kdd", namespace, sagemaker=SPOT, maxRuntime="20m"))
    body = wait_phase(kube, namespace, "Interrupted")
    assert ("Reconciling", "Interrupted") == standing(body)
    assert "starts the job again" in message(body)


def test_restarts_must_follow_the_retry_strategy(shared_aws: Aws, kube: Kube, namespace: str):
    """SageMaker starts over after an internal error as often as the manifest lets it, and then it is a failure."""
    plan_jobs(shared_aws, namespace, "once", restarts=1, duration=SHORT)
    plan_jobs(shared_aws, namespace, "twice", restarts=2, duration=SHORT)
    for name in ("once", "twice"):
        kube.apply(training_job(name, namespace, sagemaker=OWN_RESTARTS))
    status = wait_phase(kube, namespace, "Completed", name="once")["status"]
    assert ["Interrupted"] == [
        entry["phase"] for entry in status["transitions"] if entry["message"].startswith("Restarting")
    ]
    wait_events(kube, namespace, "Restarting", name="once")
    assert "Warning" == next(kind for kind, reason, _ in kube.events(namespace, "once") if reason == "Restarting")
    body = wait_phase(kube, namespace, "Failed", name="twice")
    assert ("Platform", "InternalError") == (body["status"]["failure"]["failureClass"], standing(body)[1])


def test_job_that_runs_too_long_must_keep_what_it_had(shared_aws: Aws, kube: Kube, namespace: str):
    """MaxRuntimeExceeded is no failure and no wish: Stopped, with the model as it was by then."""
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace, maxRuntime="2m"))
    body = wait_phase(kube, namespace, "Stopped")
    assert ("Stalled", "MaxRuntimeExceeded") == standing(body)
    assert "spec.maxRuntime" in message(body)
    artifact = body["status"]["modelArtifact"]["uri"]
    assert artifact in message(body)
    shared_aws.client("s3").head_object(Bucket=BUCKET, Key=artifact.removeprefix(f"s3://{BUCKET}/"))
    wait_events(kube, namespace, "MaxRuntimeExceeded")


def test_spot_job_that_waits_too_long_must_say_so(shared_aws: Aws, kube: Kube, namespace: str):
    """MaxWaitTimeExceeded: stopped before it had trained, so there is no model."""
    plan_jobs(shared_aws, namespace, pending=LONG)
    kube.apply(training_job("kdd", namespace, sagemaker={"spot": {"maxWait": "3m"}}, maxRuntime="2m"))
    body = wait_phase(kube, namespace, "Stopped")
    assert ("Stalled", "MaxWaitTimeExceeded") == standing(body)
    assert "spot.maxWait" in message(body)
    assert "modelArtifact" not in body["status"]
    wait_events(kube, namespace, "MaxWaitTimeExceeded")


def test_job_without_capacity_must_wait_in_peace(shared_aws: Aws, kube: Kube, namespace: str):
    """Pending for capacity: said in words and not billed, and nothing is asked for a second time."""
    plan_jobs(shared_aws, namespace, pending=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_status(shared_aws, namespace, "Pending")
    body = kube.wait("TrainingJob", namespace, "kdd", lambda body: "waiting for capacity" in message(body))
    assert ("Reconciling", "Pending") == standing(body)
    assert 0 == body["status"]["cost"]["hourly"]
    looks = shared_aws.simulator.audit.count("DescribeTrainingJob", resource=f"{namespace}-*")
    wait_for(
        lambda: shared_aws.simulator.audit.count("DescribeTrainingJob", resource=f"{namespace}-*") > looks + 4,
        "some more looks",
    )
    assert "Pending" == kube.get("TrainingJob", namespace, "kdd")["status"]["phase"]
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace)


def test_unknown_secondary_status_must_not_matter(shared_aws: Aws, kube: Kube, namespace: str):
    """AWS may add statuses: one that is not known is shown as it is, and the job is followed to its end."""
    plan_jobs(shared_aws, namespace, duration=UNHURRIED)
    kube.apply(training_job("kdd", namespace))
    job = wait_status(shared_aws, namespace, "Training")
    wait_phase(kube, namespace, "Training")
    with shared_aws.simulator.agenda.lock:
        job._transition("Juggling")
    body = kube.wait(
        "TrainingJob",
        namespace,
        "kdd",
        lambda body: body["status"].get("sageMaker", {}).get("secondaryStatus") == "Juggling",
    )
    assert "Training" == body["status"]["phase"]
    assert "Juggling" in message(body)
    finish(shared_aws, job)
    wait_phase(kube, namespace, "Completed")
    wait_events(kube, namespace, "Juggling")


def test_suspend_must_stop_the_job_once(shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch):
    """spec.suspend stops a job that trains: Stopping while SageMaker takes its time, then Stopped with what was saved."""
    slow(shared_aws, monkeypatch, training_stopping=LONG)
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    edit(kube, namespace, {"suspend": True})
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "Stopping")
    assert "Training" == body["status"]["phase"]
    finish(shared_aws, wait_status(shared_aws, namespace, "Stopping"))
    body = wait_phase(kube, namespace, "Stopped")
    assert ("Stalled", "Stopped") == standing(body)
    assert "spec.suspend" in message(body)
    assert body["status"]["modelArtifact"]["uri"] in message(body)
    assert ["OK"] == codes(shared_aws, "StopTrainingJob", namespace)
    wait_events(kube, namespace, "Stopping", "Stopped")
    edit(kube, namespace, {"suspend": False})
    kube.wait("TrainingJob", namespace, "kdd", lambda body: body["status"]["observedGeneration"] == 3)
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace), "a job does not resume"


def test_suspended_job_must_not_start_before_it_may(shared_aws: Aws, kube: Kube, namespace: str):
    """Made with suspend: true nothing is asked of SageMaker, and false starts it."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace, suspend=True))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "Suspended")
    assert "Suspended" == body["status"]["phase"]
    assert [] == codes(shared_aws, "CreateTrainingJob", namespace)
    assert "finalizers" not in body["metadata"]
    edit(kube, namespace, {"suspend": False})
    wait_phase(kube, namespace, "Completed")


def test_job_stopped_by_others_must_say_so(shared_aws: Aws, kube: Kube, namespace: str):
    """A stop in the AWS console is told from ours, and not undone."""
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    name = wait_phase(kube, namespace, "Training")["status"]["jobName"]
    shared_aws.client("sagemaker").stop_training_job(TrainingJobName=name)
    body = wait_phase(kube, namespace, "Stopped")
    assert ("Stalled", "Stopped") == standing(body)
    assert "by somebody else" in message(body)
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace)


def test_finished_job_must_cost_no_more_calls(shared_aws: Aws, kube: Kube, namespace: str):
    """A job that has ended is a record: it isn't described again, nor made again when its spec is touched."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Completed")
    looks = codes(shared_aws, "DescribeTrainingJob", namespace)
    edit(kube, namespace, {"suspend": True})
    body = kube.wait("TrainingJob", namespace, "kdd", lambda body: body["status"]["observedGeneration"] == 2)
    assert ("Completed", "Ready") == (body["status"]["phase"], condition(body, "Ready")["type"])
    assert looks == codes(shared_aws, "DescribeTrainingJob", namespace)
    assert [] == codes(shared_aws, "StopTrainingJob", namespace)
