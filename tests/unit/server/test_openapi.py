"""The OpenAPI document: valid, complete, and true of what the server answers."""

import re
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.http.application import Application
from sagebrush_server.http.heads import Head
from sagebrush_server.http.settings import ServeSettings
from sagebrush_server.protocols.multi_model.settings import CacheLimits, MultiModelSettings
from sagebrush_server.protocols.openapi.operations import OPERATIONS
from sagebrush_server.protocols.wiring import add_protocols


@pytest.fixture(scope="module")
def document(shared_server):
    return shared_server.client().get("/openapi.json").json


@pytest.fixture
def many(tmp_path):
    return ServeSettings(multi_model=MultiModelSettings(tmp_path, limits=CacheLimits()))


def application_of(settings: ServeSettings) -> Application:
    application = Application(settings)
    add_protocols(application, settings=settings)
    return application


def schema_of(document: dict[str, Any], part: dict[str, Any]) -> Draft202012Validator:
    """A validator for one schema of the document, whose references are the document's."""
    return Draft202012Validator({**part["schema"], "components": document["components"]})


def test_document_must_be_valid(document):
    """A judge that others wrote finds no fault with it."""
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_document_of_many_models_must_be_valid(start_server, many):
    """The same for a server of many models, and before any model is loaded."""
    running = start_server(multi_model=many.multi_model)
    document = running.client().get("/openapi.json").json
    validate(document)
    assert "/models/{model}/invoke" in document["paths"]
    assert {"404", "429", "507"} <= document["paths"]["/invocations"]["post"]["responses"].keys()


def test_every_path_must_be_described(many):
    """What the server answers is described, and nothing else is."""
    known = {operation for settings in (ServeSettings(), many) for operation in application_of(settings).routes.known()}
    assert known == set(OPERATIONS)


def test_every_path_that_asks_must_count_as_an_invocation():
    """The scaler sees all requests to models, and no others."""
    asking = {
        path
        for _, path in OPERATIONS
        if Head(method="", target=path.encode(), headers={}, http_1_0=False).is_invocation
    }
    assert asking == {path for (method, path), _ in OPERATIONS.items() if method == "POST" and path != "/models"}


def test_names_of_operations_must_differ():
    """Clients that are generated have a function for each."""
    names = [name for name, _, _ in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_document_must_be_true_of_the_model(document):
    """Number of features, columns and names are the loaded model's."""
    assert document["info"]["description"] == "A model of linear-learner, which scores rows of 3 features."
    operation = document["paths"]["/invocations"]["post"]
    body = schema_of(document, operation["requestBody"]["content"]["application/json"])
    for good in ({"instances": [{"features": [1, 2, 3]}]}, [[1, 2, 3]], [1, 2, 3], {"features": {"values": [1, 2, 3]}}):
        assert body.is_valid(good)
    for bad in ({"instances": [{"features": [1, 2]}]}, [[1, 2, 3, 4]], {"rows": []}, []):
        assert not body.is_valid(bad)
    (parameter,) = document["paths"]["/v2/models/{model}"]["get"]["parameters"]
    assert parameter["schema"]["enum"] == ["kdd", "model"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("GET", "/ping", None, {}),
        ("POST", "/invocations", b"[[1,2,3]]", {}),
        ("POST", "/invocations", b"", {}),
        ("POST", "/invocations", b"[[1,2]]", {}),
        ("POST", "/invocations", b"1,2,3", {"Content_Type": "image/png"}),
        ("POST", "/invocations", b"[[1,2,3]]", {"Accept": "image/png"}),
        ("POST", "/invocations", b"[[1,2,3]]", {"Expect": "a miracle"}),
        ("POST", "/invocations", b"", {"X_Long": "x" * 70_000}),
        ("GET", "/execution-parameters", None, {}),
        ("GET", "/v2", None, {}),
        ("GET", "/v2/health/live", None, {}),
        ("GET", "/v2/health/ready", None, {}),
        ("GET", "/v2/models/kdd", None, {}),
        ("GET", "/v2/models/kdd/versions/1", None, {}),
        ("GET", "/v2/models/other", None, {}),
        ("GET", "/v2/models/kdd/ready", None, {}),
        (
            "POST",
            "/v2/models/kdd/infer",
            b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[1,2,3]}]}',
            {},
        ),
        ("POST", "/v2/models/kdd/infer", b"{}", {}),
        ("POST", "/v2/models/other/infer", b"{}", {}),
        ("POST", "/endpoints/kdd/invocations", b"[[1,2,3]]", {}),
        ("POST", "/endpoints/kdd/invocations", b"[[1,2]]", {}),
        ("POST", "/endpoints/other/invocations", b"[[1,2]]", {}),
    ],
)
def test_answer_must_be_as_described(shared_server, document, method, path, body, headers):
    """Status, media type and form of real answers stand in the document."""
    given = {"Content_Type": "application/json", **headers} if body is not None else headers
    reply = shared_server.client().request(method, path, body, **given)
    described = described_path(document, path)[method.lower()]["responses"][str(reply.status)]
    if reply.status == 204:
        assert "content" not in described
        return
    content = described["content"][reply.headers["content-type"]]
    schema_of(document, content).validate(orjson.loads(reply.body))


def described_path(document: dict[str, Any], path: str) -> dict[str, Any]:
    for template, item in document["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return item
    raise AssertionError(f"{path} is not described")


class Code:
    """A model of user code."""

    algorithm = "inference.py"
    fork_safe = True

    def respond(self, invocation: Invocation) -> Reply:
        return Reply(b"", content_type="text/plain")

    def self_test(self) -> None:
        pass


def test_document_of_user_code_must_promise_nothing(start_server):
    """What a program takes and gives isn't known, so any media type stands there."""
    document = start_server(Code).client().get("/openapi.json").json
    validate(document)
    assert document["info"]["description"] == "A model of inference.py, which answers whole requests."
    operation = document["paths"]["/invocations"]["post"]
    assert list(operation["requestBody"]["content"]) == ["*/*"]
    assert list(operation["responses"]["200"]["content"]) == ["*/*"]
