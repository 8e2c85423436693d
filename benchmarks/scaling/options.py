"""What is measured, and with how much load."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "bench"
SOURCES = ("Pods", "Prometheus")


@dataclass(frozen=True, kw_only=True)
class Options:
    """One run of the benchmark. Times are seconds."""

    base: float = 40.0
    """Requests per second outside the spikes."""
    factor: float = 5.0
    """A spike's rate by the base."""
    workers: int = 2
    service_ms: float = 40.0
    latency_ms: int = 500
    most_replicas: int = 10
    sources: tuple[str, ...] = SOURCES
    quick: bool = False
    schedule: bool = True
    changes: dict[str, Any]
    """Fields of spec.scaling that replace the benchmark's."""
    keep: bool = False
    """Leave cluster and operator running; else what was brought up is taken down."""
    out: Path = OUT

    @property
    def capacity(self) -> float:
        """Requests per second that one replica can do: known, since the server waits and does not compute."""
        return self.workers / (self.service_ms / 1000)

    def scaling(self, source: str) -> dict[str, Any]:
        """spec.scaling: the default policy, told what a replica can do, with a short way back so that runs are short."""
        policy = {
            "minReplicas": 1,
            "maxReplicas": self.most_replicas,
            "target": {"latency": f"{self.latency_ms}ms"},
            "capacity": {"requestsPerSecond": self.capacity, "concurrency": self.workers},
            "scaleInCooldown": "60s",
            **({"source": "Pods"} if source == "Pods" else {}),
            **self.changes,
        }
        return {name: value for name, value in policy.items() if value is not None}


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--base", type=float, default=Options.base, help="requests/s outside the spikes (default: %(default)s)"
    )
    parser.add_argument(
        "--factor", type=float, default=Options.factor, help="a spike's rate by the base (default: %(default)s)"
    )
    parser.add_argument("--sources", default=",".join(SOURCES), help="Pods, Prometheus or both (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="one short spike for each source; about two minutes of load"
    )
    parser.add_argument("--no-schedule", action="store_true", help="leave out the schedule")
    parser.add_argument("--scaling", default="{}", type=json.loads, help='JSON that replaces fields of spec.scaling, such as \'{"target": {"requestsPerMinute": 1800}}\'; null removes one')  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    chosen = parser.parse_args(arguments)
    sources = tuple(word for word in chosen.sources.split(",") if word)
    if not sources or not set(sources) <= set(SOURCES):
        parser.error(f"--sources {chosen.sources}: choose of {', '.join(SOURCES)}")
    if not 1 <= chosen.base * chosen.factor <= 1000:
        parser.error(
            "--base × --factor: between 1 and 1000 requests/s; this is a benchmark of scaling, not of the machine"
        )
    return Options(
        base=chosen.base,
        factor=chosen.factor,
        sources=sources,
        quick=chosen.quick,
        schedule=not chosen.no_schedule,
        changes=chosen.scaling,
        keep=chosen.keep,
    )
