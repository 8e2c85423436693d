"""Reads a training job's phase, failure and artifact off its Job and pods. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sagebrush.api.training_job import Failure, FailureClass, Metric, ModelArtifact, TrainingJobSpec, TrainingPhase
from sagebrush.core import pods
from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.render.job import INDEX_LABEL
from sagebrush.core.resource import Manifest, dig


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as one TrainingJob sees it."""

    job: Manifest | None = None
    service: Manifest | None = None
    endpoint_slice: Manifest | None = None
    pods: tuple[Manifest, ...] = ()
    metrics: tuple[Metric, ...] = ()
    last_phase: TrainingPhase | None = None
    """The phase that was reported before."""
    leftovers: bool = False
    """Pods of an earlier Job of this name still run, and may yet upload."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the job is, and what to say about it."""

    phase: TrainingPhase
    reason: Reason
    message: str
    outlook: Outlook = Outlook.PROGRESSING
    failure: Failure | None = None
    artifact: ModelArtifact | None = None
    times: Mapping[TrainingPhase, datetime] = field(default_factory=dict)
    start_over: bool = False
    """The Job has ended without having done its work: it must go, so that another can start."""


def find_phase(spec: TrainingJobSpec, observed: Observed) -> Finding:
    """Read the phase off the Job and its pods."""
    # What the cluster or a suspension ends did not fail by itself; a pod deleted by hand fails its Job.
    live = [pod for pod in observed.pods if not pods.is_disrupted(pod)]
    times = _times(observed)
    if is_finished(observed.job) and not all(pods.is_over(pod) for pod in observed.pods):
        return _running(spec, live, times)  # the Job's news came first: its pods have not had their last word
    undisturbed = replace(observed, pods=tuple(live))
    if _finished(observed.job, "Failed") or any(_has_failed(pod) for pod in live if not pods.is_leaving(pod)):
        return _failed(undisturbed, times)
    if _finished(observed.job, "Complete"):
        return _stopped_early(spec, observed, times) or _completed(undisturbed, times)
    if spec.suspend:
        return _suspended(live, times)
    if observed.pods and not live:
        return Finding(
            TrainingPhase.INTERRUPTED, Reason.INTERRUPTED, "the cluster ended the pod; a new one follows", times=times
        )
    return _troubled(live, times) or _running(spec, live, times)


def _suspended(live: list[Manifest], times: Mapping[TrainingPhase, datetime]) -> Finding:
    going = any(dig(pod, "status", "phase") == "Running" for pod in live)
    message = "stopping: the pods have SIGTERM and finish" if going else "suspended; set spec.suspend: false to start"
    outlook = Outlook.PROGRESSING if going else Outlook.DONE
    return Finding(TrainingPhase.SUSPENDED, Reason.SUSPENDED, message, outlook, times=times)


def _troubled(live: list[Manifest], times: Mapping[TrainingPhase, datetime]) -> Finding | None:
    for pod in live:
        found = pods.trouble(pod)
        phase = _pod_phase(pod)
        if found and phase is not TrainingPhase.UPLOADING:  # then it has ended, and the upload goes on
            return Finding(phase, found.reason, found.message, times=times)
    return None


def _stopped_early(
    spec: TrainingJobSpec, observed: Observed, times: Mapping[TrainingPhase, datetime]
) -> Finding | None:
    """
    A suspended or drained algorithm may end with exit code 0, and the Job then counts it as done. It is not: the Job is
    removed, and another one starts over.
    """
    stopped = [pod for pod in observed.pods if pods.is_leaving(pod) or pods.is_disrupted(pod)]
    whole = {_index(pod) for pod in observed.pods if pod not in stopped}
    # Resumed while the stopped pod was on its way out, the Job may end with no pod left to see.
    unseen = not observed.pods and observed.last_phase in (TrainingPhase.SUSPENDED, TrainingPhase.INTERRUPTED)
    if len(whole) >= spec.instance_count or not (spec.suspend or stopped or unseen):
        return None
    if spec.suspend:
        text = "suspended; set spec.suspend: false to start"
        return Finding(TrainingPhase.SUSPENDED, Reason.SUSPENDED, text, Outlook.DONE, times=times, start_over=True)
    text = "the cluster ended the pod; a new one follows"
    return Finding(TrainingPhase.INTERRUPTED, Reason.INTERRUPTED, text, times=times, start_over=True)


def _index(pod: Manifest) -> str:
    return str(dig(pod, "metadata", "labels", INDEX_LABEL, default="0"))


def _running(spec: TrainingJobSpec, live: list[Manifest], times: Mapping[TrainingPhase, datetime]) -> Finding:
    order = [TrainingPhase.PENDING, TrainingPhase.DOWNLOADING, TrainingPhase.TRAINING, TrainingPhase.UPLOADING]
    phase = min((_pod_phase(pod) for pod in live), key=order.index, default=TrainingPhase.PENDING)
    channels = ", ".join(f"{channel.name} from {channel.uri}" for channel in spec.channels) or "no channels"
    algorithm = spec.algorithm.name or spec.algorithm.image
    instances = f" on {spec.instance_count} instances" if spec.instance_count > 1 else ""
    messages = {
        TrainingPhase.PENDING: "waiting for the pod to start",
        TrainingPhase.DOWNLOADING: f"fetching {channels}",
        TrainingPhase.TRAINING: f"{algorithm} is training{instances}",
        TrainingPhase.UPLOADING: f"packing and uploading the model to {spec.output.uri}",
    }
    return Finding(phase, Reason(phase.value), messages[phase], times=times)


def _pod_phase(pod: Manifest) -> TrainingPhase:
    found = pods.containers(pod)
    train, fetch = found.get("train"), found.get("fetch")
    if train and train.state == "terminated":
        return TrainingPhase.UPLOADING
    if train and train.state == "running":
        return TrainingPhase.TRAINING
    if fetch and (fetch.state == "running" or fetch.succeeded):
        return TrainingPhase.DOWNLOADING
    return TrainingPhase.PENDING


def _times(observed: Observed) -> dict[TrainingPhase, datetime]:
    """When each phase began, as the kubelet reports it (whole seconds)."""
    starts: dict[TrainingPhase, list[datetime]] = {}
    for pod in observed.pods:
        found = pods.containers(pod)
        fetch, train = found.get("fetch"), found.get("train")
        if fetch and fetch.started_at:
            starts.setdefault(TrainingPhase.DOWNLOADING, []).append(fetch.started_at)
        if train and train.started_at:
            starts.setdefault(TrainingPhase.TRAINING, []).append(train.started_at)
        if train and train.finished_at:
            starts.setdefault(TrainingPhase.UPLOADING, []).append(train.finished_at)
    return {phase: max(moments) for phase, moments in starts.items()}


def training_seconds(observed: Observed) -> int | None:
    """Whole seconds that the algorithm ran, on the slowest host; None before it has ended."""
    spans = []
    for pod in observed.pods:
        if pods.is_disrupted(pod):
            continue
        train = pods.containers(pod).get("train")
        if train and train.started_at and train.finished_at:
            spans.append(int((train.finished_at - train.started_at).total_seconds()))
    return max(spans, default=None)


def is_finished(job: Manifest | None) -> bool:
    """Whether the Job controller has given its verdict."""
    return _finished(job, "Failed") or _finished(job, "Complete")


def _finished(job: Manifest | None, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in dig(job, "status", "conditions", default=[]))


def _has_failed(pod: Manifest) -> bool:
    return bool(dig(pod, "status", "phase") == "Failed")


def _agent_report(pod: Manifest) -> dict[str, Any] | None:
    """What the agent left in its termination message; None if it left nothing readable."""
    agent = pods.containers(pod).get("agent")
    if agent is None or agent.state != "terminated":
        return None
    try:
        report = json.loads(agent.message)
    except ValueError:
        return {"error": f"the agent ended with exit code {agent.exit_code}: {agent.message or 'it said nothing'}"}
    return report if isinstance(report, dict) else None


def _first_host(observed: Observed) -> Manifest | None:
    """The newest pod of host algo-1."""
    candidates = [pod for pod in observed.pods if _index(pod) == "0"]
    return max(candidates, key=lambda pod: str(dig(pod, "metadata", "creationTimestamp", default="")), default=None)


def _artifact(observed: Observed) -> tuple[ModelArtifact | None, str | None]:
    """The artifact that algo-1 uploaded, or why there is none."""
    pod = _first_host(observed)
    report = _agent_report(pod) if pod else None
    if report is None:
        return None, "the pod went away before it could say where the model is"
    if report.get("error"):
        return None, str(report["error"])
    if report.get("artifact") is None:
        return None, None
    try:
        artifact = ModelArtifact.model_validate(report["artifact"])
    except ValueError as error:
        return None, f"the agent's report can't be read: {error}"
    if artifact.sha256 is None or artifact.size_bytes is None:
        return None, "the agent's report can't be read: the artifact has no sha256 or no sizeBytes"
    return artifact, None


def _completed(observed: Observed, times: Mapping[TrainingPhase, datetime]) -> Finding:
    artifact, problem = _artifact(observed)
    if problem is not None:
        return Finding(
            TrainingPhase.FAILED,
            Reason.UPLOAD_FAILED,
            f"training ended well, but its model was not uploaded: {problem}",
            Outlook.STALLED,
            failure=Failure(failure_class=FailureClass.PLATFORM, message=problem[:2048]),
            times=times,
        )
    for pod in observed.pods:
        report = _agent_report(pod) or {}
        if report.get("error"):
            problem = str(report["error"])
            failure = Failure(failure_class=FailureClass.PLATFORM, message=problem[:2048])
            return Finding(
                TrainingPhase.FAILED, Reason.UPLOAD_FAILED, problem, Outlook.STALLED, failure=failure, times=times
            )
    message = (
        f"the model is at {artifact.uri}" if artifact else "completed; the algorithm left nothing in /opt/ml/model"
    )
    return Finding(TrainingPhase.COMPLETED, Reason.COMPLETED, message, Outlook.DONE, artifact=artifact, times=times)


def _failed(observed: Observed, times: Mapping[TrainingPhase, datetime]) -> Finding:
    if any(dig(pod, "status", "reason") == "DeadlineExceeded" for pod in observed.pods):
        artifact, _ = _artifact(observed)
        kept = f"; what the algorithm had saved by then is at {artifact.uri}" if artifact else ""
        return Finding(
            TrainingPhase.STOPPED,
            Reason.MAX_RUNTIME_EXCEEDED,
            f"stopped after spec.maxRuntime{kept}",
            Outlook.STALLED,
            artifact=artifact,
            times=times,
        )
    reason, failure = _why(observed)
    return Finding(TrainingPhase.FAILED, reason, failure.message, Outlook.STALLED, failure=failure, times=times)


def _why(observed: Observed) -> tuple[Reason, Failure]:
    """The first container that failed says why; without one, the Job does."""
    ended = [
        (pod, c)
        for pod in observed.pods
        for c in pods.containers(pod).values()
        if c.failed and c.name in ("fetch", "train")
    ]
    ended.sort(key=lambda pair: (pair[1].finished_at is None, str(pair[1].finished_at), pair[1].name))
    if not ended:
        said = next(
            (
                c.get("message", "")
                for c in dig(observed.job, "status", "conditions", default=[])
                if c["type"] == "Failed"
            ),
            "",
        )
        pod_said = next((dig(pod, "status", "message", default="") for pod in observed.pods if _has_failed(pod)), "")
        message = f"the pod was lost before it finished: {pod_said or said or 'nobody says why'}"
        return Reason.POD_LOST, Failure(failure_class=FailureClass.PLATFORM, message=message[:2048])
    pod, container = ended[0]
    if container.reason == "OOMKilled":
        limit = pods.memory_limit(pod, container.name)
        message = f"container {container.name} was killed for using more memory than {limit}; raise spec.cluster.resources.limits.memory"
        return Reason.OUT_OF_MEMORY, Failure(
            failure_class=FailureClass.USER, message=message, exit_code=container.exit_code
        )
    said = (
        container.message or f"container {container.name} ended with exit code {container.exit_code} and said nothing"
    )
    if container.name == "fetch":
        blame = FailureClass.USER if container.exit_code == 2 else FailureClass.PLATFORM
        return Reason.DOWNLOAD_FAILED, Failure(failure_class=blame, message=said[:2048], exit_code=container.exit_code)
    return Reason.ALGORITHM_ERROR, Failure(
        failure_class=FailureClass.USER, message=said[:2048], exit_code=container.exit_code
    )
