"""What the environment says about serving, read once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sagebrush_server.codecs.responses import ENCODERS
from sagebrush_server.cpus import usable_cpus
from sagebrush_server.protocols.multi_model.settings import MultiModelSettings, read_multi_model
from sagebrush_server.settings import SettingError, read_integer, read_number

_MIB: Final = 2**20
_BATCH_STRATEGIES: Final = ("MULTI_RECORD", "SINGLE_RECORD")


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
    max_body_bytes: int = 6 * _MIB
    max_header_bytes: int = 64 * 1024
    connection_max_age: float = 10.0
    request_timeout: float = 60.0
    idle_timeout: float = 300.0
    max_waiting: int = 4096
    max_waiting_bytes: int = 64 * _MIB
    max_wait: float = 30.0
    drain_quiet: float = 0.5
    drain_limit: float = 25.0
    backlog: int = 2048
    multi_model: MultiModelSettings | None = None
    access_log: bool = False
    max_concurrent_transforms: int = 1
    batch_strategy: str = "MULTI_RECORD"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ServeSettings":
        """Read and check every variable. Raises SettingError naming variable, value and legal range."""

        def number(name: str, *, default: float) -> float:
            return read_number(environment, name=name, default=default)

        def whole(name: str, *, default: int, minimum: int = 0) -> int:
            return read_integer(environment, name=name, default=default, minimum=minimum)

        def size(name: str, *, default: int) -> int:
            return int(number(name, default=default / _MIB) * _MIB)

        multi_model = read_multi_model(environment)
        several = usable_cpus() if multi_model is None else 1
        workers = whole("SAGEMAKER_MODEL_SERVER_WORKERS", default=several, minimum=1)
        port = whole("SAGEMAKER_BIND_TO_PORT", default=cls.port)
        timeout = number("SAGEMAKER_MODEL_SERVER_TIMEOUT", default=cls.request_timeout)
        return cls(
            port=port,
            metrics_port=_metrics_port(environment, port=port),
            bind_address=environment.get("SAGEBRUSH_BIND_ADDRESS", cls.bind_address),
            workers=workers,
            endpoint_name=environment.get("SAGEBRUSH_ENDPOINT_NAME", cls.endpoint_name),
            variant_name=environment.get("SAGEBRUSH_VARIANT_NAME", cls.variant_name),
            model_sha256=environment.get("SAGEBRUSH_MODEL_SHA256", cls.model_sha256),
            default_accept=_choice(
                environment, name="SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", default=cls.default_accept, legal=ENCODERS
            ),
            max_body_bytes=size("SAGEMAKER_MAX_PAYLOAD_IN_MB", default=cls.max_body_bytes),
            max_header_bytes=whole("SAGEBRUSH_MAX_HEADER_BYTES", default=cls.max_header_bytes, minimum=1),
            connection_max_age=number("SAGEBRUSH_CONNECTION_MAX_AGE_SECONDS", default=cls.connection_max_age),
            request_timeout=number("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", default=timeout),
            idle_timeout=number("SAGEBRUSH_IDLE_TIMEOUT_SECONDS", default=cls.idle_timeout),
            max_waiting=whole("SAGEBRUSH_MAX_WAITING_REQUESTS", default=cls.max_waiting, minimum=1),
            max_waiting_bytes=size("SAGEBRUSH_MAX_WAITING_MB", default=cls.max_waiting_bytes),
            max_wait=number("SAGEBRUSH_MAX_WAIT_SECONDS", default=cls.max_wait),
            drain_quiet=number("SAGEBRUSH_DRAIN_QUIET_SECONDS", default=cls.drain_quiet),
            drain_limit=number("SAGEBRUSH_DRAIN_LIMIT_SECONDS", default=cls.drain_limit),
            multi_model=multi_model,
            backlog=whole("SAGEBRUSH_BACKLOG", default=cls.backlog, minimum=1),
            access_log=_choice(environment, name="SAGEBRUSH_ACCESS_LOG", default="false", legal=("false", "true"))
            == "true",
            max_concurrent_transforms=whole("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", default=workers, minimum=1),
            batch_strategy=_choice(
                environment, name="SAGEMAKER_BATCH_STRATEGY", default=cls.batch_strategy, legal=_BATCH_STRATEGIES
            ),
        )


def _choice(
    environment: Mapping[str, str], *, name: str, default: str, legal: Mapping[str, object] | tuple[str, ...]
) -> str:
    value = environment.get(name, default)
    if value not in legal:
        raise SettingError(f"{name}={value!r}: must be one of {', '.join(legal)}")
    return value


def _metrics_port(environment: Mapping[str, str], *, port: int) -> int:
    """Return the second port: inside of SAGEMAKER_SAFE_PORT_RANGE, where SageMaker gives one (inference pipelines)."""
    metrics_port = read_integer(environment, name="SAGEBRUSH_METRICS_PORT", default=ServeSettings.metrics_port)
    text = environment.get("SAGEMAKER_SAFE_PORT_RANGE")
    if text is None:
        return metrics_port
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
        raise SettingError(f"SAGEMAKER_SAFE_PORT_RANGE={text!r}: must be two ports such as 9000-9010")
    safe = [number for number in range(int(first), int(last) + 1) if number != port]
    if "SAGEBRUSH_METRICS_PORT" in environment:
        if metrics_port not in safe:
            raise SettingError(f"SAGEBRUSH_METRICS_PORT={metrics_port}: must be in SAGEMAKER_SAFE_PORT_RANGE={text}")
        return metrics_port
    if not safe:
        raise SettingError(f"SAGEMAKER_SAFE_PORT_RANGE={text!r}: leaves no port for the metrics beside {port}")
    return metrics_port if metrics_port in safe else safe[0]
