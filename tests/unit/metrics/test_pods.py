"""The pods read directly, from real HTTP servers that answer as pods do, and as they should not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sagebrush.core.scaling.window import Problem, Readings
from sagebrush.metrics import pods as pods_module
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.pods import PodsSource, chosen_of
from sagebrush.metrics.targets import PodAddress

KEY = SeriesKey("shop", "kdd", "AllTraffic")
T0 = 1_800_000_000.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Pod:
    """One pod's metrics port."""

    name: str
    endpoint: str = "kdd"
    arrivals: float = 0
    refused: float = 0
    busy: float = 0
    waiting: float = 0
    in_flight: float = 0
    bare: bool = False
    """Only the counter of arrivals, as an image of one's own may have it."""
    answer: Handler | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.headers))
        if self.answer is not None:
            return await self.answer(request)
        own = f'endpoint_name="{self.endpoint}",variant_name="AllTraffic"'
        text = f"sagebrush_invocations_total{{{own}}} {self.arrivals}\n"
        if not self.bare:
            text += (
                f"sagebrush_busy_seconds_total{{{own}}} {self.busy}\n"
                f"sagebrush_requests_waiting{{{own}}} {self.waiting}\n"
                f"sagebrush_requests_in_flight{{{own}}} {self.in_flight}\n"
                f"sagebrush_workers{{{own}}} 2\n"
                f'sagebrush_responses_total{{code="503",{own}}} {self.refused}\n'
            )
        return web.Response(text=text)


class Cluster:
    """Pods that come and go, a clock, and the source that reads them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.now = T0
        self.pods: dict[str, Pod] = {}
        self.ready: dict[str, datetime | None] = {}
        self.servers: dict[str, TestServer] = {}
        self.source = PodsSource(self.targets, clock=lambda: self.now)

    def targets(self) -> Any:
        return {KEY: [PodAddress(pod.name, "127.0.0.1", pod.port) for pod in self.pods.values()]}

    async def start(self, name: str, *, ready: bool = True, **state: Any) -> Pod:
        pod = Pod(name, **state)
        app = web.Application()
        app.router.add_get("/metrics", pod.handle)
        server = TestServer(app)
        await server.start_server()
        pod.port = server.port or 0
        self.pods[name], self.servers[name] = pod, server
        if ready:
            self.ready[name] = datetime.fromtimestamp(self.now, UTC)
        return pod

    async def stop(self, name: str, *, known: bool = False) -> None:
        """The pod ends; *known*: and the operator has been told."""
        await self.servers.pop(name).close()
        if known:
            del self.pods[name], self.ready[name]

    async def rounds(self, count: int, *, per_second: float = 10) -> None:
        """As many rounds, two seconds apart, in which each pod gets this many requests a second."""
        for _ in range(count):
            self.now += 2
            for pod in self.pods.values():
                pod.arrivals += 2 * per_second
            await self.source.read_all(self.session)

    def readings(self) -> Readings:
        return self.source.readings(KEY, ready_pods=self.ready)


@pytest.fixture
async def cluster(session: aiohttp.ClientSession) -> AsyncIterator[Cluster]:
    made = Cluster(session)
    yield made
    for name in list(made.servers):
        await made.stop(name)


def per_minute(reading: Any) -> tuple[float, bool]:
    return round(reading.requests_per_minute, 6), reading.complete


async def test_pods_must_read_as_prometheus_does(cluster: Cluster) -> None:
    """Two pods with ten requests a second each are 1,200 a minute, in both windows, once those are full."""
    assert cluster.readings().long.problem is Problem.SOURCE
    await cluster.start("a")
    await cluster.start("b")
    await cluster.rounds(35)
    found = cluster.readings()
    assert (per_minute(found.short), per_minute(found.long)) == ((1200, True), (1200, True))
    assert (found.short.span.total_seconds(), found.long.span.total_seconds()) == (6, 60)
    assert found.long.newest == datetime.fromtimestamp(cluster.now, UTC)


async def test_pods_must_tell_how_loaded_they_are(cluster: Cluster) -> None:
    """Sums of what waits and what is worked on, refusals per minute, and the mean share of time at work, two workers each."""
    a, b = await cluster.start("a", waiting=3, in_flight=2), await cluster.start("b", waiting=1, in_flight=2)
    assert cluster.source.load(KEY, ready_pods=cluster.ready).waiting is None
    for _ in range(4):
        a.busy, b.busy, a.refused = a.busy + 4, b.busy + 1, a.refused + 5
        await cluster.rounds(1)
    load = cluster.source.load(KEY, ready_pods=cluster.ready)
    assert (load.waiting, load.in_flight, load.refused_per_minute) == (4, 8, 150)
    assert load.busy == pytest.approx((1 + 0.25) / 2)
    assert load.silent == ()


async def test_pods_must_leave_unknown_what_they_do_not_tell(cluster: Cluster) -> None:
    """An image that has the counter of arrivals only: no waiting requests are not told, which is not none."""
    await cluster.start("a", bare=True)
    await cluster.rounds(35)
    assert per_minute(cluster.readings().long) == (600, True)
    load = cluster.source.load(KEY, ready_pods=cluster.ready)
    assert (load.waiting, load.in_flight, load.busy, load.refused_per_minute) == (None, None, None, None)
    assert load.silent == ("a",)


async def test_restarted_pod_must_neither_hide_nor_double_requests(cluster: Cluster) -> None:
    """Its counter begins at 0 again: what it shows then has arrived since."""
    pod = await cluster.start("a", arrivals=100_000)
    await cluster.rounds(33)
    pod.arrivals = 0
    await cluster.rounds(5)
    assert cluster.readings().long.requests_per_minute == pytest.approx(600, rel=0.01)


async def test_new_pod_must_count_from_its_first_request(cluster: Cluster) -> None:
    """Requests before the first look at a pod that began to run a moment ago are counted; those of an old pod are not."""
    await cluster.start("a")
    await cluster.rounds(35)
    fresh = await cluster.start("b", arrivals=40)
    fresh.arrivals -= 20
    cluster.ready["b"] = datetime.fromtimestamp(cluster.now - 2, UTC)
    await cluster.rounds(1)
    assert per_minute(cluster.readings().long) == (640, True)
    old = await cluster.start("c", arrivals=1_000_000)
    cluster.ready["c"] = datetime.fromtimestamp(T0 - 86_400, UTC)
    assert old.arrivals == 1_000_000
    await cluster.rounds(1)
    found = cluster.readings().long
    assert (found.problem, found.complete) == (Problem.PARTIAL, False)
    assert found.requests_per_minute is not None
    assert found.requests_per_minute < 700


async def test_vanished_pod_must_count_until_its_requests_are_out_of_the_window(cluster: Cluster) -> None:
    """Ten requests a second move from one pod to the next: they are six hundred a minute all the time."""
    await cluster.start("a")
    await cluster.rounds(35)
    await cluster.start("b")
    await cluster.stop("a", known=True)
    for _ in range(35):
        await cluster.rounds(1)
        found = cluster.readings()
        assert found.long.requests_per_minute == pytest.approx(600, rel=0.04)
        assert found.long.complete
    await cluster.rounds(30)
    assert set(cluster.source._variants[KEY].pods) == {"b"}


async def test_pod_that_is_not_read_must_leave_the_readings_partial(cluster: Cluster) -> None:
    """One of two pods is silent: the rest is the least there is, and is not enough to remove a replica; it is told which and why."""
    await cluster.start("a")
    await cluster.start("b")
    await cluster.rounds(35)
    await cluster.stop("b")
    await cluster.rounds(4)
    assert cluster.readings().long.complete  # a lost scrape or two are nothing
    await cluster.rounds(30)
    found = cluster.readings().long
    assert (found.problem, found.complete, round(found.requests_per_minute or 0)) == (Problem.PARTIAL, False, 600)
    port = cluster.pods["b"].port
    assert found.message == f"no fresh samples of pod b: pod b cannot be reached at port {port}: Connection refused"


async def test_pods_that_fall_silent_must_go_stale(cluster: Cluster) -> None:
    """Old numbers are no numbers, whoever had them."""
    await cluster.start("a")
    await cluster.rounds(35)
    await cluster.stop("a")
    await cluster.rounds(6)
    found = cluster.readings()
    assert (found.short.requests_per_minute, found.long.problem) == (None, Problem.STALE)
    assert "pod a cannot be reached" in found.long.message
    assert cluster.source.load(KEY, ready_pods=cluster.ready).waiting is None


async def garbage(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\x00\xff<html>" * 100)


async def broken_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def endless(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x" * (1024 * 1024 + 1))


async def elsewhere(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://169.254.169.254/"})


async def failing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="sagebrush_invocations_total 3")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (garbage, "exposes no sagebrush_invocations_total"),
        (broken_off, "gave no usable answer at port"),
        (endless, "exposes more than 1 MiB"),
        (elsewhere, "answered with HTTP status 302"),
        (failing, "answered with HTTP status 500"),
    ],
)
async def test_pod_that_answers_nonsense_must_be_named_and_disturb_no_other(
    cluster: Cluster, answer: Handler, expected: str
) -> None:
    """The other pod is read as ever."""
    await cluster.start("a")
    bad = await cluster.start("b")
    bad.answer = answer
    await cluster.rounds(35)
    found = cluster.readings().short
    assert (round(found.requests_per_minute or 0), found.problem) == (600, Problem.PARTIAL)
    assert f"pod b {expected}" in found.message


async def test_address_of_another_pod_must_not_be_taken_for_this_one(cluster: Cluster) -> None:
    """Addresses are given anew: what answers for another endpoint is not counted."""
    await cluster.start("a", endpoint="iris")
    await cluster.rounds(5)
    found = cluster.readings().long
    assert (found.requests_per_minute, found.problem) == (None, Problem.SOURCE)
    assert found.message == "pod a answers for endpoint iris"


async def test_pod_without_a_metrics_port_must_be_told_of(cluster: Cluster) -> None:
    """And what to do."""
    cluster.pods["a"] = Pod("a")
    cluster.ready["a"] = None
    cluster.targets = lambda: {KEY: [PodAddress("a", "127.0.0.1", None)]}  # type: ignore[method-assign]
    cluster.source = PodsSource(cluster.targets, clock=lambda: cluster.now)
    await cluster.rounds(1)
    assert cluster.readings().long.message == "pod a has no port named metrics: set spec.model.container.metricsPort"


async def test_slow_pod_must_delay_no_other(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that hangs costs its time-out, and after three of them that only in every fourth round."""
    monkeypatch.setattr(pods_module, "TIMEOUT_SECONDS", 0.1)
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    good, slow = await cluster.start("a"), await cluster.start("b")
    slow.answer = hang
    await cluster.rounds(11)
    asked = len(slow.asked)
    released.set()
    assert len(good.asked) == 11
    assert asked == 5
    assert "pod b did not answer within 100 ms" in cluster.readings().short.message
    slow.answer = None
    await cluster.rounds(4)
    assert not cluster.source._variants[KEY].pods["b"].failure


async def test_pod_that_hung_must_be_asked_last(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more pods are to be read than at once, the one that hung the last time waits for the others, not they for it."""
    monkeypatch.setattr(pods_module, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(cluster.source, "_slots", asyncio.Semaphore(1))
    order: list[str] = []
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        order.append("slow")
        await released.wait()
        return web.Response()

    async def quick(_: web.Request) -> web.StreamResponse:
        order.append("quick")
        return web.Response()

    (await cluster.start("a")).answer = hang
    (await cluster.start("b")).answer = quick
    await cluster.rounds(2)
    released.set()
    assert order == ["slow", "quick", "quick", "slow"]


async def test_clocks_of_pods_must_not_matter(cluster: Cluster) -> None:
    """Samples carry the operator's time: a pod that says it is next year, and began an hour hence, is as fresh as another."""
    await cluster.start("a")

    async def stamped(_: web.Request) -> web.StreamResponse:
        own = 'endpoint_name="kdd",variant_name="AllTraffic"'
        return web.Response(
            text=f"sagebrush_invocations_total{{{own}}} {cluster.pods['a'].arrivals} 4102444800000\n",
            headers={"Date": "Fri, 01 Jan 2100 00:00:00 GMT"},
        )

    cluster.pods["a"].answer = stamped
    cluster.ready["a"] = datetime.fromtimestamp(T0 + 3600, UTC)
    await cluster.rounds(35)
    assert per_minute(cluster.readings().long) == (600, True)


async def test_clock_that_stands_still_must_add_nothing(cluster: Cluster) -> None:
    """Two looks at the same moment are one sample."""
    await cluster.start("a")
    await cluster.rounds(35)
    for _ in range(3):
        cluster.pods["a"].arrivals += 1000
        await cluster.source.read_all(cluster.session)
    assert cluster.readings().long.requests_per_minute == pytest.approx(600)


async def test_too_many_pods_must_be_judged_by_some(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight pods four are read, and stand for all: the same ones as far as they are still there."""
    monkeypatch.setattr(pods_module, "MOST_PODS", 4)
    for number in range(8):
        await cluster.start(f"pod-{number}", waiting=1)
    await cluster.rounds(35)
    assert sorted(len(pod.asked) for pod in cluster.pods.values()) == [0, 0, 0, 0, 35, 35, 35, 35]
    assert per_minute(cluster.readings().long) == (4800, True)
    assert cluster.source.load(KEY, ready_pods=cluster.ready).waiting == 8
    addresses = [PodAddress(f"pod-{number}", "10.0.0.1", 9102) for number in range(8)]
    first = {each.pod for each in chosen_of(addresses)}
    rest = {each.pod for each in chosen_of([each for each in addresses if each.pod != min(first)])}
    assert first - {min(first)} < rest


async def test_pods_must_get_no_credentials(cluster: Cluster) -> None:
    """Pods are their owners': nothing that the operator has for Prometheus goes to them."""
    pod = await cluster.start("a")
    done = asyncio.Event()
    task = asyncio.create_task(cluster.source.run(lambda _: done.set()))
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(pod.asked[0]) == {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}


async def test_run_must_go_on_after_failures(
    session: aiohttp.ClientSession, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither targets that cannot be found nor a callback that fails end it."""
    await cluster.start("a")
    calls = 0
    done = asyncio.Event()

    def targets() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("the cache has a bug")
        return cluster.targets()

    async def on_round(found: frozenset[SeriesKey]) -> None:
        assert found == {KEY}
        if calls < 4:
            raise RuntimeError("so has the queue")
        done.set()

    source = PodsSource(targets, clock=lambda: T0)
    monkeypatch.setattr(source, "_interval", source._interval / 1000)
    task = asyncio.create_task(source.run(on_round))
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
