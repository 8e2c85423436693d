"""Protobuf's wire format, as far as `aialgs.data.Record` needs it. Knows no HTTP: training reads with it too.

Source: "Encoding" in the protocol buffers documentation. Written by hand rather than with the `protobuf` library: five
small messages, numbers that end in NumPy arrays anyway (a library would make a Python object of each first), 10 MB less
memory in every server, and one strict verdict on what is malformed. Tests hold it against the library.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}
_LARGEST_FIELD: Final = 2**29 - 1
_LONGEST_VARINT: Final = 10
"""Bytes of the longest encoding of 64 bits, 7 a byte."""


class WireError(ValueError):
    """Bytes that are no protobuf message."""


def fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, wire type and content of each field; a varint's content is its own bytes. Raises WireError."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _LARGEST_FIELD:
            raise WireError(f"a field has the number {number}")
        if kind == BYTES:
            size, start = _varint(message, position)
            position = start + size
        elif kind == VARINT:
            start = position
            _, position = _varint(message, position)
        elif kind in _FIXED_SIZES:
            start = position
            position += _FIXED_SIZES[kind]
        else:
            raise WireError(f"field {number} has the wire type {kind}, which is not used here")
        if position > end:
            raise WireError(f"field {number} says it has {position - start} bytes, {end - start} are left")
        yield number, kind, message[start:position]


def field(number: int, content: bytes) -> bytes:
    """Write one field of wire type BYTES: a string, a message, or packed numbers."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Write one integer from 0 to 2^64 - 1."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return an integer and where it ends."""
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        if position >= len(message):
            raise WireError("it ends within an integer")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, position
    raise WireError("an integer is longer than 64 bits")


def packed_varints(content: bytes) -> NDArray[np.uint64]:
    """Read integers written one after the other. Raises WireError."""
    data = np.frombuffer(content, dtype=np.uint8)
    last = np.flatnonzero(data < 0x80)
    if not len(data):
        return np.zeros(0, dtype=np.uint64)
    if not len(last) or last[-1] != len(data) - 1:
        raise WireError("it ends within an integer")
    if len(last) == len(data):
        return data.astype(np.uint64)
    starts = np.concatenate(([0], last[:-1] + 1))
    sizes = last - starts + 1
    # The tenth byte holds the 64th bit and no more.
    if sizes.max() > _LONGEST_VARINT or (data[last[sizes == _LONGEST_VARINT]] > 1).any():
        raise WireError("an integer is longer than 64 bits")
    shifts = 7 * (np.arange(len(data)) - np.repeat(starts, sizes))
    parts = (data & 0x7F).astype(np.uint64) << shifts.astype(np.uint64)
    # The parts of one integer share no bit, so that their sum is their union.
    return np.add.reduceat(parts, starts)


def pack_varints(values: NDArray[np.uint64]) -> bytes:
    """Write integers one after the other."""
    return b"".join(map(varint, values.tolist()))
