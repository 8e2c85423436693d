"""How many CPUs this container may use."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus(cgroups: Path = _CGROUPS) -> int:
    """Return the whole CPUs that affinity and the container's quota (cgroup v2 or v1) leave, at least 1."""
    # Python 3.13 has os.process_cpu_count(); neither knows quotas.
    return max(int(min(len(os.sched_getaffinity(0)), _quota(cgroups))), 1)


def _quota(cgroups: Path) -> float:
    try:
        limit, period = (cgroups / "cpu.max").read_text().split()
        return float("inf") if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota = int((cgroups / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = int((cgroups / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return float("inf")
    return quota / period_us if quota > 0 else float("inf")
