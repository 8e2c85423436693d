"""`text/libsvm` requests: `[label] column:value …` per line, columns counted from 0.

From 0, because SageMaker's XGBoost hands the text to XGBoost's own reader, which counts so unless it is told otherwise. A
file that counts from 1 trains a model with one column more, of which the first is never used, and is served by it as it is.
"""

import re
from typing import Final

import numpy as np

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.rows import compressed_rows, shown

_NUMBER: Final = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COLUMN: Final = re.compile(rb"\d{1,18}", re.ASCII)


def decode_libsvm(body: bytes, *, feature_dim: int | None) -> SparseRows:
    """Return the rows; a label before the columns and a comment after `#` are ignored.

    Where the model takes any width, the largest column says it. Raises RequestError (400) with row and column.
    """
    sizes: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    lines = body.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        cells = line.partition(b"#")[0].split()
        if not cells:
            raise bad_data(f"row {number} is empty; a row of zeros is a label alone, such as 0")
        if b":" not in cells[0]:
            _check_number(cells[0], where=f"row {number}, the label")
            del cells[0]
        sizes.append(len(cells))
        for cell in cells:
            column, value = _read_cell(cell, row=number)
            columns.append(column)
            values.append(value)
    return compressed_rows(
        sizes=np.array(sizes, dtype=np.int64),
        columns=np.array(columns, dtype=np.int64),
        values=np.array(values, dtype=np.float64),
        width=feature_dim or max(columns, default=0) + 1,
    )


def _read_cell(cell: bytes, *, row: int) -> tuple[int, float]:
    column, colon, value = cell.partition(b":")
    if not colon or not _COLUMN.fullmatch(column):
        raise bad_data(f"row {row}: {shown(cell)} is not column:value with a column counted from 0")
    _check_number(value, where=f"row {row}, column {int(column) + 1} (number {int(column)} from 0)")
    return int(column), float(value)


def _check_number(cell: bytes, *, where: str) -> None:
    if not _NUMBER.fullmatch(cell):
        raise bad_data(f"{where}: {shown(cell)} is not a finite number")
