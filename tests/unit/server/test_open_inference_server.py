"""The Open Inference Protocol V2, spoken by a real server on a real port."""

import math

import numpy as np
import orjson
import pytest

from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.conftest import tiny_model
from tests.unit.server.wire import connect, read_reply

YES, NO = 1 / (1 + math.exp(-2.5)), 1 / (1 + math.exp(2.5))
INFER = "/v2/models/kdd/infer"


def ask(*inputs, **more):
    return orjson.dumps({"inputs": list(inputs), **more})


def x(data=((3, 1, 0), (0, 3, 9)), **changes):
    return {"name": "x", "shape": [2, 3], "datatype": "FP64", "data": data, **changes}


@pytest.mark.parametrize("name", ["kdd", "model"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_infer_must_answer_with_the_models_columns(shared_server, name, version):
    """The model answers under the endpoint's name and its own, every column an output of n elements."""
    reply = shared_server.client().request("POST", f"/v2/models/{name}{version}/infer", ask(x(), id="42"))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {
        "model_name": name,
        "model_version": "1",
        "id": "42",
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [2], "data": [pytest.approx(YES), pytest.approx(NO)]},
            {"name": "predicted_label", "datatype": "INT64", "shape": [2], "data": [1, 0]},
        ],
    }


def test_infer_must_score_as_invocations_does(shared_server):
    """Both paths give the same numbers, bit by bit."""
    client = shared_server.client()
    rows = np.random.default_rng(1).normal(size=(7, 3)).tolist()
    scores = client.request("POST", INFER, ask(x(rows, shape=[7, 3]))).json["outputs"][0]["data"]
    plain = client.invoke(orjson.dumps(rows), "application/json").json["predictions"]
    assert scores == [row["score"] for row in plain]


def test_infer_must_take_and_give_binary_tensors(shared_server):
    """Binary tensors in and out; the answer says where its JSON part ends."""
    values = np.array([[3, 1, 0], [0, 3, 9]], dtype=np.float32)
    document = {"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": values.nbytes}}
    head = ask(document, parameters={"binary_data_output": True})
    reply = shared_server.client().request(
        "POST", INFER, head + values.tobytes(), Inference_Header_Content_Length=str(len(head))
    )
    length = int(reply.headers["inference-header-content-length"])
    assert reply.headers["content-type"] == "application/octet-stream"
    told = orjson.loads(reply.body[:length])
    assert [output["parameters"]["binary_data_size"] for output in told["outputs"]] == [16, 16]
    assert np.frombuffer(reply.body[length : length + 16]).tolist() == [pytest.approx(YES), pytest.approx(NO)]
    assert np.frombuffer(reply.body[length + 16 :], dtype=np.int64).tolist() == [1, 0]


def test_infer_must_take_columns_by_themselves(shared_server):
    """Inputs of shape [n] and [n, 1] are columns."""
    inputs = [
        {"name": "a", "shape": [2], "datatype": "INT32", "data": [3, 0]},
        {"name": "b", "shape": [2, 1], "datatype": "FP32", "data": [[1], [3]]},
        {"name": "c", "shape": [2], "datatype": "BOOL", "data": [False, True]},
    ]
    reply = shared_server.client().request("POST", INFER, ask(*inputs, outputs=[{"name": "predicted_label"}]))
    assert reply.json["outputs"] == [{"name": "predicted_label", "datatype": "INT64", "shape": [2], "data": [1, 0]}]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (INFER, b"", 400, "not JSON"),
        (INFER, ask(x(shape=[2, 4])), 400, "input 'x'"),
        (INFER, ask(x([[1, 2], [3, 4]], shape=[2, 2])), 400, "input 'x' has 2 columns; the model expects 3"),
        (INFER, ask(x(), outputs=[{"name": "z"}]), 400, "no output 'z'; it has: score, predicted_label"),
        (INFER, ask(x([[1, 2, 3], [1e308, -1e308, 0]])), 400, "row 2"),
        ("/v2/models/other/infer", ask(x()), 404, "there is no model 'other'; there is: kdd or model"),
        ("/v2/models/kdd/versions/2/infer", ask(x()), 404, "there is no version '2'; there is: 1"),
        ("/v2/models/kdd/explain", ask(x()), 404, "no such path"),
    ],
)
def test_wrong_request_must_get_an_error_object(shared_server, path, body, status, said):
    """An error is an object with `error`, which says what is wrong."""
    reply = shared_server.client().request("POST", path, body)
    assert reply.status == status
    assert said in reply.json["error"]


def test_metadata_must_describe_the_model(shared_server):
    """Names, types and shapes of all tensors; -1 is any number of rows."""
    for path in ("/v2/models/kdd", "/v2/models/kdd/versions/1"):
        assert shared_server.client().get(path).json == {
            "name": "kdd",
            "versions": ["1"],
            "platform": "linear-learner",
            "inputs": [{"name": "input-0", "datatype": "FP64", "shape": [-1, 3]}],
            "outputs": [
                {"name": "score", "datatype": "FP64", "shape": [-1]},
                {"name": "predicted_label", "datatype": "INT64", "shape": [-1]},
            ],
        }
    assert shared_server.client().get("/v2/models/other").status == 404


def test_health_must_be_told(shared_server):
    """Live and ready, of the server and of the model."""
    client = shared_server.client()
    assert client.get("/v2").json["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    assert client.get("/v2/models/kdd/ready").json == {"name": "kdd", "ready": True}
    assert client.get("/v2/models/other/ready").status == 404


class Code:
    """A model that answers whole requests: the sum of each row."""

    algorithm = "inference.py"
    fork_safe = True

    def respond(self, invocation: Invocation) -> Reply:
        assert (invocation.content_type, invocation.accept) == ("application/json", "application/json")
        sums = [sum(row) for row in orjson.loads(invocation.body)]
        return Reply(orjson.dumps({"predictions": sums}), content_type="application/json")

    def self_test(self) -> None:
        pass


def test_code_must_be_asked_in_json(start_server):
    """A model of user code gets the tensor as JSON, and its JSON answer becomes tensors."""
    client = start_server(Code).client()
    reply = client.request("POST", INFER, ask(x(datatype="INT64")))
    assert reply.json["outputs"] == [{"name": "predictions", "datatype": "INT64", "shape": [2], "data": [4, 12]}]
    assert client.get("/v2/models/kdd").json["platform"] == "inference.py"


class Counting(LinearPredictor):
    """Remembers how many rows each prediction had."""

    def __init__(self) -> None:
        super().__init__(tiny_model())
        self.calls: list[int] = []

    def predict(self, rows):
        self.calls.append(len(rows))
        return super().predict(rows)


def test_requests_that_arrive_together_must_be_predicted_together(start_server):
    """Tensors go the way of all rows, though each request has an id and outputs of its own; a wrong one harms none."""
    model = Counting()
    running = start_server(lambda: model)
    bodies = [
        ask(x(), id="a"),
        ask(x([3, 1, 0], shape=[1, 3]), id="b", outputs=[{"name": "score"}]),
        ask(x([3, 1], shape=[1, 2]), id="c"),
        ask(x([1e308, -1e308, 0], shape=[1, 3]), id="d"),
    ]
    for chosen in (bodies[:3], bodies):
        # What describes the model asks it too, once; after that every prediction is a request's.
        running.client().get("/v2/models/kdd")
        model.calls.clear()
        connection = connect(running.port)
        sent = [
            b"POST %s HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%s" % (INFER.encode(), len(body), body)
            for body in chosen
        ]
        connection.sendall(b"".join(sent))
        with connection.makefile("rb") as stream:
            replies = [read_reply(stream) for _ in chosen]
        connection.close()
        assert [reply.json.get("id") for reply in replies[:2]] == ["a", "b"]
        assert [len(reply.json["outputs"]) for reply in replies[:2]] == [2, 1]
        assert replies[0].json["outputs"][0]["data"] == [pytest.approx(YES), pytest.approx(NO)]
        assert replies[1].json["outputs"][0]["data"] == [pytest.approx(YES)]
        assert "2 columns" in replies[2].json["error"]
        assert model.calls[0] == (3 if chosen is not bodies else 4)
    assert "row 1" in replies[3].json["error"]


SCRIPT = """
class Doubling:
    def predict(self, rows):
        return rows * 2

def model_fn(model_dir):
    return Doubling()
"""


def test_program_of_an_artifact_must_be_asked_by_its_own_functions(start_server, tmp_path):
    """inference.py, with the functions that SageMaker's containers add to it, answers tensors as it answers JSON."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "doubling.py").write_text(SCRIPT)
    settings = LoadingSettings.from_environment({"SAGEMAKER_PROGRAM": "doubling.py"})
    running = start_server(lambda: load_model(tmp_path, settings=settings))
    reply = running.client().request("POST", INFER, ask(x()))
    assert reply.json["outputs"] == [
        {"name": "output-0", "datatype": "FP64", "shape": [2, 3], "data": [6, 2, 0, 0, 6, 18]}
    ]


def test_compressed_body_must_be_refused(shared_server):
    """A Content-Encoding is not undone, so it is refused by its name, before the body looks like nonsense."""
    client = shared_server.client()
    for path in (INFER, "/invocations"):
        reply = client.request("POST", path, b"\x1f\x8b", Content_Type="application/json", Content_Encoding="gzip")
        assert (reply.status, "Content-Encoding 'gzip'" in reply.json["error"]) == (415, True)
    assert client.request("POST", INFER, ask(x()), Content_Encoding="identity").status == 200


def test_ready_must_be_what_ping_is(start_server):
    """While /ping is 503, for this process or another one beside it, so is the protocol's readiness; live stays live."""
    running = start_server()
    client, application = running.client(), running.server.application
    application.others_ready = lambda: False
    assert client.get("/ping").json == {"reason": "another worker is not ready"}
    reply = client.get("/v2/health/ready")
    assert (reply.status, reply.json) == (503, {"ready": False, "error": "another worker is not ready"})
    assert client.get("/v2/health/live").status == 200
    application.others_ready = lambda: True
    assert client.get("/v2/health/ready").status == 200
