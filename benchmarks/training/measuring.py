"""One run of `sagebrush-server train` as a process of its own, watched from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.05
_MIB: Final = 1024


@dataclass(frozen=True)
class Run:
    """What a run took. Memory in MiB: `anonymous` is what the process itself holds, `resident` also counts files mapped in."""

    algorithm: str
    gigabytes: float
    rows: int
    seconds: float
    cpu_seconds: float
    anonymous_mib: int
    resident_mib: int
    rows_per_second: int
    last_figure: str


def measure(
    algorithm: str, *, hyperparameters: Mapping[str, str], channel: Path, content_type: str, rows: int, folder: Path
) -> Run:
    """Train once on the files of `channel`. Raises RuntimeError with the log's end where training fails."""
    _lay_out(folder, hyperparameters=hyperparameters, channel=channel, content_type=content_type)
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEBRUSH_ALGORITHM": algorithm,
        "TMPDIR": str(folder),
    }
    log = folder / "train.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "sagebrush-server"), "train"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        anonymous = resident = 0
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            now = _memory(process.pid)
            anonymous, resident = max(anonymous, now.get("RssAnon", 0)), max(resident, now.get("VmRSS", 0))
            time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - started
    text = log.read_text(errors="replace")
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{algorithm} ended with {process.returncode}: {text[-2000:]}")
    figures = [line for line in text.splitlines() if line.startswith("#quality_metric")]
    return Run(
        algorithm=algorithm,
        gigabytes=round(sum(path.stat().st_size for path in channel.iterdir()) / 1e9, 2),
        rows=rows,
        seconds=round(seconds, 1),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 1),
        anonymous_mib=anonymous // _MIB,
        resident_mib=max(resident, usage.ru_maxrss) // _MIB,
        rows_per_second=round(rows / seconds),
        last_figure=figures[-1].partition(", ")[2] if figures else "",
    )


def _memory(process: int) -> dict[str, int]:
    """Return the process's memory in KiB, as /proc says; empty where it has just ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    fields = (line.split() for line in lines)
    return {parts[0].rstrip(":"): int(parts[1]) for parts in fields if parts[-1] == "kB"}


def _lay_out(folder: Path, *, hyperparameters: Mapping[str, str], channel: Path, content_type: str) -> None:
    """Make a training pod's folders, with the channel as a link."""
    config = folder / "input" / "config"
    config.mkdir(parents=True)
    (folder / "input" / "data").mkdir()
    (folder / "input" / "data" / "train").symlink_to(channel)
    documents = {
        "hyperparameters": dict(hyperparameters),
        "inputdataconfig": {"train": {"ContentType": content_type, "TrainingInputMode": "File"}},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
    }
    for name, document in documents.items():
        (config / f"{name}.json").write_text(json.dumps(document))
