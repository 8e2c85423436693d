"""Virtual time: what state machines run on, so that an hour of SageMaker passes in a second, or when a test says so."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells virtual seconds since the epoch; never goes back."""

    speed: float

    def now(self) -> float: ...

    def advance(self, seconds: float) -> None: ...


class ScaledClock:
    """Runs `speed` times as fast as the wall's, from the wall's time on; `advance` jumps ahead."""

    def __init__(self, speed: float = 60.0) -> None:
        self.speed = speed
        self._epoch = time.time()
        self._started = time.monotonic()
        self._jumped = 0.0

    @property
    def epoch(self) -> float:
        """When it started, by the wall and by itself: who runs at its speed from then on agrees with it."""
        return self._epoch

    def now(self) -> float:
        return self._epoch + self._jumped + (time.monotonic() - self._started) * self.speed

    def advance(self, seconds: float) -> None:
        self._jumped += seconds


class ManualClock:
    """Stands still until a test advances it; counters for Prometheus then are the virtual ones."""

    speed = 1.0

    def __init__(self, start: float | None = None) -> None:
        self._now = float(int(time.time())) if start is None else start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class Event:
    """An action in the agenda; cancelled ones are skipped."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due, self.action, self.cancelled = due, action, False

    def cancel(self) -> None:
        self.cancelled = True


class Agenda:
    """What is going to happen, in the order of virtual time; `lock` guards the whole world.

    `now` is the time of the event that is being run, else that of the last `catch_up`: state never sees a time
    between two events that it has skipped.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.now = clock.now()
        self._heap: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, action: Callable[[], None]) -> Event:
        """Run the action that much later."""
        return self.at(self.now + seconds, action)

    def at(self, due: float, action: Callable[[], None]) -> Event:
        """Run the action then, or at the next catch-up where that is past."""
        event = Event(due, action)
        heapq.heappush(self._heap, (due, next(self._numbers), event))
        return event

    def catch_up(self) -> None:
        """Let everything happen that is due by the clock, each at its own time."""
        with self.lock:
            until = self.clock.now()
            while self._heap and self._heap[0][0] <= until:
                due, _, event = heapq.heappop(self._heap)
                if not event.cancelled:
                    self.now = max(self.now, due)
                    event.action()
            self.now = max(self.now, until)

    def clear(self) -> None:
        """Forget all that was going to happen."""
        with self.lock:
            self._heap.clear()
