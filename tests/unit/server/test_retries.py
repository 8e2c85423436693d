"""How long a store's transient failures are tried again, on a clock of the tests' own."""

import contextlib
import functools

import pytest

from sagebrush_server.storage.base import StorageError, StoredObject, with_retries
from sagebrush_server.storage.transfer import download

BUDGET = 60.0


class Clock:
    """Seconds that pass only when a try or a wait takes them."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Flaky:
    """A store whose tries take seconds and deliver bytes, as scripted (the last entry repeats), then break off."""

    def __init__(self, clock, *tries, whole_after=None):
        self.clock, self.tries, self.whole_after, self.count = clock, tries, whole_after, 0

    @contextlib.contextmanager
    def open_object(self, stored):
        self.count += 1
        yield self.Stream(self)

    class Stream:
        def __init__(self, store):
            self.store, self.seconds_and_size = store, store.tries[min(store.count, len(store.tries)) - 1]

        def read(self, size):
            if self.seconds_and_size:
                (seconds, given), self.seconds_and_size = self.seconds_and_size, None
                self.store.clock.now += seconds
                return b"x" * given
            if self.store.count == self.store.whole_after:
                return b""
            raise StorageError("broke off", transient=True)


@pytest.fixture
def clock(monkeypatch):
    """A clock that downloads use too."""
    clock = Clock()
    timed = functools.partial(with_retries, clock=clock, sleep=clock.sleep)
    monkeypatch.setattr("sagebrush_server.storage.transfer.with_retries", timed)
    monkeypatch.setenv("SAGEBRUSH_RETRY_SECONDS", str(BUDGET))
    return clock


def fetch(store, folder):
    return download(store, stored=StoredObject("s3://b/x", name="x", size=None), path=folder / "x")


def test_first_try_must_cost_no_budget(clock, tmp_path):
    """A download that breaks after five minutes is tried again."""
    store = Flaky(clock, (300, 100), (300, 100), whole_after=2)
    assert fetch(store, tmp_path)[1] == 100
    assert (tmp_path / "x").stat().st_size == 100


def test_budget_must_count_from_the_first_failure(clock):
    """The same for what has no progress to tell: the time before the first failure is free."""
    tries = iter([300, 1])

    def action():
        seconds = next(tries)
        clock.now += seconds
        if seconds == 300:
            raise StorageError("broke off", transient=True)
        return "whole"

    assert with_retries(action, budget_seconds=BUDGET, clock=clock, sleep=clock.sleep) == "whole"


def test_progress_must_renew_the_budget(clock, tmp_path):
    """A try that gets further than those before it starts a new row of failures."""
    store = Flaky(clock, (300, 10), (300, 20), (300, 30), (300, 40), whole_after=4)
    assert fetch(store, tmp_path)[1] == 40


def test_retries_must_end_without_progress(clock, tmp_path):
    """Tries that get no further than the first end with the budget, be they quick or slow."""
    quick = Flaky(clock, (1, 10))
    with pytest.raises(StorageError, match="broke off"):
        fetch(quick, tmp_path)
    assert BUDGET - 10 < clock.now - 1000 < BUDGET + 2
    slow = Flaky(clock, (300, 10))
    with pytest.raises(StorageError, match="broke off"):
        fetch(slow, tmp_path)
    assert slow.count == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("transient", "budget"), [(False, BUDGET), (True, 0.0)])
def test_hopeless_failure_must_not_be_retried(clock, transient, budget):
    """What won't pass, or has no budget, is raised at once."""
    count = []

    def action():
        count.append(1)
        raise StorageError("no", transient=transient)

    with pytest.raises(StorageError):
        with_retries(action, budget_seconds=budget, clock=clock, sleep=clock.sleep)
    assert len(count) == 1


def test_total_must_bound_slow_tries(clock):
    """Where all tries share one limit, the first one's time counts: the reason is told before the limit strikes."""

    def action():
        clock.now += 40
        raise StorageError("not reachable", transient=True)

    with pytest.raises(StorageError, match="not reachable"):
        with_retries(action, budget_seconds=60, total_seconds=60, clock=clock, sleep=clock.sleep)
    assert clock.now == pytest.approx(1080, abs=1)
