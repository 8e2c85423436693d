"""How long a serving process was at work."""

import threading
import time
from collections.abc import Callable

from sagebrush_server.counts import RequestCounts


class BusyTime:
    """How long a process was at work, in seconds: one number that only grows, brought up to date when it is read.

    Of the event loop two measures each see a part, so the larger counts, from one look to the next: the wall time of
    turns that answered requests (which includes what a CPU limit holds up) and the CPU time of the loop's thread (which
    includes what goes on outside of that: accepting, polling, system calls). The model's thread adds its own, up to the
    time that passed: one worker can't be at work for more than a second a second. Made on the loop's thread; read on any.
    """

    def __init__(self, counts: RequestCounts, *, model_thread: Callable[[], float] = lambda: 0.0) -> None:
        self._counts = counts
        self._model_thread = model_thread
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._lock = threading.Lock()
        self._seen = self._measures()
        self._total = 0.0

    def seconds(self) -> float:
        """Return the time at work since this was made."""
        with self._lock:
            measures = self._measures()
            wall, cpu, thread, passed = (now - before for now, before in zip(measures, self._seen, strict=True))
            self._total += min(max(wall, cpu) + thread, max(passed, wall, cpu))
            self._seen = measures
            return self._total

    def _measures(self) -> tuple[float, float, float, float]:
        cpu = time.clock_gettime(self._clock)
        return self._counts.handling_seconds, cpu, self._model_thread(), time.monotonic()
