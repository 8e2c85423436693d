"""From numbers to checked rows, dense or sparse; every refusal names row and column, both counted from 1."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError, bad_data

DENSE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that sparse rows may take once they are made dense: 8 million values."""

NUMBER: Final = rb"[+-]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+"
"""A decimal number, as a pattern that never goes back: in text from outside, going back takes quadratic time."""
TOO_LARGE: Final = "the number is too large for 64-bit floating point"

_NUMBERS: Final = frozenset((int, float))
_SHOWN_CHARACTERS: Final = 40


def shown(value: object) -> str:
    """Quote a value for a message, shortened with an ellipsis where it is long."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def wrong_width(width: int, *, row: int, expected: int, feature_dim: int | None) -> RequestError:
    """Build the refusal of a row with too many or too few values; `row` counts from 1."""
    if feature_dim is not None:
        because = f"the model expects {expected}"
    else:
        because = f"row 1 has {expected}" if row > 1 else "send at least one"
    return bad_data(f"row {row} has {width} values; {because}")


def rows_to_array(rows: Sequence[object], *, feature_dim: int | None) -> NDArray[np.float64]:
    """Return n×`feature_dim` finite float64 values; the first row says how many a row has where the model doesn't.

    Raises RequestError (400) for no rows, a row that isn't a list, a wrong number of values, and a value that is not a
    finite number: booleans, strings and null are no numbers.
    """
    if not rows:
        raise bad_data("the body holds no rows")
    width = feature_dim
    checked: list[list[float]] = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list):
            size = "" if width is None else f"{width} "
            raise bad_data(f"row {number}: expected a list of {size}numbers, got {shown(row)}")
        width = len(row) if width is None else width
        if len(row) != width or not row:
            raise wrong_width(len(row), row=number, expected=width or 1, feature_dim=feature_dim)
        if not _NUMBERS.issuperset(map(type, row)):
            _refuse_first_stranger(row, number=number)
        checked.append(row)
    try:
        array = np.array(checked, dtype=np.float64)
    except OverflowError:
        # Python's integers have no largest value; float64 has.
        raise _too_large(checked) from None
    refuse_unless_finite(array)
    return array


def check_array(array: NDArray[np.generic], *, feature_dim: int | None) -> NDArray[np.float64]:
    """Return the rows of an array of numbers as n×`feature_dim` finite float64; one dimension is one row.

    Raises RequestError (400) for three or more dimensions, no rows, another width, and values that aren't finite.
    """
    if array.ndim not in (1, 2):
        raise bad_data(f"the array has {array.ndim} dimensions; expected rows × columns")
    table = array.reshape(1, -1) if array.ndim == 1 else array
    if not len(table):
        raise bad_data("the body holds no rows")
    width = table.shape[1]
    if width != (feature_dim or width) or not width:
        raise wrong_width(width, row=1, expected=feature_dim or 1, feature_dim=feature_dim)
    rows = np.ascontiguousarray(table, dtype=np.float64)
    refuse_unless_finite(rows)
    return rows


def refuse_unless_finite(array: NDArray[np.float64]) -> None:
    """Raise RequestError (400) naming the first value of the n×d array that is NaN or infinite."""
    finite = np.isfinite(array)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise bad_data(f"row {row + 1}, column {column + 1}: {array[row, column]} is not a finite number")


def compressed_rows(
    *, sizes: NDArray[np.int64], columns: NDArray[np.integer], values: NDArray[np.float64], width: int
) -> SparseRows:
    """Return sparse rows of which row i has `sizes[i]` of the values, at these columns counted from 0.

    Raises RequestError (400) naming row and column for a column out of range, one that is there twice or after a later
    one, and a value that isn't finite.
    """
    if not len(sizes):
        raise bad_data("the body holds no rows")
    indptr = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes)))
    row_of = np.repeat(np.arange(len(sizes)), sizes)
    # Unsigned 64-bit keys beyond the signed range must not wrap round to legal columns.
    outside = (columns < 0) | (columns >= width)
    if outside.any():
        at = int(np.argmax(outside))
        raise bad_data(
            f"row {row_of[at] + 1}: there is no column {columns[at]}; {width} columns, counted from 0, end at {width - 1}"
        )
    indices = columns.astype(np.int64)
    backwards = (indices[1:] <= indices[:-1]) & (row_of[1:] == row_of[:-1])
    if backwards.any():
        at = int(np.argmax(backwards)) + 1
        earlier = indices[indptr[row_of[at]] : at]
        fault = "is there twice" if indices[at] in earlier else f"comes after {indices[at - 1]}; sort the columns"
        raise bad_data(f"row {row_of[at] + 1}, {_column(indices[at])}: it {fault}")
    finite = np.isfinite(values)
    if not finite.all():
        at = int(np.argmin(finite))
        where = f"row {row_of[at] + 1}, {_column(indices[at])}"
        raise bad_data(f"{where}: {values[at]} is not a finite number")
    return SparseRows(indptr=indptr, indices=indices, values=values, width=width)


def dense_rows(rows: SparseRows, *, limit: int = DENSE_LIMIT) -> NDArray[np.float64]:
    """Return the n×width values of sparse rows, for models that don't take them sparse.

    Raises RequestError (413) where they would take more than `limit` bytes.
    """
    size = len(rows) * rows.width * 8
    if size > limit:
        raise RequestError(
            413,
            message=f"{len(rows)} sparse rows of {rows.width} columns take {size} bytes for this model; at most {limit} "
            "fit: send fewer rows in a request",
        )
    table = np.zeros((len(rows), rows.width))
    table[np.repeat(np.arange(len(rows)), np.diff(rows.indptr)), rows.indices] = rows.values
    return table


def _column(index: int) -> str:
    return f"column {index + 1} (number {index} from 0)"


def _too_large(rows: Sequence[Sequence[float]]) -> RequestError:
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row, start=1):
            try:
                float(value)
            except OverflowError:
                return bad_data(f"row {number}, column {column}: {TOO_LARGE}")
    raise AssertionError("no value overflows")


def _refuse_first_stranger(row: list[object], *, number: int) -> None:
    for column, value in enumerate(row, start=1):
        if type(value) not in _NUMBERS:
            kind = type(value).__name__
            raise bad_data(f"row {number}, column {column}: expected a number, got {kind} {shown(value)}")
