"""Cache, Lease, Events and the watch's edge."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import Any

import aiohttp
import kopf
import pytest

from sagebrush import edge
from sagebrush.core.plan import Announcement
from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, KubernetesClient
from sagebrush.kube.events import EventRecorder
from sagebrush.kube.lease import DURATION, RENEW_DEADLINE, RENEW_EVERY, Leadership, Sighting, Step, step
from sagebrush.kube.resources import JOBS
from sagebrush.runtime.resync import Resync
from sagebrush.runtime.workqueue import WorkQueue
from tests.fakes.kubernetes import FakeClient
from tests.unit.operator.builders import NOON, at, body, endpoint_document, job_document, our_job, pod, running

JOB = Key("TrainingJob", "demo", "kdd")
ENDPOINT = Key("ModelEndpoint", "demo", "kdd")


def versioned(manifest: Manifest, version: int, uid: str | None = None) -> Manifest:
    metadata = {**manifest["metadata"], "resourceVersion": str(version)}
    return {**manifest, "metadata": {**metadata, "uid": uid} if uid else metadata}


def test_cache_must_find_children_by_owner() -> None:
    """A child is found by its owner, by kind, until it is removed."""
    cache = Cache()
    cache.put(pod(running("train")))
    cache.put(our_job())
    assert ["pod-0"] == [child["metadata"]["name"] for child in cache.children(JOB, kind="Pod")]
    cache.remove(pod())
    assert () == cache.children(JOB, kind="Pod")


def test_cache_must_not_go_back() -> None:
    """An older resourceVersion is ignored, also that of a namesake that was deleted before."""
    cache = Cache()
    assert cache.put(versioned(our_job(), 5))
    assert not cache.put(versioned(our_job({"active": 1}), 4))
    assert not cache.put(versioned(our_job(), 3, uid="older"))
    assert {} == (cache.get(Key("Job", "demo", "kdd")) or {})["status"]


def test_cache_must_keep_what_is_the_same() -> None:
    """A list shows an object again that has not changed: the one that is there stays, and is no news."""
    cache = Cache()
    first, again = (body("ModelEndpoint", endpoint_document(), version=7) for _ in range(2))
    assert (True, False) == (cache.put(first), cache.put(again))
    assert first is cache.get(Key("ModelEndpoint", "demo", "kdd"))
    cache.put(body("ModelEndpoint", endpoint_document(), version=8))
    assert first is not cache.get(Key("ModelEndpoint", "demo", "kdd"))


def test_cache_must_take_a_namesake() -> None:
    """A new object under the same name takes the place; the old one's deletion does not remove it."""
    cache = Cache()
    cache.put(versioned(our_job(), 5))
    assert cache.put(versioned(our_job(), 6, uid="new"))
    cache.remove(versioned(our_job(), 7))
    assert "new" == (cache.get(Key("Job", "demo", "kdd")) or {})["metadata"]["uid"]


def test_cache_must_not_bring_back_the_deleted() -> None:
    """An answer or a list that was under way while an object was deleted does not bring it back."""
    cache = Cache()
    cache.put(versioned(our_job(), 5))
    cache.remove(versioned(our_job(), 9))
    assert not cache.put(versioned(our_job(), 8))
    assert cache.get(Key("Job", "demo", "kdd")) is None


def test_cache_must_prune_ghosts_only() -> None:
    """What a list does not show is forgotten; what a watch has brought since the list was asked for stays."""
    cache = Cache()
    cache.put(pod(name="ghost"))
    cache.put(pod(name="changed"))
    before = cache.snapshot("Pod")
    cache.put(pod(name="newer"))
    cache.put(versioned(pod(name="changed"), 11))
    assert {Key("Pod", "demo", "ghost")} == cache.replace_kind("Pod", [], before=before)
    assert ["changed", "newer"] == [child["metadata"]["name"] for child in cache.children(JOB, kind="Pod")]


def test_cache_must_know_who_refers() -> None:
    """The endpoints of a TrainingJob are found; a reference that was changed is forgotten."""
    cache = Cache()
    document = {"model": {"trainingJobRef": {"name": "kdd"}}}
    cache.put(body("ModelEndpoint", document, version=1))
    assert (ENDPOINT,) == cache.referrers(JOB)
    cache.put(body("ModelEndpoint", endpoint_document(), generation=2, version=2))
    assert () == cache.referrers(JOB)
    variants = [{"model": {"trainingJobRef": {"name": "kdd"}}}, {"model": {"trainingJobRef": {"name": "other"}}}]
    cache.put(body("ModelEndpoint", {"model": {}, "sageMaker": {"variants": variants}}, generation=3, version=3))
    assert [(ENDPOINT,)] * 2 == [cache.referrers(JOB), cache.referrers(Key("TrainingJob", JOB.namespace, "other"))]


def test_own_status_must_be_no_news() -> None:
    """A status that we wrote ourselves wakes nobody; a new generation, a deletion or a child's status do."""
    cache = Cache()
    assert cache.put(body("TrainingJob", job_document(), version=1))
    assert not cache.put({**body("TrainingJob", job_document(), version=2), "status": {"phase": "Pending"}})
    assert cache.put(body("TrainingJob", job_document(), generation=2, version=3))
    deleting = body("TrainingJob", job_document(), generation=2, version=4)
    deleting["metadata"]["deletionTimestamp"] = "2026-08-01T12:00:00Z"
    assert cache.put(deleting)
    assert cache.put(versioned(our_job(), 5))
    assert cache.put(versioned(our_job({"active": 1}), 6))
    assert not cache.put(versioned(our_job({"active": 1}), 6))


async def drained(queue: WorkQueue[Key]) -> list[Key]:
    found = []
    while len(queue):
        key = await queue.get()
        queue.done(key)
        found.append(key)
    return found


async def test_seen_must_wake_the_owner() -> None:
    """An event of a child is its owner's business, its deletion too; an echo is nobody's."""
    cache, queue = Cache(), WorkQueue[Key]()
    edge.seen(our_job(), "ADDED", cache=cache, queue=queue)
    assert [JOB] == await drained(queue)
    edge.seen(our_job(), "MODIFIED", cache=cache, queue=queue)
    assert [] == await drained(queue)
    edge.seen(our_job(), "DELETED", cache=cache, queue=queue)
    assert [JOB] == await drained(queue)


async def test_seen_must_wake_the_endpoints_of_a_job() -> None:
    """A TrainingJob's status is no news to itself, and is to the endpoints that wait for it."""
    cache, queue = Cache(), WorkQueue[Key]()
    edge.seen(body("TrainingJob", job_document(), version=1), None, cache=cache, queue=queue)
    edge.seen(body("ModelEndpoint", {"model": {"trainingJobRef": {"name": "kdd"}}}), None, cache=cache, queue=queue)
    assert [JOB, ENDPOINT] == await drained(queue)
    done = {**body("TrainingJob", job_document(), version=2), "status": {"phase": "Completed"}}
    edge.seen(done, "MODIFIED", cache=cache, queue=queue)
    assert [ENDPOINT] == await drained(queue)
    edge.seen(done, "DELETED", cache=cache, queue=queue)
    assert [JOB, ENDPOINT] == await drained(queue)


async def test_handlers_must_return_nothing() -> None:
    """Kopf writes what a handler returns into the object: ours return None, and there are only event handlers."""
    queue = WorkQueue[Key]()
    registry = edge.build_registry(cache=Cache(), queue=queue)
    handlers = registry._watching.get_all_handlers()
    assert 7 == len(handlers)
    assert [None] * 7 == [await handler.fn(body=our_job(), type="ADDED") for handler in handlers]
    assert ([], []) == (list(registry._changing.get_all_handlers()), list(registry._spawning.get_all_handlers()))
    assert edge.build_settings(namespaced=True).peering.standalone


def test_kopf_must_copy_no_object() -> None:
    """What kopf would keep of each object it sees, to tell later what has changed, nobody asks for."""
    storage = edge.build_settings(namespaced=True).persistence.diffbase_storage
    seen = kopf.Body({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}})
    assert ({}, None) == (storage.build(body=seen), storage.fetch(body=seen))


async def test_resync_must_wake_what_is_there_and_what_is_gone() -> None:
    """The lists find what the watch has missed: new objects, and the owners of children that have gone."""
    client, cache, queue = FakeClient(), Cache(), WorkQueue[Key]()
    client.add(body("ModelEndpoint", endpoint_document()))
    cache.put(our_job())
    assert 1 == await Resync(client=client, cache=cache, queue=queue, namespaces=()).once()
    assert [ENDPOINT, JOB] == await drained(queue)
    assert cache.get(Key("Job", "demo", "kdd")) is None


def lease(holder: str, *, renewed: str = "t1", seconds: int = 15) -> Manifest:
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}}


SIGHTING = Sighting("other", "t1", NOON)
STEPS = [
    (None, None, 0, Step.CREATE),
    (lease("me"), None, 0, Step.RENEW),
    (lease(""), None, 0, Step.TAKE),
    (lease("other"), None, 10_000, Step.WAIT),
    (lease("other"), SIGHTING, 15, Step.WAIT),
    (lease("other"), SIGHTING, 16, Step.TAKE),
    (lease("other", renewed="t2"), SIGHTING, 3600, Step.WAIT),
    (lease("third"), SIGHTING, 3600, Step.WAIT),
    (lease("other", renewed="1970-01-01T00:00:00Z"), SIGHTING, 3600, Step.WAIT),
    (lease("other", seconds=60), SIGHTING, 16, Step.WAIT),
]


@pytest.mark.parametrize(("found", "last", "seconds", "expected"), STEPS)
def test_lease_must_be_taken_only_unseen_for_its_duration(
    found: Manifest | None, last: Sighting | None, seconds: int, expected: Step
) -> None:
    """A holder is gone when we, by our own clock, have seen no renewal for the whole duration; its clock says nothing."""
    assert expected == step(found, me="me", last=last, now=at(seconds))


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> Any:
        return at(self.seconds)


def leadership(client: FakeClient, me: str, clock: Clock) -> Leadership:
    return Leadership(client, namespace="demo", name="op", me=me, clock=clock)


async def test_leadership_must_be_one() -> None:
    """The second waits for as long as the first renews, and takes over once it is gone."""
    client, clock = FakeClient(), Clock()
    one, two = leadership(client, "one", clock), leadership(client, "two", clock)
    assert (True, False) == (await one.attempt(), await two.attempt())
    clock.seconds = 10
    assert (True, False) == (await one.attempt(), await two.attempt())
    clock.seconds = 26
    assert await two.attempt()
    assert not one.is_held()
    assert (False, False) == (await one.attempt(), one.is_held())
    assert "two" == one.holder


async def test_leadership_must_end_before_another_begins() -> None:
    """A holder that can't reach the API server gives up before the Lease's duration is over."""
    client, clock = FakeClient(), Clock()
    one = leadership(client, "one", clock)
    assert await one.attempt()
    client.refuse("replace Lease", 500)
    clock.seconds = RENEW_EVERY.total_seconds()
    assert await one.attempt()
    clock.seconds = RENEW_DEADLINE.total_seconds()
    assert not await one.attempt()
    assert RENEW_DEADLINE + RENEW_EVERY < DURATION


async def test_release_must_let_the_next_begin_at_once() -> None:
    """A Lease given back is free."""
    client, clock = FakeClient(), Clock()
    one, two = leadership(client, "one", clock), leadership(client, "two", clock)
    assert (True, False) == (await one.attempt(), await two.attempt())
    await one.release()
    assert (True, False) == (await two.attempt(), one.is_held())


async def test_events_must_not_repeat() -> None:
    """The same words on the same object are posted once in ten minutes; a refusal never fails anything."""
    client, clock = FakeClient(), Clock()
    recorder = EventRecorder(client, instance="op", clock=clock)
    owner = body("TrainingJob", job_document())
    for seconds in (0, 1, 599):
        clock.seconds = seconds
        await recorder.post(owner, Announcement("Pending", "waiting"))
    assert 1 == len(client.of_kind("Event"))
    await recorder.post(owner, Announcement("Pending", "waiting for another"))
    clock.seconds = 601
    await recorder.post(owner, Announcement("Pending", "waiting"))
    assert 3 == len(client.of_kind("Event"))
    client.refuse("create Event", 403)
    await recorder.post(owner, Announcement("Failed", "x" * 5000, warning=True))


async def test_broken_connection_must_be_an_api_error() -> None:
    """A connection that breaks is no bug of ours: ApiError 0, which is tried again."""

    class Api:
        async def param_serialize(self, *_: Any, **__: Any) -> tuple[()]:
            return ()

        async def call_api(self, *_: Any, **__: Any) -> Any:
            raise aiohttp.ServerDisconnectedError

    with pytest.raises(ApiError) as raised:
        await KubernetesClient(Api()).get(JOBS, namespace="demo", name="x")  # type: ignore[arg-type]
    assert 0 == raised.value.status


async def test_silent_api_server_must_not_keep_the_lease() -> None:
    """An attempt without an answer ends in time to give up."""
    client = FakeClient()

    async def silent(*_: Any, **__: Any) -> None:
        raise TimeoutError

    client.get = silent  # type: ignore[method-assign, assignment]
    assert not await asyncio.wait_for(leadership(client, "one", Clock()).attempt(), 5)
    assert timedelta(0) < RENEW_DEADLINE


def test_watch_must_outlast_every_outage() -> None:
    """Kopf's tries of a request never end, and never lie far apart: else an outage of the API server would end the operator."""
    backoffs = edge.build_settings(namespaced=False).networking.error_backoffs
    assert isinstance(backoffs, Iterable)
    for _ in range(2):  # each request begins anew
        some = list(islice(backoffs, 1000))
        assert (1000, 1) == (len(some), some[0])
        assert max(some) <= 30
