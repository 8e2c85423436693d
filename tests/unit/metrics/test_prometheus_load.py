"""What Prometheus tells of waiting, running, busy and refused requests."""

import aiohttp
import pytest

from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.load import LoadSource, Measure
from sagebrush.metrics.query_api import QueryApi
from tests.unit.metrics.prometheus_server import PromServer, labels, matrix, refused, vector

KEY = SeriesKey("shop", "kdd", "AllTraffic")


@pytest.fixture
def source(prom_url: str, session: aiohttp.ClientSession) -> LoadSource:
    return LoadSource(QueryApi(prom_url, session=session), timeout_seconds=2)


def loaded(prom: PromServer) -> None:
    prom.answers = {
        "requests_waiting": vector((labels(), 3), (labels(pod="kdd-2"), 0), (labels(endpoint="iris"), 9)),
        "in_flight": vector((labels(), 2), (labels(pod="kdd-2"), 1)),
        "busy_seconds": vector((labels(), 1.02), (labels(pod="kdd-2"), 0.5)),
        "responses_total": vector((labels(), 30), (labels(pod="kdd-2"), 6)),
    }


async def test_load_must_be_one_query_for_each_metric(prom: PromServer, source: LoadSource) -> None:
    """Sums over the pods, and the mean of the busy share, of the right endpoint."""
    loaded(prom)
    snapshot = await source.refresh(scrape_seconds=5)
    assert len(prom.asked) == len(Measure)
    load = snapshot.of(KEY, pods=("kdd-1", "kdd-2"), ready=("kdd-1", "kdd-2"))
    assert (load.waiting, load.in_flight, load.busy, load.refused_per_minute) == (3, 6, 0.75, 36)
    assert snapshot.of(SeriesKey("shop", "iris", "AllTraffic"), pods=("kdd-1",), ready=()).waiting == 9


@pytest.mark.parametrize(
    ("scrape", "gauge", "rate"),
    [(1, "[10s]", "[20s]"), (5, "[15s]", "[20s]"), (15, "[45s]", "[60s]"), (2.5, "[10s]", "[20s]")],
)
async def test_load_must_ask_over_windows_that_bridge_lost_scrapes(
    prom: PromServer, source: LoadSource, scrape: float, gauge: str, rate: str
) -> None:
    """Gauges younger than three scrapes, rates over four: a lost scrape is no gap, and a pod that is gone soon counts no more."""
    await source.refresh(scrape_seconds=scrape)
    for query in prom.queries:
        assert ("rate(" not in query) or rate in query
        assert ("last_over_time" not in query) or gauge in query


async def test_load_must_leave_out_pods_that_are_gone(prom: PromServer, source: LoadSource) -> None:
    """Only pods with fresh samples count, whatever Prometheus remembers of the others."""
    loaded(prom)
    load = (await source.refresh(scrape_seconds=5)).of(KEY, pods=("kdd-2",), ready=("kdd-2", "kdd-3"))
    assert (load.waiting, load.in_flight, load.busy, load.refused_per_minute) == (0, 1, 0.5, 6)
    assert load.silent == ("kdd-3",)


@pytest.mark.parametrize(
    "body",
    [
        vector(),
        refused("no such function"),
        matrix(),
        b"junk",
        vector((labels(), "NaN")),
        vector((labels(), "-1")),
        vector(({}, 5)),
    ],
)
async def test_load_must_be_unknown_where_it_cannot_be_had(prom: PromServer, source: LoadSource, body: bytes) -> None:
    """A metric that is missing, refused or nonsense is None, never 0, and touches no other."""
    loaded(prom)
    prom.answers["requests_waiting"] = body
    prom.answers["responses_total"] = body
    load = (await source.refresh(scrape_seconds=5)).of(KEY, pods=("kdd-1",), ready=("kdd-1",))
    assert (load.waiting, load.refused_per_minute) == (None, None)
    assert (load.in_flight, load.busy) == (2, 1.0)


async def test_load_must_log_a_failure_once(
    prom: PromServer, source: LoadSource, caplog: pytest.LogCaptureFixture
) -> None:
    """Not every five seconds."""
    loaded(prom)
    prom.answers["requests_waiting"] = refused("no such function")
    for _ in range(3):
        await source.refresh(scrape_seconds=5)
    assert [record.getMessage() for record in caplog.records] == [
        "no waiting requests: Prometheus refused the query: bad_data: no such function"
    ]


async def test_load_must_be_unknown_without_prometheus() -> None:
    """Nothing is asked where nobody is."""
    snapshot = await LoadSource(None, timeout_seconds=2).refresh(scrape_seconds=5)
    assert snapshot.of(KEY, pods=("kdd-1",), ready=("kdd-1",)).waiting is None
