"""Days of demand out of Prometheus, in pieces that it gives."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import numpy as np
import pytest

from sagebrush.metrics.history import POINTS_PER_QUERY, HistoryError, HistorySource, rate_window_seconds
from sagebrush.metrics.query_api import QueryApi
from tests.unit.metrics.prometheus_server import NOW, T0, PromServer, labels, matrix, refused, vector

RATE = "rate(sagebrush_invocations_total"


@pytest.fixture
def source(prom_url: str, session: aiohttp.ClientSession) -> HistorySource:
    return HistorySource(QueryApi(prom_url, session=session), clock=lambda: NOW + timedelta(seconds=7))


async def fetch(source: HistorySource, **changes: Any) -> Any:
    asked = {"endpoint": "kdd", "variant": "AllTraffic", "scrape_seconds": 5, "step": timedelta(seconds=15)}
    return await source.fetch("shop", **{"span": timedelta(minutes=10), **asked, **changes})


def by_time(form: dict[str, str]) -> bytes:
    """At each time asked for, the number of steps since T0, but for one hour in which nothing was scraped."""
    step = int(form["step"])
    times = range(int(form["start"]), int(form["end"]) + 1, step)
    if len(times) > 11_000:
        return refused("exceeded maximum resolution of 11,000 points per timeseries")
    return matrix(({}, [(t, abs(t - T0) / step) for t in times if not T0 - 7200 <= t < T0 - 3600]))


async def test_history_must_come_in_pieces_that_prometheus_gives(prom: PromServer, source: HistorySource) -> None:
    """Fourteen days at 15 s are 80,640 points: eight questions, one after the other, without gap or overlap."""
    prom.answers = {RATE: by_time}
    history = await fetch(source, span=timedelta(days=14))
    assert len(prom.asked) == 8
    assert prom.most_at_once == 1
    assert {path for path, _ in prom.asked} == {"/api/v1/query_range"}
    assert (history.step_seconds, history.rates.shape) == (15.0, (80_640,))
    assert history.start == datetime.fromtimestamp(T0 - 14 * 86_400, UTC)
    steps = np.arange(80_639, -1, -1, dtype=float)
    gap = (steps > 240) & (steps <= 480)
    assert np.array_equal(np.isnan(history.rates), gap)
    assert np.array_equal(history.rates[~gap], steps[~gap])
    spans = [(int(form["start"]), int(form["end"])) for _, form in prom.asked]
    assert all((end - start) / 15 < POINTS_PER_QUERY for start, end in spans)


async def test_history_must_ask_for_what_was_offered(prom: PromServer, source: HistorySource) -> None:
    """The sum over pods, one copy of each, over a window of a step."""
    await fetch(source)
    (form,) = (form for _, form in prom.asked)
    assert form["query"] == (
        'sum(max by (pod) (rate(sagebrush_invocations_total{namespace="shop",endpoint_name="kdd",variant_name="AllTraffic"}[20s])))'
    )


@pytest.mark.parametrize(
    ("step", "scrape", "expected"), [(15, 5, 20), (60, 5, 60), (15, 2, 15), (60, 30, 120), (10, 2.6, 11)]
)
def test_history_window_must_be_a_step_and_four_scrapes(step: float, scrape: float, expected: int) -> None:
    """Each request counts in one bin, and two scrapes may be lost."""
    assert rate_window_seconds(step_seconds=step, scrape_seconds=scrape) == expected


async def test_history_without_samples_must_be_unknown(prom: PromServer, source: HistorySource) -> None:
    """Never 0: nobody looked."""
    prom.answers = {RATE: matrix()}
    history = await fetch(source)
    assert history.rates.shape == (40,)
    assert np.isnan(history.rates).all()


async def test_history_must_take_numbers_that_are_none_for_unknown(prom: PromServer, source: HistorySource) -> None:
    """NaN, infinities, and times that nobody asked for."""
    prom.answers = {
        RATE: matrix(
            ({}, [(T0, "NaN"), (T0 - 15, "+Inf"), (T0 - 30, -1), (T0 - 45, 2), (T0 - 10**6, 3), (T0 + 900, 3)])
        )
    }
    rates = (await fetch(source)).rates
    assert (rates[-4], np.isnan(rates).sum()) == (2, 39)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (refused("query timed out"), "the history from 2027-01-15 07:50 UTC on cannot be read: Prometheus refused"),
        (matrix((labels(), []), (labels(pod="b"), [])), "answered with 2 series in place of one"),
        (vector(), "answered with a vector in place of a matrix"),
        (b"junk", "is not JSON"),
    ],
)
async def test_history_must_say_why_it_cannot_be_read(
    prom: PromServer, source: HistorySource, body: bytes, expected: str
) -> None:
    """Half a history is none: what it lacks might be what matters."""
    prom.answers = {RATE: body}
    with pytest.raises(HistoryError) as raised:
        await fetch(source)
    assert expected in str(raised.value)


async def test_histories_must_be_read_one_at_a_time(prom: PromServer, source: HistorySource) -> None:
    """A thousand endpoints that learn at the same time are one after the other for Prometheus."""

    async def taking_its_time(form: dict[str, str]) -> bytes:
        for _ in range(100):
            await asyncio.sleep(0)
        return by_time(form)

    prom.answers = {RATE: taking_its_time}
    await asyncio.gather(*(fetch(source) for _ in range(5)))
    assert (len(prom.asked), prom.most_at_once) == (5, 1)


@pytest.mark.parametrize(
    "changes",
    [{"span": timedelta(days=15)}, {"span": timedelta(0)}, {"step": timedelta(0)}, {"step": timedelta(seconds=1.5)}],
)
async def test_history_must_refuse_what_it_cannot_ask(source: HistorySource, changes: dict[str, Any]) -> None:
    """A programming error is told as one."""
    with pytest.raises(ValueError, match="must be"):
        await fetch(source, **changes)


async def test_history_must_say_that_there_is_no_prometheus() -> None:
    """And which flag is missing."""
    with pytest.raises(HistoryError, match="set --prometheus-url"):
        await fetch(HistorySource(None, clock=lambda: NOW))
