"""The hosting contract, spoken by a real server on a real port."""

import threading

import pytest

from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from tests.unit.server.conftest import tiny_model
from tests.unit.server.wire import wait_until

YES = {"score": pytest.approx(0.9241418199787566), "predicted_label": 1}
NO = {"score": pytest.approx(0.07585818002124355), "predicted_label": 0}


def test_ping_must_carry_the_models_sha256(shared_server):
    """A ready server answers /ping with 200 and says which artifact it serves."""
    reply = shared_server.client().get("/ping")
    assert reply.status == 200
    assert reply.headers["x-sagebrush-model-sha256"] == "abc123"


def test_ping_must_answer_head_without_body(shared_server):
    """HEAD /ping is GET /ping without the body, and the connection stays usable."""
    client = shared_server.client()
    assert client.request("HEAD", "/ping").body == b""
    assert client.get("/ping").status == 200


def test_ping_must_say_503_with_a_reason_until_the_model_is_loaded(start_server):
    """While the model is being loaded /ping is 503 with a JSON reason, and an invocation 503 with Retry-After."""
    release = threading.Event()

    def load():
        assert release.wait(10)
        return LinearPredictor(tiny_model())

    running = start_server(load, ready=False)
    early = running.client().get("/ping")
    assert (early.status, early.json) == (503, {"reason": "the model is being loaded"})
    invocation = running.client().invoke(b"1,2,3")
    assert (invocation.status, invocation.headers["retry-after"]) == (503, "1")
    assert dict(running.server.counts.refused())["NotReady"] == 1
    release.set()
    wait_until(lambda: running.client().get("/ping").status == 200, about="ready after loading")


def test_server_must_leave_with_the_reason_when_the_self_test_fails(start_server):
    """A model that no longer scores its own row as training did is never served."""
    running = start_server(lambda: LinearPredictor(tiny_model(self_test_score=[0.1])), ready=False)
    running.join()
    assert "self-test row" in str(running.outcome[0])


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"3,1,0\n0,3,9", "text/csv"),
        (b"3,1,0\r\n0,3,9\r\n", "text/csv; charset=utf-8"),
        (b'{"instances":[{"features":[3,1,0]},{"features":[0,3,9]}]}', "application/json"),
        (b'{"instances":[[3,1,0],[0,3,9]]}', "application/json"),
        (b'{"instances":[{"data":{"features":{"values":[3,1,0]}}},{"features":[0,3,9]}]}', "application/json"),
        (b"[[3,1,0],[0,3,9]]", "application/json"),
        (b'{"features":[3,1,0]}\n{"data":{"features":{"values":[0,3,9]}}}\n', "application/jsonlines"),
    ],
)
def test_invocation_must_score_every_request_format(shared_server, body, content_type):
    """The same rows give the same JSON whatever format they came in; JSON is the default answer."""
    reply = shared_server.client().invoke(body, content_type)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {
        "predictions": [{**YES, "score": reply.json["predictions"][0]["score"]}, reply.json["predictions"][1]]
    }
    assert [row["predicted_label"] for row in reply.json["predictions"]] == [1, 0]
    assert reply.json["predictions"][0]["score"] == YES["score"]


@pytest.mark.parametrize(
    ("accept", "media", "lines"),
    [
        ("text/csv", "text/csv", [b"0.9241418199787566,1"]),
        ("application/jsonlines", "application/jsonlines", [b'{"score":0.9241418199787566,"predicted_label":1}']),
        ("text/html, application/json;q=0.5, text/csv;q=0.9", "text/csv", [b"0.9241418199787566,1"]),
    ],
)
def test_invocation_must_answer_as_accepted(shared_server, accept, media, lines):
    """Accept selects the format of the answer, one line per row for CSV and JSON lines."""
    reply = shared_server.client().invoke(b"3,1,0", Accept=accept)
    assert (reply.status, reply.headers["content-type"]) == (200, media)
    assert reply.body.splitlines() == lines


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "says"),
    [
        ("POST", "/invocations", b"", {}, 204, ""),
        ("POST", "/invocations", b"1,2,3", {}, 415, "no Content-Type"),
        ("POST", "/invocations", b"1,2,3", {"Content_Type": "image/png"}, 415, "'image/png' is not supported"),
        ("POST", "/invocations", b"1,2,3", {"Content_Type": "text/csv;label_size=1"}, 415, "label_size=1"),
        ("POST", "/invocations", b"1,2,3", {"Content_Type": "text/csv", "Accept": "image/png"}, 406, "image/png"),
        ("POST", "/invocations", b"1,2", {"Content_Type": "text/csv"}, 400, "row 1 has 2 values; the model expects 3"),
        ("POST", "/invocations", b"1,2,3\n1,x,3", {"Content_Type": "text/csv"}, 400, "row 2, column 2: 'x'"),
        (
            "POST",
            "/invocations",
            b"1e308,-1e308,0",
            {"Content_Type": "text/csv"},
            400,
            "row 1: the values are too large",
        ),
        ("GET", "/invocations", None, {}, 405, "POST"),
        ("POST", "/ping", b"", {}, 405, "GET"),
        ("GET", "/", None, {}, 404, "/invocations"),
    ],
)
def test_server_must_answer_with_sagemakers_status(shared_server, method, path, body, headers, status, says):
    """Every refusal has the status SageMaker's containers use, and says what is wrong."""
    reply = shared_server.client().request(method, path, body, **headers)
    assert reply.status == status
    assert says in (reply.json["error"] if reply.body else "")


def test_invocation_must_echo_custom_attributes(shared_server):
    """X-Amzn-SageMaker-Custom-Attributes comes back, also with a refusal."""
    client = shared_server.client()
    for body in (b"1,2,3", b"x"):
        reply = client.invoke(body, X_Amzn_SageMaker_Custom_Attributes="trace=7")
        assert reply.headers["x-amzn-sagemaker-custom-attributes"] == "trace=7"


def test_unforeseen_error_must_be_a_500_with_an_id_that_the_log_has(start_server, caplog):
    """The client learns an id and nothing of the inside; the log has the id and the traceback."""

    class Faulty(LinearPredictor):
        broken = False

        def predict(self, rows):
            if self.broken:
                raise RuntimeError("a secret of the inside")
            return super().predict(rows)

    model = Faulty(tiny_model())
    running = start_server(lambda: model)
    model.broken = True
    reply = running.client().invoke(b"1,2,3")
    assert reply.status == 500
    assert "secret" not in reply.body.decode()
    assert reply.json["id"] in caplog.text
    assert "a secret of the inside" in caplog.text
