"""The real operator with a stopwatch in it: a line of JSON for each round, from one look at Prometheus to the next.

Nothing of what the operator does is changed; what is added costs microseconds. With SIGUSR1 cProfile starts, with
SIGUSR2 it ends and writes its statistics.
"""

import cProfile
import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sagebrush import cli
from sagebrush.backends import scaling_sources
from sagebrush.kube.client import KubernetesClient
from sagebrush.metrics.prometheus import PrometheusSource

_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Rounds:
    """What happened since the newest look at Prometheus began."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._collecting = 0.0
        self._clear()

    def _clear(self) -> None:
        self._began = time.time()
        self._cpu = time.process_time()
        self.snapshot: float | None = None
        self.snapshot_cpu = 0.0
        self.decisions = 0
        self.changes = 0
        self.deciding = 0.0
        self.last_decision: float | None = None
        self.last_write: float | None = None
        self.writes: Counter[str] = Counter()
        self.collected = 0.0
        self.collections = 0

    def begun(self) -> None:
        """A look at Prometheus begins: the round before has ended."""
        self._write()
        self._clear()

    def seen(self) -> None:
        """The answer has been read."""
        self.snapshot = time.time()
        self.snapshot_cpu = time.process_time() - self._cpu

    def collecting(self, phase: str, _info: dict[str, int]) -> None:
        """For gc.callbacks."""
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self.collected += time.thread_time() - self._collecting
            self.collections += 1

    def _write(self) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_MIB
        line = {
            "began": self._began,
            "cpuSeconds": time.process_time() - self._cpu,
            "wallSeconds": time.time() - self._began,
            "queryCpuSeconds": self.snapshot_cpu,
            "snapshotAt": self.snapshot,
            "decisions": self.decisions,
            "changes": self.changes,
            "decidingSeconds": self.deciding,
            "lastDecisionAt": self.last_decision,
            "lastWriteAt": self.last_write,
            "writes": dict(self.writes),
            "gcSeconds": self.collected,
            "collections": self.collections,
            "rssMib": resident,
        }
        self._file.write(json.dumps(line) + "\n")


def install(rounds: Rounds) -> None:
    """Listen where a round begins, is decided and is written."""
    refresh, decide = PrometheusSource.refresh, scaling_sources.decide

    async def refreshed(self: PrometheusSource) -> Any:
        rounds.begun()
        snapshot = await refresh(self)
        rounds.seen()
        return snapshot

    def decided(*args: Any, **facts: Any) -> Any:
        begun = time.perf_counter()
        decision = decide(*args, **facts)
        rounds.deciding += time.perf_counter() - begun
        rounds.decisions += 1
        rounds.changes += decision.changed
        rounds.last_decision = time.time()
        return decision

    PrometheusSource.refresh = refreshed  # type: ignore[method-assign]
    scaling_sources.decide = decided
    _count_writes(rounds)
    gc.callbacks.append(rounds.collecting)


def _count_writes(rounds: Rounds) -> None:
    apply, create = KubernetesClient.apply, KubernetesClient.create

    async def applied(self: KubernetesClient, manifest: Any, *, subresource: str | None = None) -> Any:
        found = await apply(self, manifest, subresource=subresource)
        rounds.writes[f"{manifest['kind']}{f'/{subresource}' if subresource else ''}"] += 1
        rounds.last_write = time.time()
        return found

    async def created(self: KubernetesClient, resource: Any, manifest: Any) -> Any:
        found = await create(self, resource, manifest)
        rounds.writes[resource.kind] += 1
        return found

    KubernetesClient.apply = applied  # type: ignore[method-assign]
    KubernetesClient.create = created  # type: ignore[method-assign]


def _profile_on_signals(folder: Path) -> None:
    running: list[cProfile.Profile] = []
    made = 0

    def start(*_: object) -> None:
        if not running:
            running.append(cProfile.Profile(time.process_time))
            running[0].enable()

    def stop(*_: object) -> None:
        nonlocal made
        if running:
            profile = running.pop()
            profile.disable()
            made += 1
            profile.dump_stats(folder / f"profile-{made}.pstats")

    signal.signal(signal.SIGUSR1, start)
    signal.signal(signal.SIGUSR2, stop)


if __name__ == "__main__":
    target = Path(os.environ["ROUNDS_FILE"])
    install(Rounds(target))
    _profile_on_signals(target.parent)
    sys.exit(cli.main())
