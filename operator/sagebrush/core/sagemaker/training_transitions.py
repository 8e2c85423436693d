"""The way of a job through SageMaker's secondary statuses: recorded in status, and each step told once. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sagebrush.api.training_job import PhaseTransition, TrainingPhase
from sagebrush.core.plan import Announcement

PHASES: Mapping[str, TrainingPhase] = {
    "Starting": TrainingPhase.PENDING,
    "Pending": TrainingPhase.PENDING,
    "LaunchingMLInstances": TrainingPhase.PENDING,  # this and the next three: no longer given, still in the API
    "PreparingTrainingStack": TrainingPhase.PENDING,
    "PreparingTraining": TrainingPhase.PENDING,
    "DownloadingTrainingImage": TrainingPhase.DOWNLOADING,
    "Downloading": TrainingPhase.DOWNLOADING,
    "Training": TrainingPhase.TRAINING,
    "Updating": TrainingPhase.TRAINING,
    "Uploading": TrainingPhase.UPLOADING,
    "Interrupted": TrainingPhase.INTERRUPTED,
    "Restarting": TrainingPhase.INTERRUPTED,
}
"""Phase by secondary status while a job is in progress; Stopping and unknown ones leave the phase as it is."""

_ENDS: Mapping[str, TrainingPhase] = {
    "Completed": TrainingPhase.COMPLETED,
    "Failed": TrainingPhase.FAILED,
    "Stopped": TrainingPhase.STOPPED,
    "MaxRuntimeExceeded": TrainingPhase.STOPPED,
    "MaxWaitTimeExceeded": TrainingPhase.STOPPED,
}
_WARNINGS = frozenset({"Interrupted", "Restarting", "Failed", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"})
_ON_INSTANCES = frozenset({"Downloading", "DownloadingTrainingImage", "Training", "Updating", "Uploading"})
_CAMEL_CASE = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")
_KEPT = 100
"""Transitions kept in status: a spot job may be interrupted any number of times, and an object has room for 1 MiB."""


def _steps(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """In their order; one without a start says nothing yet."""
    found = [step for step in body.get("SecondaryStatusTransitions") or [] if step.get("StartTime")]
    return sorted(found, key=lambda step: step["StartTime"])


def passed(body: Mapping[str, Any]) -> set[str]:
    """Every secondary status that the job has been in."""
    return {str(step.get("Status")) for step in _steps(body)}


def reached(body: Mapping[str, Any]) -> TrainingPhase | None:
    """The last phase that the job was in while in progress; None where SageMaker tells of none."""
    phases = [phase for step in _steps(body) if (phase := PHASES.get(str(step.get("Status"))))]
    return phases[-1] if phases else None


def raw_status(entry: PhaseTransition) -> str:
    """The secondary status that an entry of status.transitions was made from."""
    return entry.message.partition(": ")[0]


def transitions(body: Mapping[str, Any], *, before: Sequence[PhaseTransition]) -> list[PhaseTransition]:
    """
    SageMaker's transitions as phases, whole seconds; the message is the secondary status and what SageMaker says of it.

    What *before* has beyond them stays: an answer may be older than the last one was.
    """
    out: list[PhaseTransition] = []
    phase = TrainingPhase.PENDING
    for step in _steps(body):
        raw = str(step.get("Status"))
        phase = PHASES.get(raw) or _ENDS.get(raw) or phase
        ended: datetime | None = step.get("EndTime")
        said = step.get("StatusMessage")
        out.append(
            PhaseTransition(
                phase=phase,
                start_time=step["StartTime"].replace(microsecond=0),
                end_time=ended.replace(microsecond=0) if ended else None,
                message=(f"{raw}: {said}" if said else raw)[:2048],
            )
        )
    out += _beyond(before, out)
    return sorted(out, key=lambda entry: entry.start_time)[-_KEPT:]


def untold(after: Sequence[PhaseTransition], *, before: Sequence[PhaseTransition]) -> tuple[Announcement, ...]:
    """An Event for each transition that *before* has not, also for those that passed between two looks."""
    return tuple(_announced(entry) for entry in _beyond(after, before))


def _beyond(some: Sequence[PhaseTransition], others: Sequence[PhaseTransition]) -> list[PhaseTransition]:
    """Those of *some* that *others* have not; what SageMaker says of a transition may change, start and status don't."""
    known = Counter((entry.start_time, raw_status(entry)) for entry in others)
    out = []
    for entry in some:
        mark = (entry.start_time, raw_status(entry))
        if known[mark]:
            known[mark] -= 1
        else:
            out.append(entry)
    return out


def _announced(entry: PhaseTransition) -> Announcement:
    raw, _, said = entry.message.partition(": ")
    reason = raw if _CAMEL_CASE.fullmatch(raw) else entry.phase.value
    # With its time: after an interruption the same words come again, and are another Event.
    text = f"{said or f'SageMaker says {raw}'} (since {entry.start_time:%H:%M:%S} UTC)"
    return Announcement(reason, text, warning=raw in _WARNINGS)


def instance_seconds(body: Mapping[str, Any], *, now: datetime) -> tuple[int, bool]:
    """
    How long the job has had its instances so far, over all attempts, in seconds, and whether it has them now.

    AWS bills from the download of the data to the end; waiting for capacity costs nothing. An estimate until AWS says
    BillableTimeInSeconds.
    """
    seconds, held, going = 0.0, False, False
    for step in _steps(body):
        raw = str(step.get("Status"))
        held = raw in _ON_INSTANCES or (held and raw == "Stopping")  # a job may be stopped before it has any
        going = held and step.get("EndTime") is None
        if held:
            seconds += max(0.0, ((step.get("EndTime") or now) - step["StartTime"]).total_seconds())
    return int(seconds), going
