"""How many CPUs a training process may use: the container's limit, not the node's number."""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")


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
    """Tell the libraries of numbers how many threads to use, where the user doesn't. Before they are imported.

    OpenMP (XGBoost) gets the container's CPUs. OpenBLAS (numpy's products) gets one thread: products of mini-batches are too
    small for more, and its threads burn CPU while they wait.
    """
    environment.setdefault("OMP_NUM_THREADS", str(available_cpus()))
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
