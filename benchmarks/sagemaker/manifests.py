"""The objects as they are applied."""

from typing import Any

from benchmarks.sagemaker.workload import sort_of
from tests.integration.sagemaker.aws import endpoint as endpoint_manifest
from tests.integration.sagemaker.aws import training_job as job_manifest

NAMESPACE = "bench"


def job(name: str) -> dict[str, Any]:
    """The TrainingJob of this name."""
    if sort_of(name).spot:
        return job_manifest(name, NAMESPACE, maxRuntime="30m", sagemaker={"spot": {"maxWait": "1h"}})
    return job_manifest(name, NAMESPACE)


def endpoint(name: str) -> dict[str, Any]:
    """The ModelEndpoint of this name."""
    return endpoint_manifest(name, NAMESPACE)
