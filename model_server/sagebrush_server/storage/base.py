"""What every store can do, and how its failures are told apart and retried."""

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 8.0


class StorageError(Exception):
    """A store said no. The message names the URI and what to do next. `transient`: another try may succeed."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True)
class StoredObject:
    """One object below a URI: where it is, its name below the URI's prefix, its size in bytes (None: unknown)."""

    uri: str
    name: str
    size: int | None


class Store(Protocol):
    """A place for objects. Every method raises StorageError and may be called again after a transient one."""

    def list_objects(self, uri: str) -> list[StoredObject]:
        """Return what lies at or below `uri`, sorted by key; empty where there is nothing."""
        ...

    def open_object(self, stored: StoredObject) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open an object for reading as a stream. Reading may raise StorageError too."""
        ...

    def upload(self, path: Path, *, uri: str) -> None:
        """Put the file at `path` under `uri`, replacing what is there."""
        ...


def with_retries(
    action: Callable[[], _Result],
    *,
    budget_seconds: float,
    total_seconds: float = math.inf,
    progress: Callable[[], int] = lambda: 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _Result:
    """Return what `action` returns, trying again after transient StorageErrors with growing, jittered waits.

    Gives up, raising the last error, when the next wait would end more than `budget_seconds` after the first failure in
    a row, or more than `total_seconds` after the start. A row ends where a try gets further than all before it:
    `progress` says how far (in bytes) the best one got. However long a try took before it failed, it costs no budget.
    """
    start, failing_since, furthest, wait = clock(), math.inf, 0, _FIRST_WAIT_SECONDS
    while True:
        try:
            return action()
        except StorageError as problem:
            now, reached = clock(), progress()
            if failing_since == math.inf or reached > furthest:
                failing_since, furthest, wait = now, reached, _FIRST_WAIT_SECONDS
            pause = wait * random.uniform(0.5, 1.0)  # noqa: S311 – spreads retries, guards nothing
            if not problem.transient or now + pause > min(failing_since + budget_seconds, start + total_seconds):
                raise
            _LOG.warning("%s; trying again in %.1f s", problem, pause)
            sleep(pause)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
