"""Tensors of the Open Inference Protocol V2, as JSON and as the binary extension has them.

Sources: "Open Inference Protocol (V2 Inference Protocol)" and "Binary Tensor Data Extension" in KServe's documentation.
"""

import functools
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.rows import shown

DATATYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
"""What the protocol calls an element, and numpy's little-endian type of it. An element of BYTES is a `bytes`."""

_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "b": frozenset((bool,)),
    "u": frozenset((int,)),
    "i": frozenset((int,)),
    "f": frozenset((int, float)),
    "O": frozenset((str,)),
}
_SMALL: Final = 64
_MOST_DIMENSIONS: Final = 32
_MEANING: Final[Mapping[str, str]] = {
    "b": "true or false",
    "u": "a whole number",
    "i": "a whole number",
    "f": "a number",
    "O": "a string",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array. `values` has the tensor's shape and one of `DATATYPES`."""

    name: str
    datatype: str
    values: NDArray[Any]


@functools.lru_cache(maxsize=64)
def _datatype(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "OSU":
        return "BYTES"
    kind = {"b": "BOOL", "u": "UINT", "i": "INT", "f": "FP"}.get(dtype.kind, "")
    name = kind if kind == "BOOL" else f"{kind}{8 * dtype.itemsize}"
    if name not in DATATYPES:
        raise TypeError(f"arrays of {dtype} have no datatype in the Open Inference Protocol")
    return name


def datatype_of(values: NDArray[Any]) -> str:
    """Return the protocol's name for an array's elements; text is BYTES. Raises TypeError for what has none."""
    return _datatype(values.dtype)


def read_shape(value: Any, *, name: str) -> tuple[int, ...]:
    """Check a JSON shape. Raises RequestError (400)."""
    fits = isinstance(value, list) and 0 < len(value) <= _MOST_DIMENSIONS
    if not fits or any(type(size) is not int or size < 1 for size in value):
        raise bad_data(
            f"input {shown(name)}: shape must be a list of 1 to {_MOST_DIMENSIONS} whole numbers of at least 1, "
            f"got {shown(value)}"
        )
    return tuple(value)


def read_json(data: Any, *, name: str, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read `data`, flat in row-major order or nested as `shape` says. Raises RequestError (400)."""
    if not isinstance(data, list):
        raise bad_data(f"input {shown(name)}: data must be a list, got {shown(data)}")
    flat = _flatten(data, name=name, shape=shape)
    dtype = DATATYPES[datatype]
    if not _TYPES[dtype.kind].issuperset(map(type, flat)):
        place, value = next(item for item in enumerate(flat) if type(item[1]) not in _TYPES[dtype.kind])
        raise bad_data(_not_element(value, place=place, name=name, datatype=datatype))
    if dtype.kind in "ui" and flat:
        limits = np.iinfo(dtype)
        place, value = next((item for item in enumerate(flat) if not limits.min <= item[1] <= limits.max), (-1, None))
        if place >= 0:
            raise bad_data(
                f"input {shown(name)}, element {place + 1}: {shown(value)} is not within {datatype}'s range of "
                f"{limits.min} to {limits.max}"
            )
    if dtype.kind == "O":
        values = np.empty(len(flat), dtype=object)
        values[:] = [text.encode("utf-8", "surrogatepass") for text in flat]
        return values.reshape(shape)
    try:
        values = np.array(flat, dtype=np.float64 if dtype.kind == "f" else dtype)
        if values.dtype != dtype:
            with np.errstate(over="ignore"):
                values = values.astype(dtype)
        return values.reshape(shape)
    except OverflowError:
        raise bad_data(f"input {shown(name)}: a value is too large for {datatype}") from None


def _not_element(value: Any, *, place: int, name: str, datatype: str) -> str:
    meaning = _MEANING[DATATYPES[datatype].kind]
    return f"input {shown(name)}, element {place + 1}: {datatype} takes {meaning}, got {shown(value)}"


def _flatten(data: list[Any], *, name: str, shape: tuple[int, ...]) -> list[Any]:
    """Return the elements of flat or nested lists, after a look whether there are as many as the shape says."""
    level: list[Any] = data
    if data and isinstance(data[0], list):
        for depth, size in enumerate(shape):
            rows = level if depth else [level]
            for number, row in enumerate(rows, start=1):
                if not isinstance(row, list) or len(row) != size:
                    found = f"{len(row)} values" if isinstance(row, list) else shown(row)
                    where = f"list {number} at depth {depth}" if depth else "data"
                    raise bad_data(
                        f"input {shown(name)}: {where} should hold {size} values by the shape {list(shape)}, got {found}"
                    )
            level = list(chain.from_iterable(rows))
        return level
    if len(level) != math.prod(shape):
        raise bad_data(
            f"input {shown(name)}: the shape {list(shape)} has {math.prod(shape)} elements, data has {len(level)}"
        )
    return level


def read_binary(data: memoryview, *, name: str, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read the bytes of one tensor, little-endian and row-major. Raises RequestError (400)."""
    dtype = DATATYPES[datatype]
    number = math.prod(shape)
    if dtype.kind == "O":
        elements = _read_strings(data, name=name, number=number)
        values = np.empty(number, dtype=object)
        values[:] = elements
        return values.reshape(shape)
    if len(data) != number * dtype.itemsize:
        raise bad_data(
            f"input {shown(name)}: {datatype} of shape {list(shape)} takes {number * dtype.itemsize} bytes, "
            f"binary_data_size says {len(data)}"
        )
    if dtype.kind == "b":
        return np.asarray(np.frombuffer(data, dtype=np.uint8) != 0).reshape(shape)
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _read_strings(data: memoryview, *, name: str, number: int) -> list[bytes]:
    """Each element is its length in four bytes, then its bytes."""
    elements: list[bytes] = []
    start = 0
    while start < len(data):
        end = start + 4 + (struct.unpack_from("<I", data, start)[0] if start + 4 <= len(data) else len(data))
        if end > len(data):
            raise bad_data(f"input {shown(name)}: the bytes end within element {len(elements) + 1}")
        elements.append(bytes(data[start + 4 : end]))
        start = end
    if len(elements) != number:
        raise bad_data(f"input {shown(name)}: its shape has {number} elements, its bytes hold {len(elements)}")
    return elements


def write_binary(values: NDArray[Any]) -> bytes:
    """Return an array's bytes as the extension has them: the opposite of `read_binary`."""
    datatype = datatype_of(values)
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(element)) + element for element in map(_element_bytes, values.flat))
    return np.ascontiguousarray(values, dtype=DATATYPES[datatype]).tobytes()


def json_values(values: NDArray[Any]) -> Sequence[Any] | NDArray[Any]:
    """Return the elements in row-major order as orjson takes them."""
    if datatype_of(values) == "BYTES":
        return [_element_bytes(element).decode("utf-8", "replace") for element in values.flat]
    flat = values.reshape(-1)
    # orjson writes large arrays faster as they are, small ones as lists.
    return flat.tolist() if flat.size <= _SMALL else np.ascontiguousarray(flat)


def _element_bytes(element: Any) -> bytes:
    return bytes(element) if isinstance(element, (bytes, np.bytes_)) else str(element).encode("utf-8", "replace")
