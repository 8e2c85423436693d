"""RecordIO-protobuf, held against the protobuf library; what is broken is named and never costs memory."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs import wire
from sagebrush_server.codecs.recordio import (
    LARGEST_RECORD,
    MAGIC,
    RecordError,
    frame,
    parse_record,
    read_payloads,
    read_records,
    record_message,
    tensor_message,
    write_rows,
)

from .record_messages import RecordMessage

KINDS = {
    "float32_tensor": st.floats(width=32),
    "float64_tensor": st.floats(),
    "int32_tensor": st.integers(-(2**31), 2**31 - 1),
}
keys = st.lists(st.integers(0, 2**64 - 1), max_size=5)
tensors = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(KINDS[kind], max_size=8), keys, keys)
)


def messages_of(data):
    return [parse_record(payload) for payload in read_payloads(io.BytesIO(data))]


def refusal_of(data):
    with pytest.raises(RecordError) as caught:
        list(read_records(io.BytesIO(data)))
    return caught.value


@given(
    features=st.dictionaries(st.text(max_size=5), tensors, max_size=3),
    label=st.dictionaries(st.text(max_size=5), tensors, max_size=2),
)
@settings(max_examples=80, deadline=None)
def test_reader_must_agree_with_the_protobuf_library(features, label):
    """Whatever tensors the library writes, the reader finds the same names, values, keys and shapes."""
    message = RecordMessage(uid="7", metadata="{}", configuration="{}")
    for target, source in ((message.features, features), (message.label, label)):
        for name, (kind, values, positions, shape) in source.items():
            tensor = getattr(target[name], kind)
            tensor.SetInParent()
            tensor.values.extend(values)
            tensor.keys.extend(positions)
            tensor.shape.extend(shape)
    (record,) = read_records(io.BytesIO(frame(message.SerializeToString())))
    for got, source in ((record.features, features), (record.label, label)):
        assert set(got) == set(source)
        for name, (_, values, positions, shape) in source.items():
            np.testing.assert_array_equal(got[name].values, np.array(values, dtype=np.float64))
            assert ([] if got[name].keys is None else got[name].keys.tolist()) == positions
            assert list(got[name].shape) == shape


@given(
    values=st.sampled_from(["<f4", "<f8", "<i4", "<i8", "<u2"]).flatmap(
        lambda dtype: st.lists(st.integers(-30000, 30000), max_size=9).map(
            lambda v: np.abs(np.array(v)).astype(dtype) if dtype == "<u2" else np.array(v, dtype=dtype)
        )
    ),
    positions=keys,
    shape=keys,
)
@settings(max_examples=60, deadline=None)
def test_writer_must_be_understood_by_the_protobuf_library(values, positions, shape):
    """What the writer writes, the library reads back: kind by dtype, values, keys, shape."""
    tensor = tensor_message(values, keys=np.array(positions, dtype=np.uint64), shape=tuple(shape))
    message = RecordMessage.FromString(record_message(features={"values": tensor}, label={"score": tensor}))
    for value in (message.features["values"], message.label["score"]):
        kind = {"f4": "float32_tensor", "f8": "float64_tensor"}.get(values.dtype.str[1:], "int32_tensor")
        assert value.WhichOneof("value") == kind
        written = getattr(value, kind)
        assert list(written.values) == values.tolist()
        assert list(written.keys) == positions
        assert list(written.shape) == shape


@given(values=st.lists(st.integers(0, 2**64 - 1), max_size=20))
@settings(max_examples=100, deadline=None)
def test_packed_integers_must_survive(values):
    """Any 64-bit integers come back, whatever their lengths."""
    packed = wire.pack_varints(np.array(values, dtype=np.uint64))
    assert wire.packed_varints(packed).tolist() == values


@given(data=st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_reader_must_refuse_what_the_library_refuses(data):
    """Bytes that the library can't parse are refused here too; what is read is read the same."""
    try:
        record = parse_record(data)
    except wire.WireError:
        return
    message = RecordMessage.FromString(data)
    assert {*message.features} == {*record.features}
    assert {*message.label} == {*record.label}


def test_values_one_by_one_must_be_read_as_packed_ones():
    """Protobuf lets a writer leave the packing out; the reader takes both."""
    loose = b"".join(bytes([1 << 3 | wire.FIXED32]) + struct.pack("<f", value) for value in (1.5, -2.0))
    loose += bytes([2 << 3 | wire.VARINT]) + wire.varint(300)
    record = parse_record(record_message(features={"values": wire.field(2, loose)}, label={}))
    assert record.features["values"].values.tolist() == [1.5, -2.0]
    assert record.features["values"].keys.tolist() == [300]


def test_rows_must_survive_writing_and_reading():
    """Dense and sparse rows with labels come back as they were; an empty sparse row stays a sparse row of zeros."""
    stream = io.BytesIO()
    write_rows(stream, features=np.array([[1.5, 2.0], [3.0, 4.0]], dtype=np.float32), labels=np.array([0, 1]))
    records = messages_of(stream.getvalue())
    assert [record.features["values"].values.tolist() for record in records] == [[1.5, 2.0], [3.0, 4.0]]
    assert [record.label["values"].values.tolist() for record in records] == [[0.0], [1.0]]

    stream = io.BytesIO()
    sparse = SparseRows(np.array([0, 2, 2]), np.array([1, 700]), np.array([0.5, 2.0]), 1000)
    write_rows(stream, features=sparse)
    first, empty = (record.features["values"] for record in messages_of(stream.getvalue()))
    assert (first.keys.tolist(), first.values.tolist(), first.shape) == ([1, 700], [0.5, 2.0], (1000,))
    assert (empty.keys, empty.values.tolist(), empty.shape) == (None, [], (1000,))
    assert first.is_sparse
    assert empty.is_sparse


def test_large_integers_must_not_be_written_as_others():
    """Int32Tensor holds 32 bits; a wider integer is refused instead of cut."""
    with pytest.raises(ValueError, match="32 bits"):
        tensor_message(np.array([2**31]))


def test_parts_must_be_joined_with_the_magic_number_between_them():
    """MXNet's writer cuts a record where the magic number stands in it, and leaves it out."""
    magic = struct.pack("<I", MAGIC)
    parts = ((1, b"abcd"), (2, b"efgh"), (3, b"ij"))
    data = b"".join(
        struct.pack("<II", MAGIC, flag << 29 | len(part)) + part + bytes(-len(part) % 4) for flag, part in parts
    )
    assert list(read_payloads(io.BytesIO(data + frame(b"next")))) == [
        b"abcd" + magic + b"efgh" + magic + b"ij",
        b"next",
    ]


WHOLE = frame(record_message(features={"values": tensor_message(np.array([1.0, 2.0]))}, label={}))


@pytest.mark.parametrize(
    ("data", "record", "says"),
    [
        (b"abc", 1, "cut short: 8 bytes are due, 3 are there"),
        (b"1,2,3,4,5", 1, "instead of RecordIO's 0xced7230a"),
        (WHOLE + WHOLE[:-1], 2, "cut short"),
        (WHOLE + WHOLE[:9], 2, "cut short"),
        (struct.pack("<II", MAGIC, 0x1FFFFFFF) + b"x", 1, f"at most {LARGEST_RECORD}"),
        (struct.pack("<II", MAGIC, LARGEST_RECORD) + b"x", 1, "cut short"),
        (struct.pack("<II", MAGIC, 5 << 29), 1, "unknown flag 5"),
        (WHOLE + struct.pack("<II", MAGIC, 2 << 29), 2, "has no first one"),
        (struct.pack("<II", MAGIC, 1 << 29), 1, "cut short"),
        (struct.pack("<II", MAGIC, 1 << 29) + WHOLE, 1, "a new record starts"),
        (frame(b"\xff"), 1, "it ends within an integer"),
        (frame(b"\x0a\x05ab"), 1, "field 1 says it has 5 bytes, 2 are left"),
        (frame(b"\xff" * 11), 1, "longer than 64 bits"),
        (frame(b"\x0b"), 1, "wire type 3"),
        (frame(b"\x00\x00"), 1, "number 0"),
        (frame(b"\x08\x01"), 1, "field 1 has the wire type 0"),
        (frame(wire.field(1, wire.field(1, b"\xff"))), 1, "not UTF-8"),
        (frame(wire.field(1, wire.field(1, b"values"))), 1, "'values' holds 0 tensors"),
        (frame(record_message(features={"a": wire.field(9, b"")}, label={})), 1, "'a' holds bytes"),
        (frame(record_message(features={"a": wire.field(4, b"")}, label={})), 1, "unknown kind of tensor 4"),
        (frame(record_message(features={"a": wire.field(2, b"") * 2}, label={})), 1, "2 tensors"),
        (frame(2 * record_message(features={"a": wire.field(2, b"")}, label={})), 1, "'a' is there twice"),
        (frame(record_message(features={"a": wire.field(2, wire.field(1, b"abc"))}, label={})), 1, "multiple of 4"),
        (frame(record_message(features={"a": wire.field(7, wire.field(1, wire.varint(2**31)))}, label={})), 1, "32 bits"),
        (frame(record_message(features={"a": wire.field(2, wire.field(2, b"\x80"))}, label={})), 1, "within an integer"),
    ],
)  # fmt: skip
def test_broken_stream_must_be_refused_with_its_record(data, record, says):
    """The refusal says which record, and what is wrong with it."""
    refusal = refusal_of(data)
    assert refusal.record == record
    assert says in str(refusal)


def test_lying_length_must_not_reserve_memory():
    """A header that promises 128 MiB is refused for a price near that of the bytes that came."""
    data = struct.pack("<II", MAGIC, LARGEST_RECORD) + b"x" * 1000
    tracemalloc.start()
    try:
        refusal_of(data)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_reader_must_hold_one_record_at_a_time():
    """A long stream is read in the memory of a chunk, not of the whole."""

    class Endless(io.RawIOBase):
        def __init__(self, *, pieces):
            self.left = pieces

        def readable(self):
            return True

        def read(self, size=-1):
            self.left -= 1
            return WHOLE * 4000 if self.left >= 0 else b""

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_payloads(Endless(pieces=8))) == 32_000
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()
