"""The operator's settings: frozen, from flags and environment, validated, printed at start."""

import argparse
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sagebrush import __version__
from sagebrush.api.aws_limits import LIMITS
from sagebrush.backends.clock import Clock

PREFIX = "SAGEBRUSH_"


class InvalidSettingsError(ValueError):
    """A flag or variable has an illegal value; the message names it and says what is legal."""


class Settings(BaseModel):
    """How the operator runs. Each field is a flag (``--server-image``) and a variable (``SAGEBRUSH_SERVER_IMAGE``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch, comma separated; empty watches all."""
    server_image: Annotated[str, Field(min_length=1)] = f"sagebrush/model-server:{__version__}"
    """Image of the built-in algorithms and model server, and of the fetching and uploading containers."""
    server_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes pull that image."""
    prometheus_url: str = ""
    """Address of Prometheus, such as http://prometheus.monitoring:9090; empty: endpoints with a policy hold their replicas."""
    scaling_interval_seconds: Annotated[float, Field(ge=0.5, le=300)] = 5.0
    """Seconds between two looks at the request metrics in Prometheus."""
    scaling_pods_interval_seconds: Annotated[float, Field(ge=0.5, le=60)] = 1.0
    """Seconds between two looks at the pods themselves, for endpoints with scaling.source: Pods."""
    scaling_history_days: Annotated[float, Field(ge=0, le=14)] = 14.0
    """Days of history in Prometheus that scaling learns from; 0: it learns nothing and goes by what it sees."""
    scaling_calibration_hours: Annotated[float, Field(ge=0.1, le=168)] = 6.0
    """Hours after which an endpoint's history is learned from anew."""
    resync_seconds: Annotated[float, Field(ge=10, le=86400)] = 600.0
    """Seconds after which everything is listed and reconciled anew."""
    workers: Annotated[int, Field(ge=1, le=64)] = 16
    """Objects reconciled at the same time."""
    cluster_domain: Annotated[str, Field(min_length=1)] = "cluster.local"
    """DNS domain of the cluster."""
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port for /healthz, /readyz and /metrics."""
    aws_region: str = ""
    """AWS region of objects that name none; empty: the region of boto3's own chain (AWS_REGION, a profile)."""
    cluster_id: Annotated[str, Field(max_length=256)] = ""
    """Tells this cluster's resources in AWS from another's; empty: the uid of namespace kube-system."""
    sagemaker_server_image: str = ""
    """Image of the built-in model server in a registry that SageMaker pulls from (ECR), for endpoints that name no image."""
    namespace_roles: tuple[str, ...] = ()
    """Roles that are assumed for the AWS calls of a namespace's objects, comma separated: team-a=arn:aws:iam::111122223333:role/x."""
    aws_calls_per_second: Annotated[float, Field(gt=0, le=1000)] = 10.0
    """Calls per second to an AWS account and region, of all objects together."""
    aws_burst: Annotated[int, Field(ge=1, le=1000)] = 20
    """Calls that may be made at once after a pause."""
    sagemaker_poll_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 15.0
    """Seconds between two looks at what is under way in SageMaker."""
    sagemaker_steady_poll_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 60.0
    """Seconds between two looks at an endpoint in service."""
    sagemaker_workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Objects of backend SageMaker reconciled at the same time."""
    slow_retry_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 300.0
    """Seconds before a call is repeated that permission, quota or the spec refused."""
    aws_clock: str = ""
    """For a simulator of AWS whose time runs fast: speed@unix-time at which its clock and ours agreed; empty for AWS itself."""
    price_table: str = ""
    """File with prices per instance hour, for the estimates in status.cost; empty: no estimates."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""
    log_format: Literal["json", "text"] = "json"
    """json for machines, text for people."""
    leader_election: bool = True
    """Hold a Lease, so that only one operator acts."""
    pod_name: str = ""
    """Name of this pod, as the Lease's holder (POD_NAME); the host's name when empty."""
    pod_namespace: str = "default"
    """Namespace of the Lease (POD_NAMESPACE)."""

    def printable(self) -> str:
        """As JSON, without the credentials that an address may carry."""
        parts = urlsplit(self.prometheus_url)
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return self.model_copy(update={"prometheus_url": shown}).model_dump_json()

    @field_validator("aws_clock")
    @classmethod
    def _is_clock(cls, value: str) -> str:
        Clock.parse(value)
        return value

    @field_validator("namespace_roles")
    @classmethod
    def _are_roles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            namespace, _, role = entry.partition("=")
            if not namespace or not re.fullmatch(LIMITS["sagemaker.RoleArn"]["pattern"], role):
                raise ValueError(f"{entry}: write namespace=role ARN")
        return value

    def roles_by_namespace(self) -> dict[str, str]:
        """``namespace_roles`` as a mapping."""
        return dict(entry.split("=", 1) for entry in self.namespace_roles)

    @field_validator("prometheus_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("start it with http:// or https://")
        return value.rstrip("/")


def _without_password(value: Any) -> Any:
    """*value*, but for what stands before an @: an address may carry credentials, and errors are logged."""
    return value.rpartition("@")[2] if isinstance(value, str) else value


def _variable(field: str) -> str:
    return field.upper() if field.startswith("pod_") else PREFIX + field.upper()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting, with its docstring as help."""
    for name, field in Settings.model_fields.items():
        default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar="VALUE",
            help=f"{field.description} [${_variable(name)}; default: {default!s}]".replace("%", "%%"),
        )


def settings_from(chosen: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from flags, else variables, else defaults. Raises :class:`InvalidSettingsError` naming the culprit."""
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = getattr(chosen, name, None)
        value = environment.get(_variable(name)) if value is None else value
        if value is not None:
            given[name] = value
    for name in ("namespaces", "namespace_roles"):
        if name in given:
            given[name] = tuple(part.strip() for part in str(given[name]).split(",") if part.strip())
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = str(problem["loc"][0])
            given_value = _without_password(problem["input"])
            problems.append(f"--{name.replace('_', '-')} / {_variable(name)}: {problem['msg']} (got {given_value!r})")
        raise InvalidSettingsError("; ".join(problems)) from None  # the cause shows the value as it was given
