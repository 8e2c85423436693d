"""Training data: CSV files without header, the label in the first column."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.errors import ClientError
from sagebrush_server.training.job import Channel

_CONTENT_TYPES: Final = ("", "text/csv", "text/csv;label_size=1", "text/csv; label_size=1", "text/csv;charset=utf-8")


@dataclass(frozen=True)
class LabelledRows:
    """n labels and n×d features, and which file and line each row came from."""

    labels: NDArray[np.float64]
    features: NDArray[np.float64]
    files: tuple[tuple[Path, int], ...]

    def place(self, row: int) -> str:
        """Say where row `row` (from 0) was read, as `file, row n`."""
        for path, count in self.files:
            if row < count:
                return f"{path.name}, row {row + 1}"
            row -= count
        raise IndexError(row)


def read_labelled_csv(channel: Channel) -> LabelledRows:
    """Read every file of a channel, in the order of their names, into float64 arrays.

    Raises ClientError naming channel, file, row and column of a cell that isn't a finite number, for rows of different
    length, and for a content type other than text/csv.
    """
    if channel.content_type.lower() not in _CONTENT_TYPES:
        raise ClientError(f"channel {channel.name}: content type {channel.content_type!r} can't be read; use text/csv")
    if channel.input_mode != "File" or channel.record_wrapper != "None":
        raise ClientError(
            f"channel {channel.name}: input mode {channel.input_mode} with record wrapper {channel.record_wrapper} "
            "can't be read; use File and None"
        )
    tables, files, width = [], [], 0
    for path in channel.files():
        table = _read_file(path, channel=channel.name)
        width = width or table.shape[1]
        if table.shape[1] != width:
            raise ClientError(
                f"channel {channel.name}: {path.name} has {table.shape[1]} columns, the files before it have {width}"
            )
        tables.append(table)
        files.append((path, len(table)))
    if width < 2:
        raise ClientError(f"channel {channel.name}: expected a label and at least one feature, got {width} column")
    table = np.concatenate(tables)
    return LabelledRows(labels=table[:, 0], features=np.ascontiguousarray(table[:, 1:]), files=tuple(files))


def _read_file(path: Path, *, channel: str) -> NDArray[np.float64]:
    if not path.read_bytes()[:4096].strip():
        raise ClientError(f"channel {channel}: {path.name} is empty")
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float64, comments=None, ndmin=2, encoding="utf-8")
    except ValueError:
        # The quick reader's message doesn't always name the cell.
        raise _first_fault(path, channel=channel) from None
    if not np.isfinite(table).all():
        raise _first_fault(path, channel=channel)
    return table


def _first_fault(path: Path, *, channel: str) -> ClientError:
    """Find the first cell that isn't a finite number, or the first row of another length."""
    width = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        # Blank lines are no rows, for the quick reader too.
        for number, line in enumerate((line for line in lines if line.strip()), start=1):
            cells = line.rstrip("\r\n").split(",")
            width = width or len(cells)
            for column, cell in enumerate(cells, start=1):
                if not _is_finite_number(cell):
                    hint = " (the data must come without a header line)" if number == 1 else ""
                    return ClientError(
                        f"channel {channel}: {path.name}, row {number}, column {column}: {cell.strip()[:40]!r} is not "
                        f"a finite number{hint}"
                    )
            if len(cells) != width:
                return ClientError(
                    f"channel {channel}: {path.name}, row {number} has {len(cells)} columns, the rows before it {width}"
                )
    return ClientError(f"channel {channel}: {path.name} can't be read as CSV numbers")


def _is_finite_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False
