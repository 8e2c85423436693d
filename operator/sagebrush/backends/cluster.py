"""The cluster backend: gathers what the core decides on from the cache, the API server, logs and metrics."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import is_
from typing import Any, Generic, TypeVar

from sagebrush.api.meta import ApiModel
from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.training_job import Metric, TrainingJobSpec, TrainingJobStatus
from sagebrush.backends.scaling_knowledge import Variant
from sagebrush.backends.scaling_sources import ScalingSources
from sagebrush.backends.stalled import stalled_plan
from sagebrush.backends.training_log import final_metrics, patterns_of
from sagebrush.core import model_endpoint, naming, pods, training_job, training_phase
from sagebrush.core.defaults import Defaults
from sagebrush.core.endpoint_at_rest import AtRest
from sagebrush.core.model_source import SourceJob
from sagebrush.core.plan import Plan
from sagebrush.core.render.deployment import VARIANT
from sagebrush.core.render.job import INDEX_LABEL
from sagebrush.core.resource import Key, Manifest, Meta, dig, owned_by, parse_time
from sagebrush.core.scaling.history import History
from sagebrush.core.variant_scaling import ScalingFacts
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import BY_KIND, PODS

log = logging.getLogger(__name__)

LOG_PATIENCE = timedelta(minutes=2)
"""How long after its end a training log is asked for again, where the node does not answer."""

SpecT = TypeVar("SpecT", bound=ApiModel)
StatusT = TypeVar("StatusT", TrainingJobStatus, ModelEndpointStatus)


class _ClusterKind(Generic[SpecT, StatusT]):
    """What both kinds share: reading the object, finding children, reporting errors."""

    spec_type: type[SpecT]
    status_type: type[StatusT]

    def __init__(self, *, cache: Cache, client: Client, defaults: Defaults) -> None:
        self._cache, self._client, self._defaults = cache, client, defaults

    def _read(self, body: Manifest) -> tuple[Meta, SpecT, StatusT]:
        return Meta.of(body), self.spec_type.model_validate(body["spec"]), self._status(body)

    def _status(self, body: Manifest) -> StatusT:
        # A newer version of the operator may have written fields that this one does not know.
        return self.status_type.model_validate(body.get("status") or {}, extra="ignore")

    async def _child(self, kind: str, *, namespace: str, name: str) -> Manifest | None:
        """From the cache, else asked for: what is not ours is not watched, and must not be taken over unseen."""
        cached = self._cache.get(Key(kind, namespace, name))
        if cached is not None:
            return cached
        found = await self._client.get(BY_KIND[kind], namespace=namespace, name=name)
        if found is not None and found["metadata"].get("labels", {}).get(naming.MANAGED_BY) == naming.MANAGER:
            self._cache.put(found)
        return found

    def forget(self, key: Key) -> None:
        """Nothing is kept for an object here."""

    async def watch(self, key: Key, body: Manifest, *, now: datetime) -> Plan[Any] | None:  # noqa: ARG002
        """Nothing: Kubernetes looks after what runs."""
        return None

    def acted(self, meta: Meta, plan: Plan[Any]) -> None:
        """Nothing is kept for an object here."""

    def stalled(
        self, meta: Meta, body: Manifest, *, reason: str, message: str, final: bool, now: datetime
    ) -> Plan[StatusT]:
        """See :class:`sagebrush.backends.base.Kind`."""
        return stalled_plan(meta, self._status(body), reason=reason, message=message, final=final, now=now)


class ClusterTrainingJobs(_ClusterKind[TrainingJobSpec, TrainingJobStatus]):
    """TrainingJob as a Job."""

    spec_type = TrainingJobSpec
    status_type = TrainingJobStatus

    async def plan(self, key: Key, body: Manifest, *, now: datetime) -> Plan[TrainingJobStatus]:
        """See :class:`sagebrush.backends.base.Kind`."""
        meta, spec, status = self._read(body)
        observed = training_phase.Observed()
        if not meta.deleting and not (status.phase and status.phase.is_final):
            observed = await self._observe(key, meta, spec, status, now=now)
        return training_job.reconcile(meta, spec, status, observed, defaults=self._defaults, now=now)

    async def _observe(
        self, key: Key, meta: Meta, spec: TrainingJobSpec, status: TrainingJobStatus, *, now: datetime
    ) -> training_phase.Observed:
        name, hosts = naming.job_name(meta.name), naming.hosts_name(meta.name)
        several = spec.instance_count > 1
        patterns_of(spec)  # refused before anything runs
        job = await self._child("Job", namespace=meta.namespace, name=name)
        found = self._cache.children(key, kind="Pod")
        if training_phase.is_finished(job) and not (found and all(pods.is_over(pod) for pod in found)):
            found = await self._pods_asked_for(key)
        # Pods of an object of the same name that was deleted before say nothing about this one.
        pods_now = tuple(pod for pod in found if job and owned_by(pod, job["metadata"]["uid"]))
        return training_phase.Observed(
            job=job,
            service=await self._child("Service", namespace=meta.namespace, name=hosts) if several else None,
            endpoint_slice=await self._child("EndpointSlice", namespace=meta.namespace, name=hosts)
            if several
            else None,
            pods=pods_now,
            metrics=tuple(status.metrics) or await self._metrics(spec, pods_now, now=now),
            leftovers=any(pod not in pods_now and not pods.is_over(pod) for pod in found),
        )

    async def _pods_asked_for(self, key: Key) -> tuple[Manifest, ...]:
        """The pods as the API server has them: the Job's verdict is final, and may have overtaken the pods' last words."""
        labels = ",".join(f"{name}={value}" for name, value in naming.selector(key.kind, key.name).items())
        for pod in await self._client.list_all(PODS, namespace=key.namespace, labels=labels):
            self._cache.put(pod)
        return self._cache.children(key, kind="Pod")

    async def _metrics(self, spec: TrainingJobSpec, found: Sequence[Manifest], *, now: datetime) -> tuple[Metric, ...]:
        """The final metrics from the log of the first host, once its algorithm has ended.

        Where its node does not answer, the error is raised and so tried again, but not for longer than
        :data:`LOG_PATIENCE`: no job waits for ever for what a dead node has.
        """
        if spec.algorithm.name is None and not spec.algorithm.metric_definitions:
            return ()
        for pod in found:
            train = pods.containers(pod).get("train")
            index = dig(pod, "metadata", "labels", INDEX_LABEL, default="0")
            if (
                train is None
                or train.state != "terminated"
                or index != "0"
                or pods.is_disrupted(pod)
                or pods.is_leaving(pod)
            ):
                continue
            metadata = pod["metadata"]
            lines = self._client.log_lines(namespace=metadata["namespace"], pod=metadata["name"], container="train")
            try:
                return await final_metrics(spec, lines)
            except (ApiError, OSError, TimeoutError) as error:
                # The log went with its pod or node: there is nothing to read any more.
                gone = isinstance(error, ApiError) and error.status in (400, 404)
                if gone or train.finished_at is None or now - train.finished_at > LOG_PATIENCE:
                    log.warning("no metrics of TrainingJob pod %s: %s", metadata["name"], error)
                    return ()
                raise
        return ()


class ClusterModelEndpoints(_ClusterKind[ModelEndpointSpec, ModelEndpointStatus]):
    """ModelEndpoint as a Deployment and a Service."""

    spec_type = ModelEndpointSpec
    status_type = ModelEndpointStatus

    def __init__(self, *, cache: Cache, client: Client, defaults: Defaults, scaling: ScalingSources) -> None:
        super().__init__(cache=cache, client=client, defaults=defaults)
        self._scaling = scaling
        self._histories: dict[str, History] = {}
        self._rests: dict[Key, _Rest] = {}

    async def plan(self, key: Key, body: Manifest, *, now: datetime) -> Plan[ModelEndpointStatus]:
        """See :class:`sagebrush.backends.base.Kind`."""
        if Meta.of(body).deleting:
            return Plan(status=None)
        deployment = await self._child("Deployment", namespace=key.namespace, name=key.name)
        service = await self._child("Service", namespace=key.namespace, name=key.name)
        source = self._source_body(key, body)
        found = self._cache.children(key, kind="Pod")
        seen = (body, deployment, service, source, *found)
        rest = self._rests.get(key)
        if rest is not None and rest.is_of(seen):
            meta, spec, status = rest.meta, rest.endpoint.spec, rest.endpoint.status
            facts = self._facts(meta, spec, status, rest.ready, now=now)
            same = rest.endpoint.tick(facts, now=now)
            if same is not None:
                return same
        self._rests.pop(key, None)
        meta, spec, status = self._read(body)
        if spec.scaling is not None:
            self._scaling.knowledge.pods_seen(Variant(meta.uid, VARIANT), found, before=status.scaling, now=now)
        ready = {pod["metadata"]["name"]: _serving_since(pod) for pod in found if pods.is_ready(pod)}
        observed = model_endpoint.Observed(
            deployment=deployment,
            service=service,
            pods=found,
            training_job=_source_job(source),
            scaling=self._facts(meta, spec, status, ready, now=now),
        )
        plan = model_endpoint.reconcile(meta, spec, status, observed, defaults=self._defaults, now=now)
        fleet = model_endpoint.fleet_of(spec, status, observed)
        endpoint = AtRest.after(plan, spec=spec, status=status, written=body.get("status"), fleet=fleet)
        if endpoint is not None:
            self._rests[key] = _Rest(seen, meta, endpoint, ready)
        return plan

    def acted(self, meta: Meta, plan: Plan[Any]) -> None:
        """Keep the scaling history; not that of a change that could not be written."""
        if plan.decision is not None:
            self._histories[meta.uid] = plan.decision.history
            self._scaling.knowledge.acted(Variant(meta.uid, VARIANT), plan.decision)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of endpoints that are gone."""
        self._rests.pop(key, None)
        alive = self._scaling.forget_gone(self._cache)
        self._histories = {uid: history for uid, history in self._histories.items() if uid in alive}

    def _source_body(self, key: Key, body: Manifest) -> Manifest | None:
        """The TrainingJob whose model is to be served, if there."""
        name = dig(body, "spec", "model", "trainingJobRef", "name")
        return self._cache.get(Key("TrainingJob", key.namespace, name)) if name else None

    def _facts(
        self,
        meta: Meta,
        spec: ModelEndpointSpec,
        status: ModelEndpointStatus,
        ready: Mapping[str, datetime | None],
        *,
        now: datetime,
    ) -> ScalingFacts:
        rival = self._scaling.rivals(meta.namespace, name=meta.name, scaled=spec.scaling is not None)
        if spec.scaling is None:
            return ScalingFacts(rival=rival)
        variant, knowledge, metrics = Variant(meta.uid, VARIANT), self._scaling.knowledge, self._scaling.metrics
        return ScalingFacts(
            signals=metrics.signals(
                meta.namespace, endpoint=meta.name, variant=VARIANT, scaling=spec.scaling, ready_pods=ready, now=now
            ),
            knowledge=knowledge.of(
                variant,
                before=status.scaling,
                revision=status.revision,
                cadence=metrics.cadence(meta.namespace, endpoint=meta.name, variant=VARIANT, scaling=spec.scaling),
            ),
            history=self._histories.get(meta.uid),
            rival=rival,
            decide=self._scaling.decide,
        )


@dataclass(frozen=True, slots=True)
class _Rest:
    """An endpoint at rest, and the objects that it was found from."""

    seen: tuple[Manifest | None, ...]
    meta: Meta
    endpoint: AtRest
    ready: Mapping[str, datetime | None]
    """The pods that serve, and since when."""

    def is_of(self, seen: tuple[Manifest | None, ...]) -> bool:
        """Whether these are the very objects: the cache replaces them, and never changes one."""
        return len(seen) == len(self.seen) and all(map(is_, seen, self.seen))


def _source_job(body: Manifest | None) -> SourceJob | None:
    if body is None or "deletionTimestamp" in body["metadata"]:
        return None
    return SourceJob(
        TrainingJobSpec.model_validate(body["spec"], extra="ignore"),
        TrainingJobStatus.model_validate(body.get("status") or {}, extra="ignore"),
    )


def _serving_since(pod: Manifest) -> datetime | None:
    serve: Any = pods.containers(pod).get("serve")
    return serve.started_at if serve else parse_time(dig(pod, "status", "startTime"))
