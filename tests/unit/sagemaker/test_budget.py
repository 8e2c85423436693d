"""The budget of calls: bursts, the long run, fairness, and what AWS' own throttling does to it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.backends.sagemaker.budget import TokenBucket


class Time:
    """A clock that sleeping moves, as if nobody else ran meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def bucket(time: Time, *, rate: float = 10.0, burst: int = 5) -> TokenBucket:
    return TokenBucket(rate=rate, burst=burst, clock=time, sleep=time.sleep)


async def test_budget_must_allow_its_burst_at_once():
    """After a pause as many calls as the burst go without waiting, and the next one waits its turn."""
    time = Time()
    budget = bucket(time)
    assert [0.0] * 5 == [await budget.take() for _ in range(5)]
    assert 0.1 == pytest.approx(await budget.take())
    assert 0.2 == pytest.approx(await budget.take())


async def test_budget_must_not_grow_over_its_burst():
    """However long the pause, no more than the burst is saved."""
    time = Time()
    budget = bucket(time)
    time.now += 3600
    assert 5 == sum([await budget.take() == 0.0 for _ in range(8)])


@given(rate=st.floats(0.5, 50), burst=st.integers(1, 20), gaps=st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_budget_must_hold_in_every_window(rate: float, burst: int, gaps: list[float]):
    """Whoever calls when: no window of t seconds has more than burst + rate x t calls."""

    async def play() -> list[float]:
        time = Time()
        budget = bucket(time, rate=rate, burst=burst)
        sent = []
        for gap in gaps:
            time.now += gap
            sent.append(time.now + await budget.take())
        return sent

    sent = asyncio.run(play())
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            allowed = burst + rate * (sent[last] - sent[first])
            assert last - first + 1 <= allowed + 1e-6


async def test_budget_must_yield_to_throttling_and_come_back():
    """AWS' word counts: half the rate at each throttle, a tenth at least, and back with the calls that go through."""
    time = Time()
    budget = bucket(time)
    budget.throttled()
    assert 5.0 == budget.rate
    for _ in range(10):
        budget.throttled()
    assert 1.0 == budget.rate
    for _ in range(100):
        budget.succeeded()
    assert 10.0 == budget.rate


async def test_budget_must_have_no_tokens_left_when_throttled():
    """What was saved is of no use to an account that is over its limit."""
    budget = bucket(Time())
    budget.throttled()
    assert 0.0 < await budget.take()


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 5), (-1.0, 5), (1.0, 0)])
def test_budget_must_be_possible(rate: float, burst: int):
    """A budget of nothing would wait for ever."""
    with pytest.raises(ValueError, match="rate above 0"):
        TokenBucket(rate=rate, burst=burst)
