"""The one door to all request metrics, against real HTTP servers."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.facts import Signals
from sagebrush.core.scaling.window import Problem
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.load import Load
from sagebrush.metrics.request_metrics import RequestMetrics, in_flight_of
from sagebrush.metrics.targets import PodAddress
from tests.unit.metrics.prometheus_server import NOW, T0, PromServer, counter, labels, matrix, refused, scalar, vector

KEY = SeriesKey("shop", "kdd", "AllTraffic")
READY = {"kdd-1": None}


def policy(*, source: str | None = None, **target: Any) -> Scaling:
    return Scaling.model_validate(
        {"maxReplicas": 5, "target": target or {"latency": "500ms"}, **({"source": source} if source else {})}
    )


def ask(
    metrics: RequestMetrics, scaling: Scaling | None = None, *, endpoint: str = "kdd", ready: Any = READY
) -> Signals:
    return metrics.signals(
        "shop", endpoint=endpoint, variant="AllTraffic", scaling=scaling or policy(), ready_pods=ready, now=NOW
    )


@pytest.fixture
def metrics(prom_url: str, session: aiohttp.ClientSession) -> RequestMetrics:
    return RequestMetrics(prom_url, interval=timedelta(seconds=5), session=session, clock=lambda: NOW)


async def test_signals_must_hold_all_that_prometheus_knows(prom: PromServer, metrics: RequestMetrics) -> None:
    """Arrivals, what waits, what is under way, refusals, the busy share and the user's own value."""
    prom.answers |= {
        "requests_waiting": vector((labels(), 3)),
        "in_flight": vector((labels(), 2)),
        "busy_seconds": vector((labels(), 0.5)),
        "responses_total": vector((labels(), 30)),
        "my_queue": scalar(7),
    }
    scaling = policy(query={"expression": "my_queue", "perReplica": 2})
    assert ask(metrics, scaling).value_problem == "Prometheus has not been asked for target.query yet"
    await metrics.refresh()
    found = ask(metrics, scaling)
    assert (found.long.requests_per_minute, found.long.complete) == (pytest.approx(600), True)
    assert (found.waiting, found.in_flight, found.busy, found.refused_per_minute) == (3, 5, 0.5, 30)
    assert (found.value, found.value_problem, found.source) == (7, "", "Prometheus")
    assert metrics.readings("shop", endpoint="kdd", variant="AllTraffic", ready_pods=READY, now=NOW).long == found.long


@pytest.mark.parametrize("endpoints", [1, 100, 1000])
async def test_signals_must_cost_the_same_queries_for_any_number_of_endpoints(
    prom: PromServer, metrics: RequestMetrics, endpoints: int
) -> None:
    """One query for each metric: five, counted at the server."""
    prom.answers = {
        "sagebrush_invocations_total": matrix(*(counter(endpoint=f"e{n}", step=5) for n in range(endpoints)))
    }
    await metrics.refresh()
    for number in range(endpoints):
        assert ask(metrics, endpoint=f"e{number}").long.requests_per_minute == pytest.approx(600)
    assert len(prom.asked) == 5
    assert set(prom.queries.values()) == {1}


async def test_signals_must_leave_unknown_what_is_missing(prom: PromServer, metrics: RequestMetrics) -> None:
    """Servers that have the counter of arrivals only, and no query: None all over, never 0."""
    await metrics.refresh()
    found = ask(metrics)
    assert found.long.complete
    assert (found.waiting, found.in_flight, found.busy, found.refused_per_minute, found.value) == (None,) * 5


async def test_signals_must_forget_with_prometheus(prom: PromServer, metrics: RequestMetrics) -> None:
    """Once it is gone, what it said of queues is no more known than the rest; nor when it is back, until it says so."""
    prom.answers["requests_waiting"] = vector((labels(), 3))
    await metrics.refresh()
    assert ask(metrics).waiting == 3
    prom.answers = {"sagebrush": refused("down")}
    await metrics.refresh()
    found = ask(metrics)
    assert (found.long.problem, found.waiting) == (Problem.SOURCE, None)
    prom.answers = {"sagebrush_invocations_total": matrix(counter())}
    await metrics.prometheus.refresh()
    assert (ask(metrics).long.complete, ask(metrics).waiting) == (True, None)


async def test_signals_must_not_count_what_a_pod_that_is_gone_left_behind(
    prom: PromServer, metrics: RequestMetrics
) -> None:
    """Its gauges may live on in Prometheus; its counter tells that it does not."""
    prom.answers = {
        "sagebrush_invocations_total": matrix(counter(), counter(pod="gone", end=T0 - 30)),
        "requests_waiting": vector((labels(), 3), (labels(pod="gone"), 100)),
    }
    await metrics.refresh()
    assert ask(metrics).waiting == 3


async def test_signals_must_doubt_where_a_pod_does_not_tell_its_requests_in_flight(
    prom: PromServer, metrics: RequestMetrics
) -> None:
    """Where they are the target, that pod is taken to have what the other has: enough to add replicas, not to remove them."""
    prom.answers = {
        "sagebrush_invocations_total": matrix(counter(), counter(pod="kdd-2")),
        "in_flight": vector((labels(), 2)),
    }
    await metrics.refresh()
    ready = {"kdd-1": None, "kdd-2": None}
    assert ask(metrics, ready=ready).long.complete
    found = ask(metrics, policy(inFlight=4), ready=ready)
    assert (found.in_flight, found.long.complete, found.short.problem) == (4, False, Problem.PARTIAL)
    assert found.long.message == "pod kdd-2 does not tell its requests in flight"


async def test_signals_must_count_a_pod_once_that_two_jobs_scrape(prom: PromServer, metrics: RequestMetrics) -> None:
    """And one that two Prometheus replicas scrape, behind one address: their samples differ by a little."""
    first, second = counter(), counter(end=T0 - 1)
    second[0].update(job="other", prometheus_replica="b")
    prom.answers = {"sagebrush_invocations_total": matrix(first, second)}
    await metrics.refresh()
    assert ask(metrics).long.requests_per_minute == pytest.approx(600)
    assert all("max by (namespace, endpoint_name, variant_name, pod" in q for q in prom.queries if "[120s]" not in q)


async def test_signals_must_come_from_pods_where_prometheus_is_gone(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Prometheus at all: endpoints with source: Pods are seen in full, and the others told what is missing."""
    arrivals = 0.0

    async def answer(_: web.Request) -> web.Response:
        own = 'endpoint_name="kdd",variant_name="AllTraffic"'
        return web.Response(
            text=f"sagebrush_invocations_total{{{own}}} {arrivals}\nsagebrush_requests_waiting{{{own}}} 4\n"
        )

    app = web.Application()
    app.router.add_get("/metrics", answer)
    async with TestServer(app) as server:
        address = PodAddress("kdd-1", "127.0.0.1", server.port)
        metrics = RequestMetrics(
            None, interval=timedelta(seconds=5), session=session, targets=lambda: {KEY: [address]}, clock=lambda: NOW
        )
        now = float(T0)
        monkeypatch.setattr(metrics.pods, "_clock", lambda: now)
        for _ in range(35):
            now, arrivals = now + 2, arrivals + 20
            await metrics.pods.read_all(session)
        found = ask(metrics, policy(source="Pods"))
        assert (found.long.requests_per_minute, found.long.complete) == (pytest.approx(600), True)
        assert (found.waiting, found.source) == (4, "Pods")
        assert ask(metrics).long.message == "no Prometheus configured: set --prometheus-url"


async def test_signals_must_fall_back_to_prometheus_where_pods_cannot_be_read(
    prom: PromServer, prom_url: str, session: aiohttp.ClientSession
) -> None:
    """A network policy keeps the operator from the pods: it sees with Prometheus' eyes, and says so."""
    prom.answers["requests_waiting"] = vector((labels(), 3))
    address = PodAddress("kdd-1", "127.0.0.1", 1)
    metrics = RequestMetrics(
        prom_url, interval=timedelta(seconds=5), session=session, targets=lambda: {KEY: [address]}, clock=lambda: NOW
    )
    await metrics.pods.read_all(session)
    await metrics.refresh()
    found = ask(metrics, policy(source="Pods"))
    assert (found.long.complete, found.waiting) == (True, 3)
    assert found.source == (
        "Prometheus, as the pods are not enough: pod kdd-1 cannot be reached at port 1: Connection refused"
    )


async def test_run_must_look_at_both_and_tell(prom: PromServer, prom_url: str, session: aiohttp.ClientSession) -> None:
    """Each answer of Prometheus is followed by its callback once all queries are answered, each round of the pods by theirs."""
    metrics = RequestMetrics(
        prom_url,
        interval=timedelta(milliseconds=10),
        session=session,
        targets=lambda: {KEY: [PodAddress("kdd-1", "127.0.0.1", 1)]},
    )
    prom.answers["requests_waiting"] = vector((labels(), 3))
    told: list[Any] = []
    done = {"snapshot": asyncio.Event(), "pods": asyncio.Event()}

    async def on_snapshot(snapshot: Any) -> None:
        told.append((snapshot.problem, metrics._load.latest.of(KEY, pods=("kdd-1",), ready=()).waiting))
        done["snapshot"].set()

    task = asyncio.create_task(metrics.run(on_snapshot, on_pods=lambda _: done["pods"].set()))
    for event in done.values():
        await asyncio.wait_for(event.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told[0] == (None, 3)


async def test_cadence_must_follow_what_is_measured(prom: PromServer, metrics: RequestMetrics) -> None:
    """Scrapes every 15 s are seen as such; pods are read every second."""
    prom.answers = {"sagebrush_invocations_total": matrix(counter(step=15))}
    await metrics.refresh()
    found = metrics.cadence("shop", endpoint="kdd", variant="AllTraffic", scaling=policy())
    assert (found.interval_seconds, found.scrape_seconds, found.lag_seconds) == (5, 15, 15)
    found = metrics.cadence("shop", endpoint="kdd", variant="AllTraffic", scaling=policy(source="Pods"))
    assert (found.interval_seconds, found.scrape_seconds, found.lag_seconds) == (1, 1, 3)
    assert any("[45s]" in query for query in prom.queries)


async def test_history_must_be_fetched_with_the_scrape_interval_seen(prom: PromServer, metrics: RequestMetrics) -> None:
    """The window of its rate bridges lost scrapes of this very endpoint."""
    prom.answers = {"sagebrush_invocations_total": matrix(counter(step=15))}
    await metrics.refresh()
    prom.answers = {"rate(sagebrush_invocations_total": matrix(({}, [(T0, 5)]))}
    history = await metrics.fetch_history(
        "shop", endpoint="kdd", variant="AllTraffic", span=timedelta(hours=1), step=timedelta(seconds=15)
    )
    assert history.rates[-1] == 5
    assert "[60s]" in prom.asked[-1][1]["query"]


@pytest.mark.parametrize(
    ("load", "ready", "expected"),
    [
        (Load(in_flight=8.0), 4, 8.0),
        (Load(in_flight=8.0, silent=("new",)), 4, pytest.approx(32 / 3)),
        (Load(in_flight=8.0, silent=("a", "b", "c")), 4, 16.0),
        (Load(in_flight=8.0, waiting=3.0, silent=("a", "b", "c")), 4, 8.0),
        (Load(in_flight=8.0, silent=("a", "b")), 2, 8.0),
        (Load(silent=("a",)), 1, None),
    ],
)
def test_in_flight_must_count_pods_that_do_not_tell_yet(load: Load, ready: int, expected: float | None) -> None:
    """New pods take their share before they are scraped: as much as the others, at most as much again, and no backlog."""
    assert in_flight_of(load, ready=ready) == expected
