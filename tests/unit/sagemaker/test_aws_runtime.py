"""How the controller answers AWS' errors, and how objects find the line of their backend."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagebrush.api.meta import Backend
from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core.conditions import Outlook, set_conditions, summary
from sagebrush.core.plan import Announcement, Plan
from sagebrush.core.resource import Key, Manifest, Meta
from sagebrush.core.sagemaker.calls import Account, AwsError, Call, Problem, Service
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, ScalingReason
from sagebrush.kube.cache import Cache
from sagebrush.kube.events import EventRecorder
from sagebrush.metrics.exporter import OperatorMetrics
from sagebrush.runtime.controller import Controller
from sagebrush.runtime.dispatch import Dispatch
from sagebrush.runtime.workqueue import WorkQueue
from tests.fakes.kubernetes import FakeClient

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("ModelEndpoint", "demo", "kdd")
ACCOUNT = Account("eu-west-1")
CREATE = Call(ACCOUNT, Service.SAGEMAKER, "CreateEndpoint", {"EndpointName": "kdd"})


class Gateway:
    """Answers calls as the test says, and remembers them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answer: Callable[[Call], Mapping[str, Any]] = lambda _: {}

    async def act(self, call: Call) -> Mapping[str, Any]:
        self.calls.append(call.operation)
        return self.answer(call)

    async def read(self, account: Account, **_: Any) -> Mapping[str, Any] | None:
        raise NotImplementedError

    async def tags(self, account: Account, **_: Any) -> Mapping[str, str]:
        raise NotImplementedError


class OneCall:
    """A kind whose plan is always the same calls."""

    def __init__(self, *calls: Call) -> None:
        self.calls = calls
        self.unseen: AwsError | None = None
        self.acted_on = 0
        self.watched = 0
        self.meanwhile: Plan[Any] | None = None

    async def plan(self, key: Key, body: Manifest, *, now: datetime) -> Plan[Any]:
        if self.unseen:
            raise self.unseen
        return Plan(
            status=self._status("Creating", Outlook.PROGRESSING), actions=self.calls, requeue_after=timedelta(seconds=2)
        )

    async def watch(self, key: Key, body: Manifest, *, now: datetime) -> Plan[Any] | None:
        self.watched += 1
        return self.meanwhile

    def _status(self, reason: str, outlook: Outlook, message: str = "") -> ModelEndpointStatus:
        conditions = set_conditions([], summary(outlook, reason=reason, message=message), generation=1, now=NOON)
        return ModelEndpointStatus(conditions=conditions)

    def acted(self, meta: Meta, plan: Plan[Any]) -> None:
        self.acted_on += 1

    def forget(self, key: Key) -> None:
        pass

    def stalled(
        self, meta: Meta, body: Manifest, *, reason: str, message: str, final: bool, now: datetime
    ) -> Plan[Any]:
        outlook = Outlook.STALLED if final else Outlook.PROGRESSING
        status = self._status(reason, outlook, message)
        return Plan(status=status, events=(Announcement(reason, message, warning=True),))


class World:
    """A controller of backend SageMaker over fakes, one pass at a time."""

    def __init__(self, *calls: Call) -> None:
        self.now = 0.0
        self.client, self.cache, self.gateway = FakeClient(), Cache(), Gateway()
        self.metrics = OperatorMetrics()
        self.queue: WorkQueue[Key] = WorkQueue(clock=lambda: self.now, jitter=lambda: 0.5)
        self.kind = OneCall(*(calls or (CREATE,)))
        self.controller = Controller(
            backend=Backend.SAGEMAKER,
            queue=self.queue,
            cache=self.cache,
            client=self.client,
            kinds={"ModelEndpoint": self.kind},
            recorder=EventRecorder(self.client, instance="op", clock=lambda: NOON),
            metrics=self.metrics,
            gateway=self.gateway,
            slow_retry_seconds=300.0,
            clock=lambda: NOON,
        )
        self.see(endpoint("SageMaker"))

    def see(self, body: Manifest) -> None:
        self.cache.put(self.client.add(body))

    async def work(self) -> None:
        self.queue.add(KEY)
        worker = asyncio.create_task(self.controller._work())
        while len(self.queue) or KEY in self.queue._working:
            await asyncio.sleep(0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    def ready(self) -> tuple[str, str]:
        found = self.client.objects[KEY].get("status", {}).get("conditions", [])
        return next(((each["reason"], each["message"]) for each in found if each["type"] == "Ready"), ("", ""))

    def due(self) -> float:
        return self.queue._due.get(KEY, -1.0) - self.now


def endpoint(backend: str | None) -> Manifest:
    spec: dict[str, Any] = {"backend": backend} if backend else {}
    metadata = {"name": "kdd", "namespace": "demo", "uid": "u1", "generation": 1, "resourceVersion": "1"}
    return {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "ModelEndpoint", "metadata": metadata, "spec": spec}


def refused(problem: Problem, message: str = "AWS says no") -> Callable[[Call], Mapping[str, Any]]:
    def answer(call: Call) -> Mapping[str, Any]:
        raise AwsError(problem, message, operation=call.operation)

    return answer


@pytest.mark.parametrize(
    ("problem", "reason", "seconds"),
    [
        (Problem.INVALID, "InvalidSpec", 601.0),
        (Problem.DENIED, "PermissionDenied", 300.0),
        (Problem.QUOTA, "QuotaExceeded", 300.0),
        (Problem.BUSY, "", 5.0),
        (Problem.THROTTLED, "", 0.5),
        (Problem.TRANSIENT, "", 0.5),
        (Problem.EXISTS, "", 0.5),
        (Problem.ABSENT, "", 0.5),
    ],
)
async def test_refused_call_must_be_answered_by_its_problem(problem: Problem, reason: str, seconds: float):
    """What only the user or the account's owner can mend is told at once and tried seldom; the rest is tried again soon."""
    world = World()
    world.gateway.answer = refused(problem)
    await world.work()
    assert (reason, seconds) == (world.ready()[0], pytest.approx(world.due()))
    assert ("AWS says no" in world.ready()[1]) is bool(reason)


@pytest.mark.parametrize(
    ("problem", "times", "reason"), [(Problem.TRANSIENT, 3, "ApplyFailed"), (Problem.THROTTLED, 5, "Throttled")]
)
async def test_lasting_trouble_must_be_told(problem: Problem, times: int, reason: str):
    """What does not mend itself after a few tries is in the condition."""
    world = World()
    world.gateway.answer = refused(problem)
    for _ in range(times - 1):
        await world.work()
    assert "" == world.ready()[0]
    await world.work()
    assert reason == world.ready()[0]


async def test_busy_endpoint_must_never_be_told_as_a_failure():
    """Another change under way is no fault, however long it takes."""
    world = World()
    world.gateway.answer = refused(Problem.BUSY)
    for _ in range(20):
        await world.work()
    assert "" == world.ready()[0]


async def test_refused_look_must_be_told_as_well():
    """A Describe that IAM denies is in the condition, with AWS' sentence."""
    world = World()
    world.kind.unseen = AwsError(Problem.DENIED, "no sagemaker:DescribeEndpoint for you", operation="DescribeEndpoint")
    await world.work()
    assert ("PermissionDenied", 300.0) == (world.ready()[0], pytest.approx(world.due()))
    assert "no sagemaker:DescribeEndpoint for you" in world.ready()[1]


async def test_call_that_need_not_be_made_must_be_fine():
    """Deleting what is gone is success."""
    gone = Call(ACCOUNT, Service.SAGEMAKER, "DeleteEndpoint", {"EndpointName": "kdd"}, frozenset({Problem.ABSENT}))
    world = World(gone, CREATE)
    world.gateway.answer = lambda call: refused(Problem.ABSENT)(call) if call is gone else {}
    await world.work()
    assert ["DeleteEndpoint", "CreateEndpoint"] == world.gateway.calls
    assert 1 == world.kind.acted_on


async def test_first_failure_must_end_the_calls():
    """A config whose model could not be made is not asked for."""
    world = World(CREATE, CREATE)
    world.gateway.answer = refused(Problem.QUOTA)
    await world.work()
    assert 1 == len(world.gateway.calls)
    assert 0 == world.kind.acted_on


async def test_success_must_be_looked_at_soon():
    """After a change the plan says when to look again; a little sooner, so that objects spread."""
    world = World()
    await world.work()
    assert ("Creating", pytest.approx(2.0 * (1 - 0.15 * 0.5))) == (world.ready()[0], world.due())


async def test_other_backends_object_must_be_left_alone():
    """An object made anew for another backend is that one's."""
    world = World()
    world.see(endpoint("Cluster"))
    await world.work()
    assert ([], 0) == (world.gateway.calls, world.kind.acted_on)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [("SageMaker", [Backend.SAGEMAKER]), ("Cluster", [Backend.CLUSTER]), (None, [Backend.CLUSTER])],
)
def test_object_must_wait_in_the_line_of_its_backend(backend: str | None, expected: list[Backend]):
    """AWS' budget delays nobody's pods."""
    lines: dict[Backend, WorkQueue[Key]] = {each: WorkQueue(clock=lambda: 0.0) for each in Backend}
    cache = Cache()
    cache.put(endpoint(backend))
    Dispatch(lines, cache).add(KEY)
    assert expected == [each for each, line in lines.items() if len(line)]


def test_object_that_is_gone_must_be_told_to_all():
    """Whoever kept something for it drops it."""
    lines: dict[Backend, WorkQueue[Key]] = {each: WorkQueue(clock=lambda: 0.0) for each in Backend}
    Dispatch(lines, Cache()).add(KEY)
    assert set(Backend) == {each for each, line in lines.items() if len(line)}


async def test_refused_spec_must_not_stop_what_serves():
    """While a spec waits for a change its calls are not repeated; what the kind does meanwhile is."""
    world = World()
    world.gateway.answer = refused(Problem.INVALID)
    await world.work()
    assert (["CreateEndpoint"], "InvalidSpec") == (world.gateway.calls, world.ready()[0])
    await world.work()
    assert (["CreateEndpoint"], 1) == (world.gateway.calls, world.kind.watched)
    resize = Call(ACCOUNT, Service.SAGEMAKER, "UpdateEndpointWeightsAndCapacities", {"EndpointName": "kdd"})
    world.gateway.answer = lambda _: {}
    world.kind.meanwhile = Plan(status=None, actions=(resize,), requeue_after=timedelta(seconds=2))
    await world.work()
    assert ["CreateEndpoint", "UpdateEndpointWeightsAndCapacities"] == world.gateway.calls
    assert "InvalidSpec" == world.ready()[0]


async def test_policy_of_a_variant_must_be_shown_and_told():
    """Where the only policy stands in a variant, and not in spec.scaling, its target is in the metrics, and status is written."""
    world = World()
    made = Decision(3, 1, ScalingReason.ABOVE_TARGET, "", History(), requests_per_minute=70.0)
    scaling = ScalingStatus(desired_replicas=3, target_requests_per_minute=30.0, reason="AboveTarget", message="")
    status = ModelEndpointStatus(scaling=scaling)

    async def plan(key: Key, body: Manifest, *, now: datetime) -> Plan[Any]:
        return Plan(status=status, decisions={"AllTraffic": made})

    world.kind.plan = plan  # type: ignore[method-assign]
    await world.work()
    assert 30.0 == world.client.objects[KEY]["status"]["scaling"]["targetRequestsPerMinute"]
    assert (
        b'sagebrush_scaler_target_requests_per_minute{endpoint="kdd",namespace="demo",variant="AllTraffic"} 30.0'
        in world.metrics.render()
    )
