"""Long-running processes that outlive the command which started them, and are never confused with somebody else's.

Each one is recorded as a small JSON file: pid, kernel start time and boot id together name a process for good, so a
pid that the kernel has given to another program is never signalled.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


@dataclass(frozen=True, kw_only=True)
class Process:
    """One started process. `started` is field 22 of /proc/PID/stat, in clock ticks since boot."""

    name: str
    pid: int
    started: int
    boot: str
    log: str

    @property
    def alive(self) -> bool:
        """True while exactly this process runs (a zombie has ended)."""
        return self.boot == boot_id() and start_time(self.pid) == self.started


def boot_id() -> str:
    """Return the kernel's identifier of this boot."""
    return BOOT_ID.read_text().strip()


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it has ended or is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in brackets and may itself hold spaces and brackets: read behind the last one.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def start(
    name: str,
    argv: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    dies_with_us: bool = False,
    keeps_proxy: bool = False,
) -> Process:
    """Start a detached process with its log in `folder/logs`, and record it in `folder/processes`.

    `dies_with_us` has the kernel kill it when the calling thread ends, however that ends: for tests. A cluster's parts
    reach each other directly, so only with `keeps_proxy` does it inherit the proxies that the environment names.
    """
    logs, records = folder / "logs", folder / "processes"
    logs.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    command = list(argv)
    if dies_with_us and (setpriv := shutil.which("setpriv")):
        command = [setpriv, "--pdeathsig", "KILL", *command]
    inherited = {name: value for name, value in os.environ.items() if keeps_proxy or name.lower() not in PROXIES}
    # posix_spawn and not Popen: the child is meant to outlive us, and Popen complains about that.
    pid = os.posix_spawn(
        command[0],
        command,
        {**inherited, **(environment or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGHUP],
    )
    process = Process(name=name, pid=pid, started=start_time(pid) or 0, boot=boot_id(), log=str(log))
    (records / f"{name}.json").write_text(json.dumps(asdict(process)))
    return process


def recorded(folder: Path) -> dict[str, Process]:
    """Return every process recorded under `folder`, alive or not, by name."""
    found = {}
    for record in sorted((folder / "processes").glob("*.json")):
        try:
            found[record.stem] = Process(**json.loads(record.read_text()))
        except (ValueError, TypeError):  # a record cut off by a crash: what it named is found by other signs
            continue
    return found


def stop(process: Process, *, grace_seconds: float = 10.0) -> None:
    """End a process: SIGTERM, then SIGKILL after the grace. Returns when it is gone; does nothing if it already was."""
    for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
        if not process.alive:
            break
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while process.alive and time.monotonic() < deadline:
            _reap(process.pid)
            time.sleep(0.02)
    _reap(process.pid)


def forget(process: Process, *, folder: Path) -> None:
    """Remove a process's record."""
    (folder / "processes" / f"{process.name}.json").unlink(missing_ok=True)


def _reap(pid: int) -> None:
    """Collect a child that has ended, so that it doesn't stay behind as a zombie of ours."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
