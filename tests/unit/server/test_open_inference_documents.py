"""Tensors as JSON for models of user code, and the code's answers as tensors: pure functions."""

import numpy as np
import orjson
import pytest

from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.protocols.open_inference.documents import DocumentAnswer, document_of
from sagebrush_server.protocols.open_inference.messages import InferenceRequest, WantedOutput
from sagebrush_server.protocols.open_inference.tensors import Tensor

WORDS = Tensor("words", "BYTES", np.array([[b"a"], ["ü".encode()]], dtype=object))
NUMBERS = Tensor("n", "FP64", np.array([[1.0, 2.5]]))


def told(value, *, content_type="application/json", status=200, **wanted) -> Reply:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    answer = DocumentAnswer(InferenceRequest("7", inputs=(), **wanted), model_name="m", model_version="1")
    return answer.finish(Reply(body, content_type, status))


def test_one_tensor_must_become_nested_lists():
    """The code sees the tensor in its shape; BYTES are strings."""
    assert orjson.loads(document_of([NUMBERS])) == [[1.0, 2.5]]
    assert orjson.loads(document_of([WORDS])) == [["a"], ["ü"]]


def test_several_tensors_must_become_an_object():
    """Each tensor stands under its name."""
    assert orjson.loads(document_of([NUMBERS, WORDS])) == {"n": [[1.0, 2.5]], "words": [["a"], ["ü"]]}


def test_value_that_json_lacks_must_be_refused():
    """A binary tensor may hold NaN, JSON may not."""
    with pytest.raises(RequestError, match="input 'x' holds values that are not finite"):
        document_of([Tensor("x", "FP64", np.array([np.nan]))])


@pytest.mark.parametrize(
    ("value", "outputs"),
    [
        ([4, 12], {"output-0": ("INT64", [2], [4, 12])}),
        ([[0.5, 1], [1, 2]], {"output-0": ("FP64", [2, 2], [0.5, 1.0, 1.0, 2.0])}),
        ([], {"output-0": ("FP64", [0], [])}),
        ({"predictions": ["a", "ü"]}, {"predictions": ("BYTES", [2], ["a", "ü"])}),
        (
            {"predictions": [{"s": 0.5, "l": True}, {"s": 1.5, "l": False}]},
            {"s": ("FP64", [2], [0.5, 1.5]), "l": ("BOOL", [2], [True, False])},
        ),
        ({"a": [1], "b": "x"}, {"a": ("INT64", [1], [1]), "b": ("BYTES", [1], ["x"])}),
        (7, {"output-0": ("INT64", [1], [7])}),
    ],
)
def test_json_answer_must_become_tensors(value, outputs):
    """A list, an object of lists, or a list of objects with the same keys."""
    document = orjson.loads(told(value).body)
    assert document["id"] == "7"
    assert {item["name"]: (item["datatype"], item["shape"], item["data"]) for item in document["outputs"]} == outputs


@pytest.mark.parametrize(
    ("value", "content_type", "said"),
    [
        (b"1,2", "text/csv", "text/csv"),
        (b"{", "application/json", "not JSON"),
        ([[1, 2], [3]], "application/json; charset=utf-8", "'output-0' is no tensor"),
        ([[1, 2], 3], "application/json", "'output-0' is no tensor"),
        ([1, "a"], "application/json", "'output-0' is no tensor"),
        ([None], "application/json", "'output-0' is no tensor"),
        ([True, 1], "application/json", "'output-0' is no tensor"),
        ([2**63], "application/json", "'output-0' is no tensor"),
        ({"a": {"b": 1}}, "application/json", "'a' is no tensor"),
        ([{"a": 1}, {"b": 1}], "application/json", "different keys"),
    ],
)
def test_answer_that_is_no_tensor_must_name_the_other_path(value, content_type, said):
    """What tensors can't say is refused, and the refusal says how to ask instead."""
    answer = told(value, content_type=content_type)
    assert answer.status == 400
    message = orjson.loads(answer.body)["error"]
    assert said in message
    assert "/invocations" in message


def test_wanted_output_must_be_one_of_the_answer():
    """Outputs by name hold for models of user code too, binary ones as well."""
    answer = told({"a": [1], "b": [0.5]}, outputs=(WantedOutput("b", binary=True),))
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert (answer.content_type, answer.body[length:]) == ("application/octet-stream", np.array([0.5]).tobytes())
    refused = told({"a": [1]}, outputs=(WantedOutput("z", binary=False),))
    assert (refused.status, b"no output 'z'; it has: a" in refused.body) == (400, True)


def test_refusal_of_the_code_must_stay_as_it_is():
    """What the code itself refuses isn't made into tensors."""
    answer = told({"error": "no"}, status=415)
    assert (answer.status, answer.body) == (415, b'{"error":"no"}')
