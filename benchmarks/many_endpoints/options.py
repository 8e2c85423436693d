"""What is measured: how many endpoints and pods, how their load moves, and for how long."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from sagebrush.config import Settings

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "bench"

QUICK = {
    "endpoints": 60,
    "few": 20,
    "scrape_seconds": 5.0,
    "settle_seconds": 75.0,
    "steady_seconds": 30.0,
    "changing_seconds": 30.0,
    "daily_seconds": 30.0,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """One run of the benchmark. All times are seconds of the wall's clock."""

    endpoints: int = 1000
    few: int = 100
    """Endpoints of the first part, with which the number of queries is compared."""
    interval_seconds: float = Settings.model_fields["scaling_interval_seconds"].default
    """Between two looks at Prometheus, and so between two rounds."""
    workers: int = Settings.model_fields["workers"].default
    """Objects that the operator reconciles at the same time."""
    scrape_seconds: float = 15.0
    startup_seconds: float = 3.0
    """From the creation of a pod until it is Ready."""
    history_endpoints: int = 20
    """Endpoints of which Prometheus has 14 days of history; the others are new."""
    settle_seconds: float = 150.0
    """After all is Ready, until every window is full of good data."""
    steady_seconds: float = 120.0
    changing_seconds: float = 120.0
    daily_seconds: float = 180.0
    daily_period_seconds: float = 1200.0
    """Length of a day of the daily shape."""
    step_seconds: float = 300.0
    """Longest wait for all endpoints to scale out after a step of all of them."""
    profile: bool = False
    """Write cProfile's statistics of the steady state and the changes; figures are then too high."""
    quick: bool = False
    out: Path = OUT

    def flags(self, *, prometheus: str) -> list[str]:
        """The operator's settings: the product's own but for addresses."""
        return [
            f"--prometheus-url={prometheus}",
            f"--scaling-interval-seconds={self.interval_seconds:g}",
            f"--workers={self.workers}",
            "--leader-election=false",
        ]


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line; ends the program where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_endpoints",
        description="CPU, queries, writes and memory of the operator that scales many endpoints. Takes about a "
        "quarter of an hour and writes build/bench/many-endpoints.json.",
    )
    known = Options()
    for name, about in (
        ("endpoints", "ModelEndpoints with a policy"),
        ("few", "of them in the first part, with which the number of queries is compared"),
        ("interval_seconds", "between two rounds"),
        ("workers", "of the operator"),
        ("scrape_seconds", "between two samples of a pod"),
        ("startup_seconds", "until a pod is Ready"),
        ("history_endpoints", "of them with 14 days of history"),
        ("settle_seconds", "until the windows are full"),
        ("steady_seconds", "of steady load"),
        ("changing_seconds", "in which 5 %% of the endpoints change with each scrape"),
        ("daily_seconds", "of the daily shape"),
        ("daily_period_seconds", "length of its day"),
        ("step_seconds", "longest wait for the scale-out of all"),
    ):
        value = getattr(known, name)
        told = QUICK.get(name, value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), help=f"{about} (default: {value:g}; with --quick {told:g})")  # fmt: skip
    parser.add_argument("--profile", action="store_true", help="write cProfile's statistics; figures are then too high")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of many-endpoints.json and the logs")
    parser.add_argument("--quick", action="store_true", help="a smoke run of five minutes, whose figures mean nothing")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    options = Options(**{**(QUICK if given["quick"] else {}), **given})
    if not 0 < options.few <= options.endpoints:
        parser.error("--few: at least 1 and at most --endpoints")
    if min(options.interval_seconds, options.scrape_seconds) < 1:
        parser.error("--interval-seconds and --scrape-seconds: at least 1")
    return options
