"""RecordIO with protobuf records, SageMaker's binary format for rows, read from and written to streams.

Training and serving read the same format, so nothing here knows HTTP.
Sources: "Common data formats for training" in the SageMaker developer guide (`aialgs.data.Record`), and MXNet's RecordIO.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs import wire

MAGIC: Final = 0xCED7230A
LARGEST_RECORD: Final = 128 * 1024 * 1024
"""Bytes of one record: 32 million float32 values."""
VALUES: Final = "values"
"""The name of a row's only feature, and of its label, in training data."""

_HEADER: Final = struct.Struct("<II")
_MAGIC_BYTES: Final = struct.pack("<I", MAGIC)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_CHUNK: Final = 1024 * 1024

_FEATURES_FIELD, _LABEL_FIELD = 1, 2
_OTHER_RECORD_FIELDS: Final = {3: "uid", 4: "metadata", 5: "configuration"}
_KEY_FIELD, _VALUE_FIELD = 1, 2
_VALUES_FIELD, _KEYS_FIELD, _SHAPE_FIELD = 1, 2, 3
_INT32_FIELD, _BYTES_FIELD = 7, 9
_FLOATS: Final[Mapping[int, np.dtype[np.floating]]] = {2: np.dtype("<f4"), 3: np.dtype("<f8")}
"""Which field of a `Value` holds which kind of tensor; field 7 holds integers, which are varints."""
_INT32_RANGE: Final = 2**31


class RecordError(ValueError):
    """A stream that is not RecordIO-protobuf. `record` counts from 1; the message doesn't repeat it."""

    def __init__(self, message: str, *, record: int) -> None:
        super().__init__(message)
        self.record = record


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """Numbers of a record: all of them, or, where there are `keys`, those at these positions of a flat vector.

    `shape` is empty where the record has none. Values may be NaN or infinite, and keys out of range or doubled: what that
    means is for the caller to say.
    """

    values: NDArray[np.float64]
    keys: NDArray[np.uint64] | None = None
    shape: tuple[int, ...] = ()

    @property
    def is_sparse(self) -> bool:
        """Whether it has keys, or is what SageMaker's SDK writes for a sparse row of zeros: a shape alone."""
        return self.keys is not None or (bool(self.shape) and not len(self.values))


@dataclass(frozen=True, slots=True)
class Record:
    """One record's tensors by name. uid, metadata and configuration of the message are not kept."""

    features: Mapping[str, Tensor] = field(default_factory=dict)
    label: Mapping[str, Tensor] = field(default_factory=dict)


def read_records(stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of a stream, holding no more than one of them (128 MiB at most) in memory.

    Raises RecordError for what is not RecordIO, is cut short, or holds no `aialgs.data.Record`.
    """
    for number, payload in enumerate(read_payloads(stream), start=1):
        try:
            yield parse_record(payload)
        except wire.WireError as problem:
            raise RecordError(f"it is not an aialgs.data.Record: {problem}", record=number) from None


def read_payloads(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of each record, whatever it is. Raises RecordError for wrong or broken framing."""
    source = _Source(stream)
    number = 1
    while header := source.read(_HEADER.size, record=number, at_end=b""):
        flag, payload = _part(source, header=header, record=number)
        if flag != _WHOLE:
            payload = _join(source, flag=flag, start=payload, record=number)
        yield payload
        number += 1


def _part(source: "_Source", *, header: bytes, record: int) -> tuple[int, bytes]:
    magic, word = _HEADER.unpack(header)
    if magic != MAGIC:
        raise RecordError(f"it starts with {magic:#010x} instead of RecordIO's {MAGIC:#010x}", record=record)
    # The upper three bits say whether the record goes on, the lower 29 how long this part is.
    flag, size = word >> 29, word & 0x1FFFFFFF
    if flag > _LAST:
        raise RecordError(f"its header has the unknown flag {flag}", record=record)
    if size > LARGEST_RECORD:
        raise RecordError(f"it says it has {size} bytes; at most {LARGEST_RECORD} are read", record=record)
    payload = source.read(size, record=record)
    source.read(-size % 4, record=record)
    return flag, payload


def _join(source: "_Source", *, flag: int, start: bytes, record: int) -> bytes:
    """Put together what MXNet's writer cut at each place where the magic number stood in the content."""
    if flag != _FIRST:
        raise RecordError("it is the later part of a record that has no first one", record=record)
    joined = bytearray(start)
    while flag != _LAST:
        flag, payload = _part(source, header=source.read(_HEADER.size, record=record), record=record)
        if flag not in (_MIDDLE, _LAST):
            raise RecordError("a new record starts before the parts of this one are complete", record=record)
        joined += _MAGIC_BYTES + payload
        if len(joined) > LARGEST_RECORD:
            raise RecordError(f"its parts have more than {LARGEST_RECORD} bytes", record=record)
    return bytes(joined)


class _Source:
    """Reads a stream chunk by chunk, so that a length that lies reserves no memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self._position = 0

    def read(self, size: int, *, record: int, at_end: bytes | None = None) -> bytes:
        """Return exactly `size` bytes, or `at_end` (if given) where not one is left. Raises RecordError."""
        while len(self._buffer) - self._position < size:
            chunk = self._stream.read(max(_CHUNK, len(self._buffer)))
            if not chunk:
                left = len(self._buffer) - self._position
                if left == 0 and at_end is not None:
                    return at_end
                raise RecordError(f"it is cut short: {size} bytes are due, {left} are there", record=record)
            self._buffer = self._buffer[self._position :] + chunk
            self._position = 0
        start, self._position = self._position, self._position + size
        return self._buffer[start : self._position]


def parse_record(payload: bytes) -> Record:
    """Read one `aialgs.data.Record` message. Raises wire.WireError."""
    maps: dict[int, dict[str, Tensor]] = {_FEATURES_FIELD: {}, _LABEL_FIELD: {}}
    for number, kind, content in wire.fields(payload):
        if number in maps:
            _require_bytes(kind, what=f"field {number}")
            name, tensor = _parse_entry(content)
            if name in maps[number]:
                raise wire.WireError(f"{name!r} is there twice")
            maps[number][name] = tensor
    return Record(features=maps[_FEATURES_FIELD], label=maps[_LABEL_FIELD])


def _parse_entry(entry: bytes) -> tuple[str, Tensor]:
    name, value = "", b""
    for number, kind, content in wire.fields(entry):
        if number == _KEY_FIELD:
            _require_bytes(kind, what="a name")
            name = _text(content)
        elif number == _VALUE_FIELD:
            _require_bytes(kind, what=f"the value of {name!r}")
            value = content
    return name, _parse_value(value, name=name)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise wire.WireError("a name is not UTF-8") from None


def _parse_value(value: bytes, *, name: str) -> Tensor:
    tensors = [(number, kind, content) for number, kind, content in wire.fields(value)]
    if len(tensors) != 1:
        raise wire.WireError(f"{name!r} holds {len(tensors)} tensors instead of one")
    ((number, kind, content),) = tensors
    if number == _BYTES_FIELD:
        raise wire.WireError(f"{name!r} holds bytes instead of numbers")
    if number != _INT32_FIELD and number not in _FLOATS:
        raise wire.WireError(f"{name!r} holds the unknown kind of tensor {number}")
    _require_bytes(kind, what=f"the tensor {name!r}")
    return _parse_tensor(content, value_kind=number)


def _parse_tensor(message: bytes, *, value_kind: int) -> Tensor:
    """Read values, keys and shape, packed as SageMaker writes them or one by one, which is as legal."""
    found: dict[int, list[bytes]] = {_VALUES_FIELD: [], _KEYS_FIELD: [], _SHAPE_FIELD: []}
    dtype = _FLOATS.get(value_kind)
    single = wire.VARINT if dtype is None else wire.FIXED32 if dtype.itemsize == 4 else wire.FIXED64
    for number, kind, content in wire.fields(message):
        if number in found:
            expected = single if number == _VALUES_FIELD else wire.VARINT
            if kind not in (wire.BYTES, expected):
                raise wire.WireError(f"numbers have the wire type {kind}")
            found[number].append(content)
    content = b"".join(found[_VALUES_FIELD])
    if dtype is None:
        values = _int32(wire.packed_varints(content))
    elif len(content) % dtype.itemsize:
        raise wire.WireError(f"values have {len(content)} bytes, which is no multiple of {dtype.itemsize}")
    else:
        values = np.frombuffer(content, dtype=dtype).astype(np.float64)
    keys = wire.packed_varints(b"".join(found[_KEYS_FIELD]))
    shape = wire.packed_varints(b"".join(found[_SHAPE_FIELD]))
    return Tensor(values=values, keys=keys if len(keys) else None, shape=tuple(shape.tolist()))


def _int32(values: NDArray[np.uint64]) -> NDArray[np.float64]:
    signed = values.astype(np.int64)
    if len(signed) and (signed.min() < -_INT32_RANGE or signed.max() >= _INT32_RANGE):
        raise wire.WireError("an integer value has more than 32 bits")
    return signed.astype(np.float64)


def _require_bytes(kind: int, *, what: str) -> None:
    if kind != wire.BYTES:
        raise wire.WireError(f"{what} has the wire type {kind} instead of {wire.BYTES}")


def frame(payload: bytes) -> bytes:
    """Put RecordIO's header before a record and its padding behind it. Raises ValueError over 128 MiB.

    The content is not cut where the magic number happens to stand in it: SageMaker's writer doesn't, and readers go by
    the length.
    """
    if len(payload) > LARGEST_RECORD:
        raise ValueError(f"a record of {len(payload)} bytes; at most {LARGEST_RECORD} can be written")
    return _HEADER.pack(MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def record_message(*, features: Mapping[str, bytes], label: Mapping[str, bytes]) -> bytes:
    """Write one `aialgs.data.Record` of tensors that `tensor_message` wrote."""
    parts = []
    for number, tensors in ((_FEATURES_FIELD, features), (_LABEL_FIELD, label)):
        for name, tensor in tensors.items():
            entry = wire.field(_KEY_FIELD, name.encode()) + wire.field(_VALUE_FIELD, tensor)
            parts.append(wire.field(number, entry))
    return b"".join(parts)


def tensor_message(
    values: NDArray[np.generic], *, keys: NDArray[np.integer] | None = None, shape: tuple[int, ...] = ()
) -> bytes:
    """Write a `Value` with one tensor: Int32Tensor for integers, Float64Tensor for float64, Float32Tensor for the rest.

    SageMaker's own writer makes the same choice. Raises ValueError for an integer of more than 32 bits.
    """
    if values.dtype.kind in "iub":
        if len(values) and not -_INT32_RANGE <= int(values.min()) <= int(values.max()) < _INT32_RANGE:
            raise ValueError("an integer of more than 32 bits can't be written; make the values float64")
        kind, content = _INT32_FIELD, wire.pack_varints(values.astype(np.int64).astype(np.uint64))
    else:
        kind = 3 if values.dtype == np.float64 else 2
        content = values.astype(_FLOATS[kind]).tobytes()
    message = wire.field(_VALUES_FIELD, content)
    if keys is not None and len(keys):
        message += wire.field(_KEYS_FIELD, wire.pack_varints(keys.astype(np.uint64)))
    if shape:
        message += wire.field(_SHAPE_FIELD, wire.pack_varints(np.array(shape, dtype=np.uint64)))
    return wire.field(kind, message)


def write_rows(
    stream: BinaryIO, *, features: "NDArray[np.generic] | SparseRows", labels: NDArray[np.generic] | None = None
) -> None:
    """Write n rows, and n labels where there are, one record a row, as SageMaker's training data.

    Sparse rows get keys and a shape; one without any value has its shape alone, as SageMaker's SDK writes it.
    """
    for row in range(len(features)):
        if isinstance(features, SparseRows):
            part = slice(int(features.indptr[row]), int(features.indptr[row + 1]))
            tensor = tensor_message(features.values[part], keys=features.indices[part], shape=(features.width,))
        else:
            tensor = tensor_message(features[row])
        label = {} if labels is None else {VALUES: tensor_message(labels[row : row + 1])}
        stream.write(frame(record_message(features={VALUES: tensor}, label=label)))
