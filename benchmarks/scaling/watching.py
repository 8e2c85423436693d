"""Samples the endpoint four times a second in a thread: replicas asked for, Ready pods, what the scaler says."""

import threading
import time
from dataclasses import dataclass
from typing import Any, Self

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from examples.demo.cluster import Cluster

_EVERY_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment."""

    time: float
    """Unix time."""
    asked: int
    ready: int
    reason: str
    capacity: float | None


class Watching:
    """Samples in the `with` block."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str) -> None:
        api = config.new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]
        self._core, self._apps = client.CoreV1Api(api), client.AppsV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        self._namespace, self._name = namespace, name
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []
        self.endpoint: dict[str, Any] = {}
        self.missed = 0
        """Looks that failed."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            try:
                self.samples.append(self._look())
            except (ApiException, OSError, KeyError):
                self.missed += 1

    def _look(self) -> Sample:
        selector = f"sagebrush.dev/endpoint={self._name}"
        pods = self._core.list_namespaced_pod(self._namespace, label_selector=selector).items
        deployment = self._apps.read_namespaced_deployment(self._name, self._namespace)
        found: Any = self._custom.get_namespaced_custom_object(
            "sagebrush.dev", "v1alpha1", self._namespace, "modelendpoints", self._name
        )
        self.endpoint = found
        scaling = (self.endpoint.get("status") or {}).get("scaling") or {}
        return Sample(
            time=time.time(),
            asked=int(deployment.spec.replicas or 0),
            ready=sum(_is_ready(pod) for pod in pods),
            reason=str(scaling.get("reason", "")),
            capacity=(scaling.get("capacity") or {}).get("requestsPerSecond"),
        )


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or []
    return pod.metadata.deletion_timestamp is None and any(
        condition.type == "Ready" and condition.status == "True" for condition in conditions
    )
