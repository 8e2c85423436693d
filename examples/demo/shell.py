"""Runs other programs, and turns what they said on failure into an error a person can act on."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import IO

from examples.demo.progress import DemoError, Heartbeat, say

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 3000
LOCAL = ("127.0.0.1", "localhost")
PATIENCE_SECONDS = 15.0


def prepare_environment() -> None:
    """Set what this process and its children need: no proxy for local addresses, kubectl's and helm's cache in build/."""
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        if known.strip() != "*":
            parts = [part.strip() for part in known.split(",") if part.strip()]
            os.environ[name] = ",".join(dict.fromkeys([*parts, *LOCAL]))
    os.environ.setdefault("KUBECACHEDIR", str(REPOSITORY / "build" / "kube-cache"))


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
    """Run a long command with its output in `log` and a heartbeat; `through` shows the output as it comes, besides.

    The command is the leader of a process group, all of which ends with it on a time-out or an interruption.

    Raises DemoError with the end of the log when it fails or takes longer than `timeout` seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"{what}{'' if through else f' (log: {display(log)})'}")
    heartbeat = Heartbeat(what)
    with log.open("wb") as output:
        with _interruptible_children():
            started = subprocess.Popen(
                list(command),
                cwd=REPOSITORY,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE if through else output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with started as process, _copied(process.stdout, log=output), _killed_on_error(process):
            code = _wait(process, heartbeat=heartbeat, timeout=timeout, quiet=through)
    if code is None:
        raise DemoError(f"{what}: no end after {timeout:.0f} s\n{tail(log)}".rstrip())
    if code:
        raise DemoError(f"{what}: exit code {code} of {shlex.join(command)}\n{tail(log)}")


@contextmanager
def _copied(source: IO[bytes] | None, *, log: IO[bytes]) -> Iterator[None]:
    """Show what a child writes, and keep it for the error that may have to quote it."""

    def copy(source: IO[bytes]) -> None:
        for line in source:
            log.write(line)
            print(line.decode(errors="replace"), end="", flush=True)

    if source is None:
        yield
        return
    copier = Thread(target=copy, args=(source,), daemon=True)
    copier.start()
    try:
        yield
    finally:
        copier.join(PATIENCE_SECONDS)  # for ever only where something that the child left behind still holds the pipe


@contextmanager
def _interruptible_children() -> Iterator[None]:
    """Let a child that is started here hear SIGINT: what a shell runs in its background ignores it, and passes that on."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Never leave a child behind when we are interrupted."""
    try:
        yield
    except BaseException:
        stop_group(process)
        raise


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End the process group that a process leads: interrupt it so that it can tidy up, then terminate, then kill it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=PATIENCE_SECONDS)
    # The leader has ended; what it left behind keeps the group's number from being anybody else's.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], *, heartbeat: Heartbeat, timeout: float, quiet: bool) -> int | None:
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if heartbeat.elapsed > timeout:
                stop_group(process)
                return None
            if not quiet:
                heartbeat.beat()


def tail(log: Path, *, lines: int = 25) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def display(path: Path) -> str:
    """Return a path as a person in the repository's root would type it."""
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)
