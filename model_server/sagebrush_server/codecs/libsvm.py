"""`text/libsvm` requests: `[label] column:value …` per line, columns counted from 0.

From 0, because SageMaker's XGBoost hands the text to XGBoost's own reader, which counts so unless it is told otherwise. A
file that counts from 1 trains a model with one column more, of which the first is never used, and is served by it as it is.
"""

import re
from array import array
from typing import Final

import numpy as np

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.rows import NUMBER, compressed_rows, shown

_NUMBER: Final = re.compile(NUMBER)
_COLUMN: Final = re.compile(rb"\d{1,18}")
_LINE: Final = re.compile(rb"\s*+(?:" + NUMBER + rb"(?![^\s])\s*+)?((?:\d{1,18}+:" + NUMBER + rb"(?![^\s])\s*+)*+)")


def decode_libsvm(body: bytes, *, feature_dim: int | None) -> SparseRows:
    """Return the rows; a label before the columns and a comment after `#` are ignored.

    Where the model takes any width, the largest column says it. Raises RequestError (400) with row and column.
    """
    sizes = array("q")
    pairs: list[bytes] = []
    lines = body.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        content = line.partition(b"#")[0]
        match = _LINE.fullmatch(content)
        if match is None or not content.strip():
            raise _fault(content, row=number)
        if match[1]:
            pairs.append(match[1])
        sizes.append(match[1].count(b":"))
    cells = b" ".join(pairs).replace(b":", b" ").split()
    columns = np.fromiter(map(int, cells[::2]), dtype=np.int64)
    return compressed_rows(
        sizes=np.frombuffer(sizes, dtype=np.int64),
        columns=columns,
        values=np.fromiter(map(float, cells[1::2]), dtype=np.float64),
        width=feature_dim or int(columns.max(initial=0)) + 1,
    )


def _fault(line: bytes, *, row: int) -> RequestError:
    """Name what is wrong with a line."""
    cells = line.split()
    if not cells:
        return bad_data(f"row {row} is empty; a row of zeros is a label alone, such as 0")
    if b":" not in cells[0]:
        if not _NUMBER.fullmatch(cells[0]):
            return bad_data(f"row {row}, the label: {shown(cells[0])} is not a finite number")
        del cells[0]
    for cell in cells:
        column, colon, value = cell.partition(b":")
        if not colon or not _COLUMN.fullmatch(column):
            return bad_data(f"row {row}: {shown(cell)} is not column:value with a column counted from 0")
        if not _NUMBER.fullmatch(value):
            where = f"row {row}, column {int(column) + 1} (number {int(column)} from 0)"
            return bad_data(f"{where}: {shown(value)} is not a finite number")
    raise AssertionError("no cell is wrong")
