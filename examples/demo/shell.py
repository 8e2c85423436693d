"""Runs other programs, and turns what they said on failure into an error a person can act on."""

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from examples.demo.progress import DemoError, Heartbeat, say

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 3000


def run(
    command: Sequence[str],
    *,
    timeout: float = 120,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> str:
    """Run a short command from the repository's root and return its stdout.

    With `check` a failure raises DemoError with the command and what it said; without, its stderr is returned too.
    """
    try:
        done = subprocess.run(
            list(command),
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise DemoError(f"{command[0]} is not installed: install it, or put it on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"no end after {timeout:.0f} s: {shlex.join(command)}") from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or done.stdout.strip())[-LONGEST_MESSAGE:]
    if check:
        raise DemoError(f"exit code {done.returncode} of {shlex.join(command)}\n{said}")
    return f"{done.stdout}{done.stderr}"


def run_long(
    command: Sequence[str],
    *,
    what: str,
    log: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    through: bool = False,
) -> None:
    """Run a long command with its output in `log` and a heartbeat; `through` shows the output as it comes instead.

    Raises DemoError with the end of the log when it fails or takes longer than `timeout` seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"{what}{'' if through else f' (log: {display(log)})'}")
    heartbeat = Heartbeat(what)
    with log.open("w") as output:
        sink = None if through else output
        merged = None if through else subprocess.STDOUT
        with (
            subprocess.Popen(
                list(command), cwd=REPOSITORY, env={**os.environ, **(environment or {})}, stdout=sink, stderr=merged
            ) as process,
            _killed_on_error(process),
        ):
            code = _wait(process, heartbeat=heartbeat, timeout=timeout, quiet=through)
    if code is None:
        raise DemoError(f"{what}: no end after {timeout:.0f} s\n{tail(log)}")
    if code:
        raise DemoError(f"{what}: exit code {code} of {shlex.join(command)}\n{tail(log)}")


@contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Never leave a child behind when we are interrupted."""
    try:
        yield
    except BaseException:
        process.terminate()
        raise


def _wait(process: subprocess.Popen[bytes], *, heartbeat: Heartbeat, timeout: float, quiet: bool) -> int | None:
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if heartbeat.elapsed > timeout:
                process.terminate()
                return None
            if not quiet:
                heartbeat.beat()


def tail(log: Path, *, lines: int = 25) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def display(path: Path) -> str:
    """Return a path as a person in the repository's root would type it."""
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)
