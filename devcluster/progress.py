"""What the user sees while something takes long: one line per step, and a heartbeat so that silence never means stuck."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEARTBEAT_SECONDS = 15.0
_STARTED = time.monotonic()


def say(message: str) -> None:
    """Print one line to stderr, led by the seconds since this command started."""
    print(f"[{time.monotonic() - _STARTED:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(message: str, *, quiet_below: float = 0.0) -> Iterator[None]:
    """Report one step: its end with the time it took, and a line every 15 s until then.

    A step shorter than `quiet_below` seconds leaves no line; one that fails leaves none either, since the error speaks.
    """
    begun = time.monotonic()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            say(f"... still {message} ({time.monotonic() - begun:.0f} s)")

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    took = time.monotonic() - begun
    if took >= quiet_below:
        say(f"{message}: {took:.1f} s")


def tail(log: Path, *, lines: int = 20) -> str:
    """Return the last lines of a log file, indented for an error message; a note where there is no such file."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return f"    (no log at {log})"
    last = text.splitlines()[-lines:]
    return "\n".join([f"    --- last lines of {log}", *(f"    {line}" for line in last)])
