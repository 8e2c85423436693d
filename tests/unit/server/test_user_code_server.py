"""code/inference.py behind the real server: what a client sees of it."""

import http.client
import json
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sagebrush_server.models.loading import load_model
from sagebrush_server.models.scikit_learn import estimator_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.pretrained import fitted, rows

PROGRAM = """
    import asyncio, json
    arrived = 0
    def model_fn(model_dir): return 2.0
    async def input_fn(body, content_type):
        if content_type != "text/csv":
            raise ValueError(f"{content_type}: send text/csv")
        return [float(cell) for cell in body.split(",")]
    async def predict_fn(data, model):
        global arrived
        arrived += 1
        while data == [8.0] and arrived < 4:  # answers only once there are four
            await asyncio.sleep(0.001)
        if data == [9.0]:
            raise LookupError("of the program's own")
        return [value * model for value in data]
    def output_fn(prediction, accept):
        if prediction == [0.0]:
            return (f"{number}\\n" for number in range(3)), "text/plain"
        return json.dumps(prediction)
"""


@pytest.fixture
def running(tmp_path, start_server):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "program_of_a_server_test.py").write_text(textwrap.dedent(PROGRAM))
    path = list(sys.path)
    model = load_model(tmp_path, settings=LoadingSettings(program="program_of_a_server_test.py"))
    yield start_server(lambda: model)
    sys.path[:] = path
    del sys.modules["program_of_a_server_test"]


def ask(running, body, *, content_type="text/csv", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": content_type, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def test_program_must_answer_over_http(running):
    """Body, status and content type are the program's."""
    status, body, headers = ask(running, "1,2")
    assert (status, json.loads(body), headers["Content-Type"]) == (200, [2.0, 4.0], "application/json")


def test_generator_must_arrive_in_pieces(running):
    """Chunked, with the content type that came with it."""
    status, body, headers = ask(running, "0")
    assert (status, body, headers["Transfer-Encoding"], headers["Content-Type"]) == (
        200,
        "0\n1\n2\n",
        "chunked",
        "text/plain",
    )


def test_refusal_must_be_the_clients_and_an_error_the_programs(running, caplog):
    """400 with the program's sentence; 500 with an id under which the log has the traceback, and nothing of it outside."""
    status, body, _ = ask(running, "1", content_type="text/x")
    assert (status, "text/x: send text/csv" in body) == (400, True)
    status, body, _ = ask(running, "9")
    assert (status, "of the program's own" in body) == (500, False)
    (told,) = [record for record in caplog.records if record.exc_info]
    assert str(told.exc_info[1]) == "of the program's own"
    assert json.loads(body)["id"] in told.getMessage()


def test_async_functions_must_run_side_by_side(running):
    """Four requests wait for each other: one at a time they would wait for ever."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(running, "8"), range(4)))
    assert [json.loads(body) for _, body, _ in answers] == [[16.0]] * 4


def test_labels_that_are_text_must_arrive(start_server):
    """A classifier's own words, in JSON and CSV."""
    estimator = fitted(LogisticRegression(), labels=["no", "yes, it is"])
    model = estimator_model(estimator, settings=LoadingSettings(outputs=("predicted_label",)))
    running = start_server(lambda: model)
    body = "\n".join(",".join(map(str, row)) for row in rows(4).tolist())
    expected = estimator.predict(rows(4)).tolist()
    _, answer, _ = ask(running, body)
    assert [one["predicted_label"] for one in json.loads(answer)["predictions"]] == expected
    _, answer, _ = ask(running, body, Accept="text/csv")
    assert answer.splitlines() == [f'"{label}"' if "," in label else label for label in expected]
    assert len(set(expected)) == 2, np.unique(expected)
