"""What a pod's status says, in the words of a person who must mend it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagebrush.core.conditions import Reason
from sagebrush.core.resource import dig, parse_time

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"})
_CANNOT_START = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True, slots=True)
class Container:
    """State of one container of a pod."""

    name: str
    state: str  # waiting, running, terminated
    reason: str
    message: str
    exit_code: int | None
    started_at: datetime | None
    finished_at: datetime | None
    restarts: int
    last_message: str
    last_reason: str
    last_exit_code: int | None
    image: str

    @property
    def succeeded(self) -> bool:
        """Whether it has ended with exit code 0."""
        return self.state == "terminated" and self.exit_code == 0

    @property
    def failed(self) -> bool:
        """Whether it has ended with another exit code."""
        return self.state == "terminated" and self.exit_code != 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not get on: a reason and what to do about it."""

    reason: Reason
    message: str


def containers(pod: Mapping[str, Any]) -> dict[str, Container]:
    """All containers of *pod* that the kubelet has reported, init containers included, by name."""
    statuses = [
        *dig(pod, "status", "initContainerStatuses", default=[]),
        *dig(pod, "status", "containerStatuses", default=[]),
    ]
    return {status["name"]: _container(status) for status in statuses}


def _container(status: Mapping[str, Any]) -> Container:
    state = dig(status, "state", default={}) or {}
    kind = next(iter(state), "waiting")
    detail = state.get(kind) or {}
    last = dig(status, "lastState", "terminated", default={}) or {}
    return Container(
        name=status["name"],
        state=kind,
        reason=detail.get("reason", ""),
        message=(detail.get("message") or "").strip(),
        exit_code=detail.get("exitCode"),
        started_at=parse_time(detail.get("startedAt")),
        finished_at=parse_time(detail.get("finishedAt")),
        restarts=status.get("restartCount", 0),
        last_message=(last.get("message") or "").strip(),
        last_reason=last.get("reason", ""),
        last_exit_code=last.get("exitCode"),
        image=status.get("image", ""),
    )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod takes requests: Ready and not on its way out."""
    if is_leaving(pod):
        return False
    return any(
        c.get("type") == "Ready" and c.get("status") == "True" for c in dig(pod, "status", "conditions", default=[])
    )


def ready_since(pod: Mapping[str, Any]) -> datetime | None:
    """When the pod became ready; None where it is not, or nothing says."""
    if not is_ready(pod):
        return None
    conditions = dig(pod, "status", "conditions", default=[])
    return next((parse_time(c.get("lastTransitionTime")) for c in conditions if c.get("type") == "Ready"), None)


def is_leaving(pod: Mapping[str, Any]) -> bool:
    """Whether somebody has deleted the pod, and it is finishing."""
    return dig(pod, "metadata", "deletionTimestamp") is not None


def is_over(pod: Mapping[str, Any]) -> bool:
    """Whether all containers of the pod have ended for good."""
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


def is_disrupted(pod: Mapping[str, Any]) -> bool:
    """Whether the cluster ended the pod for its own reasons (eviction, preemption, node loss)."""
    return any(
        c.get("type") == "DisruptionTarget" and c.get("status") == "True"
        for c in dig(pod, "status", "conditions", default=[])
    )


def memory_limit(pod: Mapping[str, Any], container: str) -> str:
    """The memory limit of a container as written, or the words for none."""
    for spec in dig(pod, "spec", "containers", default=[]):
        if spec.get("name") == container:
            return str(dig(spec, "resources", "limits", "memory", default="the node's free memory"))
    return "the node's free memory"


def trouble(pod: Mapping[str, Any]) -> Trouble | None:
    """What keeps *pod* from starting or running; None if nothing does."""
    for condition in dig(pod, "status", "conditions", default=[]):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Trouble(
                Reason.UNSCHEDULABLE,
                f"no node takes the pod: {condition.get('message', '')} Free resources, add a node, or ask for less in spec.cluster.resources",
            )
    for container in containers(pod).values():
        found = _container_trouble(pod, container)
        if found:
            return found
    return None


def _container_trouble(pod: Mapping[str, Any], container: Container) -> Trouble | None:
    name = container.name
    if container.state == "waiting" and container.reason in _PULL:
        return Trouble(
            Reason.IMAGE_PULL_FAILED,
            f"image of container {name} can't be pulled ({container.reason}): {container.message}",
        )
    if container.state == "waiting" and container.reason in _CANNOT_START:
        return Trouble(
            Reason.CONTAINER_CANNOT_START, f"container {name} can't start ({container.reason}): {container.message}"
        )
    return _ended_trouble(pod, container)


def _ended_trouble(pod: Mapping[str, Any], container: Container) -> Trouble | None:
    """Why a container ended, now or before it was started again."""
    name = container.name
    terminated = container.state == "terminated"
    reason = container.reason if terminated else container.last_reason
    exit_code = container.exit_code if terminated else container.last_exit_code
    message = container.message if terminated else container.last_message
    if exit_code in (None, 0):
        return None
    if reason == "OOMKilled":
        return Trouble(
            Reason.OUT_OF_MEMORY,
            f"container {name} was killed for using more memory than {memory_limit(pod, name)}; raise spec.cluster.resources.limits.memory",
        )
    said = message or "it said nothing"
    if name == "fetch":
        return Trouble(Reason.DOWNLOAD_FAILED, said)
    return Trouble(Reason.CRASH_LOOP, f"container {name} ended with exit code {exit_code}: {said}")
