"""Looks at both sides all the time: what SageMaker does, on its own clock, and what Kubernetes says of it."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from examples.demo.cluster import Cluster, Object
from examples.demo.progress import DemoError, say
from examples.demo.watch import MessageReader
from tests.sagemaker_simulator.control import Control

LOOK_SECONDS = 0.25
LOOKS_PER_OBJECT = 3
NAME_TAG = "sagebrush.dev/name"
DECIDING = {"AboveTarget", "BelowTarget", "EndpointBusy", "MetricsMissing", "MetricsStale", "AtMaximum"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look at one endpoint."""

    time: datetime
    """By this machine's clock."""
    virtual: float
    """By SageMaker's clock, Unix time."""
    status: str
    config: str
    current: int
    desired: int
    """Instances that SageMaker was asked for."""
    failure: str = ""

    @property
    def shape(self) -> tuple[str, int, int]:
        """Return what counts as a change worth showing."""
        return (self.status, self.current, self.desired)


def clock(virtual: float) -> str:
    """Return SageMaker's time as people write it."""
    return datetime.fromtimestamp(virtual, UTC).strftime("%H:%M:%S")


def endpoints_of(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the endpoints of all accounts by the name of their ModelEndpoint."""
    found = (endpoint for region in state.values() for endpoint in region["endpoints"].values())
    return {endpoint["Tags"].get(NAME_TAG, endpoint["EndpointName"]): endpoint for endpoint in found}


def sample_of(endpoint: Mapping[str, Any], *, now: datetime, virtual: float) -> Sample:
    """Read a sample from DescribeEndpoint's answer."""
    variants = endpoint.get("ProductionVariants") or []
    return Sample(
        time=now,
        virtual=virtual,
        status=endpoint["EndpointStatus"],
        config=endpoint["EndpointConfigName"],
        current=sum(each.get("CurrentInstanceCount") or 0 for each in variants),
        desired=sum(each.get("DesiredInstanceCount") or 0 for each in variants),
        failure=endpoint.get("FailureReason") or "",
    )


def told(name: str, sample: Sample) -> str:
    """Return the line about a change in SageMaker."""
    text = "instance serves" if sample.current == 1 else "instances serve"
    wish = "" if sample.desired == sample.current else f", {sample.desired} asked for"
    counts = "" if sample.status == "Creating" else f": {sample.current} {text}{wish}"
    return f"SageMaker {clock(sample.virtual)}  {name}  {sample.status}{counts}"


@dataclass(kw_only=True)
class Following:
    """What was seen of one endpoint, and what was told of it."""

    samples: list[Sample] = field(default_factory=list)
    object: Object = field(default_factory=dict)
    messages: MessageReader = field(default_factory=MessageReader)
    scaling: str = ""
    hourly: list[float] = field(default_factory=list)
    """status.cost.hourly at each look."""
    busy: int = 0
    """Looks at which a decision was held since the endpoint was busy."""


class Watcher:
    """Looks several times a second in a thread, and says what has changed."""

    def __init__(self, cluster: Cluster, control: Control, *, namespace: str) -> None:
        """Prepare; looking begins with the `with` block."""
        self._cluster, self._control, self._namespace = cluster, control, namespace
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.followed: dict[str, Following] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def of(self, name: str) -> Following:
        """Return what was seen of an endpoint, by the name of its ModelEndpoint."""
        return self.followed.setdefault(name, Following())

    def newest(self, name: str) -> Sample | None:
        """Return the newest look at an endpoint, None before the first."""
        samples = self.of(name).samples
        return samples[-1] if samples else None

    def describe(self, name: str) -> str:
        """Return the newest of an endpoint in a line."""
        sample, following = self.newest(name), self.of(name)
        scaling = (following.object.get("status") or {}).get("scaling") or {}
        seen = told(name, sample) if sample else "nothing in SageMaker yet"
        return f"{seen}; {scaling.get('message', '')}".rstrip("; ")

    def _run(self) -> None:
        number = 0
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self._look_at_sagemaker()
                if number % LOOKS_PER_OBJECT == 0:
                    self._look_at_objects()
            except (DemoError, OSError, json.JSONDecodeError) as error:
                if not self._ended.is_set():
                    say(f"a look failed, the next follows: {error}")
                    time.sleep(1)
            number += 1

    def _look_at_sagemaker(self) -> None:
        virtual, state = float(self._control.time()["now"]), self._control.state()
        now = datetime.now(UTC)
        for name, endpoint in endpoints_of(state).items():
            following, sample = self.of(name), sample_of(endpoint, now=now, virtual=virtual)
            before = following.samples[-1] if following.samples else None
            following.samples.append(sample)
            if before is None or before.shape != sample.shape:
                say(told(name, sample))

    def _look_at_objects(self) -> None:
        listed = self._cluster.ctl("get", "modelendpoints", "-n", self._namespace, "-o", "json")
        for each in json.loads(listed)["items"]:
            following = self.of(each["metadata"]["name"])
            following.object = each
            for line in following.messages.read(each):
                say(line)
            scaling = (each.get("status") or {}).get("scaling") or {}
            reason = scaling.get("reason", "")
            following.busy += reason == "EndpointBusy"
            if reason != following.scaling and reason in DECIDING:
                say(f"policy {each['metadata']['name']}  {reason}: {scaling.get('message', '')}")
            following.scaling = reason
            following.hourly.append(((each.get("status") or {}).get("cost") or {}).get("hourly") or 0.0)
