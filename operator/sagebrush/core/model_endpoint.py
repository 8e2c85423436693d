"""ModelEndpoint: what is wanted and what is seen → what to do and what to report. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sagebrush.api.model_endpoint import EndpointPodSettings, ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core import naming, pods
from sagebrush.core.conditions import (
    READY,
    SCALING_ACTIVE,
    Outlook,
    Reason,
    find,
    set_conditions,
    summary,
)
from sagebrush.core.defaults import Defaults
from sagebrush.core.model_source import Finding, ResolvedModel, SourceJob, resolve_model
from sagebrush.core.ownership import conflict
from sagebrush.core.plan import Action, Announcement, Plan
from sagebrush.core.render.deployment import VARIANT
from sagebrush.core.resource import Manifest, Meta, dig
from sagebrush.core.revision import child_actions, previous_model, served_model, serving_of
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Fleet
from sagebrush.core.scaling.report import status_of
from sagebrush.core.variant_scaling import (
    NO_FACTS,
    ConditionFact,
    ScalingFacts,
    conflict_condition,
    conflict_words,
    decided,
    is_active,
    scaling_conditions,
    turns,
)

KIND = "ModelEndpoint"
_WAY_OUT = "remove it, or give the endpoint a spec.scaling with mode Off to leave its replicas to it"


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as one ModelEndpoint sees it."""

    deployment: Manifest | None = None
    service: Manifest | None = None
    pods: tuple[Manifest, ...] = ()
    training_job: SourceJob | None = None
    scaling: ScalingFacts = NO_FACTS


def reconcile(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    defaults: Defaults,
    now: datetime,
) -> Plan[ModelEndpointStatus]:
    """The next step of a ModelEndpoint."""
    if meta.deleting:
        return Plan(status=None)
    taken = conflict(KIND, meta, (observed.deployment, observed.service))
    if taken:
        finding = Finding(taken.reason, taken.message, taken.outlook)
        return replace(_report(meta, status, finding, now=now), requeue_after=taken.look_again)
    wanted = resolve_model(spec, observed.training_job)
    if isinstance(wanted, ResolvedModel):
        return _serve(meta, spec, status, observed, model=wanted, waiting=None, defaults=defaults, now=now)
    previous = previous_model(spec, status)
    if previous is None:
        return _report(meta, _counted(status, observed, revision=None), _kept(wanted, observed), now=now)
    return _serve(meta, spec, status, observed, model=previous, waiting=wanted, defaults=defaults, now=now)


def _serve(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    model: ResolvedModel,
    waiting: Finding | None,
    defaults: Defaults,
    now: datetime,
) -> Plan[ModelEndpointStatus]:
    """Children and status for *model*: the wanted one, or the one that serves while the wanted one is *waiting*."""
    serving, revision = serving_of(spec, model, status, deployment=observed.deployment, defaults=defaults)
    decision = _decision(spec, status, observed, now=now)
    replicas = decision.replicas if decision else _stated(spec, observed)
    actions = child_actions(
        meta,
        spec,
        serving,
        deployment=observed.deployment,
        service=observed.service,
        revision=revision,
        replicas=replicas,
        defaults=defaults,
        keep=waiting is not None,
    )
    finding = find_state(observed, revision=revision, replicas=replicas)
    if waiting:
        finding = _while_waiting(waiting, finding, spec=spec, status=status)
    service = (spec.cluster or EndpointPodSettings()).service
    port = "" if service.port == 80 else f":{service.port}"
    new = _counted(status, observed, revision=revision).model_copy(
        update={
            "url": f"http://{meta.name}.{meta.namespace}.svc.{defaults.cluster_domain}{port}/invocations",
            "revision": revision,
            "model": status.model if waiting else served_model(spec, model, serving),
            "selector": ",".join(f"{key}={value}" for key, value in naming.selector(KIND, meta.name).items()),
        }
    )
    return _report(meta, new, finding, now=now, actions=actions, decision=decision, spec=spec, observed=observed)


def _kept(waiting: Finding, observed: Observed) -> Finding:
    """While the wanted model isn't there, what serves goes on serving."""
    if not any(pods.is_ready(pod) for pod in observed.pods):
        return waiting
    return Finding(waiting.reason, f"{waiting.message}; the previous model goes on serving", waiting.outlook)


def _while_waiting(
    waiting: Finding, serving: Finding, *, spec: ModelEndpointSpec, status: ModelEndpointStatus
) -> Finding:
    """
    What to say while the previous model serves. A TrainingJob that was deleted after its model was taken is no loss:
    jobs are cleaned up. One that runs anew promises another model, so this one is not yet what is wanted.
    """
    if serving.outlook is not Outlook.DONE:
        return Finding(waiting.reason, f"{waiting.message}; the previous model: {serving.message}", waiting.outlook)
    reference = spec.model.training_job_ref
    source = status.model.training_job if status.model else None
    if waiting.reason is Reason.TRAINING_JOB_NOT_FOUND and reference and source == reference.name:
        text = f"{serving.message}; TrainingJob {source} is gone, and the model that it left goes on serving"
        return Finding(serving.reason, text, serving.outlook)
    return Finding(waiting.reason, f"{waiting.message}; the previous model goes on serving", waiting.outlook)


def ready_pods(observed: Observed, revision: str | None) -> list[Manifest]:
    """The pods of this revision that take requests."""
    return [
        pod
        for pod in observed.pods
        if pods.is_ready(pod) and (revision is None or dig(pod, "metadata", "labels", naming.REVISION) == revision)
    ]


def fleet_of(spec: ModelEndpointSpec, status: ModelEndpointStatus, observed: Observed) -> Fleet:
    """The replicas that there are."""
    before, current = status.scaling, dig(observed.deployment, "spec", "replicas")
    least = spec.scaling.min_replicas if spec.scaling else spec.replicas
    serving = ready_pods(observed, None)
    ready = len(serving)
    return Fleet(
        # A Deployment deleted by hand comes back as large as it was.
        replicas=current if current is not None else (before.desired_replicas if before else least),
        ready=ready,
        starting=sum(1 for pod in observed.pods if not pods.is_leaving(pod) and not pods.is_over(pod)) - ready,
        served_since=min((since for pod in serving if (since := pods.ready_since(pod))), default=None),
    )


def _decision(
    spec: ModelEndpointSpec, status: ModelEndpointStatus, observed: Observed, *, now: datetime
) -> Decision | None:
    if spec.scaling is None:
        return None
    fleet = fleet_of(spec, status, observed)
    return decided(spec.scaling, observed.scaling, fleet=fleet, before=status.scaling, now=now)


def _stated(spec: ModelEndpointSpec, observed: Observed) -> int:
    """``spec.replicas``, unless somebody's autoscaler sets those of the Deployment."""
    current = dig(observed.deployment, "spec", "replicas")
    return current if observed.scaling.rival and current is not None else spec.replicas


def find_state(observed: Observed, *, revision: str, replicas: int) -> Finding:
    """Ready means: at least one replica of the desired revision serves, and none of another does."""
    serving = ready_pods(observed, revision)
    others = [pod for pod in ready_pods(observed, None) if pod not in serving]
    if serving and not others:
        short = replicas - len(serving)
        more = f"; {short} more starting" if short > 0 else ""
        trouble = _trouble(observed, revision)
        if short > 0 and trouble:
            more = f"; {short} more can't start: {trouble.message}"
        return Finding(Reason.SERVING, f"{len(serving)} of {replicas} replicas serve{more}", Outlook.DONE)
    if replicas == 0 and not others:
        return Finding(Reason.SCALED_TO_ZERO, "spec.replicas is 0: nothing serves", Outlook.DONE)
    trouble = _trouble(observed, revision)
    if trouble:
        kept = "; the previous revision goes on serving" if others else ""
        stalled = trouble.reason is Reason.CRASH_LOOP and _is_wedged(observed, revision)
        return Finding(trouble.reason, f"{trouble.message}{kept}", Outlook.STALLED if stalled else Outlook.PROGRESSING)
    denied = next(
        (c for c in dig(observed.deployment, "status", "conditions", default=[]) if c.get("type") == "ReplicaFailure"),
        None,
    )
    if denied and denied.get("status") == "True":
        return Finding(Reason.PERMISSION_DENIED, f"pods are refused: {denied.get('message', '')}")
    if others:
        return Finding(Reason.ROLLING_OUT, f"{len(serving)} of {replicas} replicas serve the new revision")
    return Finding(Reason.STARTING, "replicas are fetching and loading the model; Ready once /ping answers 200")


def _of_revision(observed: Observed, revision: str) -> Iterable[Manifest]:
    return (pod for pod in observed.pods if dig(pod, "metadata", "labels", naming.REVISION) == revision)


def _trouble(observed: Observed, revision: str) -> pods.Trouble | None:
    for pod in _of_revision(observed, revision):
        if not pods.is_ready(pod) and not dig(pod, "metadata", "deletionTimestamp"):
            found = pods.trouble(pod)
            if found:
                return found
    return None


def _is_wedged(observed: Observed, revision: str) -> bool:
    """Whether a container keeps ending: five restarts and none ready."""
    return any(c.restarts >= 5 for pod in _of_revision(observed, revision) for c in pods.containers(pod).values())


def _counted(status: ModelEndpointStatus, observed: Observed, *, revision: str | None) -> ModelEndpointStatus:
    return status.model_copy(
        update={
            "replicas": dig(observed.deployment, "status", "replicas", default=0),
            "ready_replicas": len(ready_pods(observed, revision or status.revision)),
        }
    )


def _report(
    meta: Meta,
    status: ModelEndpointStatus,
    finding: Finding,
    *,
    now: datetime,
    actions: tuple[Action, ...] = (),
    decision: Decision | None = None,
    spec: ModelEndpointSpec | None = None,
    observed: Observed | None = None,
) -> Plan[ModelEndpointStatus]:
    """The complete status, and an Event for each transition."""
    wanted = summary(finding.outlook, reason=finding.reason, message=finding.message)
    # Kept while there is nothing to decide on: what was measured of the replicas is in it.
    scaling = status.scaling if spec is None or spec.scaling else None
    events: list[Announcement] = []
    if decision and spec and spec.scaling and observed:
        scaling = status_of(
            decision,
            previous=status.scaling,
            policy=spec.scaling,
            knowledge=observed.scaling.knowledge,
            now=now,
        )
        wanted += _scaling_facts(decision, scaling)
        if decision.changed:
            events.append(Announcement("Scaled", decision.message))
    elif spec and observed and observed.scaling.rival:
        wanted += (conflict_condition(conflict_words(observed.scaling.rival, way_out=_WAY_OUT)),)
    if spec:
        events += turns(status.conditions, wanted)
    previous = find(status.conditions, READY)
    if previous is None or previous.reason != finding.reason:
        events.append(Announcement(finding.reason, finding.message, warning=_is_bad(finding)))
    new = status.model_copy(
        update={
            "observed_generation": meta.generation,
            "conditions": set_conditions(status.conditions, wanted, generation=meta.generation, now=now),
            "scaling": scaling,
        }
    )
    decisions = {VARIANT: decision} if decision else {}
    return Plan(status=new, actions=actions, events=tuple(events), decisions=decisions)


def _scaling_facts(decision: Decision, scaling: ScalingStatus) -> tuple[ConditionFact, ...]:
    active = (SCALING_ACTIVE, is_active(decision), str(decision.reason), scaling.message)
    return (active, *scaling_conditions({"": scaling}, {"": decision}))


def _is_bad(finding: Finding) -> bool:
    return finding.outlook is Outlook.STALLED or finding.reason in {
        Reason.CRASH_LOOP,
        Reason.DOWNLOAD_FAILED,
        Reason.IMAGE_PULL_FAILED,
        Reason.OUT_OF_MEMORY,
        Reason.CONTAINER_CANNOT_START,
        Reason.UNSCHEDULABLE,
    }
