"""The search for the highest rate, against simulated replicas whose capacity is known exactly."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.capacity_test.measurement import Bound, Step
from sagebrush.capacity_test.search import Finding, Pace, find_capacity


class Simulated:
    """A queue with so many workers, each busy for a fixed time with a request, in a time of its own."""

    def __init__(
        self, *, workers: int, service: float, bound: Bound, fails_above: float = 1e9, left: int = 10**7
    ) -> None:
        self.workers, self.service, self.bound, self.fails_above, self.left = workers, service, bound, fails_above, left
        self.now = 0.0
        self.random = random.Random(5)
        self.rates: list[float] = []

    def clock(self) -> float:
        return self.now

    async def closed(self, concurrency: int, *, seconds: float, most: int | None = None) -> Step:
        step = Step("connections", 0.0, concurrency, self.bound)
        busy = min(self.workers, concurrency)
        rounds = max(1, int(seconds / self.service))
        count = min(self.left, busy * rounds, most or 10**9)
        for _ in range(count):
            step.answered(self.service * concurrency / busy)
        self.left -= count
        step.seconds = max(rounds * self.service if most is None else count * self.service, 1e-9)
        self.now += step.seconds
        return step

    async def open(self, rate: float, *, seconds: float, give_up: bool = True) -> Step:
        self.rates.append(rate)
        step = Step("rate", rate, 0, self.bound)
        count = max(1, round(rate * seconds))
        if count > self.left:
            step.broken_off = "the limit on requests was reached (--max-requests)"
            count = self.left
        self.left -= count
        free = [0.0] * self.workers
        ended = 0.0
        for due in sorted(self.random.uniform(0, seconds) for _ in range(count)):
            end = max(heapq.heappop(free), due) + self.service
            heapq.heappush(free, end)
            ended = max(ended, end)
            if rate > self.fails_above:
                step.fail("HTTP 500: no")
            else:
                step.answered(end - due)
        step.seconds = max(ended, seconds)
        self.now += step.seconds
        return step


async def found(load: Simulated, *, seconds: float = 60) -> Finding:
    return await find_capacity(load, bound=load.bound, pace=Pace.of(seconds), clock=load.clock, say=lambda _: None)


@pytest.mark.parametrize(("workers", "service"), [(1, 0.01), (2, 0.04), (8, 0.04), (16, 0.2)])
async def test_search_must_find_the_known_capacity(workers: int, service: float):
    """The capacity is what the workers can do; the rate within the bound is less by the room that random arrivals need."""
    load = Simulated(workers=workers, service=service, bound=Bound(0.5, 0.1))
    finding = await found(load)
    truth = workers / service
    assert finding.why == ""
    assert finding.requests_per_second is not None
    assert abs(finding.throughput - truth) < 0.02 * truth
    assert 0.75 * truth <= finding.requests_per_second < truth
    assert finding.concurrency == workers
    assert finding.held is not None
    assert finding.held.holds


async def test_tighter_bound_must_give_less():
    """A replica of eight 40-ms slots carries less where requests may hardly wait."""
    loose = await found(Simulated(workers=8, service=0.04, bound=Bound(0.5, 0.1)))
    tight = await found(Simulated(workers=8, service=0.04, bound=Bound(0.05, 0.1)))
    assert loose.requests_per_second is not None
    assert tight.requests_per_second is not None
    assert tight.requests_per_second < 0.9 * loose.requests_per_second


async def test_slow_answers_must_leave_much_room():
    """One worker of 100 ms within 500 ms: random arrivals meet long lines at 7 of 10/s already, and the capacity is 10/s still."""
    finding = await found(Simulated(workers=1, service=0.1, bound=Bound(0.5, 0.1)))
    assert finding.requests_per_second is not None
    assert finding.requests_per_second < 8
    assert abs(finding.throughput - 10) < 0.3


async def test_bound_below_one_request_must_end_the_test_at_once():
    """Where a single request already takes longer than the bound no rate is tried, and the reason says what to do."""
    load = Simulated(workers=4, service=0.6, bound=Bound(0.5, 0.1))
    finding = await found(load)
    assert finding.held is None
    assert "one request at a time takes 600 ms" in finding.why
    assert "--latency" in finding.why
    assert load.rates == []


async def test_failing_replica_must_stop_the_search():
    """Errors at the first rate end the search with the replica's words; no higher rate is tried."""
    load = Simulated(workers=4, service=0.02, bound=Bound(0.5, 0.1), fails_above=0)
    finding = await found(load)
    assert finding.held is None
    assert "HTTP 500: no" in finding.why
    assert len(load.rates) == 1


async def test_rate_that_fails_must_bound_the_search_from_above():
    """A replica that breaks above some rate is given the highest that it answered."""
    load = Simulated(workers=4, service=0.02, bound=Bound(0.5, 0.1), fails_above=150)
    finding = await found(load)
    assert finding.requests_per_second is not None
    assert 130 <= finding.requests_per_second <= 150


async def test_too_few_requests_must_be_told():
    """Where --max-requests ends before a rate is confirmed nothing is claimed."""
    finding = await found(Simulated(workers=4, service=0.02, bound=Bound(0.5, 0.1), left=2500))
    assert finding.held is None
    assert "--max-requests" in finding.why


async def test_search_must_keep_to_its_time():
    """The parts together last about as long as was asked for."""
    for workers, service in ((1, 0.01), (8, 0.04), (2, 0.4)):
        load = Simulated(workers=workers, service=service, bound=Bound(0.5, 0.1))
        await found(load, seconds=60)
        assert load.now < 100


@settings(max_examples=25, deadline=None)
@given(workers=st.integers(1, 12), service=st.floats(0.01, 0.3), latency=st.floats(0.02, 2.0))
async def test_confirmed_rate_must_never_be_beyond_what_the_replica_can(workers: int, service: float, latency: float):
    """Whatever the replica and the bound: what is confirmed did hold, and is less than its capacity."""
    load = Simulated(workers=workers, service=service, bound=Bound(latency, 0.1))
    finding = await found(load, seconds=30)
    assert (finding.held is None) == bool(finding.why)
    if finding.held is not None:
        assert finding.held.holds
        assert finding.held.rate < workers / service
