"""From lists of numbers to one checked array; every refusal names row and column, both counted from 1."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import bad_data

_NUMBERS: Final = frozenset((int, float))
_SHOWN_CHARACTERS: Final = 40


def shown(value: object) -> str:
    """Quote a value for a message, shortened with an ellipsis where it is long."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def rows_to_array(rows: Sequence[object], *, feature_dim: int) -> NDArray[np.float64]:
    """Return n×`feature_dim` finite float64 values.

    Raises RequestError (400) for no rows, a row that isn't a list, a wrong number of values, and a value that is not a
    finite number: booleans, strings and null are no numbers.
    """
    if not rows:
        raise bad_data("the body holds no rows")
    checked: list[list[float]] = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list):
            raise bad_data(f"row {number}: expected a list of {feature_dim} numbers, got {shown(row)}")
        if len(row) != feature_dim:
            raise bad_data(f"row {number} has {len(row)} values; the model expects {feature_dim}")
        if not _NUMBERS.issuperset(map(type, row)):
            _refuse_first_stranger(row, number=number)
        checked.append(row)
    try:
        array = np.array(checked, dtype=np.float64)
    except OverflowError:
        # Python's integers have no largest value; float64 has.
        raise bad_data("a value is too large for a 64-bit floating-point number") from None
    refuse_unless_finite(array)
    return array


def refuse_unless_finite(array: NDArray[np.float64]) -> None:
    """Raise RequestError (400) naming the first value of the n×d array that is NaN or infinite."""
    if not np.isfinite(array).all():
        row, column = (int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise bad_data(f"row {row + 1}, column {column + 1}: {array[row, column]} is not a finite number")


def _refuse_first_stranger(row: list[object], *, number: int) -> None:
    for column, value in enumerate(row, start=1):
        if type(value) not in _NUMBERS:
            kind = type(value).__name__
            raise bad_data(f"row {number}, column {column}: expected a number, got {kind} {shown(value)}")
