"""code/inference.py: SageMaker's functions with the semantics of its toolkits."""

import asyncio
import inspect
import io
import json
import sys
import textwrap
import time

import joblib
import numpy as np
import pytest

from sagebrush_server.algorithms.responder import Invocation
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.loading import load_model
from sagebrush_server.models.settings import LoadingSettings
from tests.unit.server.pretrained import fitted, rows

MODEL_FN = "def model_fn(model_dir):\n    return 'the model'\n"


@pytest.fixture(autouse=True)
def own_modules(monkeypatch):
    """What a program imports or puts on the path is gone after each test."""
    monkeypatch.delitem(sys.modules, "inference", raising=False)
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and "/code/" in str(sys.modules[name].__file__):
            del sys.modules[name]
    sys.path[:] = path


def program(folder, text, *, name="code/inference.py", **settings):
    """The responder of a program, which needs no model_fn of its own here."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = textwrap.dedent(text)
    path.write_text(text if "def model_fn" in text else MODEL_FN + text)
    return load_model(folder, settings=LoadingSettings(**settings))


def ask(responder, body=b"1,2", *, content_type="text/csv", accept="application/json", **headers):
    reply = responder.respond(Invocation(body, content_type=content_type, accept=accept, headers=headers))
    return asyncio.run(reply) if inspect.isawaitable(reply) else reply


ECHO = """
    def input_fn(data, content_type): return [data, content_type]
    def predict_fn(data, model): return [*data, model]
    def output_fn(prediction, accept): return repr([*prediction, accept])
"""


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "expected"),
    [
        (b"1,2", "text/csv", "application/json", ["1,2", "text/csv", "the model", "application/json"]),
        (b"{}", "application/json", "text/csv", ["{}", "application/json", "the model", "text/csv"]),
        (b"\xff", "application/x-npy", "a/b", [b"\xff", "application/x-npy", "the model", "a/b"]),
        (b"1", "text/csv; charset=utf-8", "*/*", ["1", "text/csv; charset=utf-8", "the model", "application/json"]),
        (b"1", "", "", ["1", "application/json", "the model", "application/json"]),
    ],
)
def test_functions_must_get_what_the_toolkits_give(tmp_path, body, content_type, accept, expected):
    """Text for CSV and JSON, bytes for the rest; JSON where no header says otherwise."""
    reply = ask(program(tmp_path, ECHO), body, content_type=content_type, accept=accept)
    assert reply.body.decode() == repr(expected)
    assert (reply.status, reply.content_type) == (200, expected[-1])


def test_default_accept_must_be_the_settings(tmp_path):
    """SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT answers */*."""
    reply = ask(program(tmp_path, ECHO, default_accept="text/csv"), accept="*/*")
    assert reply.content_type == "text/csv"


def test_transform_fn_must_take_the_place_of_the_three(tmp_path):
    """model, body, content type, accept; a pair names the answer's content type."""
    text = "def transform_fn(model, body, content_type, accept): return f'{model} {body} {content_type}', 'text/plain'"
    reply = ask(program(tmp_path, text))
    assert (reply.body, reply.content_type) == (b"the model 1,2 text/csv", "text/plain")


def test_transform_fn_beside_others_must_be_refused(tmp_path):
    """As in the toolkit."""
    text = "def transform_fn(m, b, c, a): return b\ndef input_fn(b, c): return b\n"
    with pytest.raises(ModelError, match="transform_fn, which can't be used beside input_fn"):
        program(tmp_path, text)


def test_model_fn_must_get_the_folder_and_be_needed(tmp_path):
    """The path is text, as in the toolkits; without a model_fn nothing is guessed."""
    responder = program(tmp_path, "def model_fn(model_dir): return model_dir\ndef transform_fn(m, b, c, a): return m")
    assert ask(responder).body.decode() == str(tmp_path)
    (tmp_path / "b" / "code").mkdir(parents=True)
    (tmp_path / "b" / "code" / "other.py").write_text("x = 1")
    with pytest.raises(ModelError, match="has no model_fn"):
        load_model(tmp_path / "b", settings=LoadingSettings(program="other.py"))


def test_hooks_must_run_around_model_fn(tmp_path):
    """pre_model_fn, model_fn, model_warmup_fn, in this order, before the first request."""
    text = """
        seen = []
        def pre_model_fn(model_dir): seen.append("pre")
        def model_fn(model_dir): seen.append("model"); return "m"
        def model_warmup_fn(model_dir, model): seen.append("warm " + model)
        def transform_fn(m, b, c, a): return ",".join(seen)
    """
    assert ask(program(tmp_path, text)).body == b"pre,model,warm m"


def test_context_must_be_given_to_who_takes_it(tmp_path):
    """Each function may have the context as its last argument; it reads the request and shapes the answer."""
    text = """
        def model_fn(model_dir, context): return context.system_properties["model_dir"]
        def input_fn(data, content_type, context): return context.get_request_header(0, "X-Who")
        def predict_fn(data, model): return data
        def output_fn(prediction, accept, context):
            context.set_response_content_type(0, "text/who")
            context.set_response_header(0, "X-Seen", "yes")
            context.set_response_status(201)
            return prediction
    """
    responder = program(tmp_path, text)
    reply = ask(responder, **{"x-who": "me"})
    assert (reply.body, reply.content_type, reply.status, reply.headers) == (b"me", "text/who", 201, {"x-seen": "yes"})
    assert ask(responder, **{"x-who": "you"}).body == b"you"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def input_fn(data): return data", "input_fn takes 1 arguments; it is called with 2, or 3 with context"),
        ("def predict_fn(a, b, c, d): return a", "predict_fn takes 4 arguments"),
        ("def model_fn(): return 1", "model_fn takes 0 arguments; it is called with 1"),
    ],
)
def test_function_of_other_arguments_must_be_refused_when_loaded(tmp_path, text, words):
    """Not at the first request."""
    with pytest.raises(ModelError, match=words):
        program(tmp_path, text)


def test_function_with_optional_arguments_must_be_called(tmp_path):
    """*args, defaults and keywords are the function's own business."""
    text = """
        def input_fn(data, content_type="x", **more): return data
        def predict_fn(*given): return len(given)
        def output_fn(prediction, accept, *, indent=2): return str(prediction)
    """
    assert ask(program(tmp_path, text)).body == b"2"


def test_async_functions_must_be_awaited(tmp_path):
    """Any of them; respond then gives an awaitable, and model_fn has been awaited when the model is loaded."""
    text = """
        import asyncio
        async def model_fn(model_dir): return "m"
        def input_fn(data, content_type): return data
        async def predict_fn(data, model):
            await asyncio.sleep(0)
            return data + model
        def output_fn(prediction, accept): return prediction
    """
    responder = program(tmp_path, text)
    assert inspect.isawaitable(waiting := responder.respond(Invocation(b"1", content_type="text/csv", accept="a/b")))
    assert asyncio.run(waiting).body == b"1m"


def test_async_transform_fn_must_be_awaited(tmp_path):
    """The same for transform_fn."""
    assert ask(program(tmp_path, "async def transform_fn(m, b, c, a): return b")).body == b"1,2"


def test_generator_must_be_streamed(tmp_path):
    """Pieces are sent as they come: the second isn't made before the first is taken."""
    text = """
        made = []
        def transform_fn(model, body, content_type, accept):
            for piece in ("a", b"b", bytearray(b"c")):
                made.append(piece)
                yield piece
        def model_fn(model_dir): return made
    """
    responder = program(tmp_path, text)
    reply = ask(responder)
    made = sys.modules["inference"].made
    assert (made, next(reply.body), len(made)) == (made, b"a", 1)
    assert list(reply.body) == [b"b", b"c"]


def test_async_generator_must_be_streamed(tmp_path):
    """The same for `async def` with yield, and with a content type of its own."""
    text = """
        async def pieces():
            yield "a"
            yield b"b"
        def transform_fn(model, body, content_type, accept): return pieces(), "text/event-stream"
    """
    reply = ask(program(tmp_path, text))

    async def collect():
        return [piece async for piece in reply.body]

    assert (asyncio.run(collect()), reply.content_type) == ([b"a", b"b"], "text/event-stream")


@pytest.mark.parametrize("returned", ["1", "None", "{}", "[1]", "('a', 1)"])
def test_answer_of_another_kind_must_be_an_error(tmp_path, returned):
    """It says what came and what is expected; the client sees a 500."""
    with pytest.raises(TypeError, match="expected"):
        ask(program(tmp_path, f"def transform_fn(m, b, c, a): return {returned}"))


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("def input_fn(b, c): raise ValueError('no rows')", 400, "no rows"),
        ("import json\ndef input_fn(b, c): return json.loads(b)", 400, "Extra data"),
        ("async def input_fn(b, c): raise ValueError('no rows')", 400, "no rows"),
        ("class E(Exception): status_code = 415\ndef input_fn(b, c): raise E('not this')", 415, "not this"),
    ],
)
def test_input_that_is_refused_must_be_the_clients_fault(tmp_path, text, status, words):
    """ValueError from input_fn is a 400; an exception with a status_code, as the toolkits' have, is that."""
    with pytest.raises(RequestError, match=words) as refused:
        ask(program(tmp_path, text))
    assert refused.value.status == status


@pytest.mark.parametrize(
    "text",
    [
        "def input_fn(b, c): raise KeyError('x')",
        "class E(Exception): status_code = 503\ndef input_fn(b, c): raise E('x')",
        "def predict_fn(d, m): raise ValueError('x')",
        "def output_fn(p, a): raise ValueError('x')\ndef predict_fn(d, m): return 1",
        "def transform_fn(m, b, c, a): raise ValueError('x')",
    ],
)
def test_error_elsewhere_must_be_the_codes(tmp_path, text):
    """Anything else goes on to the server, which answers 500 and logs it."""
    with pytest.raises(Exception, match="x") as error:
        ask(program(tmp_path, text))
    assert not isinstance(error.value, RequestError)


def test_text_that_is_not_utf8_must_be_refused(tmp_path):
    """Before the function sees it."""
    with pytest.raises(RequestError, match="UTF-8") as refused:
        ask(program(tmp_path, ECHO), b"\xff")
    assert refused.value.status == 400


SKLEARN = """
    import os, joblib
    def model_fn(model_dir): return joblib.load(os.path.join(model_dir, "model.joblib"))
"""


@pytest.fixture
def defaults(tmp_path):
    from sklearn.linear_model import LinearRegression

    estimator = fitted(LinearRegression(), 0)
    joblib.dump(estimator, tmp_path / "model.joblib")
    return program(tmp_path, SKLEARN), estimator


def npy(array, **more):
    stream = io.BytesIO()
    np.save(stream, array, **more)
    return stream.getvalue()


def as_csv(batch):
    return "\n".join(",".join(map(str, row)) for row in batch.tolist()).encode()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("content_type", ["text/csv", "application/json", "application/x-npy"])
def test_defaults_must_be_the_scikit_learn_containers(defaults, content_type, count):
    """Only model_fn is written: arrays of float32 for text, predict, JSON, CSV or npy as accepted."""
    responder, estimator = defaults
    batch = rows(count)
    body = {
        "text/csv": as_csv(batch),
        "application/json": json.dumps(batch.tolist()).encode(),
        "application/x-npy": npy(batch),
    }
    data = batch if content_type.endswith("npy") else batch.astype(np.float32)
    expected = estimator.predict(data)
    reply = ask(responder, body[content_type], content_type=content_type)
    assert (json.loads(reply.body), reply.content_type) == (expected.tolist(), "application/json")
    reply = ask(responder, body[content_type], content_type=content_type, accept="text/csv")
    assert (reply.body.decode().split(), reply.content_type) == ([str(one) for one in expected.tolist()], "text/csv")
    reply = ask(responder, body[content_type], content_type=content_type, accept="application/x-npy")
    assert np.load(io.BytesIO(reply.body)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("1,2\r\n", [[1, 2]]),
        ("1,,3", [[1, np.nan, 3]]),
        (".5, +1\n", [[0.5, 1]]),
        ("nan,inf", [[np.nan, np.inf]]),
        ("1e3", [[1000]]),
    ],
)
def test_csv_must_be_read_as_genfromtxt_reads_it(text, expected):
    """An empty cell is NaN; every spelling of a number counts."""
    from sagebrush_server.models.script_defaults import input_fn

    array = input_fn(text, "text/csv")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, expected)
    again = np.genfromtxt(io.StringIO(text), delimiter=",").astype(np.float32)
    np.testing.assert_array_equal(array, np.atleast_2d(again))


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"1,x", "text/csv", 400),
        (b"1,2\n3", "text/csv", 400),
        (b"", "text/csv", 200),
        (b"{", "application/json", 400),
        (b'{"a": 1}', "application/json", 400),
        (b"no npy", "application/x-npy", 400),
        (npy(np.array([{}]), allow_pickle=True), "application/x-npy", 400),
        (b"", "image/png", 415),
    ],
)
def test_body_that_the_defaults_cannot_read_must_be_refused(body, content_type, status):
    """400 for a body, 415 for a media type; a pickled npy is never unpickled."""
    from sagebrush_server.models.script_defaults import input_fn

    if status == 200:
        assert input_fn("", content_type).size <= 1
        return
    with pytest.raises(RequestError) as refused:
        input_fn(body.decode() if content_type != "application/x-npy" else body, content_type)
    assert refused.value.status == status


def test_accept_that_the_defaults_cannot_write_must_be_refused(defaults):
    """406, with what there is; the first that can be written of several is."""
    responder, _ = defaults
    with pytest.raises(RequestError, match="supported: application/json, text/csv, application/x-npy") as refused:
        ask(responder, as_csv(rows(1)), accept="image/png")
    assert refused.value.status == 406
    assert ask(responder, as_csv(rows(1)), accept="image/png, text/csv;q=0.5").content_type == "text/csv"


def test_own_modules_must_be_importable(tmp_path):
    """code/ and code/lib are on the path, as in SageMaker's containers."""
    (tmp_path / "code" / "lib").mkdir(parents=True)
    (tmp_path / "code" / "mine_beside.py").write_text("A = 'beside'")
    (tmp_path / "code" / "lib" / "mine_below.py").write_text("B = 'below'")
    text = "import mine_beside, mine_below\ndef transform_fn(m, b, c, a): return mine_beside.A + mine_below.B"
    assert ask(program(tmp_path, text)).body == b"besidebelow"


def test_program_must_be_where_the_variables_say(tmp_path):
    """SAGEMAKER_PROGRAM and SAGEMAKER_SUBMIT_DIRECTORY, as SageMaker's SDK sets them."""
    text = "def transform_fn(m, b, c, a): return 'mine'"
    folder = tmp_path / "elsewhere"
    responder = program(tmp_path, text, name="elsewhere/run.py", program="run.py", submit_directory=str(folder))
    assert ask(responder).body == b"mine"
    with pytest.raises(ModelError, match=r"there is no none.py in"):
        load_model(tmp_path, settings=LoadingSettings(program="none.py", submit_directory=f"file://{folder}"))
    with pytest.raises(ModelError, match="a folder is honoured here"):
        load_model(tmp_path, settings=LoadingSettings(submit_directory="s3://bucket/sourcedir.tar.gz"))


def test_second_program_of_the_same_name_must_be_refused(tmp_path):
    """Modules have one name in a process: half of one program must not run in the other."""
    first = program(tmp_path / "a", ECHO)
    with pytest.raises(ModelError, match="a module inference is loaded already"):
        program(tmp_path / "b", ECHO)
    assert ask(first).status == 200


def test_unloaded_program_must_leave_its_names(tmp_path):
    """Models come and go: its modules and folders go with it, also where its model couldn't be loaded."""
    for name, value in (("a", "1"), ("b", "2"), ("a", "1")):
        (tmp_path / name / "code").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "code" / "mine_of_each.py").write_text(f"VALUE = '{value}'")
        responder = program(
            tmp_path / name, "import mine_of_each\ndef transform_fn(m, b, c, a): return mine_of_each.VALUE"
        )
        assert ask(responder).body.decode() == value
        del responder
        with pytest.raises(ModelError, match="OSError"):
            program(tmp_path / "c", "def model_fn(d): raise OSError('no file')")
        assert not {"inference", "mine_of_each"} & sys.modules.keys()
        assert not [entry for entry in sys.path if entry.startswith(str(tmp_path))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_package", "No module named 'no_such_package'; name its package in code/requirements.txt"),
        ("def (", "inference.py can't be imported: SyntaxError"),
        ("def model_fn(d): raise OSError('no file')", "inference.py: OSError: no file"),
    ],
)
def test_program_that_fails_must_say_why(tmp_path, text, words, caplog):
    """In one line; the traceback is in the log."""
    with pytest.raises(ModelError, match=words):
        program(tmp_path, text)
    assert "Traceback" in caplog.text


def test_overhead_must_be_small(tmp_path):
    """
    What the server adds to the user's functions: far below the 600 µs of SageMaker's stack. The bound is wide, for
    machines that are busy.
    """
    text = "def input_fn(b, c): return b\ndef predict_fn(d, m): return d\ndef output_fn(p, a): return p"
    responder = program(tmp_path, text)
    invocation = Invocation(b"1,2,3", content_type="text/csv", accept="application/json")

    def microseconds():
        begun = time.process_time()
        for _ in range(500):
            responder.respond(invocation)
        return (time.process_time() - begun) / 500 * 1e6

    assert min(microseconds() for _ in range(5)) < 50
