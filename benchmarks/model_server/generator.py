"""The load generator: built from `load/*.c` at first use, given its requests in a file, and read when it is done."""

import hashlib
import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devcluster.debian import require
from devcluster.paths import cache_dir, locked

SOURCES = Path(__file__).parent / "load"
_FLAGS = ("-O2", "-Wall", "-Wextra", "-std=gnu11")
_MAGIC = b"SBLOAD1\n"
_BYTES, _NUMBERS = 0, 1
_GRACE_SECONDS = 60.0
"""How much longer than planned a load may take before it is taken for hung."""
MARKS = ("measuring", "measured")


class LoadError(Exception):
    """The load generator could not do its work; the message says why."""


@dataclass(frozen=True)
class Exchange:
    """A request, byte for byte, and what its answer must be: a body, byte for byte, or the numbers in it, in order."""

    request: bytes
    expected: bytes | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Load:
    """One load. Times are seconds. With `term_pid` SIGTERM goes there `term_after` the start (docs: load/exchange.h)."""

    port: int
    connections: int = 64
    seconds: float = 5.0
    warmup: float = 0.0
    timeout: float = 10.0
    most_requests: int | None = None
    term_pid: int | None = None
    term_after: float = 2.0
    reconnect_for: float = 1.0
    term_limit: float = 10.0

    def arguments(self) -> list[str]:
        """As the generator's options."""
        words = [f"--port={self.port}", f"--connections={self.connections}", f"--timeout={self.timeout}"]
        words += [f"--seconds={self.seconds}", f"--warmup={self.warmup}"]
        if self.most_requests is not None:
            words.append(f"--most-requests={self.most_requests}")
        if self.term_pid is not None:
            words += [f"--term-pid={self.term_pid}", f"--term-after={self.term_after}"]
            words += [f"--reconnect-for={self.reconnect_for}", f"--term-limit={self.term_limit}"]
        return words

    @property
    def longest(self) -> float:
        """Seconds after which it has hung."""
        return self.warmup + self.seconds + self.term_after + self.term_limit + 2 * self.timeout + _GRACE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What came of a load: the generator's counts by their names in load/exchange.h, latencies in milliseconds."""

    counts: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        """Return one count."""
        return int(self.counts[name])

    def moment(self, name: str) -> float:
        """Return a moment on the clock of `time.monotonic`; 0 where it never came."""
        return float(self.counts[name])

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return self.moment("measured_to") - self.moment("measured_from")

    @property
    def requests_per_second(self) -> float:
        """Answers in the measured time by its length."""
        return self["measured"] / self.seconds if self.seconds > 0 else 0.0

    @property
    def latency_ms(self) -> dict[str, float]:
        """`p50`, `p90`, `p99`, `p999`, `mean` and `max`."""
        return dict(self.counts["latency_ms"])

    @property
    def wrong(self) -> int:
        """Answers that were not what they must be."""
        return sum(self[name] for name in ("wrong_body", "wrong_status", "malformed"))

    @property
    def failed(self) -> dict[str, int]:
        """What went wrong otherwise, by kind; only what did."""
        kinds = ("broken", "unsent", "refused", "connect_failed", "timed_out")
        return {kind: self[kind] for kind in kinds if self[kind]}

    @property
    def samples(self) -> list[str]:
        """The beginnings of the first wrong answers, for people."""
        return list(self.counts["samples"])


def build() -> Path:
    """Return the generator, compiled where these sources have not been yet. Raises LoadError, DevclusterError."""
    require({"cc": "gcc", "/usr/include/stdio.h": "libc6-dev"})
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(repr(_FLAGS).encode() + b"".join(source.read_bytes() for source in sources))
    program = cache_dir() / "bench" / f"load-{digest.hexdigest()[:12]}"
    with locked(cache_dir() / "bench-load.lock"):
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            half = program.with_suffix(".new")
            files = [str(source) for source in sources if source.suffix == ".c"]
            command = ["cc", *_FLAGS, "-o", str(half), *files, "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LoadError(f"the load generator can't be compiled:\n{done.stderr.strip()[-3000:]}")
            half.rename(program)
    return program


def write_exchanges(path: Path, exchanges: Iterable[Exchange], *, tolerance: float, anchor: bytes = b"") -> int:
    """Write what the generator reads, and return the number of exchanges.

    Numbers may differ by `tolerance` (absolute below 1, relative above); those before the text `anchor` aren't looked at.
    """
    parts: list[bytes] = []
    count = 0
    for count, exchange in enumerate(exchanges, start=1):  # noqa: B007 – the number of the last is the count
        parts += [_size(len(exchange.request)), _padded(exchange.request)]
        if isinstance(exchange.expected, bytes):
            parts += [_size(_BYTES), _size(len(exchange.expected)), _padded(exchange.expected)]
        else:
            numbers = struct.pack(f"={len(exchange.expected)}d", *exchange.expected)
            parts += [_size(_NUMBERS), _size(len(numbers)), numbers]
    head = [_MAGIC, struct.pack("=d", tolerance), _size(len(anchor)), _padded(anchor), _size(count)]
    path.write_bytes(b"".join(head + parts))
    return count


def _size(value: int) -> bytes:
    return struct.pack("=Q", value)


def _padded(text: bytes) -> bytes:
    return text + b"\0" * (-len(text) % 8)


def run(
    load: Load, *, requests: Path, core: int | None = None, at_mark: Callable[[str], None] = lambda _: None
) -> Loaded:
    """Drive the load, on CPU `core` where given, and return what came of it. Raises LoadError.

    `at_mark` is called with `measuring` and `measured` when the measured time begins and ends.
    """
    command = [str(build()), f"--requests={requests}", *load.arguments()]
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        line = ""
        try:
            if process.stdout is None:
                raise LoadError("the load generator has no output")
            for line in process.stdout:
                if line.strip() in MARKS:
                    at_mark(line.strip())
            process.wait(load.longest)
        except subprocess.TimeoutExpired:
            raise LoadError(f"the load did not end within {load.longest:.0f} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        errors.seek(0)
        if process.returncode:
            raise LoadError(f"the load generator ended with {process.returncode}: {errors.read().strip()[-1000:]}")
    return Loaded(counts=json.loads(line))


def open_files_needed(connections: int) -> int:
    """Files that a process with so many connections may have open."""
    return connections + 1000


def raise_open_files(wanted: int) -> None:
    """Raise this process's limit of open files, which servers inherit. Raises LoadError where it is not allowed."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError) as problem:
        who = "" if os.geteuid() == 0 else " (root may raise it)"
        raise LoadError(f"{wanted} open files are needed and {hard} are allowed{who}: {problem}") from None
