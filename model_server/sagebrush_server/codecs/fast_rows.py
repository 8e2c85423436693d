"""Rows of numbers in text, read by a compiled parser; what it can't vouch for is left to the slow and exact readers."""

from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from simdjson import Array, Parser

_MARK: Final = b",9e99,"
_MARK_VALUE: Final = 9e99
_MARK_OTHERWISE: Final = b", 9e99,"
_TOGETHER_LIMIT: Final = 256 * 1024
_SMALL_BODY: Final = 4 * 1024


def gains_together(size: int, *, bodies: int) -> bool:
    """Whether reading this many bodies of `size` bytes at once gains anything: the parser likes what fits into caches.

    Two bodies of 13 kB read together took 1.7 times what they take one after the other.
    """
    return size <= _TOGETHER_LIMIT and (bodies == 1 or size <= bodies * _SMALL_BODY)


def read_rows(text: bytes, *, joint: bytes, width: int, without: bytes = b"[") -> NDArray[np.float64] | None:
    """Return n×`width` values of rows with `joint` between them and commas between their cells.

    Cells are JSON's finite numbers with JSON's white space around them, and come out as float() reads them, to the last
    bit. None where anything else is found: another number of cells in a row, another spelling, a number too large, or the
    bytes `without` outside of joints, for white space that the caller's format doesn't have.
    """
    # The parser flattens what it reads, so a number put between the rows marks where they end. That nobody else wrote that
    # number is known by counting: the text grows by the same length with each mark.
    mark = _MARK if len(joint) != len(_MARK) else _MARK_OTHERWISE
    marked = text.replace(joint, mark)
    count = (len(marked) - len(text)) // (len(mark) - len(joint)) + 1
    if b"[" in marked or without in marked:
        return None
    document = b"".join((b"[", marked, _MARK[:-1], b"]"))
    try:
        # A parser of its own for each text: one can't be used again while what it read is alive.
        array = cast("Array", Parser().parse(document))
        values = np.frombuffer(array.as_buffer(of_type="d"))
    except (ValueError, TypeError, RuntimeError):
        return None
    is_mark = values == _MARK_VALUE
    if (
        len(values) != count * (width + 1)
        or np.count_nonzero(is_mark) != count
        or np.count_nonzero(is_mark[width :: width + 1]) != count
    ):
        return None
    if b"-" in document and not values.all() and _has_negative_integer_zero(document):
        return None
    return np.ascontiguousarray(values.reshape(count, width + 1)[:, :width])


def _has_negative_integer_zero(document: bytes) -> bool:
    """Whether `-0` stands there without a point: the parser makes it 0, float() -0.0."""
    text = np.frombuffer(document, dtype=np.uint8)
    # What follows a number and sorts before the minus sign is a comma or white space.
    return bool(((text[:-2] == ord("-")) & (text[1:-1] == ord("0")) & (text[2:] < ord("-"))).any())
