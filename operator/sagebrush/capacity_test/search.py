"""
Finds the highest rate at which the bound holds: how much the replica does at all, then rising rates, then a hold.

The way of a JMeter or Taurus run by hand: more and more users until throughput stops growing; there the rates begin.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sagebrush.capacity_test.measurement import Bound, Step

_WARM_UP_REQUESTS = 50
_RISING = (0.4, 0.6, 0.75, 0.85, 0.92, 0.97)
"""Rates of the first steps, as shares of the capacity. At the capacity itself and above the line of requests grows without end,
which a short step may not show."""
_PRECISION = 1.04
"""The search ends once the lowest rate that failed is within 4 % of the highest that held."""
_MOST_CONNECTIONS = 256
_GROWTH = 1.10
_BACK = 0.93
"""A rate that held in a short step and not in the long one is taken back by 7 %."""
_HOLDS = 4


class Load(Protocol):
    """What puts requests on the replica."""

    @property
    def left(self) -> int:
        """Requests that may still be sent."""

    async def closed(self, concurrency: int, *, seconds: float, most: int | None = None) -> Step:
        """So many connections, as fast as they go."""

    async def open(self, rate: float, *, seconds: float, give_up: bool = True) -> Step:
        """Requests at a fixed rate."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the parts take, in seconds: together about the duration asked for."""

    warm_up: float
    connections: float
    saturated: float
    rate: float
    rates_until: float
    """No new rate begins after so long."""
    hold: float

    @classmethod
    def of(cls, seconds: float) -> "Pace":
        """Shares of the duration: a tenth to warm up, half to search, a third to confirm."""
        return cls(0.05 * seconds, 0.025 * seconds, 0.08 * seconds, 0.06 * seconds, 0.68 * seconds, 0.3 * seconds)


@dataclass(slots=True)
class Finding:
    """What the search found."""

    steps: list[Step] = field(default_factory=list)
    held: Step | None = None
    """The step that confirmed the rate; None: no rate was confirmed."""
    throughput: float = 0.0
    """Good answers a second of the replica while it is never idle, whatever their latency: its capacity."""
    concurrency: int = 1
    """Requests that the replica works on at the same time."""
    service_seconds: float = math.nan
    """Median latency of one request at a time."""
    why: str = ""
    """Why no rate was confirmed, and what to do."""

    @property
    def requests_per_second(self) -> float | None:
        """The rate that was confirmed."""
        return self.held.rate if self.held else None


async def find_capacity(
    load: Load,
    *,
    bound: Bound,
    pace: Pace,
    clock: Callable[[], float],
    say: Callable[[Step], None],
    announce: Callable[[str], None] = lambda _: None,
) -> Finding:
    """Run the whole search. Never raises for what the replica does. *say* is told of each step, *announce* what comes."""
    finding = Finding()
    begun = clock()

    def done(step: Step) -> Step:
        finding.steps.append(step)
        say(step)
        return step

    announce("one request at a time, then more and more connections: how much does it do at all?")
    warm = done(await load.closed(1, seconds=pace.warm_up, most=_WARM_UP_REQUESTS))
    finding.service_seconds = warm.quantile(0.5)
    finding.why = _refusal(warm, bound=bound)
    if finding.why:
        return finding
    await _connections(load, finding, bound=bound, pace=pace, done=done)
    if finding.why:
        return finding
    announce(f"rising rates: at which do {bound.late_percent:g} % take longer than {bound.seconds * 1000:g} ms?")
    rate = await _rates(load, finding, pace=pace, over=lambda: clock() - begun > pace.rates_until, done=done)
    if rate is None:
        finding.why = finding.why or _no_rate(finding, bound=bound)
        return finding
    announce(f"holding {rate:.4g} requests/s for {pace.hold:.0f} s")
    await _hold(load, finding, rate=rate, seconds=pace.hold, done=done)
    return finding


def _refusal(step: Step, *, bound: Bound) -> str:
    """Why the first requests end the test already; empty where they don't."""
    if step.errors or step.refused:
        said = next(iter(step.errors), "HTTP 429 or 503")
        if not said.startswith("HTTP"):
            return f"the replica does not answer: {said}"
        return f"the replica refuses the first requests ({said}): check --payload and --content-type"
    if not step.latencies:
        return "no answer to the first request within the warm-up: give a longer --duration"
    if step.quantile(0.5) > bound.seconds:
        return (
            f"one request at a time takes {step.quantile(0.5) * 1000:.0f} ms (median): no number of replicas keeps a bound of "
            f"{bound.seconds * 1000:.0f} ms. Allow more (--latency), give the pod more CPU, or send less in a request"
        )
    return ""


async def _connections(load: Load, finding: Finding, *, bound: Bound, pace: Pace, done: Callable[[Step], Step]) -> None:
    """Twice as many connections each time, until throughput stops growing."""
    count, best, busiest = 1, 0.0, 1
    while count <= _MOST_CONNECTIONS and load.left > 0:
        # At least a few answers for each connection, or slow replicas would look like stopped ones.
        seconds = max(pace.connections, min(4 * finding.service_seconds, 4 * pace.connections))
        step = done(await load.closed(count, seconds=seconds))
        if step.errors:
            finding.why = f"the replica fails with {count} connections: {next(iter(step.errors))}"
            return
        grew = step.answered_per_second > best * _GROWTH
        if step.answered_per_second > best:
            best, busiest = step.answered_per_second, count
        if not grew or step.refused or step.quantile(0.5) > 2 * bound.seconds:
            break
        count *= 2
    if best <= 0:
        finding.why = "the replica answered nothing in time: give a longer --duration"
        return
    # Little's law: requests at work = throughput × time of one.
    finding.concurrency = max(1, round(best * finding.service_seconds))
    # Once more and longer, with one in line for each that is worked on: so that nothing ever waits for a connection.
    busy = done(await load.closed(min(2 * busiest, _MOST_CONNECTIONS), seconds=pace.saturated))
    finding.throughput = busy.answered_per_second or best


async def _rates(
    load: Load, finding: Finding, *, pace: Pace, over: Callable[[], bool], done: Callable[[Step], Step]
) -> float | None:
    """The highest rate at which a short step held; None where none did."""
    good, bad = 0.0, math.inf
    rising = [share * finding.throughput for share in _RISING]
    while load.left > 0 and not (over() and good) and bad > good * _PRECISION:
        if math.isinf(bad):
            if not rising:
                break
            rate = rising.pop(0)
        else:
            rate = math.sqrt(good * bad) if good else bad / 2
        if rate < finding.throughput / 100:
            break
        step = done(await load.open(rate, seconds=pace.rate))
        if step.errors.total() > step.bound.allowed(step.requests):
            finding.why = "" if good else f"the replica fails at {rate:.4g} requests/s: {next(iter(step.errors))}"
            if not good:
                return None
        if step.broken_off.startswith("the limit"):
            break
        if step.holds:
            good = rate
        else:
            bad = rate
    return good or None


async def _hold(load: Load, finding: Finding, *, rate: float, seconds: float, done: Callable[[Step], Step]) -> None:
    """Confirm the rate over a longer time; a little less each time that it doesn't hold."""
    for number in range(_HOLDS):
        if load.left < rate * seconds / 3:
            finding.why = (
                f"{rate:.4g} requests/s held in a short step, and --max-requests leaves too few to confirm it: raise it"
            )
            return
        step = done(await load.open(rate, seconds=seconds if number == 0 else seconds / 2))
        if step.holds and not step.broken_off:
            finding.held = step
            return
        rate *= _BACK
    finding.why = "no rate that held in short steps held for long: the replica, or what shares its node, is unsteady"


def _no_rate(finding: Finding, *, bound: Bound) -> str:
    first = next((step for step in finding.steps if step.kind == "rate"), None)
    if first is None:
        return "there was no time to try any rate: give a longer --duration or more --max-requests"
    return (
        f"at no rate did the bound of {bound.seconds * 1000:.0f} ms hold for all but {bound.late_percent:g} % of the requests "
        f"(p99 at {first.rate:.4g} requests/s: {first.quantile(0.99) * 1000:.0f} ms): allow more (--latency, --late-percent), "
        "or give the pod more CPU"
    )
