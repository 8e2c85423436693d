"""Manifests of the end-to-end tests, as small as a user would write them."""

from typing import Any

from examples.demo.data import BUCKET

OWN_IMAGE = "sagebrush-example/own-image:1"


def training_job(name: str, **spec: Any) -> dict[str, Any]:
    """A TrainingJob of the example image unless *spec* says otherwise."""
    base: dict[str, Any] = {
        "algorithm": {"image": OWN_IMAGE},
        "channels": [{"name": "train", "uri": f"s3://{BUCKET}/own-image/train", "contentType": "text/csv"}],
        "output": {"uri": f"s3://{BUCKET}/e2e"},
        "maxRuntime": "10m",
    }
    metadata = {"name": name}
    return {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": base | spec}


def endpoint(name: str, **spec: Any) -> dict[str, Any]:
    """A ModelEndpoint on a NodePort."""
    base: dict[str, Any] = {"cluster": {"service": {"type": "NodePort"}}}
    metadata = {"name": name}
    return {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "ModelEndpoint", "metadata": metadata, "spec": base | spec}


def shell(script: str) -> dict[str, Any]:
    """An algorithm that runs a shell script in the example image instead of its train."""
    return {"algorithm": {"image": OWN_IMAGE, "entrypoint": ["/bin/sh", "-c"], "arguments": [script]}}
