"""TrainingJob: what is wanted and what is seen → what to do and what to report. Pure."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta

from sagebrush.api.training_job import PhaseTransition, TrainingJobSpec, TrainingJobStatus, TrainingPhase
from sagebrush.core import naming
from sagebrush.core.conditions import READY, Outlook, Reason, find, set_conditions, summary
from sagebrush.core.defaults import Defaults
from sagebrush.core.ownership import conflict
from sagebrush.core.plan import Action, Announcement, Apply, Delete, Plan
from sagebrush.core.render import job as render
from sagebrush.core.resource import Manifest, Meta, contains, dig
from sagebrush.core.training_phase import Finding, Observed, find_phase, is_finished, training_seconds

KIND = "TrainingJob"
_LOOK_AGAIN = timedelta(seconds=3)
_BEFORE_TRAINING = frozenset({TrainingPhase.PENDING, TrainingPhase.SUSPENDED, TrainingPhase.INTERRUPTED})


def reconcile(
    meta: Meta,
    spec: TrainingJobSpec,
    status: TrainingJobStatus,
    observed: Observed,
    *,
    defaults: Defaults,
    now: datetime,
) -> Plan[TrainingJobStatus]:
    """The next step of a TrainingJob. A final phase stays as it is: a finished job is a record, not a wish."""
    if meta.deleting:
        return Plan(status=None)
    if status.phase and status.phase.is_final:
        seen = [entry.model_copy(update={"observed_generation": meta.generation}) for entry in status.conditions]
        return Plan(status=status.model_copy(update={"observed_generation": meta.generation, "conditions": seen}))
    taken = conflict(KIND, meta, (observed.job, observed.service, observed.endpoint_slice))
    if taken:
        finding = Finding(TrainingPhase.PENDING, taken.reason, taken.message, taken.outlook)
        return replace(_report(meta, status, finding, now=now), requeue_after=taken.look_again)

    if observed.job is None and observed.leftovers and not spec.suspend:
        text = "waiting: pods of an earlier Job of this name have not ended, and may yet upload"
        waiting = Finding(TrainingPhase.PENDING, Reason.REPLACING, text)
        return replace(_report(meta, status, waiting, now=now), requeue_after=_LOOK_AGAIN)

    agent_image = _pinned_image(observed) or defaults.server_image
    finding = find_phase(spec, replace(observed, last_phase=status.phase))
    seconds = training_seconds(observed)
    metrics = list(observed.metrics) or status.metrics
    if finding.phase in _BEFORE_TRAINING:  # figures of a run that was broken off are not those of this one
        metrics, seconds = [], None
    # Until it starts the spec may change, and a Job's template can't: nothing is made before.
    unstarted = spec.suspend and status.start_time is None and observed.job is None
    actions: tuple[Action, ...] = ()
    if finding.start_over:
        actions = (Delete("batch/v1", "Job", meta.namespace, naming.job_name(meta.name)),)
    elif not unstarted:
        actions = _actions(meta, spec, observed, agent_image=agent_image, defaults=defaults)
    pinned = status.model_copy(
        update={
            "agent_image": agent_image,
            "training_image": spec.algorithm.image or agent_image,
            "job_name": naming.job_name(meta.name),
            "start_time": status.start_time or (None if spec.suspend else now.replace(microsecond=0)),
            "metrics": metrics,
            "training_seconds": seconds,
        }
    )
    plan = _report(meta, pinned, finding, now=now, actions=actions)
    verdict_due = is_finished(observed.job) and not finding.phase.is_final
    return replace(plan, requeue_after=_LOOK_AGAIN) if verdict_due else plan


def _pinned_image(observed: Observed) -> str | None:
    """The image that the existing Job fetches with: an upgrade of the operator doesn't disturb a job that runs."""
    containers = dig(observed.job, "spec", "template", "spec", "initContainers", default=[])
    return containers[0]["image"] if containers else None


def _actions(
    meta: Meta, spec: TrainingJobSpec, observed: Observed, *, agent_image: str, defaults: Defaults
) -> tuple[Action, ...]:
    wanted: list[tuple[Manifest | None, Manifest]] = []
    if spec.instance_count > 1:
        addresses = {
            int(dig(pod, "metadata", "labels", render.INDEX_LABEL, default="0")): pod["status"]["podIP"]
            for pod in observed.pods
            if dig(pod, "status", "podIP") and dig(pod, "status", "phase") in ("Pending", "Running")
        }
        wanted.append((observed.service, render.render_service(meta)))
        if addresses or observed.endpoint_slice:  # before the first address its type is not known
            hosts = render.render_endpoint_slice(meta, addresses, existing=observed.endpoint_slice)
            wanted.append((observed.endpoint_slice, hosts))
    job = render.render(
        meta, spec, agent_image=agent_image, pull_policy=defaults.pull_policy, cluster_domain=defaults.cluster_domain
    )
    wanted.append((observed.job, _with_existing_template(job, observed.job)))
    return tuple(Apply(manifest) for actual, manifest in wanted if actual is None or not contains(actual, manifest))


def _with_existing_template(job: Manifest, existing: Manifest | None) -> Manifest:
    """
    *job*, but with the existing pod template: a Job's template can't change, and another version of the operator may
    have rendered it differently.
    """
    if existing is None:
        return job
    return {**job, "spec": {**job["spec"], "template": existing["spec"]["template"]}}


def _report(
    meta: Meta,
    status: TrainingJobStatus,
    finding: Finding,
    *,
    now: datetime,
    actions: tuple[Action, ...] = (),
) -> Plan[TrainingJobStatus]:
    """The complete status, and an Event for each transition."""
    previous = find(status.conditions, READY)
    final = finding.phase.is_final
    new = status.model_copy(
        update={
            "observed_generation": meta.generation,
            "phase": finding.phase,
            "conditions": set_conditions(
                status.conditions,
                summary(finding.outlook, reason=finding.reason, message=finding.message),
                generation=meta.generation,
                now=now,
            ),
            "transitions": _transitions(status.transitions, finding, now=now),
            "completion_time": _completion_time(finding, now) if final else None,
            "failure": finding.failure,
            "model_artifact": finding.artifact,
        }
    )
    events: tuple[Announcement, ...] = ()
    if previous is None or previous.reason != finding.reason:
        bad = finding.outlook is Outlook.STALLED or finding.reason not in _ORDINARY
        events = (Announcement(finding.reason, finding.message, warning=bad),)
    return Plan(status=new, actions=actions, events=events)


_ORDINARY = frozenset(
    {
        Reason.PENDING,
        Reason.REPLACING,
        Reason.DOWNLOADING,
        Reason.TRAINING,
        Reason.UPLOADING,
        Reason.COMPLETED,
        Reason.SUSPENDED,
    }
)


def _completion_time(finding: Finding, now: datetime) -> datetime:
    return max([*finding.times.values(), now.replace(microsecond=0)])


def _transitions(before: list[PhaseTransition], finding: Finding, *, now: datetime) -> list[PhaseTransition]:
    """
    The phases as they passed. A phase so short that no look fell into it is filled in from the kubelet's times, so
    that every job that completed shows Downloading, Training and Uploading.
    """
    out = [entry for entry in before if entry.phase is not finding.phase or entry.end_time is not None]
    current = next((entry for entry in before if entry.phase is finding.phase and entry.end_time is None), None)
    now = now.replace(microsecond=0)
    order = [TrainingPhase.DOWNLOADING, TrainingPhase.TRAINING, TrainingPhase.UPLOADING]
    restarted = finding.phase in (TrainingPhase.PENDING, TrainingPhase.INTERRUPTED, TrainingPhase.SUSPENDED)
    seen = {entry.phase for entry in out}
    if not restarted:
        earlier = order[: order.index(finding.phase)] if finding.phase in order else order
        missed = [phase for phase in earlier if phase not in seen and phase in finding.times]
        out += [PhaseTransition(phase=phase, start_time=finding.times[phase]) for phase in missed]
    start = current.start_time if current else finding.times.get(finding.phase, now)
    out.append(PhaseTransition(phase=finding.phase, start_time=start, message=finding.message[:2048]))
    out.sort(key=lambda entry: entry.start_time)
    if out[-1].phase is not finding.phase:  # equal seconds: the current phase stands last
        out.sort(key=lambda entry: entry.phase is finding.phase and entry.end_time is None)
    closed = [
        entry if entry.end_time else entry.model_copy(update={"end_time": max(entry.start_time, following.start_time)})
        for entry, following in itertools.pairwise(out)
    ]
    last = out[-1]
    return [*closed, last.model_copy(update={"end_time": last.start_time}) if finding.phase.is_final else last]
