"""What is measured: numbers of objects, the speed of time, and the operator's settings in it."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from sagebrush.config import Settings

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "bench"

QUICK = {"endpoints": 12, "jobs": 30, "running": 8, "storm": 12, "speed": 30.0, "minutes": 3.0}


@dataclass(frozen=True)
class Options:
    """One run of the benchmark. Times without a unit in their name are simulated seconds."""

    endpoints: int = 200
    jobs: int = 500
    """All of them, those of the storm too."""
    running: int = 60
    """Jobs that run at once but for the storm: another is submitted when one ends."""
    storm: int = 300
    """Jobs that are submitted at once."""
    speed: float = 5.0
    """Simulated seconds in a second."""
    minutes: float = 20.0
    """Simulated minutes of the steady state."""
    latency: float = 0.1
    """How long AWS takes to answer a call."""
    poll: float = Settings.model_fields["sagemaker_poll_seconds"].default
    steady_poll: float = Settings.model_fields["sagemaker_steady_poll_seconds"].default
    calls_per_second: float = Settings.model_fields["aws_calls_per_second"].default
    burst: int = Settings.model_fields["aws_burst"].default
    resync: float = Settings.model_fields["resync_seconds"].default
    quick: bool = False
    out: Path = OUT

    @property
    def before_storm(self) -> int:
        """Jobs that are submitted one by one."""
        return self.jobs - self.storm

    def flags(self, *, origin: float) -> list[str]:
        """
        The operator's settings: the product's, on the simulator's clock, which agreed with the wall's at *origin*.

        Only listing everything anew goes by the wall's clock, so its period is shortened.
        """
        return [
            f"--aws-clock={self.speed:g}@{origin:.3f}",
            f"--sagemaker-poll-seconds={self.poll:g}",
            f"--sagemaker-steady-poll-seconds={self.steady_poll:g}",
            f"--aws-calls-per-second={self.calls_per_second:g}",
            f"--aws-burst={self.burst}",
            f"--resync-seconds={max(10.0, self.resync / self.speed):g}",
        ]

    def changed_endpoints(self) -> int:
        """Endpoints in a group of those that are changed."""
        return max(2, self.endpoints // 40)

    def maintained_endpoints(self) -> int:
        """Endpoints that AWS maintains unprompted."""
        return max(2, self.endpoints * 15 // 100)


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line; ends the program where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sagemaker",
        description="Calls, time to notice changes, CPU and memory of the operator with many objects on simulated "
        "SageMaker. Takes about eleven minutes and writes build/bench/sagemaker.json.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    known = Options()
    parser.add_argument("--endpoints", type=int, help=f"ModelEndpoints (default: {known.endpoints})")
    parser.add_argument("--jobs", type=int, help=f"TrainingJobs in all (default: {known.jobs})")
    parser.add_argument("--running", type=int, help=f"of them at once, but for the storm (default: {known.running})")
    parser.add_argument("--storm", type=int, help=f"of them submitted at once (default: {known.storm})")
    parser.add_argument("--speed", type=float, help=f"simulated seconds in a second (default: {known.speed:g})")
    parser.add_argument("--minutes", type=float, help=f"simulated, of steady state (default: {known.minutes:g})")
    parser.add_argument("--latency", type=float, default=known.latency, help="simulated seconds that a call takes")
    parser.add_argument("--poll", type=float, default=known.poll, help="aws.pollSeconds")
    parser.add_argument("--steady-poll", type=float, default=known.steady_poll, help="aws.steadyPollSeconds")
    parser.add_argument("--calls-per-second", type=float, default=known.calls_per_second, help="aws.callsPerSecond")
    parser.add_argument("--burst", type=int, default=known.burst, help="aws.burst")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of sagemaker.json and the logs")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute, whose figures mean nothing")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    options = Options(**{**(QUICK if given["quick"] else {}), **given})
    if options.endpoints < 4 * options.changed_endpoints():
        parser.error("--endpoints: at least 8, since four groups of them are changed")
    if not 0 < options.storm < options.jobs:
        parser.error("--storm: at least 1, and less than --jobs")
    if options.speed <= 1 or min(options.minutes, options.running) <= 0:
        parser.error("--speed: above 1; --minutes and --running: above 0")
    return options
