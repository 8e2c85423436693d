"""A server as a tree of processes on one CPU: started, watched, measured, and ended process by process."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devcluster.progress import tail

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _SESSION, _OWN_TIMES = 1, 3, slice(11, 15)
"""Fields of /proc/PID/stat behind the name: ppid, session, and utime, stime, cutime, cstime."""

_LOOK_SECONDS = 0.2
_REST_SHARE = 0.15
"""Of a CPU: what a server that nobody asks may use."""


class ServerError(Exception):
    """A server did not start, or ended when it should not have; the message has the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a server is started, and where it says that it is ready."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    port: int
    ready_path: str
    core: int | None = None


class Running:
    """One running server; leaving the context ends every process of it."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.seconds_to_ready = 0.0
        self._seen: set[int] = set()

    def __enter__(self) -> Self:
        start = self.start
        pinned = [] if start.core is None else ["taskset", "--cpu-list", str(start.core)]
        with start.log.open("wb") as log:
            self._begun = time.monotonic()
            self._process = subprocess.Popen(
                [*pinned, *start.command],
                cwd=start.folder,
                env=dict(start.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process that was started: what a container runtime sends SIGTERM to."""
        return self._process.pid

    def pids(self) -> set[int]:
        """All processes of the server that live: the first one, its descendants, and what else is in its session."""
        self._process.poll()  # what has ended is no longer there
        table = _process_table()
        found = {pid for pid, (_, session, _) in table.items() if self.pid in (pid, session)}
        grown = True
        while grown:
            children = {pid for pid, (parent, _, _) in table.items() if parent in found}
            grown = not children <= found
            found |= children
        self._seen |= found
        return found

    def cpu_seconds(self) -> float:
        """CPU time, user's and system's, of all processes, and of the children that they have waited for."""
        mine = self.pids()
        return sum(ticks for pid, (_, _, ticks) in _process_table().items() if pid in mine) / _TICKS

    def memory_mb(self) -> float:
        """PSS of all processes, in MB: memory that processes share counts once."""
        return sum(_pss_bytes(pid) for pid in self.pids()) / 1e6

    def wait_ready(self, *, seconds: float) -> float:
        """Ask until the server says 200; returns the seconds since its start. Raises ServerError."""
        deadline = self._begun + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerError(self._explained(f"it ended with {self._process.returncode} at start"))
            if _status(self.start.port, self.start.ready_path) == http.HTTPStatus.OK:
                self.seconds_to_ready = time.monotonic() - self._begun
                return self.seconds_to_ready
            time.sleep(0.005)
        raise ServerError(self._explained(f"it was not ready within {seconds:.0f} s"))

    def _explained(self, what: str) -> str:
        """Put the last line of the log beside what happened, and the end of the log behind it."""
        last = self.start.log.read_text(errors="replace").strip().rpartition("\n")[2]
        return f"{what}: {last}\n{tail(self.start.log, lines=12)}"

    def settle(self, *, seconds: float = 5.0) -> None:
        """Wait until the server is at rest: what an earlier load has left is then dealt with."""
        deadline = time.monotonic() + seconds
        busy = True
        while busy and time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(_LOOK_SECONDS)
            busy = self.cpu_seconds() - before > _LOOK_SECONDS * _REST_SHARE

    def wait_ended(self, *, seconds: float) -> float | None:
        """Wait until no process is left; returns the moment on the monotonic clock, None where some are after that."""
        deadline = time.monotonic() + seconds
        while self.pids():
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.005)
        return time.monotonic()

    def end(self, *, seconds: float = 10.0) -> None:
        """End the server: SIGTERM to the first process, and SIGKILL to each one that is left after `seconds`."""
        if self._process.poll() is None:
            self._process.terminate()
        if self.wait_ended(seconds=seconds) is None:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.wait_ended(seconds=seconds)
        self._process.wait()


def _process_table() -> dict[int, tuple[int, int, int]]:
    """Return parent, session and CPU ticks (own and of waited-for children) of every process that isn't a zombie."""
    table = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            text = Path(entry.path, "stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        words = text[text.rindex(")") + 2 :].split()
        if words[0] not in ("Z", "X"):
            ticks = sum(int(word) for word in words[_OWN_TIMES])
            table[int(entry.name)] = (int(words[_PARENT]), int(words[_SESSION]), ticks)
    return table


def _pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
