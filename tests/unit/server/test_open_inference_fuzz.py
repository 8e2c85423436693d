"""V2 messages with bytes and fields changed at random, and a corpus of hostile ones: rows, or a refusal that can be shown."""

import tracemalloc
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.protocols.open_inference.documents import document_of
from sagebrush_server.protocols.open_inference.messages import read_request
from sagebrush_server.protocols.open_inference.rows import Signature, rows_of
from sagebrush_server.protocols.open_inference.tensors import DATATYPES

CORPUS = Path(__file__).parent / "corpus" / "v2"
SIGNATURE = Signature(3, feature_names=None, outputs={})
ANY_WIDTH = Signature(None, feature_names=("a", "b"), outputs={})


def check(body: bytes, *, header_length: str = "") -> None:
    """Read as the server does, for a model of rows and one of code; nothing but RequestError may come out."""
    try:
        request = read_request(body, header_length=header_length, model_name="m")
    except RequestError as refused:
        check_refusal(refused)
        return
    for signature in (SIGNATURE, ANY_WIDTH):
        try:
            rows = rows_of(request.inputs, signature=signature)
        except RequestError as refused:
            check_refusal(refused)
        else:
            assert rows.dtype == np.float64
            assert rows.ndim == 2
            assert np.isfinite(rows).all()
            assert rows.shape[1] == (signature.feature_dim or rows.shape[1])
            assert rows.tobytes()
    try:
        orjson.loads(document_of(request.inputs))
    except RequestError as refused:
        check_refusal(refused)


def check_refusal(refused: RequestError) -> None:
    assert refused.status == 400
    assert 0 < len(str(refused)) < 1000
    str(refused).encode()


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", ""]) | JSON_VALUES,
        "shape": st.lists(st.integers(0, 3), max_size=3) | JSON_VALUES,
        "datatype": st.sampled_from([*DATATYPES, "BF16"]) | JSON_VALUES,
        "data": st.lists(st.integers(-3, 300) | st.floats(-1e308, 1e308), max_size=6) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40)}) | JSON_VALUES,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | JSON_VALUES},
    optional={"id": JSON_VALUES, "parameters": JSON_VALUES, "outputs": JSON_VALUES},
)


@settings(deadline=None, max_examples=150)
@given(message=MESSAGES, tail=st.binary(max_size=40), behind=st.integers(-2, 2))
def test_any_fields_must_be_read_or_refused(message, tail, behind):
    """Whatever stands in the fields, and wherever the JSON part is said to end."""
    head = orjson.dumps(message)
    check(head + tail, header_length=str(max(len(head) + behind, 0)) if tail else "")


def corpus() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]


@settings(deadline=None, max_examples=150)
@given(data=st.data(), body=st.sampled_from(corpus()))
def test_changed_bytes_must_be_read_or_refused(data, body):
    """A message of the corpus with some bytes changed, cut or doubled."""
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    check(bytes(changed))
    check(bytes(changed), header_length=str(data.draw(st.integers(0, len(changed) + 1))))


@pytest.mark.parametrize("name", [path.name for path in sorted(CORPUS.iterdir())])
def test_hostile_message_must_stay_small(name):
    """What a message declares is not believed: it takes memory in proportion to its size."""
    body = (CORPUS / name).read_bytes()
    length = body.rfind(b"]}") + 2
    tracemalloc.start()
    try:
        check(body)
        check(body, header_length=str(length))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 200 * len(body)
