"""Puts a bounded, steady load on an endpoint with wrk, and says how it was answered."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devcluster import debian
from devcluster.errors import DevclusterError
from examples.demo.progress import DemoError, Heartbeat, say

CLIENTS = {"curl": "curl", "wrk": "wrk"}
SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 16
LONGEST_SECONDS = 600
REQUEST_TIMEOUT_SECONDS = 10
FEWEST_BODIES = 1000


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """How the requests of one load were answered. Times are those of the client, from first byte sent to last received."""

    requests: int
    seconds: float
    not_200: int
    wrong_answers: int
    connection_errors: int
    timeouts: int
    unanswered: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    first_wrong: str

    @property
    def errors(self) -> int:
        """Requests that did not get their prediction, for whatever reason."""
        return self.not_200 + self.wrong_answers + self.connection_errors + self.timeouts + self.unanswered


def ensure_clients() -> None:
    """Install Debian's packages of curl and wrk where they are missing and we may.

    Raises DemoError where they can't be had.
    """
    missing = {name: package for name, package in CLIENTS.items() if not shutil.which(name)}
    if not missing:
        return
    say(f"installing {' and '.join(missing)} (what asks the endpoint) from the distribution")
    try:
        debian.require(missing)
    except DevclusterError as error:
        raise DemoError(f"{' and '.join(missing)} can't be had: {error}") from error


def write_bodies(rows: list[str], *, path: Path) -> int:
    """Write request bodies, one per line, and return their number; the Lua script cycles through them.

    Raises DemoError where there are too few different ones for the load to mean anything.
    """
    different = list(dict.fromkeys(rows))
    if len(different) < FEWEST_BODIES:
        raise DemoError(
            f"the validation data has {len(different)} different rows, and the load wants {FEWEST_BODIES}: give more data"
        )
    path.write_text("\n".join(different) + "\n")
    return len(different)


def run_load(
    url: str,
    *,
    bodies: Path,
    rate: float,
    seconds: int,
    result: Path,
    connections: int = CONNECTIONS,
    progress: Callable[[], str] = lambda: "",
) -> LoadResult:
    """Send `rate` requests per second to `url` for `seconds`, and return how they were answered.

    Raises DemoError where wrk itself fails; refused requests are a result, not an error.
    """
    seconds = min(seconds, LONGEST_SECONDS)
    result.unlink(missing_ok=True)
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
        *("--timeout", f"{REQUEST_TIMEOUT_SECONDS}s", "--script", str(SCRIPT), url),
        *("--", str(bodies.absolute()), f"{rate:.3f}", str(result.absolute())),
    ]
    log = result.with_suffix(".log")
    heartbeat = Heartbeat(f"load: {rate:.0f} requests/s for {seconds} s")
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        while True:
            try:
                process.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                heartbeat.beat(progress())
            if heartbeat.elapsed > seconds + 3 * REQUEST_TIMEOUT_SECONDS:
                process.kill()
                raise DemoError(
                    f"wrk did not end {3 * REQUEST_TIMEOUT_SECONDS} s after the load should have: see {log}"
                )
    if process.returncode or not result.exists():
        raise DemoError(f"wrk failed (exit code {process.returncode}):\n{log.read_text()[-1500:]}")
    return parse_result(result.read_text(), connections=connections)


def parse_result(text: str, *, connections: int) -> LoadResult:
    """Read what load.lua wrote. Requests on the wire at the end (at most one per connection) are not counted at all."""
    raw = json.loads(text)
    # wrk forms one request before it starts, only to look at it.
    on_the_way = raw["sent"] - 1 - raw["answered"]
    broken = raw["connect"] + raw["read"] + raw["write"]
    unanswered = max(0, on_the_way - broken - connections)
    return LoadResult(
        requests=raw["answered"] + broken + unanswered,
        seconds=raw["seconds"],
        not_200=raw["not200"],
        wrong_answers=raw["wrong"],
        connection_errors=broken,
        timeouts=raw["timeout"],
        unanswered=unanswered,
        p50_ms=raw["p50Ms"],
        p90_ms=raw["p90Ms"],
        p99_ms=raw["p99Ms"],
        max_ms=raw["maxMs"],
        first_wrong=raw["firstWrong"],
    )
