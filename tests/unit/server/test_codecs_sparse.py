"""Sparse rows in JSON, libsvm and RecordIO: the same rows from each, and refusals that name row and column."""

import io
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.json_rows import JSON, JSON_LINES
from sagebrush_server.codecs.libsvm import decode_libsvm
from sagebrush_server.codecs.recordio import frame, record_message, tensor_message, write_rows
from sagebrush_server.codecs.recordio_rows import decode_recordio
from sagebrush_server.codecs.rows import DENSE_LIMIT, dense_rows

WIDTH = 50
sparse_lists = st.lists(
    st.dictionaries(st.integers(0, WIDTH - 1), st.floats(allow_nan=False, allow_infinity=False), max_size=6),
    min_size=1,
    max_size=4,
)


def refused(decode, body, *, feature_dim=3, status=400):
    with pytest.raises(RequestError) as caught:
        decode(body, feature_dim=feature_dim)
    assert caught.value.status == status
    return str(caught.value)


def as_rows(rows):
    ordered = [sorted(row.items()) for row in rows]
    return SparseRows(
        np.cumsum([0, *map(len, ordered)]),
        np.array([column for row in ordered for column, _ in row], dtype=np.int64),
        np.array([value for row in ordered for _, value in row], dtype=np.float64),
        WIDTH,
    )


def check_same(got, expected):
    assert isinstance(got, SparseRows)
    assert (got.indptr.tolist(), got.indices.tolist(), got.width) == (
        expected.indptr.tolist(),
        expected.indices.tolist(),
        WIDTH,
    )
    assert got.values.tobytes() == expected.values.tobytes()


@given(rows=sparse_lists)
@settings(max_examples=80, deadline=None)
def test_sparse_rows_must_survive_every_format(rows):
    """JSON, JSON lines, libsvm and RecordIO carry the same rows, to the last bit, for a known and an unknown width."""
    expected = as_rows(rows)
    features = [
        {
            "keys": [key for key, _ in sorted(row.items())],
            "values": [value for _, value in sorted(row.items())],
            "shape": [WIDTH],
        }
        for row in rows
    ]
    body = json.dumps({"instances": [{"data": {"features": row}} for row in features]}).encode()
    lines = b"\n".join(json.dumps({"features": row}).encode() for row in features)
    stream = io.BytesIO()
    write_rows(stream, features=expected)
    for width in (WIDTH, None):
        check_same(JSON.decode(body, feature_dim=width), expected)
        check_same(JSON_LINES.decode(lines, feature_dim=width), expected)
        check_same(decode_recordio(stream.getvalue(), feature_dim=width), expected) if any(rows) else None
    svm = "\n".join(" ".join(["1", *(f"{key}:{value!r}" for key, value in sorted(row.items()))]) for row in rows)
    check_same(decode_libsvm(svm.encode(), feature_dim=WIDTH), expected)


@given(rows=sparse_lists)
@settings(max_examples=40, deadline=None)
def test_sparse_rows_made_dense_must_have_zeros_elsewhere(rows):
    """Every value at its place, and nothing else."""
    expected = np.zeros((len(rows), WIDTH))
    for number, row in enumerate(rows):
        for column, value in row.items():
            expected[number, column] = value
    np.testing.assert_array_equal(dense_rows(as_rows(rows)), expected)


def test_few_bytes_must_not_become_a_large_dense_table():
    """A body of a hundred bytes may say it has a billion columns; made dense it is refused before it takes memory."""
    rows = JSON.decode(b'{"features":{"keys":[999999999],"values":[1],"shape":[1000000000]}}', feature_dim=None)
    tracemalloc.start()
    try:
        with pytest.raises(
            RequestError, match=rf"take 8000000000 bytes for this model; at most {DENSE_LIMIT}"
        ) as caught:
            dense_rows(rows)
        assert caught.value.status == 413
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def features(**changes):
    row = {"keys": [0, 2], "values": [1, 2], "shape": [3]} | changes
    return json.dumps({"features": {key: value for key, value in row.items() if value is not None}}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (features(keys=[0, 3]), "row 1: there is no column 3; 3 columns, counted from 0, end at 2"),
        (features(keys=[2, 2]), "row 1, column 3 (number 2 from 0): it is there twice"),
        (features(keys=[2, 0]), "row 1, column 1 (number 0 from 0): it comes after 2; sort the columns"),
        (features(keys=[0, -1]), "number 2 of \"keys\" must be a column counted from 0, got '-1'"),
        (features(keys=[0, 1.5]), 'number 2 of "keys"'),
        (features(keys=[0, True]), 'number 2 of "keys"'),
        (features(keys=[0, 2**63]), 'number 2 of "keys"'),
        (features(keys=[0]), '"keys" and "values" must be lists of the same length'),
        (features(keys=5), '"keys" and "values" must be lists'),
        (features(values=[1, "2"]), "row 1, column 3: expected a number, got str '2'"),
        (features(values=[1, 10**400]), "row 1, column 3: the number is too large for 64-bit floating point"),
        (features(values=[1, float("nan")]), "row 1, column 3 (number 2 from 0): nan is not a finite number"),
        (features(shape=[4]), '"shape" is [4]; the model expects 3 columns'),
        (features(shape=[3, 1]), '"shape" must be a list with the number of columns'),
        (features(shape="3"), '"shape" must be a list'),
        (b'[{"features":{"keys":[0],"values":[1]}},{"features":[1,2,3]}]', 'row 2 has no "keys", others have'),
        (b'[{"features":[1,2,3]},{"features":{"keys":[0],"values":[1]}}]', 'row 1 has no "keys", others have'),
    ],
)
def test_sparse_json_must_name_what_it_refuses(body, says):
    """Columns out of range, twice, out of order; lists of different length; sparse beside dense."""
    assert says in refused(JSON.decode, body)


def test_sparse_json_without_a_width_must_say_so():
    """Where neither model nor request says how wide a row is, it is asked for."""
    assert 'need a "shape"' in refused(JSON.decode, features(shape=None), feature_dim=None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "row 1 is empty; a row of zeros is a label alone"),
        (b"0:1\n\n1:1", "row 2 is empty"),
        (b"1 0:1 3:2", "row 1: there is no column 3; 3 columns, counted from 0"),
        (b"1 0:1 0:2", "column 1 (number 0 from 0): it is there twice"),
        (b"1 2:1 0:2", "it comes after 2; sort"),
        (b"1 0:1 2:nan", "row 1, column 3 (number 2 from 0): 'nan' is not a finite number"),
        (b"1 0:1 2:1e400", "row 1, column 3 (number 2 from 0): inf is not a finite number"),
        (b"1 0:1 2:", "column 3 (number 2 from 0): ''"),
        (b"1 0:1\nx 2:1", "row 2, the label: 'x' is not a finite number"),
        (b"1 -1:1", "row 1: '-1:1' is not column:value"),
        (b"1 qid:3 0:1", "row 1: 'qid:3' is not column:value"),
        (b"1 0:1 2", "row 1: '2' is not column:value"),
        (b"1 0:1:2", "column 1 (number 0 from 0): '1:2'"),
        (b"1 9999999999999999999:1", "is not column:value"),
        ("1 ٣:1".encode(), "is not column:value"),
    ],
)
def test_libsvm_must_name_what_it_refuses(body, says):
    """Row, column, and what a cell should look like."""
    assert says in refused(decode_libsvm, body)


def test_libsvm_must_count_from_zero_and_ignore_labels_and_comments():
    """As SageMaker's XGBoost reads it; a row of zeros is a label alone, and the largest column is the width if nothing else says it."""
    rows = decode_libsvm(b"1.5 0:2 2:-3e1 # a comment\r\n1:.5\n-1\n", feature_dim=None)
    assert dense_rows(rows).tolist() == [[2, 0, -30], [0, 0.5, 0], [0, 0, 0]]


def record(values=(1.0, 2.0, 3.0), *, name="values", keys=None, shape=(), label=None):
    tensor = tensor_message(
        np.array(values), keys=None if keys is None else np.array(keys, dtype=np.uint64), shape=shape
    )
    return frame(
        record_message(
            features={name: tensor}, label={} if label is None else {"values": tensor_message(np.array([label]))}
        )
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no rows"),
        (b"1,2,3,4,5", "record 1: it starts with 0x"),
        (record()[:-3], "record 1: it is cut short"),
        (record() + frame(b"\x0a\x7f"), "record 2: it is not an aialgs.data.Record"),
        (record(name="x"), "row 1 has the features 'x'; expected 'values'"),
        (frame(b""), "row 1 has the features ''"),
        (record() + record([1.0, 2.0]), "row 2 has 2 values; the model expects 3"),
        (record([]), "row 1 has 0 values"),
        (record([1.0, np.nan, 2.0]), "row 1, column 2: nan is not a finite number"),
        (record(shape=(4,)), "row 1 has 3 values, its shape says '[4]'"),
        (record(shape=(3, 1)), "its shape says '[3, 1]'"),
        (record([1.0], keys=[3], shape=(3,)), "row 1: there is no column 3"),
        (record([1.0], keys=[2**64 - 1], shape=(3,)), "row 1: there is no column 18446744073709551615"),
        (record([1.0, 2.0], keys=[1, 1], shape=(3,)), "column 2 (number 1 from 0): it is there twice"),
        (record([1.0, 2.0], keys=[1, 0]), "it comes after 1"),
        (record([1.0, 2.0], keys=[1]), "row 1 has 2 values and 1 keys"),
        (record([1.0], keys=[1], shape=(4,)), "row 1 has the shape '[4]'; the model expects 3 columns"),
        (record([1.0], keys=[1]) + record(), "row 2 is dense, the rows before it are sparse"),
        (record() + record([], shape=(3,)), "row 2 is sparse, the rows before it are dense"),
        (record([np.inf], keys=[1]), "row 1, column 2 (number 1 from 0): inf"),
    ],
)  # fmt: skip
def test_recordio_must_name_what_it_refuses(body, says):
    """The record, its row and column, and what was expected."""
    assert says in refused(decode_recordio, body)


def test_recordio_must_read_dense_rows_and_ignore_labels():
    """What SageMaker's SDK writes for training is as good for asking."""
    body = record(label=7) + record([4, 5, 6]) + record(np.array([0.5, 1, 2], dtype=np.float32))
    for width in (3, None):
        assert decode_recordio(body, feature_dim=width).tolist() == [[1, 2, 3], [4, 5, 6], [0.5, 1, 2]]
    assert "needs its shape" in refused(decode_recordio, record([1.0], keys=[1]), feature_dim=None)


@given(
    rows=st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=4),
    dtypes=st.lists(st.sampled_from(["<f4", "<f8", "<i4"]), min_size=4, max_size=4),
    last=st.binary(max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_recordio_of_like_records_must_be_what_each_is(rows, dtypes, last):
    """Records of one shape are read as one array: with the rows, and the refusals, that each has by itself."""
    bodies = [
        record(
            np.nan_to_num(np.array(row)).clip(-9e5, 9e5).astype(dtype) if dtype == "<i4" else np.array(row, dtype=dtype)
        )
        for row, dtype in zip(rows, dtypes, strict=False)
    ]
    bodies.append(bodies[-1][: len(bodies[-1]) - len(last)] + last)
    outcomes = []
    for number, body in enumerate(bodies, start=1):
        try:
            outcomes.append(decode_recordio(body, feature_dim=2).tolist())
        except RequestError as refusal:
            outcomes.append(str(refusal).replace("row 1", f"row {number}").replace("record 1", f"record {number}"))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if refusals:
        assert refused(decode_recordio, b"".join(bodies), feature_dim=2) in refusals
    else:
        assert decode_recordio(b"".join(bodies), feature_dim=2).tolist() == [row for part in outcomes for row in part]
