"""The composition root: builds every object once and ties them together. No decisions here."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any

import aiohttp

from sagebrush import __version__, edge, logs
from sagebrush.api.meta import API_VERSION, Backend
from sagebrush.backends.calibrator import Calibrator
from sagebrush.backends.clock import Clock
from sagebrush.backends.cluster import ClusterModelEndpoints, ClusterTrainingJobs
from sagebrush.backends.other_scalers import LOOK_SECONDS, OtherScalers
from sagebrush.backends.sagemaker.wiring import SageMaker, is_scaled
from sagebrush.backends.scaling_knowledge import ScalingKnowledge
from sagebrush.backends.scaling_sources import ScalingSources, timed
from sagebrush.config import Settings
from sagebrush.core.defaults import Defaults
from sagebrush.core.resource import Key
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, KubernetesClient
from sagebrush.kube.events import EventRecorder
from sagebrush.kube.lease import RENEW_EVERY, Leadership
from sagebrush.kube.resources import MODEL_ENDPOINTS, OWN
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.exporter import OperatorMetrics
from sagebrush.metrics.prometheus import Snapshot
from sagebrush.metrics.request_metrics import RequestMetrics
from sagebrush.metrics.targets import find_targets
from sagebrush.runtime.controller import Controller
from sagebrush.runtime.dispatch import Dispatch
from sagebrush.runtime.health import HealthServer
from sagebrush.runtime.resync import Resync
from sagebrush.runtime.workqueue import WorkQueue

log = logging.getLogger(__name__)

_OBJECTS_BETWEEN_COLLECTIONS = 10_000


class LeadershipLostError(RuntimeError):
    """Another operator holds the Lease: this one must not act any more."""


class Operator:
    """All parts of a running operator."""

    def __init__(self, settings: Settings, client: KubernetesClient, session: aiohttp.ClientSession) -> None:
        self.settings, self.client = settings, client
        self.identity = settings.pod_name or socket.gethostname()
        self.cache = Cache()
        self.aws_clock = Clock.parse(settings.aws_clock)
        self.queues: dict[Backend, WorkQueue[Key]] = {
            Backend.CLUSTER: WorkQueue(),
            Backend.SAGEMAKER: WorkQueue(clock=self.aws_clock.seconds, speed=self.aws_clock.speed),
        }
        self.dispatch = Dispatch(self.queues, self.cache)
        self.metrics = OperatorMetrics()
        self.synced = False
        self.problem: str | None = None
        defaults = Defaults(
            server_image=settings.server_image,
            pull_policy=settings.server_image_pull_policy,
            cluster_domain=settings.cluster_domain,
            version=__version__,
        )
        self.requests = RequestMetrics(
            settings.prometheus_url or None,
            interval=timedelta(seconds=settings.scaling_interval_seconds),
            pods_interval=timedelta(seconds=settings.scaling_pods_interval_seconds),
            session=session,
            targets=lambda: find_targets(self.cache),
        )
        self.others = OtherScalers(client=client, namespaces=settings.namespaces)
        self.scaling = ScalingSources(
            metrics=self.requests,
            knowledge=ScalingKnowledge(),
            rivals=self.others.conflict,
            decide=timed(self.metrics.scaler.took),
        )
        self.recorder = EventRecorder(client, instance=self.identity)
        self.controller = Controller(
            backend=Backend.CLUSTER,
            queue=self.queues[Backend.CLUSTER],
            cache=self.cache,
            client=client,
            kinds={
                "TrainingJob": ClusterTrainingJobs(cache=self.cache, client=client, defaults=defaults),
                "ModelEndpoint": ClusterModelEndpoints(
                    cache=self.cache, client=client, defaults=defaults, scaling=self.scaling
                ),
            },
            recorder=self.recorder,
            metrics=self.metrics,
        )
        self.resync = Resync(client=client, cache=self.cache, queue=self.dispatch, namespaces=settings.namespaces)
        self.leadership = Leadership(
            client, namespace=settings.pod_namespace, name="sagebrush-operator", me=self.identity
        )
        self.health = HealthServer(
            port=settings.http_port,
            metrics=self.metrics,
            is_alive=lambda: self.problem,
            is_ready=lambda: None if self.synced else "waiting: not leader yet, or the first list is not done",
        )

    async def run(self) -> None:
        """Until SIGTERM, or until a part that must run has ended: then its error is raised."""
        await self.health.start()
        sagemaker = SageMaker(
            self.settings,
            cache=self.cache,
            scaling=self.scaling,
            metrics=self.metrics.aws,
            clock=self.aws_clock,
        )
        try:
            if self.settings.leader_election:
                await self._become_leader()
            await sagemaker.identify(self.client)
            await self._first_sync()
            await self._run_parts(sagemaker)
        finally:
            sagemaker.close()
            if self.settings.leader_election and self.leadership.is_held():
                await self.leadership.release()
            await self.health.stop()

    def _sagemaker_controller(self, sagemaker: SageMaker) -> Controller:
        return Controller(
            backend=Backend.SAGEMAKER,
            queue=self.queues[Backend.SAGEMAKER],
            cache=self.cache,
            client=self.client,
            kinds=sagemaker.kinds,
            recorder=self.recorder,
            metrics=self.metrics,
            gateway=sagemaker.gateway,
            slow_retry_seconds=self.settings.slow_retry_seconds,
            clock=self.aws_clock.now,
        )

    async def _run_parts(self, sagemaker: SageMaker) -> None:
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "workers": self.controller.run(workers=self.settings.workers),
            "SageMaker workers": self._sagemaker_controller(sagemaker).run(workers=self.settings.sagemaker_workers),
            "resync": self.resync.run(every_seconds=self.settings.resync_seconds),
            "metrics": self.requests.run(self._metrics_arrived, on_pods=self._pods_read),
            "other scalers": self.others.run(
                self.dispatch.add, every_seconds=min(LOOK_SECONDS, self.settings.resync_seconds)
            ),
        }
        if self.settings.prometheus_url and self.settings.scaling_history_days:
            parts["calibration"] = self._calibrator().run()
        if self.settings.leader_election:
            parts["lease"] = self._stay_leader()
        tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
        # Kopf starts last: at its end it cancels tasks that it did not see at its start.
        tasks.append(
            asyncio.create_task(
                edge.run(
                    cache=self.cache, queue=self.dispatch, namespaces=self.settings.namespaces, identity=self.identity
                ),
                name="watch",
            )
        )
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            self.problem = f"{task.get_name()} has ended"
            task.result()

    def _metrics_arrived(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - what it says is read on demand
        for key in self.cache.keys(MODEL_ENDPOINTS.kind):
            body = self.cache.get(key)
            if body and is_scaled(body):
                self.dispatch.nudge(key)

    def _pods_read(self, variants: Iterable[SeriesKey]) -> None:
        for variant in variants:
            self.dispatch.nudge(Key(MODEL_ENDPOINTS.kind, variant.namespace, variant.endpoint_name))

    def _calibrator(self) -> Calibrator:
        return Calibrator(
            cache=self.cache,
            knowledge=self.scaling.knowledge,
            histories=self.requests,
            span=timedelta(days=self.settings.scaling_history_days),
            period=timedelta(hours=self.settings.scaling_calibration_hours),
        )

    async def _become_leader(self) -> None:
        told = None
        while not await self.leadership.attempt():
            if told != self.leadership.holder:
                told = self.leadership.holder
                log.info("waiting: %s holds the Lease", told or "another operator")
            await asyncio.sleep(1.0)
        log.info("leader: %s", self.identity)

    async def _stay_leader(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY.total_seconds())
            if not await self.leadership.attempt():
                raise LeadershipLostError("the Lease was lost: another operator acts now")

    async def _first_sync(self) -> None:
        """Wait for the CRDs and the permissions, saying what is missing."""
        while True:
            try:
                count = await self.resync.once()
                await self.others.look()  # before the first decision
            except ApiError as error:
                if error.status == 404:
                    kinds = " and ".join(f"{resource.plural}.{resource.group}" for resource in OWN)
                    log.warning(
                        "the CRDs %s (%s) are not installed yet: helm installs them, or kubectl apply -f crds/",
                        kinds,
                        API_VERSION,
                    )
                else:
                    log.warning("the first list failed: %s", error)
            except (OSError, TimeoutError) as error:
                log.warning("the API server does not answer: %r", error)
            else:
                log.info("watching: %d objects", count)
                self.synced = True
                return
            await asyncio.sleep(2.0)


async def _main(settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
    client = await KubernetesClient.connect()
    try:
        # Kept connections would go on to whoever answered first, a broken replica or a stranger on its address, after
        # Prometheus is back on its name.
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            await Operator(settings, client, session).run()
    except asyncio.CancelledError:
        log.info("stopped")
        return 0
    except LeadershipLostError as error:
        log.critical("%s", error)
        return 1
    finally:
        await client.close()
    log.info("stopped")
    return 0


def _spare_collections() -> None:
    """
    Imported modules are most of the heap and stay for ever: looking through them again and again was a third of the CPU
    while many objects come at once. What is made for each object is freed by reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def run(settings: Settings) -> int:
    """Run the operator; the exit code."""
    logs.configure(level=settings.log_level, form=settings.log_format)
    log.info("sagebrush %s: %s", __version__, settings.printable())
    _spare_collections()
    return asyncio.run(_main(settings))
