"""Builds the SageMaker backend from the operator's settings."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sagebrush.api.meta import Backend
from sagebrush.api.scaling import Scaling
from sagebrush.backends.base import Kind
from sagebrush.backends.clock import Clock
from sagebrush.backends.sagemaker.budget import TokenBucket
from sagebrush.backends.sagemaker.clients import Clients, default_region
from sagebrush.backends.sagemaker.endpoints import SageMakerModelEndpoints
from sagebrush.backends.sagemaker.gateway import AwsGateway
from sagebrush.backends.sagemaker.prices import PriceFile
from sagebrush.backends.sagemaker.training_jobs import SageMakerTrainingJobs
from sagebrush.backends.scaling_sources import MetricsSource, ScalingSources
from sagebrush.core.resource import Manifest, dig
from sagebrush.core.sagemaker.defaults import AwsDefaults, Polling
from sagebrush.core.sagemaker.endpoint_state import SERVING
from sagebrush.core.scaling.facts import Cadence, Signals
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import NAMESPACES
from sagebrush.metrics.aws import AwsMetrics

log = logging.getLogger(__name__)

_THREADS_BESIDE_WORKERS = 4
_NOT_ALLOWED = (401, 403)
_AGAIN_SECONDS = 2.0


class Settings(Protocol):
    """The part of the operator's settings that this backend reads; see :class:`sagebrush.config.Settings`."""

    @property
    def aws_region(self) -> str: ...
    @property
    def cluster_id(self) -> str: ...
    @property
    def sagemaker_server_image(self) -> str: ...
    @property
    def aws_calls_per_second(self) -> float: ...
    @property
    def aws_burst(self) -> int: ...
    @property
    def sagemaker_poll_seconds(self) -> float: ...
    @property
    def sagemaker_steady_poll_seconds(self) -> float: ...
    @property
    def sagemaker_workers(self) -> int: ...
    @property
    def price_table(self) -> str: ...
    def roles_by_namespace(self) -> dict[str, str]: ...


class _InWallTime:
    """Request metrics for a kind that lives in another time."""

    def __init__(self, source: MetricsSource) -> None:
        self._source = source

    def signals(
        self,
        namespace: str,
        *,
        endpoint: str,
        variant: str,
        scaling: Scaling,
        ready_pods: Mapping[str, datetime | None] | None,
        now: datetime,  # noqa: ARG002 - the other time
    ) -> Signals:
        """See :class:`sagebrush.backends.scaling_sources.MetricsSource`."""
        return self._source.signals(
            namespace,
            endpoint=endpoint,
            variant=variant,
            scaling=scaling,
            ready_pods=ready_pods,
            now=datetime.now(UTC),
        )

    def cadence(self, namespace: str, *, endpoint: str, variant: str, scaling: Scaling) -> Cadence:
        """See :class:`sagebrush.backends.scaling_sources.MetricsSource`."""
        return self._source.cadence(namespace, endpoint=endpoint, variant=variant, scaling=scaling)


class SageMaker:
    """The gateway and the two kinds."""

    def __init__(
        self, settings: Settings, *, cache: Cache, scaling: ScalingSources, metrics: AwsMetrics, clock: Clock
    ) -> None:
        self._settings = settings
        self._cluster_id = settings.cluster_id
        self._region = settings.aws_region or default_region()
        self._prices = PriceFile(settings.price_table)
        self.gateway = AwsGateway(
            clients=Clients(),
            metrics=metrics,
            budget=lambda: TokenBucket(
                rate=settings.aws_calls_per_second, burst=settings.aws_burst, clock=clock.seconds, sleep=clock.sleep
            ),
            threads=settings.sagemaker_workers + _THREADS_BESIDE_WORKERS,
            clock=clock.seconds,
        )
        self.kinds: Mapping[str, Kind] = {
            "TrainingJob": SageMakerTrainingJobs(gateway=self.gateway, defaults=self.defaults),
            "ModelEndpoint": SageMakerModelEndpoints(
                gateway=self.gateway,
                defaults=self.defaults,
                cache=cache,
                # Prometheus lives in our time, whatever AWS' is.
                scaling=scaling if clock == Clock() else replace(scaling, metrics=_InWallTime(scaling.metrics)),
            ),
        }

    async def identify(self, client: Client) -> None:
        """Find out which cluster this is, where the settings do not say it; returns once the API server has answered."""
        while not self._cluster_id:
            try:
                found = await client.get(NAMESPACES, namespace="", name="kube-system")
            except (ApiError, OSError, TimeoutError) as error:
                if isinstance(error, ApiError) and error.status in _NOT_ALLOWED:
                    log.info(
                        "backend SageMaker would need --cluster-id: this operator may not read namespace kube-system"
                    )
                    return
                log.warning("the API server does not answer: %r", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                self._cluster_id = dig(found, "metadata", "uid", default="")
                return

    def defaults(self) -> AwsDefaults:
        """What decisions depend on, with the prices as they stand now."""
        settings = self._settings
        active = timedelta(seconds=settings.sagemaker_poll_seconds)
        return AwsDefaults(
            cluster_id=self._cluster_id,
            region=self._region,
            server_image=settings.sagemaker_server_image or None,
            namespace_roles=settings.roles_by_namespace(),
            polling=Polling(
                active=active,
                steady=timedelta(seconds=settings.sagemaker_steady_poll_seconds),
                after_change=min(Polling().after_change, active),
            ),
            prices=self._prices.table(),
        )

    def close(self) -> None:
        """Let the threads go."""
        self.gateway.close()


def is_scaled(body: Manifest) -> bool:
    """Whether new request metrics are news for this endpoint: in SageMaker, once there is one to be scaled."""
    if body["spec"].get("backend") == Backend.SAGEMAKER and dig(body, "status", "sageMaker", "status") not in SERVING:
        return False
    policies = [each.get("scaling") for each in (body["spec"], *dig(body, "spec", "sageMaker", "variants", default=[]))]
    return any(
        policy and policy.get("engine", "Sagebrush") == "Sagebrush" and policy.get("mode", "Auto") != "Off"
        for policy in policies
    )
