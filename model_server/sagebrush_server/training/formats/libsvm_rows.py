"""text/libsvm: `label[:weight] column:value …`, columns counted from 0 as XGBoost counts them, absent ones are 0.

As in CSV, the numbers of a piece are read at once where nothing is odd about them, and else item by item.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import Array, Block, Piece
from sagebrush_server.training.formats.csv_rows import listed_numbers
from sagebrush_server.training.formats.lines import LineFormat, lines_of

LARGEST_COLUMN: Final = 2**31 - 2
_SPACE, _COLON, _NEWLINE = b" :\n"


@dataclass(frozen=True)
class LibsvmFormat(LineFormat):
    """Reads LIBSVM pieces. A weight may follow each label (`1:0.5`); comments start with `#`."""

    def read(self, piece: Piece) -> Block:
        """Read a piece. Raises ClientError naming file, row and the item that is wrong."""
        text = self.text(piece)
        return _read_quickly(text) or self._read_items(text, piece=piece)

    def _read_items(self, text: bytes, *, piece: Piece) -> Block:
        labels: list[float] = []
        weights: list[float] = []
        indptr = [0]
        columns: list[int] = []
        values: list[float] = []
        for line in lines_of(text):
            head, *items = line.partition(b"#")[0].split() or [b""]
            row = len(labels)
            label, colon, weight = head.partition(b":")
            labels.append(self._number(label, piece=piece, row=row, what="the label"))
            if colon:
                weights.append(self._number(weight, piece=piece, row=row, what="the weight"))
            last = -1
            for item in items:
                column, value = self._item(item, piece=piece, row=row)
                if column <= last:
                    raise self.fault(piece, row=row, about=f": column {column} stands after column {last}; sort them")
                last = column
                columns.append(column)
                values.append(value)
            indptr.append(len(columns))
        if weights and len(weights) != len(labels):
            raise ClientError(
                f"channel {self.layout.channel}: {piece.path.name}: some rows have a weight and others none"
            )
        return _block(
            np.array(labels),
            weights=np.array(weights) if weights else None,
            columns=np.array(columns, dtype=np.int64),
            values=np.array(values, dtype=np.float64),
            indptr=np.array(indptr),
        )

    def _item(self, item: bytes, *, piece: Piece, row: int) -> tuple[int, float]:
        column, colon, value = item.partition(b":")
        if not colon or not column.isdigit() or int(column) > LARGEST_COLUMN:
            shown = item[:40].decode("utf-8", "replace")
            raise self.fault(piece, row=row, about=f": {shown!r} is not column:value with a column from 0")
        return int(column), self._number(value, piece=piece, row=row, what=f"column {int(column)}")

    def _number(self, text: bytes, *, piece: Piece, row: int, what: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or b"_" in text:
            shown = text[:40].decode("utf-8", "replace")
            raise self.fault(piece, row=row, about=f": {what} {shown!r} is not a finite number")
        return value


def _read_quickly(text: bytes) -> Block | None:
    """Return the rows of a piece in which every character is where it should be, else None."""
    body = text.rstrip() + b"\n"
    numbers = listed_numbers(body[:-1].replace(b" ", b",").replace(b":", b",").replace(b"\n", b","))
    if numbers is None:
        return None
    raw = np.frombuffer(body, dtype=np.uint8)
    behind = raw[(raw == _SPACE) | (raw == _COLON) | (raw == _NEWLINE)]
    if len(behind) != len(numbers):
        return None
    ends = np.flatnonzero(behind == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    weighted = int(behind[0] == _COLON)
    # In a line: the label, the weight where there is one, then pairs.
    place = np.arange(len(numbers)) - np.repeat(starts, ends - starts + 1)
    is_column = (place > weighted) & ((place - weighted) % 2 == 1)
    before_colon = is_column | ((place == 0) if weighted else np.zeros(len(place), dtype=bool))
    if not np.array_equal(behind == _COLON, before_colon):
        return None
    columns, owner = numbers[is_column], np.repeat(np.arange(len(starts)), (ends - starts - weighted) // 2)
    rising = (np.diff(columns) > 0) | (np.diff(owner) > 0)
    if not (rising.all() and (columns == np.floor(columns)).all() and (columns >= 0).all()) or (
        len(columns) and columns.max() > LARGEST_COLUMN
    ):
        return None
    return _block(
        numbers[starts],
        weights=numbers[starts + 1] if weighted else None,
        columns=columns.astype(np.int64),
        values=numbers[(place > weighted) & ~is_column],
        indptr=np.concatenate(([0], np.cumsum((ends - starts - weighted) // 2))),
    )


def _block(
    labels: Array, *, weights: Array | None, columns: NDArray[np.int64], values: Array, indptr: NDArray[np.int64]
) -> Block:
    from scipy.sparse import csr_matrix

    shape = (len(labels), int(columns.max(initial=-1)) + 1)
    return Block(csr_matrix((values, columns, indptr), shape), labels, weights)
