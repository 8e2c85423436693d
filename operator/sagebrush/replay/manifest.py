"""The policy to replay, from a ModelEndpoint's manifest or its scaling block alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sagebrush.api.meta import Backend
from sagebrush.api.scaling import Scaling


class ManifestError(Exception):
    """The file holds no policy; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a file says of the policy and of the endpoint it is for."""

    scaling: Scaling
    backend: Backend = Backend.CLUSTER
    name: str | None = None
    namespace: str = "default"
    capacity: float | None = None
    """Requests per second of one replica, as stated or as its status has it measured."""
    workers: int | None = None
    startup_seconds: float | None = None
    """As its status has it measured."""


def read_policy(path: Path) -> Replayed:
    """From a manifest (``kubectl get modelendpoint … -o yaml`` brings what was measured) or ``spec.scaling``.

    Of several documents the first ModelEndpoint. Raises ManifestError.
    """
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text()) if isinstance(one, dict)]
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not YAML: {error}") from error
    endpoint = next((one for one in documents if one.get("kind") == "ModelEndpoint"), None)
    if endpoint is not None:
        return _of_endpoint(endpoint, path=path)
    if not documents:
        raise ManifestError(f"{path} is empty: give a ModelEndpoint's manifest or its scaling block")
    block = documents[0].get("scaling", documents[0])
    scaling = _scaling(block, path=path)
    stated = scaling.capacity
    return Replayed(
        scaling=scaling,
        capacity=stated.requests_per_second if stated else None,
        workers=stated.concurrency if stated else None,
    )


def _of_endpoint(endpoint: dict[str, Any], *, path: Path) -> Replayed:
    spec, metadata = endpoint.get("spec") or {}, endpoint.get("metadata") or {}
    if not spec.get("scaling"):
        raise ManifestError(f"{path}: the ModelEndpoint has no spec.scaling to replay")
    scaling = _scaling(spec["scaling"], path=path)
    known = ((endpoint.get("status") or {}).get("scaling")) or {}
    measured, startup = known.get("capacity") or {}, known.get("startup") or {}
    stated = scaling.capacity
    return Replayed(
        scaling=scaling,
        backend=Backend(spec.get("backend", "Cluster")),
        name=metadata.get("name"),
        namespace=metadata.get("namespace", "default"),
        capacity=measured.get("requestsPerSecond") or (stated.requests_per_second if stated else None),
        workers=measured.get("concurrency") or (stated.concurrency if stated else None),
        startup_seconds=startup.get("p90Seconds"),
    )


def _scaling(block: Any, *, path: Path) -> Scaling:
    try:
        return Scaling.model_validate(block)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{path}: spec.scaling.{where}: {first['msg']}") from error
