"""The one thread in which slow predictions and users' code run, so that the event loop goes on answering /ping."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

_LOG = logging.getLogger(__name__)
_SWITCH_SECONDS: Final = 0.002


class ModelThread:
    """Does one piece of work after the other. Starts with the first; a daemon, since what hangs must not keep a process."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy = 0.0
        self._since: float | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Do `work` after what was given before. Call it from one thread only."""
        if self._thread is None:
            # How long Python code in this thread keeps the event loop waiting: Python's own 5 ms are long for a probe.
            sys.setswitchinterval(_SWITCH_SECONDS)
            self._thread = threading.Thread(target=self._run, name="model", daemon=True)
            self._thread.start()
        self._work.put(work)

    def busy_seconds(self) -> float:
        """Return the wall seconds at work so far, those of the present piece included. For any thread."""
        since, busy = self._since, self._busy
        return busy if since is None else busy + max(time.monotonic() - since, 0.0)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            begun = self._since = time.monotonic()
            try:
                work()
            except Exception:  # noqa: BLE001 – what is asked for later still has to be done
                _LOG.exception("the model's thread")
            self._since = None
            self._busy += time.monotonic() - begun
