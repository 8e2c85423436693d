"""Which objects there are and what becomes of each: a job's name tells its sort, so that the simulator knows it."""

from dataclasses import dataclass
from typing import Any

MINUTE = 60.0


@dataclass(frozen=True)
class Sort:
    """A sort of job: how long it trains (beside 95 s for instances, data and artifact), and how it ends."""

    name: str
    training: float
    ends: str = "Completed"
    spot: bool = False

    def rule(self) -> dict[str, Any]:
        """The simulator's rule for jobs of this sort."""
        reason = "AlgorithmError: ValueError: bad row, exit code: 1" if self.ends == "Failed" else None
        return {
            "kind": "training",
            "resource": f"*-job-{self.name}-*",
            "duration": self.training,
            "failure_reason": reason,
            "interruptions": int(self.spot),
            "metrics": {"accuracy": 0.97},
        }


SHORT, MEDIUM, LONG = Sort("short", 3 * MINUTE), Sort("medium", 8 * MINUTE), Sort("long", 15 * MINUTE)
HOUR = Sort("hour", 45 * MINUTE)
SPOT = Sort("spot", 8 * MINUTE, spot=True)
FAILING = Sort("failing", 4 * MINUTE, ends="Failed")
STORM = Sort("storm", 4 * MINUTE)
SORTS = {each.name: each for each in (SHORT, MEDIUM, LONG, HOUR, SPOT, FAILING, STORM)}

MIX = (SHORT, MEDIUM, SHORT, LONG, MEDIUM, SHORT, SPOT, SHORT, MEDIUM, FAILING) * 2
"""Of twenty jobs."""


def job_names(count: int, *, running: int) -> list[str]:
    """Names of jobs that arrive one by one; among the first, that are to run at once, every twentieth takes an hour."""
    names = []
    for number in range(count):
        sort = HOUR if number % 20 == 7 and number < running else MIX[number % len(MIX)]
        names.append(f"job-{sort.name}-{number:03}")
    return names


def storm_names(count: int) -> list[str]:
    """Names of the jobs that arrive at once."""
    return [f"job-{STORM.name}-{number:03}" for number in range(count)]


def endpoint_names(count: int) -> list[str]:
    """Names of the endpoints."""
    return [f"endpoint-{number:03}" for number in range(count)]


def sort_of(job: str) -> Sort:
    """The sort that a job's name tells."""
    return SORTS[job.split("-")[1]]
