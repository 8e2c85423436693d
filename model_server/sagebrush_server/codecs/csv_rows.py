"""`text/csv` requests: one row of features per line, no header, no label, no quoting."""

import re
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.rows import rows_to_array, shown

_NUMERIC_BYTES: Final = b"0123456789+-.eE, \t\n"
_NUMBER: Final = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER: Final = 400
"""Characters of a cell; the longest decimal form of a float64 without an exponent has 325 digits before it rounds."""


def decode_csv(body: bytes, *, feature_dim: int) -> NDArray[np.float64]:
    """Return the n×`feature_dim` values of a CSV body. Lines end in LF or CRLF; the last may lack its end.

    Raises RequestError (400) naming row and column of what isn't a finite decimal number.
    """
    text = body.replace(b"\r\n", b"\n").removesuffix(b"\n")
    if text.translate(None, _NUMERIC_BYTES) == b"":
        # Only bytes of numbers and separators: the brackets below are ours, and a JSON parser reads the cells several
        # times faster than float() does. What is a number in CSV but not in JSON (".5", "+1", "07") goes the slow way.
        try:
            rows = orjson.loads(b"[[" + text.replace(b"\n", b"],[") + b"]]")
        except orjson.JSONDecodeError:
            rows = _read_slowly(text, feature_dim=feature_dim)
    else:
        rows = _read_slowly(text, feature_dim=feature_dim)
    return rows_to_array(rows, feature_dim=feature_dim)


def _read_slowly(text: bytes, *, feature_dim: int) -> list[list[float]]:
    """Read cell by cell, to accept every spelling of a number and to name the one that isn't."""
    rows = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        cells = line.split(b",")
        if len(cells) != feature_dim:
            count = len(cells) if line.strip() else 0
            raise bad_data(f"row {number} has {count} values; the model expects {feature_dim}")
        rows.append([_read_cell(cell, row=number, column=column) for column, cell in enumerate(cells, start=1)])
    return rows


def _read_cell(cell: bytes, *, row: int, column: int) -> float:
    cell = cell.strip(b" \t")
    if len(cell) <= _LONGEST_NUMBER and _NUMBER.fullmatch(cell):
        return float(cell)
    hint = " (the data must come without a header line)" if row == 1 and cell[:1].isalpha() else ""
    raise bad_data(f"row {row}, column {column}: {shown(cell)} is not a finite number{hint}")
