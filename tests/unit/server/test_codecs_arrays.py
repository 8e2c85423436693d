"""NumPy files, dense and sparse archives, Parquet: what NumPy, SciPy and pyarrow write is read, and nothing dangerous."""

import io
import pickle
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.npy import decode_npy, write_array
from sagebrush_server.codecs.npz import decode_npz
from sagebrush_server.codecs.parquet import decode_parquet

DTYPES = [f"{order}{kind}" for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")] + [
    "i1",
    "u1",
]


def refused(decode, body, *, feature_dim=3, status=400):
    with pytest.raises(RequestError) as caught:
        decode(body, feature_dim=feature_dim)
    assert caught.value.status == status
    return str(caught.value)


def saved(array, **settings):
    stream = io.BytesIO()
    np.save(stream, array, **settings)
    return stream.getvalue()


def npy(*, descr="'<f8'", order="False", shape="(1, 3)", values=bytes(24), version=b"\x01\x00", header=None, size=None):
    text = header or f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    width = "<H" if version[0] == 1 else "<I"
    return b"\x93NUMPY" + version + struct.pack(width, len(text) if size is None else size) + text + values


def zipped(*, compression=zipfile.ZIP_DEFLATED, **files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.npy", content if isinstance(content, bytes) else saved(np.asarray(content)))
    return stream.getvalue()


@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            st.tuples(st.integers(1, 4), st.integers(1, 4)),
            elements={"allow_nan": False, "allow_infinity": False} if "f" in dtype else {},
        )
    ),
    fortran=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_npy_must_give_what_numpy_saved(array, fortran):
    """Every numeric type, byte order and memory order comes back as the same numbers."""
    body = saved(np.asfortranarray(array) if fortran else array)
    rows = decode_npy(body, feature_dim=array.shape[1])
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, array.astype(np.float64))
    assert decode_npz(zipped(any_name=body), feature_dim=None).tolist() == rows.tolist()


def test_npy_of_one_dimension_must_be_one_row():
    """What a client sends for a single row."""
    assert decode_npy(saved(np.arange(3)), feature_dim=3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no .npy file"),
        (b"1,2,3", "it starts with '1,2,3'"),
        (saved(np.array([[1, {}]], dtype=object)), "pickled Python objects, which are never read"),
        (pickle.dumps([1, 2, 3]), "no .npy file"),
        (saved(np.array([[True, False, True]])), ".astype('uint8')"),
        (saved(np.array([["1", "2", "3"]])), "the type '<U1'; send integers"),
        (saved(np.array([[1j, 2, 3]])), "complex"),
        (saved(np.zeros((1, 3), dtype=[("a", "<f4")])), "the type"),
        (saved(np.zeros((1, 3), dtype=np.longdouble)), "the type '<f16'"),
        (saved(np.array([[1.0, np.nan, 3]])), "row 1, column 2: nan"),
        (saved(np.array([[1.0, 2, 3], [1, 2, -np.inf]], dtype="f4")), "row 2, column 3: -inf"),
        (saved(np.zeros((2, 4))), "row 1 has 4 values; the model expects 3"),
        (saved(np.zeros((0, 3))), "no rows"),
        (saved(np.zeros((2, 0))), "row 1 has 0 values"),
        (saved(np.float64(3.0)), "0 dimensions"),
        (saved(np.zeros((1, 1, 3))), "no description of an array"),
        (saved(np.zeros((1, 3)))[:-1], "24 bytes; there are 23"),
        (saved(np.zeros((1, 3))) + b"x", "24 bytes; there are 25"),
        (npy(version=b"\x03\x00"), "format version 3.0"),
        (npy(size=60000), "its header has 60000 bytes"),
        (npy(version=b"\x02\x00", size=2**32 - 1), "its header has 4294967295 bytes"),
        (npy(shape="(1000000000000, 3)"), "24000000000000 bytes; there are 24"),
        (npy(shape="(99999999999999999999999, 99999999999999999999999)"), "there are 24"),
        (npy(shape="(-1, 3)"), "no description"),
        (npy(shape="[1, 3]"), "no description"),
        (npy(shape="(True, 3)"), "no description"),
        (npy(order="0"), "no description"),
        (npy(descr="'<f8', 'x': 1"), "no description"),
        (npy(descr="'<M8[s]'"), "the type '<M8[s]'"),
        (npy(descr="[('a', '<f8')]"), "the type"),
        (npy(header=b"__import__('os').abort()"), "no description"),
        (npy(header=b"(" * 3000), "no description"),
        (npy(header=b"{'descr': " + b"-" * 3900 + b"1}"), "no description"),
        (npy(header=b"\xff\n"), "no description"),
    ],
)  # fmt: skip
def test_npy_must_name_what_it_refuses(body, says):
    """Objects, other types, lying sizes and shapes are refused before any memory is taken for them."""
    assert says in refused(decode_npy, body)


def test_npy_writer_must_be_understood_by_numpy():
    """numpy.load reads what the encoder writes, for one and two dimensions."""
    for array in (np.arange(3.0), np.arange(6).reshape(2, 3), np.zeros((2, 0)), np.arange(6.0).reshape(3, 2).T):
        np.testing.assert_array_equal(np.load(io.BytesIO(write_array(array))), array)
        assert write_array(array) == saved(np.ascontiguousarray(array))


sparse_tables = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 6)),
    elements=st.just(0.0) | st.floats(allow_nan=False, allow_infinity=False),
)


@given(table=sparse_tables, layout=st.sampled_from(["csr", "csc", "coo"]), whole=st.booleans(), wrapped=st.booleans())
@settings(max_examples=80, deadline=None)
def test_npz_must_give_what_scipy_saved(table, layout, whole, wrapped):
    """CSR, CSC and COO, matrix or array, packed or not, are the same sparse rows."""
    kind = scipy.sparse.coo_array if whole else scipy.sparse.coo_matrix
    stream = io.BytesIO()
    scipy.sparse.save_npz(stream, kind(table).asformat(layout), compressed=wrapped)
    rows = decode_npz(stream.getvalue(), feature_dim=table.shape[1])
    assert isinstance(rows, SparseRows)
    back = scipy.sparse.csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.width))
    assert back.has_canonical_format
    np.testing.assert_array_equal(back.toarray(), table)


def test_npz_must_take_values_in_any_order():
    """SciPy's formats leave the order within a row open."""
    body = zipped(format=b_format("csr"), shape=[1, 4], data=[3.0, 1.0], indices=[3, 1], indptr=[0, 2])
    rows = decode_npz(body, feature_dim=4)
    assert (rows.indices.tolist(), rows.values.tolist()) == ([1, 3], [1.0, 3.0])


def b_format(name):
    return np.array(name.encode())


CSR = {"format": b_format("csr"), "shape": [2, 3], "data": [1.0, 2.0], "indices": [0, 2], "indptr": [0, 1, 2]}
COO = {"format": b_format("coo"), "shape": [2, 3], "data": [1.0, 2.0], "row": [0, 1], "col": [0, 2]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"PK\x03\x04", "no readable .npz archive"),
        (b"", "no readable .npz archive"),
        (zipped(**CSR)[:-30], "no readable .npz archive"),
        (zipped(**CSR).replace(b"indices", b"indexes", 1), "no readable"),
        (zipped(a=np.zeros((1, 3)), b=np.zeros((1, 3))), "'a, b'; expected one array"),
        (zipped(**{f"a{n}": np.zeros(1) for n in range(9)}), "9 files; at most 8"),
        (zipped(), "expected one array"),
        (zipped(a=np.array([[{}]], dtype=object)), "pickled"),
        (zipped(compression=zipfile.ZIP_BZIP2, a=np.zeros((1, 3))), "another method than deflate"),
        (zipped(**CSR | {"format": b_format("bsr")}), "'bsr' can't be read; use csr, csc, coo"),
        (zipped(**CSR | {"format": np.array({}, dtype=object)}), "pickled"),
        (zipped(**CSR | {"shape": [2, 4]}), "4 columns; the model expects 3"),
        (zipped(**CSR | {"shape": [2]}), "shape must be rows and columns"),
        (zipped(**CSR | {"shape": [-2, 3]}), "shape must be rows and columns"),
        (zipped(**CSR | {"shape": [3, 3]}), "indptr has 3 values; shape asks for 3 rows"),
        (zipped(**CSR | {"indptr": [0, 3, 2]}), "indptr must rise"),
        (zipped(**CSR | {"indptr": [0, -1, 2]}), "indptr must rise"),
        (zipped(**CSR | {"indptr": [0, 1, 3]}), "indptr must rise"),
        (zipped(**CSR | {"indptr": np.array([0, 2**63 + 5, 2], dtype=np.uint64)}), "indptr must rise"),
        (zipped(**CSR | {"indptr": [0.0, 1, 2]}), "indptr must be a list of integers"),
        (zipped(**CSR | {"indices": [0, 3]}), "row 2: there is no column 3; 3 columns, counted from 0, end at 2"),
        (zipped(**CSR | {"indices": [-1, 2]}), "row 1: there is no column -1"),
        (zipped(**CSR | {"indices": [[0, 2]]}), "indices must be a list of integers"),
        (zipped(**CSR | {"data": [1.0, np.nan]}), "row 2, column 3 (number 2 from 0): nan is not a finite number"),
        (zipped(**CSR | {"data": [1.0]}), "1 values for 2 rows"),
        (zipped(**CSR | {"data": [[1.0, 2.0]]}), "data must be a list"),
        (zipped(**CSR | {"indptr": [0, 2, 2], "indices": [2, 2]}), "row 1, column 3 (number 2 from 0): it is there twice"),
        (zipped(**COO | {"row": [0, 2]}), "row 3; shape has 2 rows"),
        (zipped(**COO | {"row": [1, 1], "col": [2, 2]}), "row 2, column 3 (number 2 from 0): it is there twice"),
        (zipped(**CSR | {"format": b_format("coo")}), "coo needs row, col, data and shape"),
        (zipped(**COO | {"shape": [0, 3], "row": [], "col": [], "data": []}), "must be a list of integers"),
    ],
)  # fmt: skip
def test_npz_must_name_what_it_refuses(body, says):
    """What scipy would trust is checked: bounds, order, doubles, shapes; and no object is unpickled."""
    assert says in refused(decode_npz, body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (zipped(a=npy(shape="(2000000, 3)", values=bytes(48_000_000))), "unpacks to 480000"),
        (
            zipped(a=npy(descr="'|i1'", shape="(1000000, 3)", values=bytes(3_000_000))),
            "3000000 values; at most 2097152",
        ),
        (zipped(**COO | {"shape": [10**9, 3]}), "1000000000 rows, nearly all of them empty"),
    ],
)
def test_small_archive_must_not_become_large(body, says):
    """A few kilobytes that unpack to much, or declare a large shape, are refused before they take the memory."""
    assert len(body) < 60_000
    tracemalloc.start()
    try:
        assert says in refused(decode_npz, body, status=413)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_archive_that_lies_about_its_size_must_not_become_large():
    """The declared size is what is unpacked at most, not what is said before and forgotten."""
    content = npy(shape="(8000000, 3)", values=bytes(192_000_000))
    honest = zipped(a=content)
    body = honest.replace(struct.pack("<I", len(content)), struct.pack("<I", 1000))
    assert body != honest
    tracemalloc.start()
    try:
        assert "no readable .npz archive" in refused(decode_npz, body)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def parquet(columns, **settings):
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, **settings)
    return stream.getvalue()


def test_parquet_must_give_the_columns_in_the_files_order():
    """Integers and floating point of any size, in several row groups."""
    body = parquet(
        {"z": pa.array([1, 2, 3], pa.int8()), "a": pa.array([0.5, 1.5, 2.5], pa.float32())}, row_group_size=2
    )
    assert decode_parquet(body, feature_dim=2).tolist() == [[1, 0.5], [2, 1.5], [3, 2.5]]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"PAR1", 400, "no readable Parquet file"),
        (parquet({"a": [1, 2]})[:-9], 400, "no readable Parquet file"),
        (parquet({"a": ["x"]}), 400, "column 'a' has the type 'string'"),
        (parquet({"a": [[1, 2]]}), 400, "expected numbers"),
        (parquet({"a": [1.0], "b": pa.array([None], pa.float64())}), 400, "row 1, column 2: it is null"),
        (parquet({"a": [1.0, float("nan")]}), 400, "row 2, column 1: nan"),
        (parquet({"a": [1.0], "b": [2.0]}), 400, "row 1 has 2 values; the model expects 1"),
        (parquet({"a": pa.array([], pa.float64())}), 400, "no rows"),
        (parquet({}), 400, "no columns"),
        (parquet({"a": [1.0], "__index_level_0__": [0]}), 400, "index=False"),
        (parquet({"a": [1.0]}, compression="zstd"), 400, "compressed with ZSTD"),
        (parquet({"a": np.zeros(9_000_000)}), 413, "72000000 bytes of values"),
    ],
)
def test_parquet_must_name_what_it_refuses(body, status, says):
    """Text, nulls and codecs that pack bombs are refused by the file's own description."""
    assert says in refused(decode_parquet, body, feature_dim=1, status=status)


def test_parquet_without_pyarrow_must_name_the_extra(monkeypatch):
    """It is optional, and the refusal says how to get it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "sagebrush-server[parquet]" in refused(decode_parquet, b"PAR1", status=415)
