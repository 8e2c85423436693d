"""What the person in front of the demo sees: numbered headings, what is being waited for, and how long it has taken."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from devcluster.errors import DevclusterError

T = TypeVar("T")
HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 0.5


class DemoError(Exception):
    """Something the user can act on: the message says what failed and what to do next."""


def reason_of(error: Exception) -> str:
    """Return why it failed; what nobody foresaw is printed with its traceback first."""
    if isinstance(error, (DemoError, DevclusterError)):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


_STARTED = time.monotonic()


def say(text: str) -> None:
    """Print, each line led by the time since the demo started."""
    for line in text.splitlines() or [""]:
        print(f"[{time.monotonic() - _STARTED:6.1f}s] {line}", flush=True)


def show(text: str) -> None:
    """Print what another program said, indented, so that it is not taken for our own words."""
    for line in text.rstrip().splitlines():
        print(f"          | {line}", flush=True)


@dataclass(kw_only=True)
class Steps:
    """Counts the steps and keeps how long each took, for the report."""

    total: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a numbered heading, and the elapsed time at the end; a failed step says that it failed."""
        begun = time.monotonic()
        print(f"\n── {len(self.seconds) + 1}/{self.total} {title}", flush=True)
        try:
            yield
        except BaseException:
            self.seconds[title] = round(time.monotonic() - begun, 1)
            say(f"FAILED after {self.seconds[title]:.1f} s: {title}")
            raise
        self.seconds[title] = round(time.monotonic() - begun, 1)
        say(f"done in {self.seconds[title]:.1f} s")


class Heartbeat:
    """Says every 10 s that something is still going on, and what is known of it."""

    def __init__(self, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting; nothing is printed yet."""
        self._what, self._clock = what, clock
        self._begun = self._said = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._begun

    def beat(self, detail: str = "") -> None:
        """Print a line if the last one is 10 s old."""
        if self._clock() - self._said >= HEARTBEAT_SECONDS:
            self._said = self._clock()
            say(f"... {self._what} ({self.elapsed:.0f} s){': ' + detail if detail else ''}")


def wait_for(
    what: str,
    *,
    check: Callable[[], T | None],
    timeout: float,
    detail: Callable[[], str] = lambda: "",
    hint: str = "",
) -> T:
    """Poll until `check` returns something other than None, and return that.

    Raises DemoError after `timeout` seconds, with the last detail and the hint of what to do.
    """
    heartbeat = Heartbeat(f"waiting for {what}")
    while True:
        found = check()
        if found is not None:
            return found
        if heartbeat.elapsed > timeout:
            state = detail()
            raise DemoError(
                f"{what}: not within {timeout:.0f} s{'; ' + state if state else ''}{'. ' + hint if hint else ''}"
            )
        heartbeat.beat(detail())
        time.sleep(POLL_SECONDS)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns, the first row being the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
