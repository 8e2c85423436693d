"""Queue, executor and controller: whatever breaks, the next pass goes on."""

import asyncio
import contextlib
import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sagebrush.api.meta import Backend
from sagebrush.backends.cluster import ClusterModelEndpoints, ClusterTrainingJobs
from sagebrush.core.plan import ErrorClass
from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError
from sagebrush.kube.events import EventRecorder
from sagebrush.metrics.exporter import OperatorMetrics
from sagebrush.runtime.controller import Controller
from sagebrush.runtime.executor import error_class
from sagebrush.runtime.workqueue import WorkQueue
from tests.fakes.kubernetes import FakeClient
from tests.fakes.metrics import FakeMetrics, sources
from tests.unit.operator.builders import (
    ARTIFACT,
    DEFAULTS,
    DISRUPTED,
    NOON,
    body,
    ended,
    endpoint_document,
    job_document,
    job_finished,
    our_job,
    pod,
    running,
    scaling,
    uploaded,
)

KEYS = st.sampled_from("abc")


class QueueMachine(RuleBasedStateMachine):
    """Any order of add, add_after, get and done, with time passing."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue: WorkQueue[str] = WorkQueue(clock=lambda: self.now, jitter=lambda: 0.5)
        self.wanted: dict[str, float] = {}  # by when a key must come
        self.asked: dict[str, list[float]] = {key: [] for key in "abc"}  # when it may come: once more does no harm
        self.working: set[str] = set()

    def _want(self, key: str, due: float) -> None:
        self.wanted[key] = min(due, self.wanted.get(key, due))
        self.asked[key].append(due)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self._want(key, self.now)

    @rule(key=KEYS, seconds=st.floats(0.5, 30))
    def add_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)
        self._want(key, self.now + seconds)

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def get(self) -> None:
        due = {key for key, time in self.wanted.items() if time <= self.now and key not in self.working}
        self.queue._promote()
        if not len(self.queue):
            assert set() == due
            return
        coroutine = self.queue.get()
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        key = stopped.value.value
        assert key not in self.working
        assert min(self.asked[key]) <= self.now
        self.asked[key] = [time for time in self.asked[key] if time > self.now]
        self.working.add(key)
        self.wanted.pop(key, None)

    @rule(key=KEYS)
    def done(self, key: str) -> None:
        if key in self.working:
            self.working.discard(key)
            self.queue.done(key)

    @invariant()
    def never_twice_in_line(self) -> None:
        assert len(set(self.queue._waiting)) == len(self.queue._waiting)


QueueMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestQueue = QueueMachine.TestCase
"""Never twice at work, nothing lost, nothing early, and of several delays the earliest counts."""


def test_backoff_must_double_within_bounds() -> None:
    """From half a second to five minutes, ±20 %, and small again after a success."""
    for jitter in (0.0, 1.0):
        queue: WorkQueue[str] = WorkQueue(clock=lambda: 0.0, jitter=lambda jitter=jitter: jitter)
        factor = 0.8 + 0.4 * jitter
        assert [pytest.approx(0.5 * 2**n * factor) for n in range(5)] == [queue.retry("a") for _ in range(5)]
        assert pytest.approx(300 * factor) == [queue.retry("a") for _ in range(40)][-1]
        queue.forget("a")
        assert (0, pytest.approx(0.5 * factor)) == (queue.attempts("a"), queue.retry("a"))
        assert 60 == queue.retry("b", at_least_seconds=60)
        assert pytest.approx(25 * factor) == [queue.retry("c", at_most_seconds=25) for _ in range(40)][-1]


def test_nudge_must_not_shorten_a_back_off() -> None:
    """Metrics come every few seconds: they hurry a key along, but not one that failed and waits."""
    now = 0.0
    queue: WorkQueue[str] = WorkQueue(clock=lambda: now)
    queue.nudge("a")
    queue.retry("b")
    queue.nudge("b")
    assert 1 == len(queue)
    queue.forget("b")
    queue.nudge("b")
    assert 2 == len(queue)
    queue.retry("c", at_least_seconds=300)
    now = 301.0
    queue._promote()
    assert 3 == len(queue)
    assert set() == queue._held


def test_news_must_not_take_the_place_of_what_was_put_off() -> None:
    """A key that is added meanwhile still comes when it was to come: a look that is due is not lost to a chance event."""
    now = 0.0
    queue: WorkQueue[str] = WorkQueue(clock=lambda: now)
    queue.add_after("a", 60)
    queue.add("a")
    with pytest.raises(StopIteration):
        queue.get().send(None)
    queue.done("a")
    now = 60.0
    queue._promote()
    assert 1 == len(queue)


def test_coming_back_must_spread() -> None:
    """What began together does not come together for ever, and never later than asked."""
    for jitter, expected in ((0.0, 60.0), (1.0, 51.0)):
        queue: WorkQueue[str] = WorkQueue(clock=lambda: 0.0, jitter=lambda jitter=jitter: jitter)
        queue.come_back("a", 60)
        assert expected == queue._due["a"]


async def test_delay_must_pass_as_fast_as_the_clock() -> None:
    """A minute is a hundredth of a second where the clock runs 6000 times as fast."""
    loop = asyncio.get_running_loop()
    queue: WorkQueue[str] = WorkQueue(clock=lambda: loop.time() * 6000, speed=6000)
    queue.add_after("a", 60)
    assert "a" == await asyncio.wait_for(queue.get(), 5)


@pytest.mark.parametrize("delays", [(5, 60), (60, 5)])
def test_earliest_delay_must_win(delays: tuple[int, int]) -> None:
    """A later wish does not put off an earlier one, whichever came first."""
    now = 0.0
    queue: WorkQueue[str] = WorkQueue(clock=lambda: now)
    for seconds in delays:
        queue.add_after("a", seconds)
    now = 5.0
    queue._promote()
    assert 1 == len(queue)


async def test_get_must_wait_for_what_comes() -> None:
    """A worker that waits gets the key as soon as it is there."""
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert "a" == await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError(400, ""), ErrorClass.INVALID),
        (ApiError(422, ""), ErrorClass.INVALID),
        (ApiError(401, ""), ErrorClass.DENIED),
        (ApiError(403, ""), ErrorClass.DENIED),
        (ApiError(404, ""), ErrorClass.TRANSIENT),
        (ApiError(409, ""), ErrorClass.TRANSIENT),
        (ApiError(429, ""), ErrorClass.UNREACHABLE),
        (ApiError(503, ""), ErrorClass.UNREACHABLE),
        (ApiError(0, ""), ErrorClass.UNREACHABLE),
        (ConnectionResetError(), ErrorClass.UNREACHABLE),
        (TimeoutError(), ErrorClass.UNREACHABLE),
        (ApiError(418, ""), ErrorClass.BUG),
        (KeyError("x"), ErrorClass.BUG),
    ],
)
def test_error_must_have_its_class(error: Exception, expected: ErrorClass) -> None:
    """One table says how an error is answered."""
    assert expected == error_class(error)


class World:
    """A controller over a fake API server, one pass at a time."""

    def __init__(self, client: FakeClient | None = None) -> None:
        self.client = client or FakeClient()
        self.cache = Cache()
        self.metrics = FakeMetrics()
        self.now = 0.0
        self.queue: WorkQueue[Key] = WorkQueue(clock=lambda: self.now)
        self.endpoints = ClusterModelEndpoints(
            cache=self.cache, client=self.client, defaults=DEFAULTS, scaling=sources(self.metrics)
        )
        jobs = ClusterTrainingJobs(cache=self.cache, client=self.client, defaults=DEFAULTS)
        self.controller = Controller(
            backend=Backend.CLUSTER,
            queue=self.queue,
            cache=self.cache,
            client=self.client,
            kinds={"TrainingJob": jobs, "ModelEndpoint": self.endpoints},
            recorder=EventRecorder(self.client, instance="op", clock=lambda: NOON),
            metrics=OperatorMetrics(),
            clock=lambda: NOON,
        )

    def see(self, manifest: Manifest) -> Key:
        self.cache.put(self.client.add(manifest))
        return Key(manifest["kind"], "demo", manifest["metadata"]["name"])

    async def work(self, key: Key) -> None:
        """One pass of a worker over *key*."""
        self.queue.add(key)
        worker = asyncio.create_task(self.controller._work())
        while len(self.queue) or key in self.queue._working:
            await asyncio.sleep(0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    def status(self, key: Key) -> Manifest:
        return self.client.objects[key].get("status", {})

    def condition(self, key: Key, kind: str) -> tuple[str, str]:
        found = next(c for c in self.status(key)["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def delay(self, key: Key) -> float | None:
        return self.queue._due.get(key)


@pytest.mark.parametrize("crash_after", range(5))
async def test_crash_must_cost_nothing(crash_after: int) -> None:
    """Killed between any two writes, the next operator goes on from what it sees, and does nothing twice."""
    world = World()
    key = world.see(body("TrainingJob", job_document(instanceCount=2)))

    class Killed(BaseException):
        pass

    def fault(_: str) -> None:
        if len(world.client.writes) == crash_after:
            raise Killed

    world.client.fault = fault
    with contextlib.suppress(Killed):
        await world.controller._reconcile(key)
    world.client.fault = lambda _: None
    again = World(world.client)
    for manifest in list(world.client.objects.values()):
        again.cache.put(manifest)
    await again.work(key)
    await again.work(key)
    assert {"Job": 1, "Service": 1} == {kind: again.client.writes.count(f"apply {kind}") for kind in ("Job", "Service")}
    assert "Pending" == again.status(key)["phase"]
    writes = len(again.client.writes)
    await again.work(key)
    assert writes == len(again.client.writes)


async def test_refused_manifest_must_wait_for_a_change() -> None:
    """
    422: Stalled with InvalidSpec and the server's words, and not tried again before the generation changes, but for one
    try in ten minutes and by each process, since what refuses it may lie elsewhere.
    """
    world = World()
    key = world.see(body("TrainingJob", job_document()))
    world.client.refuse("apply Job", 422, "spec.x: must be y")
    await world.work(key)
    assert ("True", "InvalidSpec") == world.condition(key, "Stalled")
    assert (world.delay(key) or 0) >= 600
    world.client.fault = lambda _: None
    await world.work(key)
    assert [] == world.client.of_kind("Job")
    restarted = World(world.client)
    restarted.see(world.client.objects[key])
    await restarted.work(key)
    assert 1 == len(world.client.of_kind("Job"))
    del world.client.objects[Key("Job", "demo", "kdd")]
    changed = world.client.objects[key]
    changed["metadata"]["generation"] = 2
    world.see(changed)
    await world.work(key)
    assert 1 == len(world.client.of_kind("Job"))


@pytest.mark.parametrize(
    ("status", "reason", "low", "high"),
    [(403, "PermissionDenied", 300, 300), (500, "ApplyFailed", 0.4, 0.6), (409, "ApplyFailed", 0.4, 0.6)],
)
async def test_failed_write_must_be_tried_again(status: int, reason: str, low: float, high: float) -> None:
    """What may pass is tried again, soon or slowly, and said meanwhile."""
    world = World()
    key = world.see(body("TrainingJob", job_document()))
    world.client.refuse("apply Job", status)
    await world.work(key)
    assert low <= (world.delay(key) or 0) <= high
    if status != 403:
        assert {} == world.status(key), "what mends itself at once is not told"
        await world.work(key)
        await world.work(key)
    assert ("True", reason) == world.condition(key, "Reconciling")
    world.client.fault = lambda _: None
    await world.work(key)
    assert 1 == len(world.client.of_kind("Job"))


@pytest.mark.parametrize("write", ["apply Job", "apply TrainingJob/status"])
async def test_outage_of_the_api_must_not_outlast_itself(write: str) -> None:
    """However long the API server did not answer, half a minute after it does all goes on."""
    world = World()
    key = world.see(body("TrainingJob", job_document()))
    world.client.refuse(write, 503)
    for _ in range(20):
        await world.work(key)
        due = world.queue._due.pop(key)
        assert due <= 30
    assert due >= 20


async def outgrown(world: World) -> Key:
    """An endpoint with one replica, of which four are needed since its last pass."""
    key = world.see(body("ModelEndpoint", endpoint_document(scaling=scaling())))
    await world.work(key)
    world.metrics.rate = 390
    return key


async def test_change_must_be_recorded_though_status_could_not_be_written() -> None:
    """The number was changed when the status could not be written: the next pass writes the record, and tells of it once."""
    world = World()
    key = await outgrown(world)
    world.client.refuse("apply ModelEndpoint/status", 503)
    for _ in range(3):
        await world.work(key)
    assert 4 == world.client.of_kind("Deployment")[0]["spec"]["replicas"]
    assert [] == world.status(key)["scaling"].get("decisions", [])
    world.client.fault = lambda _: None
    for _ in range(2):
        await world.work(key)
    record = world.status(key)["scaling"]["decisions"]
    assert [(1, 4)] == [(each["fromReplicas"], each["toReplicas"]) for each in record]
    assert 1 == [event["reason"] for event in world.client.of_kind("Event")].count("Scaled")


async def test_late_status_must_not_undo_what_others_wrote() -> None:
    """Where somebody else has written status meanwhile, such as a capacity test, theirs is what the next pass goes on from."""
    world = World()
    key = await outgrown(world)
    world.client.refuse("apply ModelEndpoint/status", 503)
    await world.work(key)
    tested = {"requestsPerSecond": 12.5, "concurrency": 1, "source": "Tested", "measuredAt": "2026-08-01T12:00:00Z"}
    there = world.client.objects[key]
    world.see({**there, "status": {**there["status"], "scaling": {**there["status"]["scaling"], "capacity": tested}}})
    world.client.fault = lambda _: None
    await world.work(key)
    assert 12.5 == world.status(key)["scaling"]["capacity"]["requestsPerSecond"]
    assert 1 == [event["reason"] for event in world.client.of_kind("Event")].count("Scaled")


async def test_verdict_must_be_held_against_the_pods_as_they_are() -> None:
    """Where the Job's event overtook its pod's, the pod is asked for before anything final is said."""
    world = World()
    key = world.see(body("TrainingJob", job_document()))
    world.see(job_finished("Complete"))
    parts = (ended("fetch"), ended("train"), ended("agent", message=uploaded()))
    world.see(pod(running("train")))
    world.client.add(pod(*parts, phase="Succeeded"))
    await world.work(key)
    assert ("Completed", ARTIFACT) == (world.status(key)["phase"], world.status(key)["modelArtifact"]["uri"])


async def test_job_must_wait_for_pods_of_an_earlier_one() -> None:
    """A pod of a Job that is gone may yet upload: no new Job before it has ended."""
    world = World()
    key = world.see(body("TrainingJob", job_document()))
    world.see(pod(running("agent")))
    await world.work(key)
    assert ([], ("True", "Replacing")) == (world.client.of_kind("Job"), world.condition(key, "Reconciling"))
    world.see(pod(ended("agent", message=uploaded()), phase="Succeeded"))
    await world.work(key)
    assert 1 == len(world.client.of_kind("Job"))


async def test_endpoint_must_read_a_job_of_another_version() -> None:
    """A field of the job that this version does not know is no fault of the endpoint that waits for it."""
    world = World()
    world.see(body("TrainingJob", job_document(fieldOfTomorrow=1)))
    key = world.see(body("ModelEndpoint", endpoint_document(model={"trainingJobRef": {"name": "kdd"}})))
    await world.work(key)
    assert ("True", "WaitingForTrainingJob") == world.condition(key, "Reconciling")


async def test_status_of_the_deleted_must_not_matter() -> None:
    """An object deleted during a pass is no error: the watch will say so."""
    world = World()
    key = world.see(body("TrainingJob", job_document()))
    del world.client.objects[key]
    await world.work(key)
    assert world.delay(key) is None


async def test_bad_spec_must_stall_by_name() -> None:
    """A pattern that RE2 refuses runs nothing, and is named."""
    world = World()
    metric = {"name": "acc", "regex": "(a"}
    key = world.see(body("TrainingJob", job_document(algorithm={"image": "m", "metricDefinitions": [metric]})))
    await world.work(key)
    assert ("True", "InvalidSpec") == world.condition(key, "Stalled")
    assert "metricDefinitions[acc].regex: missing ): (a" in world.status(key)["conditions"][0]["message"]
    assert [] == world.client.of_kind("Job")


async def test_newer_status_must_not_wedge_an_older_operator() -> None:
    """A status field that this version does not know is passed over."""
    world = World()
    key = world.see({**body("TrainingJob", job_document()), "status": {"phase": "Completed", "fromTheFuture": 1}})
    await world.work(key)
    assert ([], None) == (world.client.of_kind("Job"), world.delay(key))


async def test_pods_of_a_namesake_must_not_count() -> None:
    """A TrainingJob that was deleted and applied again is not judged by its predecessor's pods."""
    world = World()
    key = world.see(body("TrainingJob", job_document(), uid="uid-new"))
    old = pod(ended("train", 1, "old"), phase="Failed")
    old["metadata"]["ownerReferences"] = [{"uid": "uid-of-the-old-job"}]
    world.see(old)
    await world.work(key)
    assert "Pending" == world.status(key)["phase"]
    await world.work(key)
    assert "Pending" == world.status(key)["phase"]


async def test_history_must_not_outrun_the_writes() -> None:
    """A scaling history is kept only once its replicas are written: else a cooldown would begin for nothing."""
    world = World()
    key = await outgrown(world)
    world.client.refuse("apply Deployment", 500)
    await world.work(key)
    assert world.endpoints._histories["uid-1"].last_scale_out is None
    world.client.fault = lambda _: None
    await world.work(key)
    assert NOON == world.endpoints._histories["uid-1"].last_scale_out
    assert 4 == world.client.of_kind("Deployment")[0]["spec"]["replicas"]
    del world.client.objects[key]
    world.cache.remove(body("ModelEndpoint", endpoint_document()))
    await world.work(key)
    assert {} == world.endpoints._histories


async def test_metrics_must_come_from_the_run_that_counts() -> None:
    """The log of an interrupted pod gives no final metrics; that of the pod that ended does."""
    world = World()
    world.client.logs = ["#quality_metric: host=algo-1, validation binary_classification_accuracy <score>=0.95"]
    key = world.see(body("TrainingJob", job_document()))
    job = our_job()
    world.see(job)
    world.see(pod(ended("train"), conditions=DISRUPTED, phase="Failed"))
    await world.work(key)
    assert [] == world.status(key)["metrics"]
    world.see(pod(ended("train"), running("agent"), name="pod-1"))
    await world.work(key)
    assert [{"name": "validation:binary_classification_accuracy", "value": 0.95}] == world.status(key)["metrics"]


async def test_bug_must_not_stop_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """An error of our own is logged with its traceback, and tried again later."""
    world = World()
    key = world.see({**body("TrainingJob", job_document()), "status": "nonsense"})
    with caplog.at_level(logging.ERROR):
        await world.work(key)
    assert "bug in the operator" in caplog.text
    assert world.delay(key) is not None
