"""Memory while the rows grow: each algorithm trains on files of several sizes, as a pod's container does.

`make bench-training`; see benchmarks/README.md. It writes `build/bench/training.json`.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.training.measuring import Run, measure
from benchmarks.training.rows import FEATURES, FILE_BYTES, FILE_ROWS, write_files

OUT: Final = Path("build/bench/training.json")
STEPS: Final = (16, 4, 1)
"""The sizes, as parts of the largest."""


@dataclass(frozen=True)
class Subject:
    """An algorithm with the hyperparameters of a short training run, and whether its rows have a label."""

    algorithm: str
    hyperparameters: dict[str, str] = field(default_factory=dict)
    labelled: bool = True


SUBJECTS: Final = (
    Subject("linear-learner", {"predictor_type": "binary_classifier", "epochs": "1"}),
    Subject("xgboost", {"objective": "binary:logistic", "num_round": "10", "max_depth": "6", "eval_metric": "auc"}),
)


def main() -> int:
    """Generate, train and report."""
    options = _options()
    data = Path(options.data or tempfile.mkdtemp(prefix="sagebrush-bench-training-"))
    try:
        runs = [run for subject in _subjects(options.only) for run in _grow(subject, options=options, data=data)]
    finally:
        if not options.data:
            shutil.rmtree(data)
    growth = {
        subject: _growth([run for run in runs if run.algorithm == subject])
        for subject in dict.fromkeys(run.algorithm for run in runs)
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    document = {"features": FEATURES, "cpus": os.cpu_count(), "runs": [asdict(run) for run in runs], "growth": growth}
    OUT.write_text(json.dumps(document, indent=2) + "\n")
    for algorithm, mib in growth.items():
        print(f"{algorithm}: {mib:.0f} MiB more for each GB of rows")
    print(f"written to {OUT}")
    return 0


def _grow(subject: Subject, *, options: argparse.Namespace, data: Path) -> list[Run]:
    kind = "labelled" if subject.labelled else "plain"
    content_type = "text/csv" if subject.labelled else "text/csv;label_size=0"
    runs = []
    for step in STEPS:
        gigabytes = max(options.gigabytes / step, FILE_BYTES / 1e9)
        whole = data / kind
        rows = write_files(whole, gigabytes=gigabytes, labelled=subject.labelled)
        with tempfile.TemporaryDirectory(dir=data) as folder:
            channel = Path(folder) / "channel"
            channel.mkdir()
            for path in sorted(whole.iterdir())[: rows // FILE_ROWS]:
                (channel / path.name).symlink_to(path)
            run = measure(
                subject.algorithm,
                hyperparameters=subject.hyperparameters,
                channel=channel,
                content_type=content_type,
                rows=rows,
                folder=Path(folder) / "ml",
            )
        runs.append(run)
        print(
            f"{run.algorithm:16} {run.gigabytes:6.2f} GB {run.rows:11,} rows {run.seconds:8.1f} s {run.cpu_seconds:8.1f} CPU-s "
            f"{run.rows_per_second:9,} rows/s {run.anonymous_mib:6} MiB own, {run.resident_mib} MiB resident   {run.last_figure}",
            flush=True,
        )
    return runs


def _growth(runs: Sequence[Run]) -> float:
    """Return MiB of the process' own memory for each further GB, between the second size and the last."""
    first, last = runs[1], runs[-1]
    if last.gigabytes == first.gigabytes:
        return 0.0
    return (last.anonymous_mib - first.anonymous_mib) / (last.gigabytes - first.gigabytes)


def _subjects(only: str) -> list[Subject]:
    return [subject for subject in SUBJECTS if not only or subject.algorithm in only.split(",")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0, help="the largest size (default 10)")
    parser.add_argument(
        "--quick", action="store_const", dest="gigabytes", const=0.5, help="the same as --gigabytes 0.5"
    )
    parser.add_argument("--only", default="", help="algorithms, with commas")
    parser.add_argument("--data", default="", help="folder to keep the generated files in (default: a temporary one)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
