"""SageMaker's multi-model contract, spoken by a real server whose models are real folders."""

import gc
import socket
import struct
import threading
import weakref
from urllib.parse import quote

import orjson
import pytest

from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.models import loading
from sagebrush_server.protocols.multi_model.routes import PAGE_SIZE
from sagebrush_server.protocols.multi_model.settings import CacheLimits, MultiModelSettings
from sagebrush_server.training.packing import pack
from tests.unit.server.conftest import tiny_model
from tests.unit.server.wire import connect, post, read_reply, wait_until

ROW = b"3,1,0"
YES = b"0.9241418199787566,1\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        save(tiny_model(), folder=tmp_path / name)
    save(tiny_model(), folder=tmp_path / "hashed" / "model")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("{")
    return tmp_path


def save(model: LinearModel, *, folder) -> None:
    folder.mkdir(parents=True)
    model.save(folder)


@pytest.fixture
def start_many(start_server, folder):
    def start(**changes):
        limits = {key: changes.pop(key) for key in ("bytes", "count") if key in changes}
        settings = MultiModelSettings(folder, limits=CacheLimits(**limits))
        return start_server(multi_model=settings, **changes)

    return start


def load(client, name, url):
    return client.request("POST", "/models", orjson.dumps({"model_name": name, "url": str(url)}))


def invoke(client, path, **headers):
    return client.request("POST", path, ROW, Content_Type="text/csv", Accept="text/csv", **headers)


def test_model_must_be_loaded_listed_asked_and_unloaded(start_many, folder):
    """The way of a model through SageMaker's contract; names are opaque, whatever characters they have."""
    client = start_many().client()
    name = "4f/ü 1"
    path = f"/models/{quote(name, safe='')}"
    told = {"modelName": name, "modelUrl": str(folder / "hashed")}
    assert (load(client, name, folder / "hashed").json, invoke(client, f"{path}/invoke").body) == (told, YES)
    assert client.get("/models").json == {"models": [told]}
    assert client.get(path).json == told
    again = load(client, name, folder / "a")
    assert (again.status, "loaded already" in again.json["error"]) == (409, True)
    assert client.request("DELETE", path).status == 200
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/invoke")):
        reply = client.request(method, where, b"1,2,3")
        assert (reply.status, reply.json["error"]) == (404, f"no model {name!r} is loaded")
    assert client.get("/models").json == {"models": []}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "model_name and url"),
        (b'{"model_name":"x"}', 400, "model_name and url"),
        (b'{"model_name":"x","url":"/a","gpu":1}', 400, "gpu"),
        (b'{"model_name":"","url":"/a"}', 400, "model_name must be a string"),
        (b'{"model_name":"x","url":1}', 400, "url must be a string"),
        (b'{"model_name":"x","url":"s3://bucket/a"}', 400, "absolute path"),
        (b'{"model_name":"x","url":"/etc"}', 400, "leaves"),
    ],
)
def test_load_that_is_wrong_must_be_refused(start_many, body, status, said):
    """A wrong body or url is told by its member."""
    reply = start_many().client().request("POST", "/models", body)
    assert (reply.status, said in reply.json["error"]) == (status, True)


def test_load_of_a_missing_or_broken_model_must_say_why(start_many, folder):
    """404 for what isn't there, 400 with the loader's reason; the next try of the name starts afresh."""
    client = start_many().client()
    assert load(client, "x", folder / "missing").status == 404
    for _ in range(2):
        reply = load(client, "x", folder / "broken")
        assert (reply.status, "model.json can't be read" in reply.json["error"]) == (400, True)
    assert load(client, "x", folder / "a").status == 200


def test_list_must_come_in_pages(start_many, folder):
    """A page has at most 100 models and the token of the next one; a token of somebody else's is refused."""
    client = start_many().client()
    names = [f"m{number:03}" for number in range(PAGE_SIZE + 1)]
    for name in names:
        assert load(client, name, folder / "a").status == 200
    first = client.get("/models").json
    second = client.get(f"/models?next_page_token={quote(first['nextPageToken'])}").json
    assert [model["modelName"] for page in (first, second) for model in page["models"]] == names
    assert "nextPageToken" not in second
    assert client.get("/models?next_page_token=%FF").status == 400
    assert client.get("/models?page=2").status == 400


@pytest.mark.parametrize("target", ["a", "hashed", "hashed/model", "packed.tar.gz"])
def test_target_model_must_be_loaded_when_it_is_asked_for(start_many, folder, target):
    """X-Amzn-SageMaker-Target-Model names a folder or archive below the models' folder."""
    pack(folder / "a", target=folder / "packed.tar.gz")
    client = start_many().client()
    assert invoke(client, "/invocations", X_Amzn_SageMaker_Target_Model=target).body == YES
    assert [model["modelName"] for model in client.get("/models").json["models"]] == [target]
    assert client.request("DELETE", f"/models/{quote(target, safe='')}").status == 200


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [("", 400, "must name"), ("missing", 404, "missing"), ("../a", 400, "leaves"), ("broken", 400, "model.json")],
)
def test_target_model_that_can_not_be_asked_must_be_refused(start_many, target, status, said):
    """A request without a model, or with one that isn't there, is told so."""
    reply = invoke(start_many().client(), "/invocations", X_Amzn_SageMaker_Target_Model=target)
    assert (reply.status, said in reply.json["error"]) == (status, True)


def test_many_models_must_speak_the_other_protocols_too(start_many):
    """The Open Inference Protocol takes the same names, SageMaker's runtime API TargetModel."""
    client = start_many().client()
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[3,1,0]}]}'
    assert client.request("POST", "/v2/models/a/infer", body).json["outputs"][1]["data"] == [1]
    assert client.get("/v2/models/a").json["platform"] == "linear-learner"
    assert client.get("/v2/models/b").status == 404
    assert invoke(client, "/endpoints/kdd/invocations", X_Amzn_SageMaker_Target_Model="b").body == YES
    wrong = invoke(client, "/endpoints/kdd/invocations", X_Amzn_SageMaker_Target_Model="missing")
    assert (wrong.status, wrong.headers["x-amzn-errortype"]) == (400, "ValidationError")


def test_least_recently_used_model_must_make_room(start_many, folder):
    """Over the bound the model that was used longest ago goes; asked for again, it comes back."""
    client = start_many(count=2).client()
    for name in ("a", "b"):
        assert load(client, name, folder / name).status == 200
    invoke(client, "/models/a/invoke")
    assert load(client, "c", folder / "c").status == 200
    assert [model["modelName"] for model in client.get("/models").json["models"]] == ["a", "c"]
    assert invoke(client, "/models/b/invoke").body == YES
    assert [model["modelName"] for model in client.get("/models").json["models"]] == ["b", "c"]


def test_model_that_fits_nowhere_must_be_told_507(start_many, folder):
    """Insufficient Storage is what SageMaker's platform waits for."""
    client = start_many(bytes=10).client()
    reply = load(client, "a", folder / "a")
    assert (reply.status, "SAGEBRUSH_MODEL_CACHE_MB" in reply.json["error"]) == (507, True)
    assert invoke(client, "/invocations", X_Amzn_SageMaker_Target_Model="a").status == 507


@pytest.fixture
def slow_loading(monkeypatch):
    """Loading waits until it may go on; says how often it was begun."""
    release, begun, real = threading.Event(), [], loading.load_model

    def load_slowly(path):
        begun.append(path.name)
        assert release.wait(10)
        return real(path)

    monkeypatch.setattr(loading, "load_model", load_slowly)
    yield release, begun
    release.set()


def test_loading_must_hold_up_nobody(start_many, folder, slow_loading):
    """While models are loaded, /ping and loaded models go on; all who ask for one model wait for one load."""
    release, begun = slow_loading
    running = start_many()
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(invoke(running.client(), "/invocations", X_Amzn_SageMaker_Target_Model="a").body)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: begun == ["a"], about="the load has begun")
    assert running.client().get("/ping").status == 200
    release.set()
    for thread in threads:
        thread.join(10)
    assert (answers, begun) == ([YES] * 4, ["a"])


def test_request_must_not_wait_for_ever_for_its_model(start_many, slow_loading):
    """After SAGEMAKER_MODEL_SERVER_TIMEOUT the client is told to ask again, and the load goes on."""
    release, _ = slow_loading
    client = start_many(request_timeout=0.2).client()
    reply = invoke(client, "/invocations", X_Amzn_SageMaker_Target_Model="a")
    assert (reply.status, "ask again" in reply.json["error"]) == (429, True)
    runtime = invoke(client, "/endpoints/kdd/invocations", X_Amzn_SageMaker_Target_Model="a")
    assert (runtime.status, runtime.headers["x-amzn-errortype"]) == (429, "ModelNotReadyException")
    release.set()
    wait_until(lambda: client.get("/models/a").status == 200, about="the model is loaded")
    assert client.request("DELETE", "/models/a").status == 200


def test_one_model_must_refuse_a_target_model(shared_server):
    """A header that can't be honoured is refused, on a remembered connection too."""
    client = shared_server.client()
    for _ in range(3):
        assert client.invoke(ROW).status == 200
        assert invoke(client, "/invocations", X_Amzn_SageMaker_Target_Model="a").status == 400
    assert client.get("/models").status == 404


SCRIPT = """
import helper

def model_fn(model_dir):
    return helper.ANSWER

def transform_fn(model, body, content_type, accept):
    return model, "text/csv"
"""


def write_script(folder, *, answer: str) -> None:
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "inference.py").write_text(SCRIPT)
    (folder / "code" / "helper.py").write_text(f"ANSWER = {answer}\n")


def test_code_must_go_with_its_model(start_many, folder):
    """A model with code of its own can come back, with other code too, after it was let go or could not be loaded."""
    client = start_many().client()
    write_script(folder / "code-a", answer="1 / 0")
    refused = load(client, "a", folder / "code-a")
    assert (refused.status, "ZeroDivisionError" in refused.json["error"]) == (400, True)
    for answer in ("one", "another"):
        write_script(folder / f"code-{answer}", answer=repr(answer))
        assert load(client, "a", folder / f"code-{answer}").status == 200
        assert invoke(client, "/models/a/invoke").body == answer.encode()
        assert client.request("DELETE", "/models/a").status == 200


def test_two_models_with_code_must_not_mix(start_many, folder):
    """Python has one table of modules: the second model with code is refused, and the first goes on."""
    client = start_many().client()
    for name in ("one", "two"):
        write_script(folder / f"code-{name}", answer=repr(name))
    assert load(client, "one", folder / "code-one").status == 200
    refused = load(client, "two", folder / "code-two")
    assert (refused.status, "one process serves one model with code" in refused.json["error"]) == (400, True)
    assert invoke(client, "/models/one/invoke").body == b"one"


class Gate:
    """A model of user code that answers when it may."""

    algorithm = "inference.py"
    fork_safe = True

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()

    def respond(self, invocation: Invocation) -> Reply:
        self.begun.set()
        assert self.release.wait(10)
        return Reply(b"done", content_type="text/plain")

    def self_test(self) -> None:
        pass


def test_model_must_be_in_use_until_its_answers_are_there(start_many, monkeypatch):
    """A model counts as used while requests wait for it, and no longer, also when their clients have gone."""
    gate = Gate()
    monkeypatch.setattr(loading, "load_model", lambda _: gate)
    running = start_many()
    many = running.server.application.invoke.__self__
    first = connect(running.port)
    first.sendall(post(ROW, "X-Amzn-SageMaker-Target-Model: a"))
    assert gate.begun.wait(10)
    second = connect(running.port)
    second.sendall(post(ROW, "X-Amzn-SageMaker-Target-Model: a"))
    wait_until(lambda: many.cache.find("a").in_flight == 2, about="both requests use the model")
    # A reset, not an end of the client's side, behind which it might wait for its answer.
    second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    second.close()
    wait_until(lambda: len(running.server.connections) == 1, about="the server knows that the second client has gone")
    gate.release.set()
    with first.makefile("rb") as stream:
        assert read_reply(stream).body == b"done"
    wait_until(lambda: many.cache.find("a").in_flight == 0, about="nobody uses the model")
    first.close()


def test_unloaded_model_must_leave_memory(start_many, folder):
    """Nothing keeps a model that was asked in every protocol and unloaded: not asks, not signatures, not routes."""
    running = start_many()
    client = running.client()
    load(client, "a", folder / "a")
    invoke(client, "/models/a/invoke")
    invoke(client, "/endpoints/kdd/invocations", X_Amzn_SageMaker_Target_Model="a")
    client.request(
        "POST", "/v2/models/a/infer", b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[3,1,0]}]}'
    )
    model = weakref.ref(running.server.application.models["a"].model)
    assert client.request("DELETE", "/models/a").status == 200
    wait_until(lambda: gc.collect() >= 0 and model() is None, about="the model has gone")
