"""Traces from CSV files, and what each kind of trace is replayed against.

A file has a header and two or three columns: an index (``second`` or ``minute``), then requests per step or a rate
in requests per second (a column whose name holds "rps" or "rate"), then optionally the index of dispersion of a
second's arrivals. Steps of more than a second are interpolated between their middles, and arrivals drawn from that.
"""

import csv
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sagebrush.replay.queueing import Floats, Service
from sagebrush.replay.trace import DAY, Trace

EVALUATED_DAYS = 3
"""Days that are judged, the last ones of a trace."""

HISTORY_DAYS = 14
"""Most days before those that a policy may know."""

MEAN_REPLICAS = 15
"""Replicas that the mean of a trace of an unknown kind keeps busy."""

MOST_DISPERSION = 50.0
"""
Above it an index of dispersion is cut: one of hundreds over ten minutes comes of a rate that moved within them, not of
single seconds. With 50 the anchors cost the same, by the oracle, as in the study that the project's targets are from.
"""

_MONDAY_UNIX = 1_704_067_200  # 2024-01-01, for traces that do not say when they are from
_SECONDS_OF = {"second": 1, "minute": 60, "hour": 3600}


class TraceError(Exception):
    """A file is not a trace; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What traces of one kind are replayed against."""

    prefix: str
    """Beginning of the file's name."""
    service: Service
    times: float = 1.0
    """Factor on the recorded traffic."""
    targets: bool = False
    """Whether even values by the second are rates to draw arrivals from, and not arrivals that were counted."""


KINDS = (
    Kind("worldcup", Service(capacity=100, wait_seconds=0.5)),
    Kind("servegen", Service(capacity=10, wait_seconds=1.0)),
    Kind("azure_llm", Service(capacity=1, wait_seconds=5.0, workers=16)),
    Kind("autothrottle", Service(capacity=25, wait_seconds=0.5), targets=True),
    Kind("nasa", Service(capacity=10, wait_seconds=1.0), times=200.0),
    Kind("twitter", Service(capacity=10, wait_seconds=1.0)),
)
"""The kinds known by the beginning of the file's name; case does not matter."""


def kind_of(name: str, *, mean_rate: float) -> Kind:
    """The kind of a trace by its file's name.

    A name that is not known gets the capacity with which its mean (requests/s) keeps :data:`MEAN_REPLICAS` replicas
    busy, and a bound of one second.
    """
    for kind in KINDS:
        if name.lower().startswith(kind.prefix):
            return kind
    return Kind("", Service(capacity=max(mean_rate, 1e-3) / MEAN_REPLICAS, wait_seconds=1.0))


def read_trace(path: Path, *, service: Service | None = None, days: float = EVALUATED_DAYS, seed: int = 1) -> Trace:
    """The trace in a file; *service* overrides what its kind is replayed against. The last *days* are judged.

    Raises TraceError.
    """
    rows, header = _rows(path)
    step, per_second = _step_of(rows[:, 0], header=header, path=path)
    rate = rows[:, 1] if per_second else rows[:, 1] / step
    kind = kind_of(path.stem, mean_rate=float(rate.mean()))
    dispersion = rows[:, 2] if rows.shape[1] > 2 and "dispersion" in header[2] else None
    rate = rate * kind.times
    return windowed(
        Trace(
            name=path.stem,
            rate=_by_second(rate, step=step),
            service=service or kind.service,
            start_unix=_start_of(path.stem),
            dispersion=None if dispersion is None else _held(np.minimum(dispersion, MOST_DISPERSION), step=step),
            noisy=kind.targets or step > 1,
            seed=seed,
            kind=kind.prefix,
        ),
        days=days,
    )


def windowed(trace: Trace, *, days: float = EVALUATED_DAYS, history_days: float = HISTORY_DAYS) -> Trace:
    """The trace cut to what is judged and the history before it.

    Judged are the last *days*; of traces with less than twice that the second half, of those shorter than a day all.
    """
    length = len(trace)
    judged = length if length < DAY else min(round(days * DAY), length // 2)
    first = max(0, length - judged - round(history_days * DAY))
    return replace(
        trace,
        rate=trace.rate[first:],
        start_unix=trace.start_unix + first,
        evaluated_from=length - judged - first,
        dispersion=None if trace.dispersion is None else trace.dispersion[first:],
    )


def _rows(path: Path) -> tuple[Floats, list[str]]:
    try:
        with path.open(newline="") as file:
            lines = csv.reader(file)
            header = [cell.strip().lower() for cell in next(lines, [])]
            values = [[float(cell) for cell in line] for line in lines if line]
        rows = np.asarray(values, dtype=np.float64)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise TraceError(
            f"{path}: {error}; a trace is a CSV file with a header and columns such as second,requests"
        ) from error
    if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] < 2:
        raise TraceError(f"{path}: at least two rows of at least two columns are needed, such as second,requests")
    if not np.isfinite(rows).all() or (rows[:, 1] < 0).any():
        raise TraceError(f"{path}: values must be finite and not negative")
    return rows, header


def _step_of(index: Floats, *, header: list[str], path: Path) -> tuple[int, bool]:
    """Seconds between two rows, and whether the values are rates per second."""
    unit = next((seconds for word, seconds in _SECONDS_OF.items() if word in header[0]), None)
    if unit is None:
        raise TraceError(f"{path}: the first column is {header[0]!r}; call it second or minute")
    steps = np.diff(index) * unit
    step = round(float(np.median(steps)))
    if step < 1 or not np.allclose(steps, step):
        raise TraceError(f"{path}: rows must be equally far apart, whole seconds; fill gaps first")
    return step, "rps" in header[1] or "rate" in header[1]


def _by_second(rate: Floats, *, step: int) -> Floats:
    """Linear between the middles of the steps."""
    if step == 1:
        return rate
    middles = (np.arange(len(rate)) + 0.5) * step
    return np.asarray(np.interp(np.arange(len(rate) * step) + 0.5, middles, rate))


def _held(values: Floats, *, step: int) -> Floats:
    return np.repeat(values, step)


def _start_of(name: str) -> int:
    """The day in the name, as YYYYMMDD, as seconds since 1970."""
    found = re.search(r"(?<!\d)((?:19|20)\d{6})(?!\d)", name)
    try:
        return int(datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC).timestamp()) if found else _MONDAY_UNIX
    except ValueError:
        return _MONDAY_UNIX
