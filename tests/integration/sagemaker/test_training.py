"""TrainingJobs on the simulated SageMaker: every row of the lifecycle, seen through a real API server and unmodified boto3."""




from tests.integration.kube import Kube, Manifest, condition
from tests.integration.operator_process import Operators
from tests.integration.sagemaker.aws import BUCKET, Aws, training_job


def wait_phase(kube: Kube, namespace: str, phase: str, *, name: str = "kdd", seconds: float = 40) -> Manifest:
    """The TrainingJob once it is in this phase."""
    return kube.wait(
        "TrainingJob", namespace, name, lambda body: body.get("status", {}).get("phase") == phase, seconds=seconds
    )


def reasons(kube: Kube, namespace: str) -> list[str]:
    """Reasons of the Events on the job, sorted."""
    return sorted(reason for _, reason, _ in kube.events(namespace, "kdd"))


def test_job_must_run_to_its_end_and_leave_nothing(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """From the manifest to the artifact: phases, Events, metrics, money; and deleted, nothing is left in the account."""
    aws.simulator.faults.add("training", metrics={"validation:accuracy": 0.97})
    aws.start(operators, namespace)
    kube.apply(training_job("kdd", namespace))
    body = wait_phase(kube, namespace, "Completed")
    status = body["status"]
    name = status["jobName"]
    assert f"s3://{BUCKET}/output/{name}/output/model.tar.gz" == status["modelArtifact"]["uri"]
    aws.client("s3").head_object(Bucket=BUCKET, Key=f"output/{name}/output/model.tar.gz")
    assert [{"name": "validation:accuracy", "value": 0.97}] == status["metrics"]
    assert ["Downloading", "Training", "Uploading", "Completed"] == [
        entry["phase"] for entry in status["transitions"] if entry["phase"] != "Pending"
    ]
    assert {"Starting", "Downloading", "Training", "Uploading", "Completed"} <= set(reasons(kube, namespace))
    assert 0 < status["sageMaker"]["billableSeconds"]
    assert "True" == condition(body, "Ready")["status"]
    assert 1 == aws.simulator.audit.count("CreateTrainingJob")

    kube.delete("TrainingJob", namespace, "kdd")
    kube.wait_gone("TrainingJob", namespace, "kdd")
    aws.wait_clean()
