"""What both kinds share: the base of every API model, names, durations, URIs, conditions.

The models are the single truth: the CRDs in ``crds/`` are generated from them (:mod:`sagebrush.api.schema`),
and an attribute's docstring is the description that ``kubectl explain`` shows.
"""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "sagebrush.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

# Few enough digits that the seconds fit 32 bits, which is what Kubernetes' deadlines take.
DURATION_PATTERN = r"^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$"
URI_PATTERN = r"^(s3|pvc|http|https)://[^ ]+$"


class ApiModel(BaseModel):
    """Base of every type a user writes or reads: frozen, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules for the API server, as (expression, message) pairs, in the form ``json_schema_extra`` wants."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


BRIEF = "x-sagebrush-brief"
"""Marks a field whose type is described elsewhere in the same CRD: its inner descriptions are left out of the schema."""


def described_in(field: str) -> dict[str, Any]:
    """The mark, for a field whose parts are described at *field*; say so in the field's own docstring."""
    return {BRIEF: field}


def list_map(key: str) -> dict[str, Any]:
    """Marks a list as a map by *key*: server-side apply merges it by entry, and the API server refuses duplicates."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, min_length=2, max_length=16)]
StorageUri = Annotated[str, Field(pattern=URI_PATTERN, max_length=1024)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Text = Annotated[str, Field(max_length=1024)]
EnvName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]


def parse_duration(text: str) -> timedelta:
    """``1h30m`` as a timedelta. Raises ValueError for anything :data:`DURATION_PATTERN` refuses."""
    match = re.fullmatch(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?", text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration: write hours, minutes and seconds, such as 1h30m or 90s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


class Backend(StrEnum):
    """Where an object runs."""

    CLUSTER = "Cluster"
    SAGEMAKER = "SageMaker"


class EnvVar(ApiModel):
    """One environment variable."""

    name: EnvName
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Its value, taken literally."""


class LocalObjectReference(ApiModel):
    """An object of a known kind in the same namespace."""

    name: ObjectName
    """Name of the object."""


class Toleration(ApiModel):
    """A taint that the pods tolerate (core/v1 Toleration)."""

    key: Annotated[str, Field(max_length=253)] | None = None
    """Key of the taint; empty with operator Exists tolerates every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How key and value are compared."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect to tolerate; all of them when unset."""


class ComputeResources(ApiModel):
    """What each container of this kind asks of its node, as Kubernetes quantities."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """Amounts the scheduler sets aside, such as cpu: 500m, memory: 512Mi."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """Amounts never exceeded: above the memory limit the container is killed."""


class PodSettings(ApiModel):
    """How pods are placed and what they may use. Honoured by backend Cluster only."""

    resources: ComputeResources | None = None
    """Requests and limits of the algorithm's or the model's container."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = {}
    """Labels a node must have."""
    tolerations: Annotated[
        list[Toleration], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """Taints the pods tolerate."""
    service_account_name: ObjectName | None = None
    """Service account of the pods; the namespace's default when unset."""
    image_pull_secrets: Annotated[
        list[LocalObjectReference], Field(max_length=8, json_schema_extra=list_map("name"))
    ] = []
    """Secrets for private image registries."""
    storage_secret_name: ObjectName = "sagebrush-storage"  # noqa: S105 - a name, not a secret
    """
    Secret for the containers that fetch and upload, its keys being environment variables: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL_S3. Without it the service account's identity is used.
    """


class ConditionStatus(StrEnum):
    """The three truth values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One condition, as metav1.Condition; kstatus reads Ready, Reconciling and Stalled."""

    type: Annotated[str, Field(max_length=316)]
    """Kind of condition."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: int | None = None
    """metadata.generation that this condition was computed from."""
    last_transition_time: datetime
    """When the status last changed."""
    reason: Annotated[str, Field(max_length=128)]
    """CamelCase word for programs; documented in docs/conditions.md."""
    message: Annotated[str, Field(max_length=8192)] = ""
    """Sentence for people: what is going on and what to do next."""


ConditionList = Annotated[list[Condition], Field(json_schema_extra=list_map("type"))]
