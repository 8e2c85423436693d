"""Follows the two objects while they work: phases and messages as they pass, and samples for the report's picture."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from examples.demo.cluster import Cluster, Object
from examples.demo.progress import DemoError, say, show

SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a ModelEndpoint's status said at one moment."""

    time: datetime
    desired: int | None
    replicas: int
    ready: int
    requests_per_minute: float | None
    reason: str
    message: str

    @property
    def shape(self) -> tuple[int | None, int, int, str]:
        """Return what counts as a change worth showing."""
        return (self.desired, self.replicas, self.ready, self.reason)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One change of the number of replicas, from the endpoint's status."""

    time: datetime
    from_replicas: int
    to_replicas: int
    reason: str


def parse_time(text: str) -> datetime:
    """Read a Kubernetes time as an aware datetime in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def condition(thing: Object | None, kind: str) -> Object:
    """Return a condition of an object; an empty one, with status Unknown, where it has none."""
    for entry in ((thing or {}).get("status") or {}).get("conditions") or []:
        if entry["type"] == kind:
            found: Object = entry
            return found
    return {"type": kind, "status": "Unknown", "reason": "", "message": ""}


def outlook(thing: Object | None) -> str:
    """Return reason and message of Ready in a line, for people who wait."""
    ready = condition(thing, "Ready")
    if not ready["reason"]:
        return "nothing in its status yet; is the operator running?"
    return f"{ready['reason']}: {ready.get('message', '')}"


def sample_of(endpoint: Object, *, now: datetime) -> Sample:
    """Read a sample from a ModelEndpoint."""
    status = endpoint.get("status") or {}
    scaling = status.get("scaling") or {}
    return Sample(
        time=now,
        desired=scaling.get("desiredReplicas"),
        replicas=status.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
        requests_per_minute=scaling.get("observedRequestsPerMinute"),
        reason=scaling.get("reason", ""),
        message=scaling.get("message", ""),
    )


def decisions_of(endpoint: Object, *, since: datetime) -> list[Decision]:
    """Return the scaling decisions after a moment, oldest first. Their times are whole seconds or finer."""
    entries = (((endpoint.get("status") or {}).get("scaling")) or {}).get("decisions") or []
    found = [
        Decision(
            time=parse_time(entry["time"]),
            from_replicas=entry["fromReplicas"],
            to_replicas=entry["toReplicas"],
            reason=entry["reason"],
        )
        for entry in entries
    ]
    return sorted((d for d in found if d.time >= since.replace(microsecond=0)), key=lambda d: d.time)


@dataclass(kw_only=True)
class PhaseReader:
    """Prints each phase of a TrainingJob once, in order, even those that passed between two looks."""

    seen: int = 0
    lines: list[str] = field(default_factory=list)

    def read(self, job: Object) -> list[str]:
        """Return the lines about transitions not told before."""
        transitions = (job.get("status") or {}).get("transitions") or []
        fresh = []
        for entry in transitions[self.seen :]:
            message = f": {entry['message']}" if entry.get("message") else ""
            fresh.append(f"TrainingJob {job['metadata']['name']}  {entry['phase']:<12} {entry['startTime']}{message}")
        self.seen = len(transitions)
        self.lines += fresh
        return fresh


@dataclass(kw_only=True)
class MessageReader:
    """Prints what a ModelEndpoint says about itself whenever that changes."""

    last: tuple[str, str] = ("", "")

    def read(self, endpoint: Object | None) -> list[str]:
        """Return a line where reason or message of Ready are new."""
        ready = condition(endpoint, "Ready")
        now = (ready["reason"], ready.get("message", ""))
        if endpoint is None or now == self.last or not now[0]:
            return []
        self.last = now
        return [f"ModelEndpoint {endpoint['metadata']['name']}  {now[0]}: {now[1]}"]


def completed(job: Object | None) -> Object | None:
    """Return the job once Completed, None before. Raises DemoError with its own reason once it can't complete any more."""
    status = (job or {}).get("status") or {}
    phase = status.get("phase")
    if phase == "Completed":
        return job
    stalled = condition(job, "Stalled")
    if phase in {"Failed", "Stopped"} or stalled["status"] == "True":
        failure = status.get("failure") or {}
        why = failure.get("message") or stalled["message"] or condition(job, "Ready")["message"]
        raise DemoError(f"the TrainingJob is {phase or 'stalled'}: {why}")
    return None


def is_ready(endpoint: Object | None) -> Object | None:
    """Return the endpoint once Ready for its present spec, None before. Raises DemoError once it is stalled."""
    if endpoint is None:
        return None
    stalled, ready = condition(endpoint, "Stalled"), condition(endpoint, "Ready")
    if stalled["status"] == "True":
        raise DemoError(f"the ModelEndpoint is stalled ({stalled['reason']}): {stalled['message']}")
    current = endpoint["metadata"].get("generation") in {ready.get("observedGeneration"), None}
    return endpoint if ready["status"] == "True" and current else None


class Sampler:
    """Samples a ModelEndpoint every second in a thread, and shows `kubectl get modelendpoint` at each change."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        name: str,
        namespace: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; sampling begins with the `with` block."""
        self._cluster, self._name, self._namespace, self._clock = cluster, name, namespace, clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []
        self.endpoint: Object = {}
        self.table_text = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    @property
    def newest(self) -> Sample | None:
        """Return the newest sample, None before the first."""
        return self.samples[-1] if self.samples else None

    def describe(self) -> str:
        """Return the newest sample in a line."""
        sample = self.newest
        if sample is None:
            return "nothing seen yet"
        return f"{sample.ready} of {sample.desired} replicas ready; {sample.reason}: {sample.message}"

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + SAMPLE_SECONDS, time.monotonic())
            try:
                self._look()
            except (DemoError, json.JSONDecodeError) as error:
                say(f"a look at the endpoint failed, the next follows: {error}")

    def _look(self) -> None:
        endpoint = self._cluster.get("modelendpoint", self._name, namespace=self._namespace)
        if endpoint is None:
            return
        sample = sample_of(endpoint, now=self._clock())
        before = self.newest
        self.endpoint = endpoint
        self.samples.append(sample)
        if before is None or before.shape != sample.shape:
            self.table_text = self._cluster.ctl("get", "modelendpoint", self._name, "-n", self._namespace)
            say(f"{sample.reason or 'no policy yet'}: {sample.message}")
            show(self.table_text)


def calm_seconds(samples: list[Sample], *, replicas: int) -> float:
    """Return for how long, up to the newest sample, exactly so many replicas were wanted, there, and ready; -1 for not now."""
    calm = -1.0
    for sample in reversed(samples):
        if not sample.desired == sample.replicas == sample.ready == replicas:
            break
        calm = (samples[-1].time - sample.time).total_seconds()
    return calm


def metric(job: Object, *, prefix: str, containing: str) -> float | None:
    """Return a metric of a TrainingJob by the beginning and a part of its name, None where it has none."""
    entries: list[dict[str, Any]] = (job.get("status") or {}).get("metrics") or []
    for entry in entries:
        if entry["name"].startswith(prefix) and containing in entry["name"]:
            return float(entry["value"])
    return None
