"""`text/csv` requests: one row of features per line, no header, no label, no quoting."""

import re
from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.fast_rows import gains_together, read_rows
from sagebrush_server.codecs.rows import NUMBER, refuse_unless_finite, shown, wrong_width

_CELL: Final = rb"[ \t]*+" + NUMBER + rb"[ \t]*+"
_NUMBER: Final = re.compile(NUMBER)
_LINE: Final = re.compile(_CELL + rb"(?:," + _CELL + rb")*+")


class CsvDecoder:
    """Reads `text/csv` (implements `Decoder`). Lines end in LF or CRLF; the last may lack its end."""

    media_type: Final = "text/csv"

    def decode(self, body: bytes, *, feature_dim: int | None) -> NDArray[np.float64]:
        """Return n×`feature_dim` values. Raises RequestError (400) naming row and column of what isn't a finite number."""
        text = _without_last_end(body)
        end = text.find(b"\n")
        first = text.count(b",", 0, end if end >= 0 else len(text)) + 1
        width = feature_dim or first
        rows = read_rows(text, joint=b"\n", width=width, without=b"\r") if first == width else None
        return _read_slowly(text, width=width, feature_dim=feature_dim) if rows is None else rows

    def decode_together(
        self, bodies: Sequence[bytes], *, feature_dim: int
    ) -> tuple[NDArray[np.float64], Sequence[int]] | None:
        """See `Decoder`."""
        texts = [_without_last_end(body) for body in bodies]
        text = b"\n".join(texts)
        if not gains_together(len(text), bodies=len(bodies)):
            return None
        rows = read_rows(text, joint=b"\n", width=feature_dim, without=b"\r")
        if rows is None:
            return None
        if len(rows) == len(bodies):
            # None of them is empty, or the reader had said no: one row each.
            return rows, [1] * len(rows)
        return rows, [text.count(b"\n") + 1 for text in texts]


def _without_last_end(body: bytes) -> bytes:
    # To look for one byte is much faster than for two.
    return (body.replace(b"\r\n", b"\n") if b"\r" in body else body).removesuffix(b"\n")


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
