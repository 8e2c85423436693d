"""Whose job it is: exactly one for each object, whatever becomes of a call, and never somebody else's."""

from typing import Any

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker.aws import BUCKET, CLUSTER_ID, IMAGE, ROLE, Aws, training_job, uid
from tests.integration.sagemaker.jobs import (
    LONG,
    SHORT,
    codes,
    jobs,
    message,
    plan_jobs,
    seen,
    standing,
    wait_events,
    wait_phase,
)

pytestmark = pytest.mark.usefixtures("shared_operator")

STRANGERS = {
    "nobody's": ({}, "no mark of Sagebrush"),
    "another cluster's": (
        {
            "sagebrush.dev/uid": "another-uid",
            "sagebrush.dev/namespace": "there",
            "sagebrush.dev/name": "kdd",
            "sagebrush.dev/cluster-id": "another-cluster",
        },
        "belongs to there/kdd (uid another-uid) of cluster another-cluster",
    ),
}


def stranger(aws: Aws, name: str, tags: dict[str, str]) -> None:
    """A training job that somebody else has made."""
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/theirs"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }
    aws.client("sagemaker").create_training_job(**request)


@pytest.mark.parametrize("owner", STRANGERS)
def test_job_of_another_must_never_be_touched(shared_aws: Aws, kube: Kube, namespace: str, owner: str):
    """A name that is taken is a conflict that says whose: nothing is stopped or deleted, and it ends with its cause."""
    tags, words = STRANGERS[owner]
    name = f"{namespace}-taken-{len(tags)}"
    shared_aws.simulator.faults.add("training", resource=name, duration=LONG, times=1)
    stranger(shared_aws, name, tags)
    kube.apply(training_job("kdd", namespace, sagemaker={"name": name}))
    body = kube.wait_ready("TrainingJob", namespace, "kdd", "NameConflict")
    assert ("Stalled", "NameConflict") == standing(body)
    assert name in message(body)
    assert words in message(body)
    assert "startTime" not in body["status"], "the spec may still be changed"
    wait_events(kube, namespace, "NameConflict")
    kube.delete("TrainingJob", namespace, "kdd")
    kube.wait_gone("TrainingJob", namespace, "kdd")
    assert "InProgress" == shared_aws.simulator.world.region().training_jobs[name].primary

    kube.apply(training_job("kdd", namespace, sagemaker={"name": name}))
    kube.wait_ready("TrainingJob", namespace, "kdd", "NameConflict")
    client = shared_aws.client("sagemaker")
    client.stop_training_job(TrainingJobName=name)
    wait_for(lambda: client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped", "the stop")
    client.delete_training_job(TrainingJobName=name)
    wait_for(lambda: name not in shared_aws.simulator.world.region().training_jobs, "the end of the stranger")
    assert ["OK"] == [entry.code for entry in shared_aws.simulator.audit.calls("StopTrainingJob", resource=name)]
    assert ["OK"] == [entry.code for entry in shared_aws.simulator.audit.calls("DeleteTrainingJob", resource=name)]
    shared_aws.simulator.faults.add("training", resource=name, duration=SHORT)
    body = wait_phase(kube, namespace, "Completed")
    assert uid(kube, body) == jobs(shared_aws, namespace)[0].tags["sagebrush.dev/uid"]


FAULTS = {
    # what befalls CreateTrainingJob → how SageMaker answered the calls in the end
    "lost_reply": ["ConnectionLost"],
    "internal_error_after_commit": ["InternalFailure"],
    "lost_request": ["ConnectionLost", "OK"],
    "internal_error": ["InternalFailure", "OK"],
    "throttle": ["ThrottlingException", "OK"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_job_must_be_made_once_whatever_becomes_of_the_call(shared_aws: Aws, kube: Kube, namespace: str, fault: str):
    """A call that had its effect is not repeated though its answer is lost: the job is found, known by its tag, and kept."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    shared_aws.simulator.faults.add(fault, operation="CreateTrainingJob", resource=f"{namespace}-*")
    kube.apply(training_job("kdd", namespace))
    body = wait_phase(kube, namespace, "Completed")
    assert FAULTS[fault] == codes(shared_aws, "CreateTrainingJob", namespace)
    assert [(body["status"]["jobName"], "Completed", "Completed")] == seen(shared_aws, namespace)
    assert body["status"]["startTime"]


def test_job_deleted_behind_our_back_must_be_reported(shared_aws: Aws, kube: Kube, namespace: str):
    """A job that was there and is gone before its end is lost: said so, and not made again, as it may have cost much."""
    plan_jobs(shared_aws, namespace, duration=LONG)
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Training")
    with shared_aws.simulator.agenda.lock:
        shared_aws.simulator.world.region().training_jobs.pop(jobs(shared_aws, namespace)[0].name).stop()
    body = wait_phase(kube, namespace, "Failed")
    assert ("Stalled", "JobLost") == standing(body)
    assert "is not in SageMaker any more" in message(body)
    assert ("Platform", 0) == (body["status"]["failure"]["failureClass"], body["status"]["cost"]["hourly"])
    assert ["OK"] == codes(shared_aws, "CreateTrainingJob", namespace)
    wait_events(kube, namespace, "JobLost")


def test_namesake_must_get_a_job_of_its_own(shared_aws: Aws, kube: Kube, namespace: str):
    """Another object of the same name is another job: the first one's is kept, and neither takes the other for its own."""
    plan_jobs(shared_aws, namespace, duration=SHORT)
    kube.apply(training_job("kdd", namespace, sagemaker={"deletionPolicy": "Retain"}))
    first = wait_phase(kube, namespace, "Completed")["status"]["jobName"]
    kube.delete("TrainingJob", namespace, "kdd")
    kube.wait_gone("TrainingJob", namespace, "kdd")
    kube.apply(training_job("kdd", namespace))
    second = wait_phase(kube, namespace, "Completed")["status"]["jobName"]
    assert {first, second} == {name for name, _, _ in seen(shared_aws, namespace)}
    assert first != second
    assert {CLUSTER_ID} == {job.tags["sagebrush.dev/cluster-id"] for job in jobs(shared_aws, namespace)}
    shared_aws.client("sagemaker").delete_training_job(TrainingJobName=first)
