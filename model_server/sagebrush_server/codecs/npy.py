"""`application/x-npy` requests: NumPy's own file format for one array. Pickled objects are never read.

Source: "NumPy format specification" (NEP 1). Read without `numpy.load`, which maps files and may unpickle.
"""

import ast
import functools
import math
import re
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.rows import check_array, shown

_MAGIC: Final = b"\x93NUMPY"
_LONGEST_HEADER: Final = 4096
"""Bytes; a plain array's has under 200."""
_NUMBERS: Final = re.compile(r"[<>|=]?(?:[iu][1248]|f[248])")
_TEXT: Final = re.compile(r"\|S\d{1,2}|[<>]U\d{1,2}")
_HINTS: Final = {
    "b": "truth values are no numbers; send them as .astype('uint8')",
    "c": "complex numbers can't be features",
    "O": "it holds pickled Python objects, which are never read; send numbers",
}


def decode_npy(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64]:
    """Return the rows of an array with one dimension (one row) or two; any numeric type and byte order, C or Fortran order.

    Raises RequestError (400).
    """
    return check_array(read_array(body, where="the body"), feature_dim=feature_dim)


def read_array(content: bytes, *, where: str, text: bool = False) -> NDArray[np.generic]:
    """Return the array of a .npy file, of numbers or, with `text`, of short strings. Raises RequestError (400).

    Takes no memory but the array's own: the values stay where they are.
    """
    descr, fortran_order, shape, start = _header(content, where=where)
    if not isinstance(descr, str) or not (_TEXT if text else _NUMBERS).fullmatch(descr):
        kind = descr.lstrip("<>|=")[:1] if isinstance(descr, str) else ""
        raise bad_data(
            f"{where} has the type {shown(descr)}; {_HINTS.get(kind, 'send integers or floating point numbers')}"
        )
    dtype = np.dtype(descr)
    count = math.prod(shape)
    due, there = count * dtype.itemsize, len(content) - start
    if due != there:
        raise bad_data(
            f"{where} says it holds {shown(shape)} values of {dtype.itemsize} bytes, {due} bytes; there are {there}"
        )
    array = np.frombuffer(content, dtype=dtype, count=count, offset=start)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _header(content: bytes, *, where: str) -> tuple[Any, bool, tuple[int, ...], int]:
    """Return type, order and shape of the array, and where its values start."""
    if content[:6] != _MAGIC or len(content) < 12:
        raise bad_data(f"{where} is no .npy file: it starts with {shown(content[:6])}")
    version = content[6:8]
    if version not in (b"\x01\x00", b"\x02\x00"):
        raise bad_data(f"{where} has the format version {version[0]}.{version[1]}; arrays of numbers have 1.0 or 2.0")
    form = "<H" if version[0] == 1 else "<I"
    (size,) = struct.unpack_from(form, content, 8)
    start = 8 + struct.calcsize(form) + size
    if size > _LONGEST_HEADER or start > len(content):
        raise bad_data(
            f"{where} says its header has {size} bytes; at most {_LONGEST_HEADER}, and no more than are there"
        )
    return (*_description(content[start - size : start], where=where), start)


@functools.lru_cache(maxsize=64)
def _description(header: bytes, *, where: str) -> tuple[Any, bool, tuple[int, ...]]:
    """Read the header, a Python literal."""
    problem = bad_data(f"{where}: its header is no description of an array: {shown(header)}")
    try:
        fields = ast.literal_eval(header.decode("ascii").strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise problem from None
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise problem
    shape, order = fields["shape"], fields["fortran_order"]
    well_formed = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
    if not well_formed or type(order) is not bool or len(shape) > 2:
        raise problem
    return fields["descr"], order, shape


def write_array(array: NDArray[np.generic]) -> bytes:
    """Write a .npy file, version 1.0."""
    return _written_header(array.dtype.str, array.shape) + np.ascontiguousarray(array).tobytes()


@functools.lru_cache(maxsize=256)
def _written_header(descr: str, shape: tuple[int, ...]) -> bytes:
    description = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    # Values start at a multiple of 64 bytes, as the specification asks.
    padding = -(len(_MAGIC) + 4 + len(description) + 1) % 64
    header = (description + " " * padding + "\n").encode("ascii")
    return _MAGIC + b"\x01\x00" + struct.pack("<H", len(header)) + header
