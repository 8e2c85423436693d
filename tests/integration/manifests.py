"""The smallest objects of both kinds, and how to change them by path."""

import copy
from typing import Any

Manifest = dict[str, Any]
GONE = object()
ARTIFACT = {"uri": "s3://bucket/model.tar.gz", "sha256": "cd" * 32}


def training_job(name: str = "job", namespace: str = "default", **spec: Any) -> Manifest:
    """A TrainingJob that is complete; *spec* replaces fields."""
    return {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "algorithm": {"name": "linear-learner"},
            "channels": [{"name": "train", "uri": "s3://bucket/train"}],
            "output": {"uri": "s3://bucket/output"},
            **spec,
        },
    }


def endpoint(name: str = "endpoint", namespace: str = "default", **spec: Any) -> Manifest:
    """A ModelEndpoint that is complete; *spec* replaces fields."""
    return {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"artifact": ARTIFACT}, **spec},
    }


def scaling(**policy: Any) -> Manifest:
    """A scaling policy; *policy* replaces fields."""
    return {"maxReplicas": 4, "target": {"requestsPerMinute": 60}, **policy}


def changed(manifest: Manifest, changes: dict[str, Any]) -> Manifest:
    """A copy with values set by dotted path (numbers are list positions); GONE removes."""
    out = copy.deepcopy(manifest)
    for path, value in changes.items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        here: Any = out
        for step in way:
            here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
        if value is GONE:
            del here[last]
        else:
            here[last] = value
    return out
