"""`text/csv` requests: one row of features per line, no header, no label, no quoting."""

import re
from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.number_rows import read_rows
from sagebrush_server.codecs.rows import NUMBER, refuse_unless_finite, shown, wrong_width

_CELL: Final = rb"[ \t]*+" + NUMBER + rb"[ \t]*+"
_NUMBER: Final = re.compile(NUMBER)
_LINE: Final = re.compile(_CELL + rb"(?:," + _CELL + rb")*+")


class CsvDecoder:
    """Reads `text/csv` (implements `Decoder`). Lines end in LF or CRLF; the last may lack its end."""

    media_type: Final = "text/csv"

    def decode(self, body: bytes, *, feature_dim: int | None) -> NDArray[np.float64]:
        """Return n×`feature_dim` values. Raises RequestError (400) naming row and column of what isn't a finite number."""
        end = body.find(b"\n")
        first = body.count(b",", 0, end if end >= 0 else len(body)) + 1
        width = feature_dim or first
        if read := read_rows([body], width=width, joint=b"\n", lines=True):
            return read[0]
        text = (body.replace(b"\r\n", b"\n") if b"\r" in body else body).removesuffix(b"\n")
        return _read_slowly(text, width=width, feature_dim=feature_dim)

    def decode_together(
        self, bodies: list[bytes], *, feature_dim: int
    ) -> tuple[NDArray[np.float64], Sequence[int]] | None:
        """See `Decoder`."""
        return read_rows(bodies, width=feature_dim, joint=b"\n", lines=True)


def _read_slowly(text: bytes, *, width: int, feature_dim: int | None) -> NDArray[np.float64]:
    """Read cell by cell, to accept every spelling of a number and to name the one that isn't."""
    cells = array("d")
    for number, line in enumerate(text.split(b"\n"), start=1):
        count = line.count(b",") + 1 if line.strip() else 0
        if count != width:
            raise wrong_width(count, row=number, expected=width, feature_dim=feature_dim)
        if not _LINE.fullmatch(line):
            raise _fault(line, row=number)
        cells.extend(map(float, line.split(b",")))
    rows = np.frombuffer(cells).reshape(-1, width)
    refuse_unless_finite(rows)
    return rows


def _fault(line: bytes, *, row: int) -> RequestError:
    """Name the first cell of a line that is no number."""
    cells = (cell.strip(b" \t") for cell in line.split(b","))
    column, cell = next((place, cell) for place, cell in enumerate(cells, start=1) if not _NUMBER.fullmatch(cell))
    hint = " (the data must come without a header line)" if row == 1 and cell[:1].isalpha() else ""
    return bad_data(f"row {row}, column {column}: {shown(cell)} is not a finite number{hint}")
