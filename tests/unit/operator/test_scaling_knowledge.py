"""What is remembered of each scaled variant: start-up times, capacity, and where they come from after a restart."""

from datetime import datetime
from typing import Any

import pytest

from sagebrush.api.scaling_status import CapacityStatus, ScalingDecision, ScalingStatus, StartupStatus
from sagebrush.backends.scaling_knowledge import ScalingKnowledge, Variant
from sagebrush.core.resource import Manifest
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Cadence, Capacity, Knowledge
from sagebrush.core.scaling.history import History
from tests.unit.operator.builders import at, serving_pod, stamp

MODEL = Variant("uid-1", "AllTraffic")


def told(**more: Any) -> ScalingStatus:
    return ScalingStatus(desired_replicas=1, reason="WithinTarget", message="", **more)


def known(
    memory: ScalingKnowledge, before: ScalingStatus | None = None, *, revision: str = "r1", variant: Variant = MODEL
) -> Knowledge:
    return memory.of(variant, before=before, revision=revision, cadence=Cadence())


def started(created: float, ready: float | None, *, name: str = "pod-0") -> Manifest:
    """A pod of the endpoint, made and ready at these seconds."""
    body = serving_pod("r1", name=name, ready=ready is not None)
    body["metadata"]["creationTimestamp"] = stamp(created)
    if ready is not None:
        body["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(ready)}]
    return body


def recent(memory: ScalingKnowledge, before: ScalingStatus | None = None) -> tuple[float, ...]:
    startup = known(memory, before).startup
    return startup.recent if startup else ()


def see(memory: ScalingKnowledge, *pods: Manifest, now: float, before: ScalingStatus | None = None) -> None:
    memory.pods_seen(MODEL, pods, before=before, now=at(now))


def test_start_must_be_timed_once_from_creation_to_ready() -> None:
    """Each pod gives one time, however often it is seen, also where it lost its readiness and found it again."""
    memory = ScalingKnowledge()
    see(memory, now=0)
    see(memory, started(10, None), now=12)
    assert () == recent(memory)
    see(memory, started(10, 14), now=14)
    see(memory, started(10, 14), started(20, 29, name="pod-1"), now=30)
    see(memory, started(10, 100), started(20, 29, name="pod-1"), now=100)
    assert (4.0, 9.0) == recent(memory)
    startup = known(memory).startup
    assert startup is not None
    assert (4.0, 9.0) == (startup.p50_seconds, startup.p90_seconds)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (started(-100, 5), ()),  # made before we looked: it may have been ready before, and lost it
        (started(10, 10), (1.0,)),  # whole seconds: within one is not no time
        (started(10, 3), (1.0,)),  # clocks of nodes differ
        (started(10, None), ()),
    ],
)
def test_start_must_not_be_guessed(pod: Manifest, expected: tuple[float, ...]) -> None:
    """A time that was not seen from its begin is not taken for one."""
    memory = ScalingKnowledge()
    see(memory, now=0)
    see(memory, pod, now=20)
    assert expected == recent(memory)


def test_times_must_be_the_newest_twenty_and_outlive_the_process() -> None:
    """They live in status, and go on from there."""
    before = told(startup=StartupStatus(p50_seconds=5, p90_seconds=5, recent=[5.0] * 20))
    memory = ScalingKnowledge()
    see(memory, now=0, before=before)
    see(memory, started(10, 14), now=20, before=before)
    assert (*[5.0] * 19, 4.0) == recent(memory, before)


def capacity(seconds: float | None, *, revision: str | None = "r1", rate: float = 50) -> CapacityStatus:
    return CapacityStatus(
        requests_per_second=rate,
        source="Tested",
        measured_at=None if seconds is None else at(seconds),
        revision=revision,
    )


def decision(found: Capacity | None, *, before: int = 1, after: int = 1, when: datetime | None = None) -> Decision:
    return Decision(after, before, ScalingReason.WITHIN_TARGET, "", History(last_scale_out=when), capacity=found)


@pytest.mark.parametrize(
    ("ours", "status", "expected"),
    [
        (None, capacity(0), 50),
        (Capacity(40, source="Learned", measured_at=at(5), revision="r1"), capacity(0), 40),
        (Capacity(40, source="Learned", measured_at=at(5), revision="r1"), capacity(9), 50),
        (Capacity(40, source="Stated"), capacity(0), 50),
        (Capacity(40, source="Learned", measured_at=at(5), revision="r1"), None, 40),
        (None, capacity(0, revision="r0"), None),
        (None, capacity(0, revision=None), 50),
        (None, None, None),
    ],
)
def test_capacity_must_be_the_newest_of_this_revision(
    ours: Capacity | None, status: CapacityStatus | None, expected: float | None
) -> None:
    """Status is written by capacity tests as well; what another revision could do says nothing of this one."""
    memory = ScalingKnowledge()
    memory.acted(MODEL, decision(ours))
    found = known(memory, told(capacity=status)).capacity
    assert expected == (found.requests_per_second if found else None)


def instances(
    memory: ScalingKnowledge, serving: int, *, settled: bool, now: float, before: ScalingStatus | None = None
) -> None:
    memory.instances_seen(MODEL, before=before, serving=serving, settled=settled, at=at(now))


def test_instances_must_be_timed_from_the_decision_to_in_service() -> None:
    """A second growth while the first is under way ends with it; a description from before says nothing."""
    memory = ScalingKnowledge()
    memory.acted(MODEL, decision(None, before=1, after=3, when=at(0)))
    instances(memory, 1, settled=True, now=-30)
    instances(memory, 1, settled=False, now=20)
    memory.acted(MODEL, decision(None, before=3, after=4, when=at(60)))
    instances(memory, 4, settled=True, now=360)
    instances(memory, 4, settled=True, now=400)
    assert (360.0,) == recent(memory)


@pytest.mark.parametrize(("after", "serving"), [(3, 1), (1, 1)])
def test_refused_and_smaller_must_not_be_timed(after: int, serving: int) -> None:
    """Instances that AWS had not, and those that went, took no time to start."""
    memory = ScalingKnowledge()
    memory.acted(MODEL, decision(None, before=2, after=after, when=at(0)))
    instances(memory, serving, settled=True, now=300)
    assert () == recent(memory)


def test_instances_on_the_way_must_be_timed_by_the_next_operator() -> None:
    """What was asked for before a restart is in status."""
    asked = ScalingDecision(time=at(0), from_replicas=1, to_replicas=3, reason="")
    memory, before = ScalingKnowledge(), told(decisions=[asked])
    instances(memory, 1, settled=False, now=100, before=before)
    instances(memory, 3, settled=True, now=350, before=before)
    assert (350.0,) == recent(memory, before)
    later = ScalingKnowledge()
    instances(later, 3, settled=True, now=900, before=before)
    assert () == recent(later, before)


def test_memory_must_go_with_the_object() -> None:
    """A namesake made anew starts with nothing."""
    memory = ScalingKnowledge()
    memory.acted(MODEL, decision(Capacity(40)))
    other = Variant("uid-2", "AllTraffic")
    memory.acted(other, decision(Capacity(30)))
    memory.keep_only({"uid-2"})
    assert known(memory).capacity is None
    assert known(memory, variant=other).capacity is not None
