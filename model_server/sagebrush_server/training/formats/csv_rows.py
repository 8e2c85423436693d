"""text/csv: numbers with commas between them, no header.

Compiled code reads the numbers of a piece at once (under 10 ns each, where numpy.loadtxt takes 150). What it doesn't take,
such as `+1`, `.5` or an error, is read again cell by cell, which gives the same numbers or says which cell is wrong.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.number_rows import read_rows
from sagebrush_server.training.formats.base import Array, Block, Piece
from sagebrush_server.training.formats.lines import LineFormat, lines_of

_ABSENT: Final = b"-1.7976931348623157e308"
"""Stands for an absent value while numbers are read: the most negative number, refused where it is real."""


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
    width = body.partition(b"\n")[0].count(b",") + 1
    read = read_rows([body], width=width, joint=b"\n", white=b" \t\r")
    return None if read is None else read[0]


def listed_numbers(listed: bytes) -> NDArray[np.float64] | None:
    """Return the numbers of a text that has commas between them, or None where it isn't beyond doubt that it is one."""
    read = read_rows([listed], width=listed.count(b",") + 1, joint=b"\n", white=b" \t\r")
    return None if read is None else read[0][0]


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
