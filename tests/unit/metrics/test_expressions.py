"""The users' own PromQL: what is a demand, and what is not."""

import asyncio

import aiohttp
import pytest

from sagebrush.metrics.expressions import ExpressionSource
from sagebrush.metrics.query_api import QueryApi
from tests.unit.metrics.prometheus_server import PromServer, labels, matrix, refused, scalar, vector


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(prom_url: str, session: aiohttp.ClientSession, clock: Clock) -> ExpressionSource:
    return ExpressionSource(QueryApi(prom_url, session=session), interval_seconds=5, timeout_seconds=5, clock=clock)


@pytest.mark.parametrize(
    ("body", "expected", "problem"),
    [
        (scalar(12.5), 12.5, ""),
        (vector((labels(), 3)), 3, ""),
        (vector(({}, 0)), 0, ""),
        (vector(), None, "target.query gave no series; check the selector"),
        (vector(({"a": "1"}, 1), ({"a": "2"}, 2)), None, "target.query gave 2 series in place of one; put sum()"),
        (vector(({}, "NaN")), None, "target.query gave nan, which is no demand"),
        (scalar("+Inf"), None, "target.query gave inf, which is no demand"),
        (scalar(-1), None, "target.query gave -1, which is no demand"),
        (matrix(), None, "target.query: Prometheus answered with a matrix in place of a vector or scalar"),
        (refused("parse error"), None, "target.query: Prometheus refused the query: bad_data: parse error"),
        (vector(({}, 1), warnings=["a store is gone"]), None, "target.query: Prometheus warns: a store is gone"),
        (b"<html>", None, "target.query: Prometheus' answer is not JSON: <html>"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
            None,
            "target.query: Prometheus' answer cannot be read",
        ),
    ],
)
async def test_expression_must_be_one_number_or_unknown(
    prom: PromServer, source: ExpressionSource, body: bytes, expected: float | None, problem: str
) -> None:
    """A scalar, or a vector of one. Nothing, several, NaN and errors are unknown, in words that say what came."""
    prom.answers = {"queue": body}
    assert source.value("queue").problem == "Prometheus has not been asked for target.query yet"
    await source.refresh(patience_seconds=5)
    assert source.value("queue").value == expected
    assert source.value("queue").problem.startswith(problem)
    assert bool(source.value("queue").problem) == (expected is None)


async def test_expression_must_be_asked_once_for_all_who_share_it(prom: PromServer, source: ExpressionSource) -> None:
    """A hundred endpoints with three expressions are three queries, and no more than eight at once."""
    gate = asyncio.Event()

    async def wait(_: dict[str, str]) -> bytes:
        await gate.wait()
        return scalar(1)

    prom.answers = {"q": wait}
    for number in range(100):
        source.value(f"q{number % 20}")
    round_ = asyncio.create_task(source.refresh(patience_seconds=5))
    async with asyncio.timeout(5):
        while prom.at_once < 8:
            await asyncio.sleep(0)
    gate.set()
    await round_
    assert sorted(prom.queries.values()) == [1] * 20
    assert prom.most_at_once == 8


async def test_slow_expression_must_hold_up_nobody(prom: PromServer, source: ExpressionSource) -> None:
    """The round goes on without it; its answer is there when it comes, and it is not asked twice meanwhile."""
    gate = asyncio.Event()

    async def wait(_: dict[str, str]) -> bytes:
        await gate.wait()
        return scalar(1)

    prom.answers = {"slow": wait, "quick": scalar(2)}
    source.value("slow")
    source.value("quick")
    await source.refresh(patience_seconds=0.05)
    await source.refresh(patience_seconds=0.05)
    assert (source.value("slow").value, source.value("quick").value) == (None, 2)
    gate.set()
    await source.refresh(patience_seconds=5)
    assert source.value("slow").value == 1
    assert prom.queries["slow"] == 1


async def test_expression_must_grow_old(prom: PromServer, source: ExpressionSource, clock: Clock) -> None:
    """An answer of half a minute ago is none; an expression that nobody wants any longer is not asked."""
    prom.answers = {"queue": scalar(1)}
    source.value("queue")
    await source.refresh(patience_seconds=5)
    clock.now += 15
    assert source.value("queue").value == 1
    clock.now += 1
    assert source.value("queue") == (None, "target.query was last answered more than 15 s ago")
    clock.now += 121
    await source.refresh(patience_seconds=5)
    assert prom.queries["queue"] == 1


async def test_expression_must_say_that_there_is_no_prometheus(clock: Clock) -> None:
    """And which flag is missing."""
    source = ExpressionSource(None, interval_seconds=5, timeout_seconds=5, clock=clock)
    assert source.value("queue").problem == "target.query: no Prometheus configured: set --prometheus-url"
    await source.refresh(patience_seconds=5)
