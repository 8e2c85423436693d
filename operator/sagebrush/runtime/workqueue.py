"""The queue between events and workers: each key at most once in line, never twice at work, and back-off by key."""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 300.0
_SPREAD = 0.15


class WorkQueue(Generic[K]):
    """
    client-go's workqueue semantics for asyncio.

    Adding a key that waits changes nothing; adding one that is being worked on makes it come again afterwards. Of
    several delays the earliest counts.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        speed: float = 1.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """*clock* tells the seconds in which delays are counted, *speed* how many of them pass in one of the wall's."""
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._speed, self._jitter = speed, jitter
        self._waiting: deque[K] = deque()
        self._in_line: set[K] = set()
        self._working: set[K] = set()
        self._dirty: set[K] = set()
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._held: set[K] = set()
        self._numbers = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Put *key* in line; what was put off comes besides, in its own time."""
        if key in self._working:
            self._dirty.add(key)
        elif key not in self._in_line:
            self._in_line.add(key)
            self._waiting.append(key)
            self._wake.set()

    def nudge(self, key: K) -> None:
        """Put *key* in line, unless it waits out a back-off: news that come all the time don't shorten that."""
        if key not in self._held:
            self.add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Put *key* in line in *seconds*, unless it comes earlier anyway."""
        due = self._clock() + max(0.0, seconds)
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._numbers), key))
        self._wake.set()

    def come_back(self, key: K, seconds: float) -> None:
        """Put *key* in line in at most *seconds*, up to 15 % sooner: what began together must not come together for ever."""
        self.add_after(key, seconds * (1 - _SPREAD * self._jitter()))

    def retry(
        self, key: K, *, at_least_seconds: float = 0.0, at_most_seconds: float = LONGEST_BACKOFF_SECONDS
    ) -> float:
        """Put *key* in line after its back-off (doubling from 0.5 s to the most, ±20 %); the seconds chosen."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        backoff: float = min(at_most_seconds, FIRST_BACKOFF_SECONDS * 2.0 ** min(count, 30))
        seconds = max(backoff * (0.8 + 0.4 * self._jitter()), at_least_seconds)
        self._held.add(key)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """*key* went well: its next back-off starts small again."""
        self._failures.pop(key, None)
        self._held.discard(key)

    def attempts(self, key: K) -> int:
        """Failures in a row."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key; call :meth:`done` with it afterwards."""
        while True:
            self._promote()
            if self._waiting:
                key = self._waiting.popleft()
                self._in_line.discard(key)
                self._working.add(key)
                return key
            self._wake.clear()
            timeout = (self._delayed[0][0] - self._clock()) / self._speed if self._delayed else None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Work on *key* has ended; if it was added meanwhile, it comes again."""
        self._working.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def _promote(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self._held.discard(key)
                self.add(key)
