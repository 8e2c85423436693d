"""Answers to the letter of SageMaker's algorithms, in every format, for one request or many at once."""

import io

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.codecs.base import slices
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import encoder_for
from sagebrush_server.codecs.recordio import read_records
from sagebrush_server.codecs.responses import ENCODERS

from .record_messages import RecordMessage


def encode(predictions, accept="application/json", counts=None):
    rows = len(next(iter(predictions.columns.values())))
    return encoder_for(accept, default="application/json").encode(predictions, counts=counts or [rows])


BINARY = Predictions({"score": np.array([0.4, 1.0]), "predicted_label": np.array([0, 1])})
MULTICLASS = Predictions({"score": np.array([[0.1, 0.2, 0.7]]), "predicted_label": np.array([2])})
KMEANS = Predictions({"closest_cluster": np.array([1.0], dtype=np.float32), "distance_to_cluster": np.array([3.0])})
PCA = Predictions({"projection": np.array([[0.5, -1.5]])}, root="projections")
FOREST = Predictions({"score": np.array([0.02])}, root="scores")
KNN = Predictions(
    {"predicted_label": np.array([0.0])}, more={"distances": np.array([[1.0, 2.5]]), "labels": np.array([[0.0, 1.0]])}
)
TEXT = Predictions({"predicted_label": np.array(['setosa, "red"', "é\0\n"]), "score": np.array([0.5, 2.0])})


@pytest.mark.parametrize(
    ("predictions", "accept", "body"),
    [
        (BINARY, "application/json", b'{"predictions":[{"score":0.4,"predicted_label":0},{"score":1.0,"predicted_label":1}]}'),
        (BINARY, "application/jsonlines", b'{"score":0.4,"predicted_label":0}\n{"score":1.0,"predicted_label":1}\n'),
        (BINARY, "text/csv", b"0.4,0\n1.0,1\n"),
        (MULTICLASS, "application/json", b'{"predictions":[{"score":[0.1,0.2,0.7],"predicted_label":2}]}'),
        (MULTICLASS, "text/csv", b"0.1,0.2,0.7,2\n"),
        (KMEANS, "application/json", b'{"predictions":[{"closest_cluster":1.0,"distance_to_cluster":3.0}]}'),
        (PCA, "application/json", b'{"projections":[{"projection":[0.5,-1.5]}]}'),
        (PCA, "application/jsonlines", b'{"projection":[0.5,-1.5]}\n'),
        (FOREST, "application/json", b'{"scores":[{"score":0.02}]}'),
        (KNN, "application/json", b'{"predictions":[{"predicted_label":0.0}]}'),
        (KNN, "application/json; verbose=false", b'{"predictions":[{"predicted_label":0.0}]}'),
        (
            KNN,
            "application/json; verbose=true",
            b'{"predictions":[{"predicted_label":0.0,"distances":[1.0,2.5],"labels":[0.0,1.0]}]}',
        ),
        (KNN, "application/jsonlines;verbose=true", b'{"predicted_label":0.0,"distances":[1.0,2.5],"labels":[0.0,1.0]}\n'),
        (TEXT, "application/json", '{"predictions":[{"predicted_label":"setosa, \\"red\\"","score":0.5},{"predicted_label":"é\\u0000\\n","score":2.0}]}'.encode()),
        (TEXT, "text/csv", '"setosa, ""red""",0.5\n"é\0\n",2.0\n'.encode()),
        (Predictions({"score": np.array([np.nan, 1.0])}), "application/json", b'{"predictions":[{"score":null},{"score":1.0}]}'),
        (Predictions({"score": np.array([np.nan])}), "application/json", b'{"predictions":[{"score":null}]}'),
        (Predictions({"score": np.array([np.nan]), "bound": np.array([-np.inf])}), "text/csv", b"nan,-inf\n"),
        (Predictions({"score": np.array([[np.nan, -np.inf], [1.0, 2.0]])}), "text/csv", b"nan,-inf\n1.0,2.0\n"),
        (Predictions({"flag": np.array([True, False])}), "application/jsonlines", b'{"flag":true}\n{"flag":false}\n'),
        (Predictions({"deep": np.arange(4.0).reshape(1, 2, 2)}), "application/jsonlines", b'{"deep":[[0.0,1.0],[2.0,3.0]]}\n'),
        (Predictions({"deep": np.arange(4.0).reshape(1, 2, 2)}), "text/csv", b"0.0,1.0,2.0,3.0\n"),
    ],
)  # fmt: skip
def test_answer_must_be_to_the_letter(predictions, accept, body):
    """Names, nesting, order, numbers and ends of lines are those of SageMaker's algorithms."""
    assert encode(predictions, accept) == [body]


columns = st.sampled_from(["<f8", "<f4", "<i8", "i1", "?", "<U3"])


@st.composite
def predicted(draw):
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    rows = sum(counts)
    named = {}
    for number in range(draw(st.integers(1, 3))):
        width = draw(st.none() | st.integers(1, 3))
        values = draw(st.lists(st.integers(0, 100), min_size=rows * (width or 1), max_size=rows * (width or 1)))
        array = (np.array(values) / 7 if (dtype := draw(columns)) in ("<f8", "<f4") else np.array(values)).astype(dtype)
        named[f"column {number}"] = array if width is None else array.reshape(rows, width)
    return Predictions(named, root=draw(st.sampled_from(["predictions", 'a"b']))), counts


@given(drawn=predicted())
@settings(max_examples=150, deadline=None)
def test_answers_written_together_must_be_what_they_are_alone(drawn):
    """Any columns, any split into requests: each body is the one it would be by itself."""
    predictions, counts = drawn
    text = any(column.dtype.kind == "U" for column in predictions.columns.values())
    for media, encoder in ENCODERS.items():
        if text and media in ("application/x-npy", "application/x-recordio-protobuf"):
            with pytest.raises(RequestError, match="is text"):
                encoder.encode(predictions, counts=counts)
            continue
        alone = [
            encoder.encode(part, counts=[count])[0]
            for part, count in zip(slices(predictions, counts=counts), counts, strict=True)
        ]
        assert encoder.encode(predictions, counts=counts) == alone
    records = [
        {name: column[row].tolist() for name, column in predictions.columns.items()} for row in range(sum(counts))
    ]
    bodies = encode(predictions, counts=counts)
    assert [row for body in bodies for row in orjson.loads(body)[predictions.root]] == records


def test_npy_answer_must_hold_the_columns_side_by_side():
    """One column stays as it is; several become one table of float64."""
    assert np.load(io.BytesIO(encode(FOREST, "application/x-npy")[0])).tolist() == [0.02]
    assert np.load(io.BytesIO(encode(PCA, "application/x-npy")[0])).tolist() == [[0.5, -1.5]]
    both = [np.load(io.BytesIO(body)) for body in encode(BINARY, "application/x-npy", counts=[1, 1])]
    assert [part.tolist() for part in both] == [[[0.4, 0.0]], [[1.0, 1.0]]]


def test_recordio_answer_must_be_read_by_the_protobuf_library():
    """A Record per row, whose labels are the columns, float32 as SageMaker writes them."""
    first, second = encode(BINARY, "application/x-recordio-protobuf", counts=[1, 1])
    message = RecordMessage.FromString(first[8:])
    assert {*message.label} == {"score", "predicted_label"}
    assert message.label["score"].float32_tensor.values[0] == np.float32(0.4)
    assert message.label["predicted_label"].float32_tensor.values[0] == 0
    (record,) = read_records(io.BytesIO(second))
    assert record.label["score"].values.tolist() == [1.0]
    (verbose,) = read_records(io.BytesIO(encode(KNN, "application/x-recordio-protobuf; verbose=true")[0]))
    assert verbose.label["distances"].values.tolist() == [1.0, 2.5]


@pytest.mark.parametrize("value", [np.array([1e300]), np.array([2**24 + 1])])
def test_recordio_answer_must_not_round_what_float32_cannot_hold(value):
    """A large score or label goes as float64 rather than as infinity or its neighbour."""
    (body,) = encode(Predictions({"score": value}), "application/x-recordio-protobuf")
    (record,) = read_records(io.BytesIO(body))
    assert record.label["score"].values.tolist() == value.tolist()
