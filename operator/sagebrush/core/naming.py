"""Deterministic names, labels and content hashes: what finds our children again without any memory."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sagebrush.api.meta import API_VERSION, GROUP
from sagebrush.core.resource import Meta

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "sagebrush"
FIELD_MANAGER = "sagebrush"
TRAINING_JOB = f"{GROUP}/training-job"
ENDPOINT = f"{GROUP}/endpoint"
REVISION = f"{GROUP}/revision"
OWNER_LABELS = {"TrainingJob": TRAINING_JOB, "ModelEndpoint": ENDPOINT}

_JOB_NAME_LIMIT = 57  # an Indexed Job's pods are called <job>-<index>, at most 63 characters


def content_hash(value: Any, *, length: int = 10) -> str:
    """Hexadecimal hash of *value*'s JSON, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def job_name(training_job: str) -> str:
    """Name of the Kubernetes Job of a TrainingJob: its own, shortened with a hash where that is too long."""
    if len(training_job) <= _JOB_NAME_LIMIT:
        return training_job
    return f"{training_job[: _JOB_NAME_LIMIT - 9].rstrip('-')}-{content_hash(training_job, length=8)}"


def hosts_name(training_job: str) -> str:
    """Name of the Service of a TrainingJob's hosts, another than that of an endpoint which is called like the job."""
    return f"{job_name(training_job)}-hosts"


def host_name(index: int) -> str:
    """SageMaker's name of the training host with this index (from 0): algo-1, algo-2 and so on."""
    return f"algo-{index + 1}"


def labels(kind: str, name: str) -> dict[str, str]:
    """Labels of every child of the object *name* of *kind*."""
    return {
        "app.kubernetes.io/name": "model-endpoint" if kind == "ModelEndpoint" else "training-job",
        "app.kubernetes.io/instance": name,
        MANAGED_BY: MANAGER,
        OWNER_LABELS[kind]: name,
    }


def selector(kind: str, name: str) -> dict[str, str]:
    """The labels that select the pods of an object; they never change during its life."""
    return {MANAGED_BY: MANAGER, OWNER_LABELS[kind]: name}


def owner_reference(kind: str, meta: Meta) -> dict[str, Any]:
    """Marks a child as ours; the garbage collector removes it with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child_metadata(kind: str, meta: Meta, *, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Metadata of a child called *name*."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": meta.namespace,
        "labels": labels(kind, meta.name),
        "ownerReferences": [owner_reference(kind, meta)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata
