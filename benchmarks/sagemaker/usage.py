"""CPU and memory of processes, from /proc (proc(5): pid_stat, pid_status, stat)."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MEBI = 1024


@dataclass(frozen=True)
class Usage:
    """What a process has used until now: CPU in seconds, memory in MiB."""

    cpu_seconds: float
    rss_mib: float
    peak_rss_mib: float


def usage(pid: int) -> Usage:
    """Of a process and not of its children. Raises FileNotFoundError where it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Vm")
    )
    resident, most = (int(status[name].split()[0]) / _MEBI for name in ("VmRSS", "VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, round(resident, 1), round(most, 1))


def machine_busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used, of all cores."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / _TICKS
