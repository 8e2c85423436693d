"""text/csv: numbers with commas between them, no header.

A compiled JSON parser reads the numbers of a piece at once (30 ns each, where numpy.loadtxt takes 150). What is no JSON,
such as `+1`, `.5` or an error, is read again cell by cell, which gives the same numbers or says which cell is wrong.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import simdjson
from numpy.typing import NDArray

from sagebrush_server.training.formats.base import Array, Block, Piece
from sagebrush_server.training.formats.lines import LineFormat, lines_of

_COMMA: Final = 44
_NEWLINE: Final = 10
_ABSENT: Final = b"-1.7976931348623157e308"
"""Stands for an absent value while JSON is parsed: the most negative number, refused where it is real."""


@dataclass(frozen=True)
class CsvFormat(LineFormat):
    """Reads CSV pieces."""

    def read(self, piece: Piece) -> Block:
        """Read a piece. Raises ClientError naming file, row and column."""
        text = self.text(piece)
        table = read_quickly(text)
        if table is None and self.layout.missing:
            table = _read_with_gaps(text)
        if table is None:
            table = self._read_cells(text, piece=piece)
        if self.layout.missing:
            self._check_label(table, piece=piece)
        return self.layout.split(table)

    def _read_cells(self, text: bytes, *, piece: Piece) -> Array:
        rows: list[list[float]] = []
        for line in lines_of(text):
            cells = line.split(b",")
            if rows and len(cells) != len(rows[0]):
                about = f" has {len(cells)} columns, the rows before it {len(rows[0])}"
                raise self.fault(piece, row=len(rows), about=about)
            values = []
            for column, cell in enumerate(cells):
                value = self._number(cell)
                if value is None:
                    raise self._bad_cell(piece, row=len(rows), column=column, cell=cell)
                values.append(value)
            rows.append(values)
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else self.layout.label_size + 1)

    def _number(self, cell: bytes) -> float | None:
        if self.layout.missing and cell.strip().lower() in (b"", b"nan"):
            return math.nan
        try:
            value = float(cell)
        except ValueError:
            return None
        return value if math.isfinite(value) and b"_" not in cell else None

    def _bad_cell(self, piece: Piece, *, row: int, column: int, cell: bytes) -> Exception:
        shown = cell.strip()[:40].decode("utf-8", "replace")
        hint = " (the data must come without a header line)" if row + piece.start == 0 else ""
        return self.fault(piece, row=row, about=f", column {column + 1}: {shown!r} is not a finite number{hint}")

    def _check_label(self, table: Array, *, piece: Piece) -> None:
        """Refuse a missing label or weight: only features may be absent."""
        absent = np.argwhere(np.isnan(table[:, : self.layout.columns_before_features]))
        if len(absent):
            row, column = (int(index) for index in absent[0])
            raise self._bad_cell(piece, row=row, column=column, cell=b"")


def read_quickly(text: bytes) -> Array | None:
    """Return the numbers of CSV text as n×d, or None where it isn't beyond doubt that every row has d numbers."""
    body = text.rstrip()
    if not body or b"[" in body:
        return None
    numbers = _numbers(body)
    if numbers is None:
        return None
    width = body.partition(b"\n")[0].count(b",") + 1
    if len(numbers) % width:
        return None
    raw = np.frombuffer(body, dtype=np.uint8)
    separators = np.append(raw[(raw == _COMMA) | (raw == _NEWLINE)], np.uint8(_NEWLINE))
    if len(separators) != len(numbers):
        return None
    ends = separators.reshape(-1, width)
    if not ((ends[:, :-1] == _COMMA).all() and (ends[:, -1] == _NEWLINE).all()):
        return None
    return numbers.reshape(-1, width)


def _numbers(body: bytes) -> NDArray[np.float64] | None:
    try:
        # A parser of its own: the array that comes out lives in it.
        parsed: Any = simdjson.Parser().parse(b"[" + body.replace(b"\n", b",") + b"]")
        numbers = np.frombuffer(parsed.as_buffer(of_type="d"), dtype=np.float64)
    except (ValueError, TypeError, RuntimeError):
        # RuntimeError: a whole number beyond 64 bits.
        return None
    return numbers


def _read_with_gaps(text: bytes) -> Array | None:
    body = b"\n" + text.rstrip().replace(b"\r\n", b"\n") + b"\n"
    if _ABSENT in body:
        return None
    for word in (b"nan", b"NaN"):
        body = body.replace(word, _ABSENT)
    body = body.replace(b",,", b"," + _ABSENT + b",").replace(b",,", b"," + _ABSENT + b",")
    body = body.replace(b"\n,", b"\n" + _ABSENT + b",").replace(b",\n", b"," + _ABSENT + b"\n")
    table = read_quickly(body[1:])
    if table is None:
        return None
    table = table.copy()
    table[table == float(_ABSENT)] = np.nan
    return table
