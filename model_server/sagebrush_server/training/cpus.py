"""How many CPUs a training process may use: the container's limit, not the node's number."""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")
_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cpus(limit: Path = _LIMIT) -> int:
    """Return the CPUs of this process' affinity, no more than its cgroup (version 2) allows, at least 1."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = limit.read_text(encoding="ascii").split()
        return max(1, min(count, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        # No cgroup here, or `max`: no limit.
        return count


def limit_threads(environment: MutableMapping[str, str]) -> None:
    """Tell the libraries of numbers how many threads to use, where the user doesn't. Before they are imported."""
    for name in _VARIABLES:
        environment.setdefault(name, str(available_cpus()))
