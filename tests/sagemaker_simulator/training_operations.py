"""SageMaker operations on training jobs."""

from typing import Any

from tests.sagemaker_simulator import errors
from tests.sagemaker_simulator.calls import Call, listed, operation, page, tags_of
from tests.sagemaker_simulator.checks import check_role
from tests.sagemaker_simulator.errors import invalid
from tests.sagemaker_simulator.faults import Rule
from tests.sagemaker_simulator.training import TrainingJob


@operation("sagemaker", "CreateTrainingJob")
def create_training_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    region, name = call.region, request["TrainingJobName"]
    if name in region.training_jobs:
        raise errors.existing("training-job", region.arn("training-job", name))
    check_role(call, request.get("RoleArn", ""))
    _check_algorithm(request)
    _check_stopping(request)
    for channel in request.get("InputDataConfig", []):
        _check_channel(call, channel, role=request["RoleArn"])
    outcome = call.world.faults.strike("training", name) or Rule(kind="training")
    resources = request["ResourceConfig"]
    spot = request.get("EnableManagedSpotTraining", False)
    usage = "spot training job" if spot else "training job"
    region.check_quota(resources.get("InstanceType", ""), usage, resources.get("InstanceCount", 1))
    job = TrainingJob(region, request, outcome=outcome)
    job.tags = tags_of(request)
    region.training_jobs[name] = job
    return {"TrainingJobArn": job.arn}


def _check_algorithm(request: dict[str, Any]) -> None:
    algorithm = request.get("AlgorithmSpecification", {})
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        raise invalid("You must specify exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification.")
    resources = request.get("ResourceConfig", {})
    if not resources.get("InstanceGroups") and not (resources.get("InstanceType") and resources.get("InstanceCount")):
        raise invalid("You must specify InstanceType and InstanceCount, or InstanceGroups, in ResourceConfig.")
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(names) != len(set(names)):
        raise invalid("Channel names must be unique in InputDataConfig.")


def _check_stopping(request: dict[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    runtime, wait = condition.get("MaxRuntimeInSeconds", 86400), condition.get("MaxWaitTimeInSeconds")
    if runtime > 28 * 86400:
        raise invalid("MaxRuntimeInSeconds can't be larger than 2419200 (28 days).")
    if request.get("EnableManagedSpotTraining"):
        if wait is None or wait < runtime:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
            )
    elif wait is not None:
        raise invalid("MaxWaitTimeInSeconds is only supported when EnableManagedSpotTraining is set to true")


def _check_channel(call: Call, channel: dict[str, Any], *, role: str) -> None:
    uri = channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri")
    if uri and not call.world.storage.exists(uri, region=call.region.name):
        bucket = uri.split("/")[2]
        raise invalid(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            f"exists in the selected region ({call.region.name}), that objects exist under that S3 prefix, and that "
            f'the role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
        )


@operation("sagemaker", "DescribeTrainingJob")
def describe_training_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    job: TrainingJob = call.region.find("training-job", request["TrainingJobName"])
    return job.describe()


@operation("sagemaker", "StopTrainingJob")
def stop_training_job(call: Call, request: dict[str, Any]) -> None:
    call.region.find("training-job", request["TrainingJobName"]).stop()


@operation("sagemaker", "DeleteTrainingJob")
def delete_training_job(call: Call, request: dict[str, Any]) -> None:
    """Frees the name; the absent job has another code here than elsewhere (reference §1.4)."""
    job = call.region.training_jobs.get(request["TrainingJobName"])
    if job is None or not call.region.visible("training-job", job):
        raise errors.AwsError("ResourceNotFound", "Requested resource not found.")
    job.check_deletable()
    job.delete()


@operation("sagemaker", "ListTrainingJobs")
def list_training_jobs(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    jobs = [job for job in call.region.training_jobs.values() if call.region.visible("training-job", job)]
    if status := request.get("StatusEquals"):
        jobs = [job for job in jobs if job.primary == status]
    jobs = listed(request, jobs, order="Descending", name=lambda job: job.name)
    shown, token = page(request, jobs)
    summaries = [
        {
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "CreationTime": job.created,
            "TrainingEndTime": job.ended,
            "LastModifiedTime": job.modified,
            "TrainingJobStatus": job.primary,
            "SecondaryStatus": job.secondary,
        }
        for job in shown
    ]
    return {"TrainingJobSummaries": summaries, "NextToken": token}
