"""Reading and writing messages of the Open Inference Protocol V2: pure functions."""

import contextlib
import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.protocols.open_inference.messages import (
    InferenceRequest,
    OutputParts,
    OutputPlan,
    WantedOutput,
    read_request,
    write_answer,
)
from sagebrush_server.protocols.open_inference.rows import Signature, rows_of
from sagebrush_server.protocols.open_inference.tensors import DATATYPES, Tensor, datatype_of, read_binary, write_binary

SIGNATURE = Signature(3, feature_names=None, outputs={"score": ("FP64", (-1,))})


def message(*inputs: dict[str, Any], **more: Any) -> bytes:
    return orjson.dumps({"inputs": list(inputs), **more})


def tensor(data: Any = (1, 2, 3), **changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": data, **changes}


def read(body: bytes, header_length: str = "") -> InferenceRequest:
    return read_request(body, header_length=header_length, model_name="m")


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [1.0, 2, 3.0, 4, 5, 6]])
def test_data_must_be_taken_flat_and_nested(data):
    """Elements come in row-major order, in one list or in lists as the shape says."""
    request = read(message(tensor(data, shape=[2, 3])))
    assert request.inputs[0].values.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_model_may_be_named_in_the_body_too():
    """KServe's client repeats the path's model in the body."""
    assert read(message(tensor(), model_name="m")).inputs[0].name == "x"


@pytest.mark.parametrize(
    ("datatype", "data", "values"),
    [
        ("BOOL", [True, False], [True, False]),
        ("INT8", [-128, 127], [-128, 127]),
        ("UINT64", [0, 2**64 - 1], [0, 2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ("FP32", [0.1, 1], [float(np.float32(0.1)), 1.0]),
        ("FP64", [0.1, 1], [0.1, 1.0]),
        ("BYTES", ["a", "ü"], [b"a", "ü".encode()]),
    ],
)
def test_element_must_have_the_value_that_its_datatype_gives_it(datatype, data, values):
    """Every datatype is read exactly; FP32 is rounded as the binary form would be."""
    request = read(message(tensor(data, shape=[2], datatype=datatype)))
    assert request.inputs[0].values.tolist() == values
    assert request.inputs[0].datatype == datatype


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"[]", 'an object with "inputs"'),
        (b'{"inputs": [NaN]}', "not JSON"),
        (message(), "at least one tensor"),
        (message(tensor(), model="x"), "'model'"),
        (message(tensor(), model_name="x"), "model_name is 'x', the path names 'm'"),
        (message(tensor(), id=3), "id must be a string"),
        (message(tensor(), parameters={"priority": 1}), "'priority'"),
        (message(tensor(), parameters={"binary_data_output": 1}), "binary_data_output must be true or false"),
        (message(tensor(), parameters=[1]), "parameters must be an object"),
        (message(tensor(name="")), "input 1: name"),
        (message(tensor(), tensor()), "another input named 'x'"),
        (message(tensor(datatype="BF16")), "datatype must be one of BOOL"),
        (message(tensor(datatype=["FP32"])), "datatype must be one of BOOL"),
        (message(tensor(shape=[-1, 3])), "shape must be a list"),
        (message(tensor(shape=[True, 3])), "shape must be a list"),
        (message(tensor([], shape=[0, 3])), "shape must be a list"),
        (message(tensor([1], shape=[1] * 33)), "shape must be a list"),
        (message(tensor(shape=[2**62, 2**62])), "data has 3"),
        (message(tensor(shape=[2, 3])), "the shape [2, 3] has 6 elements, data has 3"),
        (message(tensor([[1, 2, 3], [4, 5]], shape=[2, 3])), "list 2 at depth 1 should hold 3 values"),
        (message(tensor([[1, 2, 3], 4], shape=[2, 3])), "list 2 at depth 1"),
        (message(tensor([[1, 2, 3]], shape=[3])), "data should hold 3 values"),
        (message(tensor([1, "2", 3])), "element 2: FP64 takes a number, got '2'"),
        (message(tensor([1, None, 3])), "element 2: FP64 takes a number"),
        (message(tensor([1, True, 3])), "element 2: FP64 takes a number, got 'True'"),
        (message(tensor([1, 2.5, 3], datatype="INT32")), "element 2: INT32 takes a whole number"),
        (message(tensor([1, 256, 3], datatype="UINT8")), "element 2: '256' is not within UINT8's range of 0 to 255"),
        (message(tensor([1, 2, 3], datatype="BOOL")), "BOOL takes true or false"),
        (b'{"inputs": [{"name":"x","shape":[1],"datatype":"FP64","data":[1' + b"0" * 400 + b"]}]}", "infinity"),
        (message(tensor(parameters={"content_type": "base64"})), "content_type 'base64' is not supported"),
        (message(tensor(parameters={"shared_memory_region": "a"})), "'shared_memory_region'"),
        (message(tensor(), outputs=[{"name": "a"}, {"name": "a"}]), "output 2: name"),
        (message(tensor(), outputs=[{"name": "a", "parameters": {"classification": 2}}]), "'classification'"),
        (message(tensor(), outputs={"name": "a"}), '"outputs" must be a list'),
    ],
)
def test_wrong_message_must_be_refused_by_field(body, said):
    """What can't be honoured is a 400 that names the field."""
    with pytest.raises(RequestError) as refused:
        read(body)
    assert refused.value.status == 400
    assert said in str(refused.value)


def test_deep_json_must_be_refused():
    """Nesting beyond all reason is an error of the client's and ends no process."""
    with pytest.raises(RequestError):
        read(
            b'{"inputs": [{"name":"x","shape":[1],"datatype":"FP64","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
        )


def binary_message(*tensors: tuple[dict[str, Any], bytes], **more: Any) -> tuple[bytes, str]:
    head = message(*(document for document, _ in tensors), **more)
    return head + b"".join(data for _, data in tensors), str(len(head))


def binary_tensor(values: Any, **changes: Any) -> tuple[dict[str, Any], bytes]:
    array = np.asarray(values)
    data = write_binary(array)
    document = {"name": "x", "shape": list(array.shape), "datatype": datatype_of(array)}
    return {**document, "parameters": {"binary_data_size": len(data)}, **changes}, data


@settings(deadline=None, max_examples=60)
@given(
    values=st.sampled_from([dtype for dtype in DATATYPES.values() if dtype.kind != "O"]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=3, min_side=1, max_side=4))
    )
)
def test_binary_tensor_must_come_back_as_it_was(values):
    """What is written in the binary form is read from it bit by bit, for every datatype and shape."""
    body, length = binary_message(binary_tensor(values))
    back = read(body, length).inputs[0]
    assert back.datatype == datatype_of(values)
    assert back.values.shape == values.shape
    assert back.values.tobytes() == values.tobytes()


@settings(deadline=None, max_examples=60)
@given(elements=st.lists(st.binary(max_size=9), max_size=6))
def test_binary_strings_must_come_back_as_they_were(elements):
    """An element of BYTES may hold any bytes, none too."""
    values = np.empty(len(elements), dtype=object)
    values[:] = elements
    back = read_binary(memoryview(write_binary(values)), name="x", datatype="BYTES", shape=(len(elements),))
    assert back.tolist() == elements


@settings(deadline=None, max_examples=100)
@given(body=st.binary(max_size=60), length=st.text("0123456789-", max_size=4))
def test_any_bytes_must_be_read_or_refused(body, length):
    """Whatever comes, the answer is a request or a 400."""
    with contextlib.suppress(RequestError):
        assert read(body, length).inputs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": {"binary_data_size": 25}}, "binary_data_size must be 0 to the 24 bytes"),
        ({"parameters": {"binary_data_size": -1}}, "binary_data_size must be 0"),
        ({"parameters": {"binary_data_size": 16}}, "takes 24 bytes, binary_data_size says 16"),
        ({"parameters": {"binary_data_size": 8}, "shape": [1]}, "24 bytes follow the JSON part"),
        ({"data": [1, 2, 3]}, "both data and binary_data_size"),
        ({"datatype": "BYTES"}, "the bytes end within element 4"),
    ],
)
def test_binary_tensor_must_have_the_bytes_of_its_shape(change, said):
    """Sizes, shape and bytes must agree; nothing is left over."""
    document, data = binary_tensor(np.array([[0.0, 2.0, 3.0]]))
    body, length = binary_message(({**document, **change}, data))
    with pytest.raises(RequestError, match=r"input 'x'|JSON part") as refused:
        read(body, length)
    assert said in str(refused.value)


@pytest.mark.parametrize("length", ["-1", "x", "99999", "9" * 40, "٣"])
def test_header_length_must_lie_within_the_body(length):
    """Inference-Header-Content-Length says where the JSON part ends, within the body."""
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        read(message(tensor()), length)


def named(name: str, values: Any) -> Tensor:
    array = np.asarray(values)
    return Tensor(name, datatype_of(array), array)


def test_columns_must_stand_in_the_models_order():
    """Several named inputs are columns: in the order of the features' names where there are any, else as sent."""
    inputs = [named("b", [2, 5]), named("a", [[1.0], [4.0]]), named("c", np.array([3, 6], dtype=np.uint8))]
    by_name = Signature(3, feature_names=("a", "b", "c"), outputs={})
    assert rows_of(inputs, signature=by_name).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert rows_of(inputs, signature=SIGNATURE).tolist() == [[2, 1, 3], [5, 4, 6]]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([named("x", [1.0, 2.0, 3.0])], "has the shape [3]; expected [n, 3]"),
        ([named("x", [[1.0, 2.0]])], "has 2 columns; the model expects 3"),
        ([named("x", [[[1.0, 2.0, 3.0]]])], "has the shape [1, 1, 3]"),
        ([named("x", [[1.0, np.nan, 3.0]])], "row 1, column 2: nan is not a finite number"),
        ([named("x", np.array([[b"1", b"2", b"3"]], dtype=object))], "BYTES hold no numbers"),
        ([named("a", [1, 2]), named("b", [1])], "input 'b' has 1 rows, input 'a' has 2"),
        ([named("a", [1, 2]), named("b", [1, 2])], "the 2 inputs have together 2 columns"),
    ],
)
def test_tensors_that_are_no_rows_must_be_refused(inputs, said):
    """A model takes n rows of its width; the refusal names the tensor and what was expected."""
    with pytest.raises(RequestError) as refused:
        rows_of(inputs, signature=SIGNATURE)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [(("a", "b", "d"), "no feature 'd'"), (("a", "b"), "lack the model's features 'c'")],
)
def test_features_by_name_must_be_those_of_the_model(names, said):
    """A misspelt or missing feature is named."""
    signature = Signature(3, feature_names=("a", "b", "c"), outputs={})
    with pytest.raises(RequestError, match=said):
        rows_of([named(name, [1]) for name in names], signature=signature)


def test_answer_must_hold_what_was_asked_for():
    """Outputs come in the order wanted, binary ones behind the JSON part, whose length is said."""
    request = read(
        message(tensor(), id="7", outputs=[{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}])
    )
    plan = OutputPlan.of(request, names=("a", "b", "c"))
    assert plan.wanted == (WantedOutput("b", binary=True), WantedOutput("a", binary=False))
    columns = {"a": np.array([[1, 2]]), "b": np.array([0.5])}
    parts = OutputParts()
    for output in plan.wanted:
        parts.add(output.name, columns[output.name], binary=output.binary)
    answer = write_answer(parts, model_name="m", model_version="1", identity=request.id)
    assert json.loads(answer.body[: answer.header_length]) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "b", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}},
            {"name": "a", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]},
        ],
    }
    assert answer.body[answer.header_length :] == np.array([0.5]).tobytes()


def test_all_outputs_must_come_where_none_is_named():
    """Without `outputs` all are answered, all binary where binary_data_output says so."""
    for binary in (False, True):
        request = read(message(tensor(), parameters={"binary_data_output": binary}))
        plan = OutputPlan.of(request, names=("a", "b"))
        assert plan.wanted == (WantedOutput("a", binary=binary), WantedOutput("b", binary=binary))


def test_output_that_the_model_lacks_must_be_refused():
    """A wrong output's refusal lists those there are."""
    request = read(message(tensor(), outputs=[{"name": "z"}]))
    with pytest.raises(RequestError, match="no output 'z'; it has: a, b"):
        OutputPlan.of(request, names=("a", "b"))
