"""Readable test objects: specs, pods and Jobs as the API server and the kubelet would show them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sagebrush.api.model_endpoint import ModelEndpointSpec
from sagebrush.api.training_job import TrainingJobSpec
from sagebrush.core.defaults import Defaults
from sagebrush.core.naming import job_name, labels
from sagebrush.core.resource import Manifest, Meta

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
SHA = "a" * 64
OTHER_SHA = "b" * 64
ARTIFACT = "s3://bucket/output/kdd/output/model.tar.gz"
DEFAULTS = Defaults(server_image="server:1", pull_policy="IfNotPresent", cluster_domain="cluster.local", version="1.0")
META = Meta(name="kdd", namespace="demo", uid="uid-1", generation=1)


def at(seconds: float) -> datetime:
    """NOON and so many seconds."""
    return NOON + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """The same as Kubernetes writes it."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def job_document(**more: Any) -> dict[str, Any]:
    """The spec of a TrainingJob as a user writes it."""
    return {
        "algorithm": {"name": "linear-learner"},
        "channels": [{"name": "train", "uri": "s3://bucket/train"}],
        "output": {"uri": "s3://bucket/output"},
        **more,
    }


def job_spec(**more: Any) -> TrainingJobSpec:
    return TrainingJobSpec.model_validate(job_document(**more))


def endpoint_document(**more: Any) -> dict[str, Any]:
    """The spec of a ModelEndpoint as a user writes it."""
    return {"model": {"artifact": {"uri": ARTIFACT, "sha256": SHA}}, **more}


def endpoint_spec(**more: Any) -> ModelEndpointSpec:
    return ModelEndpointSpec.model_validate(endpoint_document(**more))


def scaling(minimum: int = 1, maximum: int = 5, target: float = 100) -> dict[str, Any]:
    return {"minReplicas": minimum, "maxReplicas": maximum, "target": {"requestsPerMinute": target}}


def waiting(name: str, reason: str, message: str = "", **more: Any) -> Manifest:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def running(name: str, *, since: float = 0, **more: Any) -> Manifest:
    return {"name": name, "state": {"running": {"startedAt": stamp(since)}}, **more}


def ended(
    name: str, code: int = 0, message: str = "", *, start: float = 0, end: float = 1, reason: str = "", **more: Any
) -> Manifest:
    detail = {"exitCode": code, "startedAt": stamp(start), "finishedAt": stamp(end)}
    detail["reason"] = reason or ("Completed" if code == 0 else "Error")
    if message:
        detail["message"] = message
    return {"name": name, "state": {"terminated": detail}, **more}


def crashed(name: str, code: int, message: str, *, restarts: int = 1, reason: str = "Error") -> Manifest:
    """Ended with an error before, and now waiting for the next try."""
    return {
        "name": name,
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": code, "reason": reason, "message": message}},
    }


def uploaded(uri: str = ARTIFACT, sha256: str = SHA) -> str:
    """What the agent leaves in its termination message."""
    return json.dumps({"artifact": {"uri": uri, "sha256": sha256, "sizeBytes": 1234}, "uploadSeconds": 0.4})


def pod(
    *containers: Manifest,
    phase: str = "Running",
    name: str = "pod-0",
    kind: str = "TrainingJob",
    owner: str = "kdd",
    conditions: list[Manifest] | None = None,
    deleting: bool = False,
    pod_labels: dict[str, str] | None = None,
    **status: Any,
) -> Manifest:
    """A pod; fetch and agent count as init containers."""
    metadata: Manifest = {
        "name": name,
        "namespace": "demo",
        "uid": f"uid-{name}",
        "resourceVersion": "10",
        "labels": {**labels(kind, owner), **(pod_labels or {})},
        "ownerReferences": [{"kind": "Job", "name": job_name(owner), "uid": "uid-job"}],
    }
    if deleting:
        metadata["deletionTimestamp"] = stamp(0)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "train"}, {"name": "serve"}]},
        "status": {
            "phase": phase,
            "conditions": conditions or [],
            "initContainerStatuses": [c for c in containers if c["name"] in ("fetch", "agent")],
            "containerStatuses": [c for c in containers if c["name"] not in ("fetch", "agent")],
            **status,
        },
    }


DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]
READY = [{"type": "Ready", "status": "True"}]


def serving_pod(revision: str, *containers: Manifest, ready: bool = True, name: str = "pod-0", **more: Any) -> Manifest:
    """A pod of an endpoint."""
    return pod(
        *(containers or (running("serve"),)),
        name=name,
        kind="ModelEndpoint",
        conditions=READY if ready else [],
        pod_labels={"sagebrush.dev/revision": revision},
        **more,
    )


def job_finished(kind: str, message: str = "") -> Manifest:
    """Our Job with the condition Complete or Failed."""
    return our_job({"conditions": [{"type": kind, "status": "True", "message": message}]})


def our_job(status: Manifest | None = None) -> Manifest:
    """A Job that carries our mark."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "kdd",
            "namespace": "demo",
            "uid": "uid-job",
            "resourceVersion": "5",
            "labels": labels("TrainingJob", "kdd"),
            "ownerReferences": [{"uid": META.uid}],
        },
        "spec": {"template": {"spec": {"initContainers": [{"name": "fetch", "image": "server:1"}]}}},
        "status": status or {},
    }


def body(kind: str, spec: Manifest, *, generation: int = 1, uid: str = "uid-1", version: int = 1) -> Manifest:
    """One of our objects, as the API server holds it."""
    return {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": "kdd",
            "namespace": "demo",
            "uid": uid,
            "generation": generation,
            "resourceVersion": str(version),
        },
        "spec": spec,
    }
