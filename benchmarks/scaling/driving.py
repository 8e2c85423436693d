"""Sends the load and keeps what became of every request; every answer is checked against the row that was sent."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.scaling.shape import Shape
from sagebrush.capacity_test.connection import Exchange
from sagebrush.capacity_test.generator import Generator, Target
from sagebrush.capacity_test.measurement import Bound

ROWS = 1000
TIMEOUT_SECONDS = 60.0
_MOST_REQUESTS = 2_000_000


@dataclass
class Driven:
    """What became of the load. Times are seconds: *due* since its start, latencies from then on."""

    began: float
    """Unix time of its start."""
    due: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    """Of the request at the same place in *due*; infinite where it failed."""
    failures: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    """Answers that are not what this row must give."""
    lag_p99: float = 0.0
    """How late the load generator itself was."""


def rows() -> list[bytes]:
    """Different requests."""
    return [f"{number},{number % 7},0.5".encode() for number in range(ROWS)]


def drive(url: str, shape: Shape, *, latency_seconds: float) -> Driven:
    """Send the load to *url*; returns when the last request is answered or given up."""
    return asyncio.run(_drive(url, shape, latency_seconds=latency_seconds))


async def _drive(url: str, shape: Shape, *, latency_seconds: float) -> Driven:
    bodies = rows()
    expected = {body: round(sum(map(float, body.split(b","))), 3) for body in bodies}
    target = Target.of(url, bodies=bodies, content_type="text/csv", accept=None, timeout=TIMEOUT_SECONDS)
    generator = Generator(target, Bound(latency_seconds, 0.1), most_requests=_MOST_REQUESTS)
    loop = asyncio.get_running_loop()
    driven = Driven(time.time())
    began = loop.time()

    def observe(exchange: Exchange, now: float) -> None:
        fine = 200 <= exchange.status < 300
        if fine and _score(exchange.body) != expected[exchange.payload.rpartition(b"\r\n")[2]]:
            driven.wrong += 1
        if not fine:
            driven.failures[exchange.problem or f"HTTP {exchange.status}"] += 1
        driven.due.append(exchange.intended - began)
        driven.latencies.append(now - exchange.intended if fine else float("inf"))

    generator.observe = observe
    try:
        step = await generator.follow(shape.moments())
    finally:
        await generator.close()
    told = sum(driven.failures.values())
    if step.failed > told:  # those that were given up at the end
        driven.failures["no answer in time"] += step.failed - told
    lags = sorted(step.lags)
    driven.lag_p99 = lags[int(0.99 * (len(lags) - 1))] if lags else 0.0
    return driven


def _score(body: bytes) -> float | None:
    try:
        return round(float(json.loads(body)["predictions"][0]["score"]), 3)
    except (ValueError, KeyError, IndexError, TypeError):
        return None
