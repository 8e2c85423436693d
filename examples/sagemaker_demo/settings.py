"""The demo's command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from examples.demo.shell import REPOSITORY


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run the demo."""

    action: str
    data: str
    out: Path
    speed: float
    """Virtual seconds of the simulator in a second."""
    short: bool
    """Shorter plateaus, and no wait for Application Auto Scaling to scale in."""
    namespace: str = "kdd"

    @property
    def plateau_seconds(self) -> float:
        """Shortest time for which each stage of the load is held."""
        return 8.0 if self.short else 20.0


def parse(arguments: list[str] | None = None) -> Settings:
    """Read the command line; empty values count as not given, so that a Makefile can pass its variables on."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.sagemaker_demo",
        description="Trains, serves, scales, updates and deletes on a simulated SageMaker, with the real operator, "
        "a real Kubernetes API and a real Prometheus. No AWS account, no containers, no root.",
    )
    parser.add_argument(
        "action", nargs="?", choices=["run", "down"], default="run", help="down: says that nothing is left to remove"
    )
    parser.add_argument(
        "--data", default="auto", help="file or folder in KDD'99 format, auto, or generated (default: %(default)s)"
    )
    parser.add_argument("--out", default="build/sagemaker-demo", help="folder of the report (default: %(default)s)")
    parser.add_argument(
        "--speed", type=float, default=60.0, help="virtual seconds in a second (default: %(default)g), 10 to 200"
    )
    parser.add_argument("--short", action="store_true", help="a short version, for tests")
    chosen = parser.parse_args(arguments)
    if not 10 <= chosen.speed <= 200:
        parser.error("--speed: between 10 and 200")
    return Settings(
        action=chosen.action,
        data=chosen.data or "auto",
        out=REPOSITORY / chosen.out,
        speed=chosen.speed,
        short=chosen.short,
    )
