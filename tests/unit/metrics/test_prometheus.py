"""The Prometheus source against a real HTTP server that answers as Prometheus, proxies and broken things do."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sagebrush.core.scaling.window import Problem
from sagebrush.metrics import query_api
from sagebrush.metrics.prometheus import PrometheusSource, Snapshot

T0 = 1_800_000_000
NOW = datetime.fromtimestamp(T0, UTC)
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
LABELS = {"namespace": "shop", "pod": "kdd-1", "endpoint_name": "kdd", "variant_name": "AllTraffic"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def series(*, pod: str = "kdd-1", per_second: float = 10, end: float = T0, **labels: str) -> dict[str, Any]:
    values = [[end - 90 + t, str(t * per_second)] for t in range(0, 91, 2)]
    return {"metric": {**LABELS, "pod": pod, **labels}, "values": values}


def matrix(*result: dict[str, Any], **extra: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(result)}, **extra}).encode()


class FakePrometheus:
    """Answers every query with what it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.body, self.status, self.headers = matrix(series()), 200, {"Date": DATE}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Handler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((f"{request.method} {request.path}", dict(await request.post())))
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@pytest.fixture
def fake() -> FakePrometheus:
    return FakePrometheus()


@pytest.fixture
async def url(fake: FakePrometheus) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def source(url: str, session: aiohttp.ClientSession) -> PrometheusSource:
    return PrometheusSource(url, interval=timedelta(seconds=2), session=session, clock=lambda: NOW)


def long_of(snapshot: Snapshot, *, endpoint: str = "kdd", now: datetime = NOW) -> Any:
    return snapshot.readings("shop", endpoint=endpoint, variant="AllTraffic", ready_pods=None, now=now).long


async def test_source_must_read_all_endpoints_from_one_query(fake: FakePrometheus, source: PrometheusSource) -> None:
    """A thousand endpoints are one question, never a thousand."""
    other = series(pod="iris-1", per_second=5, endpoint_name="iris")
    fake.body = matrix(series(), series(pod="kdd-2", per_second=20), other, series(namespace="bank", per_second=1))
    snapshot = await source.refresh()
    assert fake.asked == [
        ("POST /api/v1/query", {"query": 'sagebrush_invocations_total{endpoint_name!=""}[120s]', "timeout": "4s"})
    ]
    assert long_of(snapshot).requests_per_minute == pytest.approx(1800)
    assert long_of(snapshot, endpoint="iris").requests_per_minute == pytest.approx(300)
    assert (snapshot.taken_at, snapshot.evaluated_at, snapshot.problem) == (NOW, NOW, None)
    assert source.latest is snapshot


async def test_source_must_keep_a_path_prefix(fake: FakePrometheus, url: str, session: aiohttp.ClientSession) -> None:
    """Prometheus behind --web.route-prefix, and Mimir, have one."""
    await PrometheusSource(f"{url}prometheus/", interval=timedelta(seconds=2), session=session).refresh()
    assert fake.asked[0][0] == "POST /prometheus/api/v1/query"


async def test_source_must_read_an_empty_result_as_unknown(fake: FakePrometheus, source: PrometheusSource) -> None:
    """No series is no load of 0."""
    fake.body = matrix()
    reading = long_of(await source.refresh())
    assert (reading.requests_per_minute, reading.problem) == (None, Problem.NO_DATA)


async def test_source_must_name_series_that_it_cannot_attribute(fake: FakePrometheus, source: PrometheusSource) -> None:
    """A scrape that does not add namespace and pod is the usual mistake, so the reading says so."""
    bare = series()
    del bare["metric"]["namespace"]
    fake.body = matrix(bare)
    reading = long_of(await source.refresh())
    assert reading.problem is Problem.NO_DATA
    assert "1 series lack the label namespace" in reading.message


async def test_source_must_not_trust_an_answer_with_warnings(fake: FakePrometheus, source: PrometheusSource) -> None:
    """Thanos answers with success and a warning when a store is gone: demand is at least what is seen."""
    fake.body = matrix(series(), warnings=["store x is unavailable"])
    reading = long_of(await source.refresh())
    assert (reading.requests_per_minute, reading.complete, reading.problem) == (
        pytest.approx(600),
        False,
        Problem.PARTIAL,
    )
    assert reading.message == "Prometheus warns: store x is unavailable"


async def test_source_must_take_numbers_that_are_none(fake: FakePrometheus, source: PrometheusSource) -> None:
    """Prometheus writes NaN and +Inf as strings: they are no samples."""
    odd = series()
    odd["values"][5][1], odd["values"][9][1] = "NaN", "+Inf"
    fake.body = matrix(odd)
    assert long_of(await source.refresh()).requests_per_minute == pytest.approx(600)


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (
            400,
            b'{"status":"error","errorType":"bad_data","error":"parse error at char 3"}',
            "Prometheus refused the query: bad_data: parse error at char 3",
        ),
        (
            503,
            b'{"status":"error","errorType":"timeout","error":"query timed out"}',
            "Prometheus refused the query: timeout: query timed out",
        ),
        (200, b'{"status":"error","errorType":"execution","error":"x"}', "Prometheus refused the query: execution: x"),
        (502, b"<html>Bad\n Gateway</html>", "Prometheus answered with HTTP status 502: <html>Bad Gateway</html>"),
        (302, b"", "Prometheus answered with HTTP status 302"),
        (404, b'{"message":"no"}', 'Prometheus answered with HTTP status 404: {"message":"no"}'),
        (503, matrix(series()), "Prometheus answered with HTTP status 503: "),
        (200, b"", "Prometheus' answer is not JSON: "),
        (200, b"[]", "Prometheus' answer is not an object: []"),
        (200, b"{}", "Prometheus' answer cannot be read: KeyError: 'data'"),
        (
            200,
            b'{"status":"success","data":{"resultType":"vector","result":[]}}',
            "Prometheus answered with a vector in place of a matrix",
        ),
        (
            200,
            b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["x"]]}]}}',
            "Prometheus' answer cannot be read: ValueError: ",
        ),
        (
            200,
            b'{"status":"success","data":{"resultType":"matrix","result":[null]}}',
            "Prometheus' answer cannot be read: TypeError: ",
        ),
    ],
)
async def test_source_must_say_what_is_wrong_with_an_answer(
    fake: FakePrometheus, source: PrometheusSource, status: int, body: bytes, problem: str
) -> None:
    """Every failure has words of its own, no series, and reads as unknown."""
    fake.status, fake.body, fake.headers = status, body, {"Location": "/login"}
    snapshot = await source.refresh()
    assert snapshot.problem is not None
    assert snapshot.problem.startswith(problem)
    assert len(snapshot.problem) < 400
    assert not snapshot.series
    assert (long_of(snapshot).requests_per_minute, long_of(snapshot).problem) == (None, Problem.SOURCE)


async def test_source_must_give_up_on_an_answer_without_end(
    fake: FakePrometheus, source: PrometheusSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's memory is not Prometheus' to fill."""
    monkeypatch.setattr(query_api, "_LONGEST_ANSWER_BYTES", 2**20)
    fake.body = b" " * (2**20 + 1)
    assert (await source.refresh()).problem == "Prometheus' answer is longer than 1 MiB"


async def test_source_must_give_up_on_an_answer_that_does_not_come(
    fake: FakePrometheus, source: PrometheusSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Prometheus that hangs is one that is not there."""
    released = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    fake.answer = never
    monkeypatch.setattr(source, "_timeout", 0.05)
    snapshot = await source.refresh()
    released.set()
    assert snapshot.problem is not None
    assert snapshot.problem.endswith("did not answer within 0.05 s")


@pytest.mark.parametrize(("seconds", "timeout"), [(0.5, 2), (2, 4), (5, 10), (60, 10)])
async def test_source_must_wait_two_intervals_for_an_answer(
    seconds: float, timeout: float, session: aiohttp.ClientSession
) -> None:
    """Long enough for a busy Prometheus, short enough that blindness is known soon."""
    source = PrometheusSource("http://prometheus:9090", interval=timedelta(seconds=seconds), session=session)
    assert source._timeout == timeout


async def test_source_must_tell_since_when_it_fails(
    fake: FakePrometheus, url: str, session: aiohttp.ClientSession
) -> None:
    """The first failure's time stays until an answer comes."""
    times = iter(NOW + timedelta(seconds=number) for number in range(100))
    source = PrometheusSource(url, interval=timedelta(seconds=2), session=session, clock=lambda: next(times))
    await source.refresh()
    fake.status, fake.body = 500, b"down"
    first = await source.refresh()
    second = await source.refresh()
    assert first.taken_at == first.failing_since == second.failing_since
    assert second.taken_at > first.taken_at
    fake.status, fake.body = 200, matrix(series())
    assert (await source.refresh()).failing_since is None


async def test_source_must_name_an_address_that_refuses_without_its_password(session: aiohttp.ClientSession) -> None:
    """The problem goes to status, which anybody may read."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        source = PrometheusSource(
            f"http://admin:secret@127.0.0.1:{port}/", interval=timedelta(seconds=2), session=session
        )
        problem = (await source.refresh()).problem
    assert problem is not None
    assert problem.startswith(f"Prometheus at http://127.0.0.1:{port} cannot be reached: ")
    assert "secret" not in problem


async def test_source_must_say_that_no_prometheus_is_configured(session: aiohttp.ClientSession) -> None:
    """Before and after it is asked, and how to mend it."""
    source = PrometheusSource(None, interval=timedelta(seconds=2), session=session)
    assert source.latest.problem == "no Prometheus configured: set --prometheus-url"
    assert long_of(await source.refresh()).message == "no Prometheus configured: set --prometheus-url"


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "/metrics", "http://"])
async def test_source_must_refuse_what_is_no_address(url: str, session: aiohttp.ClientSession) -> None:
    """A mistake in a flag ends the start, not the first query."""
    with pytest.raises(ValueError, match="address of Prometheus"):
        PrometheusSource(url, interval=timedelta(seconds=2), session=session)


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
async def test_source_must_judge_age_by_the_clock_of_prometheus(
    fake: FakePrometheus, url: str, session: aiohttp.ClientSession, skew: int
) -> None:
    """An operator whose clock is an hour wrong still sees fresh samples as fresh, and old ones as old."""
    here = NOW + timedelta(seconds=skew)
    source = PrometheusSource(url, interval=timedelta(seconds=2), session=session, clock=lambda: here)
    fake.headers = {"Date": DATE}
    snapshot = await source.refresh()
    assert long_of(snapshot, now=here).complete
    fake.body = matrix(series(end=T0 - 11))
    assert long_of(await source.refresh(), now=here).problem is Problem.STALE


async def test_snapshot_must_grow_old(source: PrometheusSource) -> None:
    """When the loop hangs, the last good answer goes stale by itself."""
    snapshot = await source.refresh()
    assert long_of(snapshot, now=NOW + timedelta(seconds=10)).problem is None
    assert long_of(snapshot, now=NOW + timedelta(seconds=11)).problem is Problem.STALE


async def test_snapshot_must_not_take_samples_after_the_date_as_the_future(
    fake: FakePrometheus, source: PrometheusSource
) -> None:
    """The Date header is cut to seconds, and may be a proxy's: no sample is later than the evaluation."""
    fake.body = matrix(series(end=T0 + 0.9))
    snapshot = await source.refresh()
    assert snapshot.evaluated_at == NOW + timedelta(seconds=0.9)


async def test_run_must_go_on_after_every_kind_of_failure(
    fake: FakePrometheus, url: str, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, broken off, unreadable, a failing callback: the loop goes on, and logs only where things change."""
    caplog.set_level(logging.INFO, logger="sagebrush.metrics.prometheus")
    source = PrometheusSource(url, interval=timedelta(milliseconds=1), session=session)
    source._timeout = 5
    done = asyncio.Event()
    seen: list[Snapshot] = []

    async def broken_off(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    def on_snapshot(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        fake.status, fake.answer = 200, None
        if len(seen) < 4:
            fake.status = 500
        elif len(seen) == 4:
            fake.answer = broken_off
        elif len(seen) == 6:
            raise RuntimeError("the scaler has a bug")
        elif len(seen) == 7:
            done.set()

    task = asyncio.create_task(source.run(on_snapshot))
    await asyncio.wait_for(done.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [snapshot.problem is None for snapshot in seen] == [True, False, False, False, False, True, True]
    messages = [record.getMessage() for record in caplog.records]
    assert [message[:27] for message in messages] == [
        "request metrics of 1 varian",
        "no request metrics: Prometh",
        "no request metrics: Prometh",
        "request metrics of 1 varian",
        "what follows a snapshot of ",
    ]


async def test_run_must_wait_for_an_asynchronous_callback(source: PrometheusSource) -> None:
    """What follows a snapshot is done before the next is taken."""
    called = asyncio.Event()

    async def on_snapshot(_: Snapshot) -> None:
        called.set()

    task = asyncio.create_task(source.run(on_snapshot))
    await asyncio.wait_for(called.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
