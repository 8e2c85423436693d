"""Deletion of TrainingJobs: it waits for SageMaker, shows it, and leaves nothing in the account, or all of it if so wished."""

from typing import Any

import pytest

from tests.integration.kube import Kube, Manifest, wait_for
from tests.integration.sagemaker.aws import Aws, training_job
from tests.integration.sagemaker.jobs import (
    FINALIZER,
    LONG,
    SHORT,
    UNHURRIED,
    codes,
    edit,
    finish,
    jobs,
    message,
    plan_jobs,
    seen,
    slow,
    standing,
    wait_events,
    wait_gone,
    wait_phase,
    wait_status,
)

pytestmark = pytest.mark.usefixtures("shared_operator")

IN_PROGRESS = {
    # secondary status: what makes a job stay there
    "Starting": {"training_starting": LONG},
    "Pending": {},
    "Downloading": {"training_downloading": LONG},
    "Training": {},
    "Interrupted": {"training_interrupted": LONG},
}


def wait_deleting(kube: Kube, namespace: str, word: str = "") -> Manifest:
    """The object once it says that it is being deleted, with this word."""
    return kube.wait(
        "TrainingJob",
        namespace,
        "kdd",
        lambda body: standing(body) == ("Reconciling", "Deleting") and word in message(body),
    )


@pytest.mark.parametrize("status", IN_PROGRESS)
def test_deletion_must_stop_what_is_in_progress(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch, status: str
):
    """A job in progress can't be deleted: it is stopped, waited for with Deleting shown, deleted, and then let go."""
    slow(shared_aws, monkeypatch, training_stopping=LONG, **IN_PROGRESS[status])
    outcome: dict[str, Any] = {"interruptions": 1, "duration": SHORT} if status == "Interrupted" else {"duration": LONG}
    plan_jobs(shared_aws, namespace, pending=LONG if status == "Pending" else 0, **outcome)
    spot = {"spot": {"maxWait": "30m"}} if status == "Interrupted" else {}
    kube.apply(training_job("kdd", namespace, sagemaker=spot, maxRuntime="20m"))
    wait_status(shared_aws, namespace, status)
    kube.delete("TrainingJob", namespace, "kdd")
    body = wait_deleting(kube, namespace)
    assert [FINALIZER] == body["metadata"]["finalizers"]
    finish(shared_aws, wait_status(shared_aws, namespace, "Stopping"))
    wait_gone(shared_aws, kube, namespace)
    assert ["OK"] == codes(shared_aws, "StopTrainingJob", namespace)
    assert ["OK"] == codes(shared_aws, "DeleteTrainingJob", namespace)
    wait_events(kube, namespace, "Deleting")


def test_deletion_must_wait_for_a_job_that_is_stopping(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """What stops already isn't stopped again: SageMaker would refuse it."""
    slow(shared_aws, monkeypatch, training_stopping=LONG)
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    edit(kube, namespace, {"suspend": True})
    job = wait_status(shared_aws, namespace, "Stopping")
    kube.delete("TrainingJob", namespace, "kdd")
    wait_deleting(kube, namespace, "Stopping")
    finish(shared_aws, job)
    wait_gone(shared_aws, kube, namespace)
    assert ["OK"] == codes(shared_aws, "StopTrainingJob", namespace)
    assert ["OK"] == codes(shared_aws, "DeleteTrainingJob", namespace)


@pytest.mark.parametrize("phase", ["Completed", "Failed"])
def test_deletion_of_a_job_that_has_ended_must_free_its_name(shared_aws: Aws, kube: Kube, namespace: str, phase: str):
    """A job that has ended is deleted without a stop."""
    plan_jobs(
        shared_aws, namespace, duration=SHORT, failure_reason="AlgorithmError: bad" if phase == "Failed" else None
    )
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, phase)
    kube.delete("TrainingJob", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    assert [] == codes(shared_aws, "StopTrainingJob", namespace)
    assert ["OK"] == codes(shared_aws, "DeleteTrainingJob", namespace)


def test_deletion_of_what_never_started_must_not_wait(shared_aws: Aws, kube: Kube, namespace: str):
    """Nothing was ever asked of SageMaker, so there is nothing to wait for, and no call."""
    kube.apply(training_job("kdd", namespace, suspend=True))
    kube.wait_ready("TrainingJob", namespace, "kdd", "Suspended")
    kube.delete("TrainingJob", namespace, "kdd")
    wait_for(lambda: kube.get("TrainingJob", namespace, "kdd") is None, "its end")
    assert [] == codes(shared_aws, "*TrainingJob", namespace)[1:]


@pytest.mark.parametrize("said", ["at first", "at last"])
@pytest.mark.parametrize("phase", ["Training", "Completed"])
def test_retained_job_must_outlive_its_object(shared_aws: Aws, kube: Kube, namespace: str, phase: str, said: str):
    """deletionPolicy: Retain lets the object go at once, and the job goes on to its end; it may be said late."""
    plan_jobs(shared_aws, namespace, duration=SHORT if phase == "Completed" else UNHURRIED)
    retain = {"deletionPolicy": "Retain"}
    # AWS' longest: else the limit would come before the job's own end.
    kube.apply(training_job("kdd", namespace, sagemaker=retain if said == "at first" else {}, maxRuntime="672h"))
    wait_phase(kube, namespace, phase)
    if said == "at last":
        edit(kube, namespace, {"sageMaker": retain})
    kube.delete("TrainingJob", namespace, "kdd")
    wait_for(lambda: kube.get("TrainingJob", namespace, "kdd") is None, "the object's end")
    if phase == "Training":
        finish(shared_aws, wait_status(shared_aws, namespace, "Training"))
    job = wait_status(shared_aws, namespace, "Completed")
    assert [] == codes(shared_aws, "StopTrainingJob", namespace) + codes(shared_aws, "DeleteTrainingJob", namespace)
    shared_aws.client("sagemaker").delete_training_job(TrainingJobName=job.name)


def test_retaining_must_be_said_even_while_a_job_is_deleted(
    shared_aws: Aws, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """Who deleted too soon keeps the job: it is stopped by then, and stays in SageMaker as it is."""
    slow(shared_aws, monkeypatch, training_stopping=LONG)
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    kube.delete("TrainingJob", namespace, "kdd")
    job = wait_status(shared_aws, namespace, "Stopping")
    wait_deleting(kube, namespace)
    edit(kube, namespace, {"sageMaker": {"deletionPolicy": "Retain"}})
    wait_for(lambda: kube.get("TrainingJob", namespace, "kdd") is None, "the object's end")
    assert [] == codes(shared_aws, "DeleteTrainingJob", namespace)
    assert [(job.name, "Stopping", "Stopping")] == seen(shared_aws, namespace)
    finish(shared_aws, job)
    shared_aws.client("sagemaker").delete_training_job(TrainingJobName=job.name)


def test_deletion_must_come_through_what_aws_refuses(shared_aws: Aws, kube: Kube, namespace: str):
    """Without permission to stop, the object stays and says which action on what; with it, deletion goes on by itself."""
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    shared_aws.simulator.faults.add("access_denied", operation="StopTrainingJob", resource=f"{namespace}-*", times=None)
    kube.delete("TrainingJob", namespace, "kdd")
    body = kube.wait(
        "TrainingJob", namespace, "kdd", lambda body: standing(body) == ("Reconciling", "PermissionDenied")
    )
    assert f"sagemaker:StopTrainingJob on {jobs(shared_aws, namespace)[0].arn}" in message(body)
    shared_aws.simulator.faults.clear("access_denied")
    wait_gone(shared_aws, kube, namespace)


@pytest.mark.parametrize("operation", ["StopTrainingJob", "DeleteTrainingJob"])
@pytest.mark.parametrize(
    "fault", ["lost_request", "lost_reply", "internal_error", "internal_error_after_commit", "throttle"]
)
def test_deletion_must_converge_whatever_becomes_of_a_call(
    shared_aws: Aws, kube: Kube, namespace: str, operation: str, fault: str
):
    """A stop or a delete whose answer is lost, or that never arrived, ends with an object that is gone and no job."""
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    shared_aws.simulator.faults.add(fault, operation=operation, resource=f"{namespace}-*")
    kube.delete("TrainingJob", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)
    assert "OK" != codes(shared_aws, operation, namespace)[0], "the fault struck"


def test_job_deleted_by_others_must_not_hold_the_object(shared_aws: Aws, kube: Kube, namespace: str):
    """What somebody has removed from SageMaker meanwhile is not waited for, once it has ended."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Completed")
    shared_aws.client("sagemaker").delete_training_job(TrainingJobName=jobs(shared_aws, namespace)[0].name)
    wait_for(lambda: not seen(shared_aws, namespace), "the job's end")
    kube.delete("TrainingJob", namespace, "kdd")
    wait_gone(shared_aws, kube, namespace)


def test_others_finalizers_must_stay(shared_aws: Aws, kube: Kube, namespace: str):
    """Our mark is put beside others' and taken away alone."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    manifest = training_job("kdd", namespace)
    manifest["metadata"]["finalizers"] = ["example.com/other"]
    kube.apply(manifest)
    body = wait_phase(kube, namespace, "Completed")
    assert {"example.com/other", FINALIZER} == set(body["metadata"]["finalizers"])
    kube.delete("TrainingJob", namespace, "kdd")
    wait_for(lambda: not seen(shared_aws, namespace), "the job's end")
    kube.wait("TrainingJob", namespace, "kdd", lambda body: body["metadata"]["finalizers"] == ["example.com/other"])
    kube.patch("TrainingJob", namespace, "kdd", {"metadata": {"finalizers": None}})
    kube.wait_gone("TrainingJob", namespace, "kdd")
