"""What the environment says about serving, read once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sagebrush_server.codecs.responses import ENCODERS
from sagebrush_server.cpus import usable_cpus
from sagebrush_server.protocols.multi_model.settings import MultiModelSettings, read_multi_model
from sagebrush_server.settings import SettingError, read_integer, read_number


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Times are seconds, sizes bytes. Names and defaults: docs/contract.md, and SageMaker's for `SAGEMAKER_*`."""

    port: int = 8080
    metrics_port: int = 9102
    bind_address: str = "0.0.0.0"  # noqa: S104 – a pod is reached from other pods
    workers: int = 1
    endpoint_name: str = ""
    variant_name: str = "AllTraffic"
    model_sha256: str = ""
    default_accept: str = "application/json"
    max_body_bytes: int = 6 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    connection_max_age: float = 10.0
    request_timeout: float = 60.0
    idle_timeout: float = 300.0
    max_waiting: int = 4096
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_wait: float = 30.0
    drain_quiet: float = 0.5
    drain_limit: float = 25.0
    backlog: int = 2048
    multi_model: MultiModelSettings | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ServeSettings":
        """Read and check every variable. Raises SettingError naming variable, value and legal range."""
        accept = environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", cls.default_accept)
        if accept not in ENCODERS:
            raise SettingError(f"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT={accept!r}: must be one of {', '.join(ENCODERS)}")

        def number(name: str, *, default: float) -> float:
            return read_number(environment, name=name, default=default)

        multi_model = read_multi_model(environment)
        workers = usable_cpus() if multi_model is None else 1
        return cls(
            port=read_integer(environment, name="SAGEMAKER_BIND_TO_PORT", default=cls.port),
            metrics_port=read_integer(environment, name="SAGEBRUSH_METRICS_PORT", default=cls.metrics_port),
            bind_address=environment.get("SAGEBRUSH_BIND_ADDRESS", cls.bind_address),
            workers=read_integer(environment, name="SAGEMAKER_MODEL_SERVER_WORKERS", default=workers, minimum=1),
            endpoint_name=environment.get("SAGEBRUSH_ENDPOINT_NAME", cls.endpoint_name),
            variant_name=environment.get("SAGEBRUSH_VARIANT_NAME", cls.variant_name),
            model_sha256=environment.get("SAGEBRUSH_MODEL_SHA256", cls.model_sha256),
            default_accept=accept,
            max_body_bytes=int(number("SAGEMAKER_MAX_PAYLOAD_IN_MB", default=cls.max_body_bytes / 2**20) * 2**20),
            max_header_bytes=read_integer(
                environment, name="SAGEBRUSH_MAX_HEADER_BYTES", default=cls.max_header_bytes, minimum=1
            ),
            connection_max_age=number("SAGEBRUSH_CONNECTION_MAX_AGE_SECONDS", default=cls.connection_max_age),
            request_timeout=number("SAGEMAKER_MODEL_SERVER_TIMEOUT", default=cls.request_timeout),
            idle_timeout=number("SAGEBRUSH_IDLE_TIMEOUT_SECONDS", default=cls.idle_timeout),
            max_waiting=read_integer(
                environment, name="SAGEBRUSH_MAX_WAITING_REQUESTS", default=cls.max_waiting, minimum=1
            ),
            max_waiting_bytes=int(number("SAGEBRUSH_MAX_WAITING_MB", default=cls.max_waiting_bytes / 2**20) * 2**20),
            max_wait=number("SAGEBRUSH_MAX_WAIT_SECONDS", default=cls.max_wait),
            drain_quiet=number("SAGEBRUSH_DRAIN_QUIET_SECONDS", default=cls.drain_quiet),
            drain_limit=number("SAGEBRUSH_DRAIN_LIMIT_SECONDS", default=cls.drain_limit),
            backlog=read_integer(environment, name="SAGEBRUSH_BACKLOG", default=cls.backlog, minimum=1),
            multi_model=multi_model,
        )
