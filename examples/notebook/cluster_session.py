"""The notebook's session in a cluster: a TrainingJob and a ModelEndpoint, made and watched with the Kubernetes client."""

import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from examples.notebook.estimator import Estimator, Predictor

GROUP, VERSION = "sagebrush.dev", "v1alpha1"
JOBS, ENDPOINTS = "trainingjobs", "modelendpoints"
WAIT_SECONDS = 1800.0
POLL_SECONDS = 1.0

Document = dict[str, Any]


def training_job(estimator: Estimator, *, channels: Mapping[str, str]) -> Document:
    """The TrainingJob that stands for `Estimator(…).fit(channels)`."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainingJob",
        "metadata": {"name": estimator.name},
        "spec": {
            "algorithm": {"name": estimator.algorithm},
            "hyperParameters": estimator.hyperparameters,
            "channels": [
                {"name": name, "uri": uri, "contentType": "application/x-recordio-protobuf"}
                for name, uri in channels.items()
            ],
            "output": {"uri": estimator.output_path},
            "instanceCount": estimator.instance_count,
        },
    }


def model_endpoint(estimator: Estimator, *, replicas: int) -> Document:
    """The ModelEndpoint that stands for `estimator.deploy(replicas)`."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelEndpoint",
        "metadata": {"name": estimator.name},
        "spec": {"model": {"trainingJobRef": {"name": estimator.name}}, "replicas": replicas},
    }


class ClusterSession:
    """A bucket and a namespace. boto3's environment says where the bucket is, kubectl's configuration where the cluster.

    `objects` is a `kubernetes.client.CustomObjectsApi`; None makes one. `sleep` waits between two looks.
    """

    def __init__(
        self, *, bucket: str, namespace: str, objects: Any = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._name, self._namespace, self._sleep = bucket, namespace, sleep
        self._objects = objects or _custom_objects()

    @property
    def bucket(self) -> str:
        return f"s3://{self._name}"

    def upload(self, stream: BinaryIO, *, key: str) -> str:
        import boto3

        boto3.resource("s3").Bucket(self._name).Object(key).upload_fileobj(stream)
        return f"{self.bucket}/{key}"

    def train(self, estimator: Estimator, *, channels: Mapping[str, str]) -> None:
        self._replace(JOBS, body=training_job(estimator, channels=channels))
        status = self._wait(JOBS, name=estimator.name, until=_job_is_over)
        if status["phase"] != "Completed":
            raise RuntimeError(f"the TrainingJob {estimator.name} is {status['phase']}: {_message(status)}")

    def deploy(self, estimator: Estimator, *, replicas: int) -> str:
        self._replace(ENDPOINTS, body=model_endpoint(estimator, replicas=replicas))
        status = self._wait(ENDPOINTS, name=estimator.name, until=_endpoint_is_settled)
        if not _holds(status, "Ready"):
            raise RuntimeError(f"the ModelEndpoint {estimator.name} is stalled: {_message(status)}")
        return str(status["url"])

    def delete_endpoint(self, predictor: Predictor) -> None:
        self._delete(ENDPOINTS, name=predictor.endpoint)

    def _replace(self, plural: str, *, body: Document) -> None:
        """Make the object anew: a job runs once, so running the notebook again needs another one."""
        self._delete(plural, name=body["metadata"]["name"])
        self._objects.create_namespaced_custom_object(GROUP, VERSION, self._namespace, plural, body)

    def _delete(self, plural: str, *, name: str) -> None:
        """Delete the object, where it is there, and wait until it and its children are gone."""
        self._wait_gone(plural, name=name, call="delete_namespaced_custom_object", propagation_policy="Foreground")

    def _wait_gone(self, plural: str, *, name: str, call: str, **more: str) -> None:
        from kubernetes.client.exceptions import ApiException

        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                getattr(self._objects, call)(GROUP, VERSION, self._namespace, plural, name, **more)
            except ApiException as problem:
                if problem.status == 404:
                    return
                raise
            call, more = "get_namespaced_custom_object", {}
            self._sleep(POLL_SECONDS)
        raise RuntimeError(f"{plural}/{name} was not gone within {WAIT_SECONDS:.0f} s")

    def _wait(self, plural: str, *, name: str, until: Callable[[Document], bool]) -> Document:
        deadline, said = time.monotonic() + WAIT_SECONDS, ""
        while time.monotonic() < deadline:
            found = self._objects.get_namespaced_custom_object(GROUP, VERSION, self._namespace, plural, name)
            status: Document = found.get("status") or {}
            message = _message(status)
            if message and message != said:
                print(f"{name}: {message}")
                said = message
            if until(status):
                return status
            self._sleep(POLL_SECONDS)
        raise RuntimeError(f"{plural}/{name} was not ready within {WAIT_SECONDS:.0f} s: {said}")


def _custom_objects() -> Any:
    from kubernetes import client, config

    config.load_config()
    return client.CustomObjectsApi()


def _job_is_over(status: Document) -> bool:
    return status.get("phase") in ("Completed", "Failed", "Stopped")


def _endpoint_is_settled(status: Document) -> bool:
    return _holds(status, "Ready") or _holds(status, "Stalled")


def _holds(status: Document, kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in status.get("conditions", ()))


def _message(status: Document) -> str:
    """What the one condition that holds says: Ready, Reconciling or Stalled."""
    return next((str(one.get("message", "")) for one in status.get("conditions", ()) if one["status"] == "True"), "")
