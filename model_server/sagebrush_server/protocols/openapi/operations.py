"""What each path does, in OpenAPI's terms. A test holds this table against the application's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from sagebrush_server.codecs.negotiation import DECODERS
from sagebrush_server.codecs.responses import ENCODERS
from sagebrush_server.protocols.open_inference.rows import Signature
from sagebrush_server.protocols.open_inference.rows_codec import BINARY_TYPE
from sagebrush_server.protocols.openapi.schemas import STRING, an_object, answer_rows, reference, request_rows
from sagebrush_server.protocols.runtime_api.event_stream import MEDIA_TYPE

Document = dict[str, Any]

JSON: Final = "application/json"
_ANY: Final = "*/*"
_READING: Final = (400, 408, 413, 417, 431)
"""What any request with a body may be refused with before anybody has looked at what it asks."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the document has to know: the model (None: not loaded, or many), and whether it scores rows."""

    signature: Signature | None
    many: bool


def _content(schema: Document, *kinds: str) -> Document:
    return {"content": {kind: {"schema": schema} for kind in kinds or (JSON,)}}


def _responses(success: Document, *failures: int, error: str = "Error") -> Document:
    """Describe a 200 and the statuses of failures, which all have the same form."""
    refused = {
        str(status): {"description": HTTPStatus(status).phrase, **_content(reference(error))}
        for status in sorted({*failures, 500})
    }
    return {"200": {"description": "OK", **success}, **refused}


def _header(name: str, about: str, *, required: bool = False, schema: Document = STRING) -> Document:
    return {"name": name, "in": "header", "description": about, "required": required, "schema": schema}


_ATTRIBUTES: Final = _header("X-Amzn-SageMaker-Custom-Attributes", "Comes back with the answer.")
_INFERENCE_ID: Final = _header("X-Amzn-SageMaker-Inference-Id", "The request's name in the client's own records.")
_ACCEPT: Final = _header("Accept", "The answer's media type.")
_TARGET: Final = "A model's folder or archive below the models' folder."


def _asking(facts: Facts) -> Document:
    """Describe the body of a request that asks a model, and the successful answer."""
    if facts.signature is None:
        return {"body": _content({}, _ANY), "answer": _content({}, _ANY)}
    taken = {kind: {"schema": STRING if kind.startswith("text/") else {}} for kind in DECODERS}
    taken[JSON] = {"schema": request_rows(facts.signature.feature_dim)}
    given = {kind: {"schema": STRING if kind.startswith("text/") else {}} for kind in ENCODERS}
    given[JSON] = {"schema": answer_rows(facts.signature)}
    return {"body": {"content": taken}, "answer": {"content": given}}


def _invocation(facts: Facts, *, headers: tuple[Document, ...] = (), failures: tuple[int, ...] = ()) -> Document:
    asking = _asking(facts)
    responses = _responses(asking["answer"], *_READING, 406, 415, 503, *failures)
    responses["204"] = {"description": "The body was empty."}
    parameters = [_ACCEPT, _ATTRIBUTES, _INFERENCE_ID, *headers]
    return {"parameters": parameters, "requestBody": asking["body"], "responses": responses}


def _invocations(facts: Facts) -> Document:
    if not facts.many:
        return _invocation(facts)
    target = _header("X-Amzn-SageMaker-Target-Model", _TARGET, required=True)
    return _invocation(facts, headers=(target,), failures=(404, 429, 507))


def _runtime(facts: Facts, *, streamed: bool) -> Document:
    accept = _header("X-Amzn-SageMaker-Accept", "The answer's media type.") if streamed else _ACCEPT
    headers = [accept, _ATTRIBUTES, _INFERENCE_ID, _header("X-Amzn-SageMaker-Target-Variant", "The variant's name.")]
    if facts.many:
        headers.append(_header("X-Amzn-SageMaker-Target-Model", _TARGET, required=True))
    asking = _asking(facts)
    answer = _content({}, MEDIA_TYPE) if streamed else asking["answer"]
    responses = _responses(answer, *_READING, 424, 429, 503, error="RuntimeError")
    for status in _READING[1:]:
        responses[str(status)] = {"description": HTTPStatus(status).phrase, **_content(reference("Error"))}
    responses["204"] = {"description": "The body was empty."}
    return {"parameters": headers, "requestBody": asking["body"], "responses": responses}


def _ping(_: Facts) -> Document:
    responses = _responses(_content({"type": "object"}))
    why = _content(an_object(reason=STRING))
    responses["503"] = {"description": "Not ready.", **why}
    return {"responses": responses}


def _get(schema: Document, *failures: int) -> Callable[[Facts], Document]:
    return lambda _: {"responses": _responses(_content(schema), *failures)}


def _infer(facts: Facts) -> Document:
    length = _header(
        "Inference-Header-Content-Length",
        "Bytes of the JSON part, where binary tensors follow it.",
        schema={"type": "integer", "minimum": 0},
    )
    content = _content(reference("InferenceRequest"))["content"]
    content[BINARY_TYPE] = {"schema": {}}
    answer = _content(reference("InferenceResponse"))
    answer["content"][BINARY_TYPE] = {"schema": {}}
    answer["headers"] = {"Inference-Header-Content-Length": {"schema": {"type": "integer"}}}
    failures = (429, 507) if facts.many else ()
    responses = _responses(answer, *_READING, 404, 415, 503, *failures)
    return {"parameters": [length], "requestBody": {"required": True, "content": content}, "responses": responses}


def _load(_: Facts) -> Document:
    body = {"required": True, **_content(reference("LoadModel"))}
    return {"requestBody": body, "responses": _responses(_content(reference("LoadedModel")), *_READING, 404, 409, 507)}


def _list(_: Facts) -> Document:
    token = {"name": "next_page_token", "in": "query", "description": "Of the page before.", "schema": STRING}
    return {"parameters": [token], "responses": _responses(_content(reference("LoadedModels")), 400)}


_LIVE: Final = an_object(live={"type": "boolean"})
_READY: Final = an_object(ready={"type": "boolean"})
_BATCH: Final = an_object(
    MaxConcurrentTransforms={"type": "integer"}, BatchStrategy=STRING, MaxPayloadInMB={"type": "integer"}
)
_SERVER: Final = an_object(name=STRING, version=STRING, extensions={"type": "array", "items": STRING})
_MODEL_READY: Final = an_object(name=STRING, ready={"type": "boolean"})
_V2: Final = "/v2/models/{model}"
_VERSION: Final = f"{_V2}/versions/{{version}}"

OPERATIONS: Final[Mapping[tuple[str, str], tuple[str, str, Callable[[Facts], Document]]]] = {
    ("GET", "/ping"): ("ping", "Whether requests are answered.", _ping),
    ("POST", "/invocations"): ("invoke", "Ask the model.", _invocations),
    ("GET", "/execution-parameters"): ("describeBatch", "How a batch transform should ask.", _get(_BATCH)),
    ("GET", "/openapi.json"): ("describeApi", "This document.", _get({"type": "object"})),
    ("GET", "/v2"): ("describeServer", "Name, version and extensions.", _get(_SERVER)),
    ("GET", "/v2/health/live"): ("isLive", "Whether the server runs.", _get(_LIVE)),
    ("GET", "/v2/health/ready"): ("isReady", "Whether the server is ready.", _get(_READY, 503)),
    ("GET", _V2): ("describeModel", "The model's tensors.", _get(reference("ModelMetadata"), 404, 503)),
    ("GET", _VERSION): ("describeVersion", "The model's tensors.", _get(reference("ModelMetadata"), 404, 503)),
    ("GET", f"{_V2}/ready"): ("isModelReady", "Whether the model is loaded.", _get(_MODEL_READY, 404, 503)),
    ("GET", f"{_VERSION}/ready"): ("isVersionReady", "Whether the model is loaded.", _get(_MODEL_READY, 404, 503)),
    ("POST", f"{_V2}/infer"): ("infer", "Ask the model with tensors.", _infer),
    ("POST", f"{_VERSION}/infer"): ("inferVersion", "Ask the model with tensors.", _infer),
    ("POST", "/endpoints/{endpoint}/invocations"): (
        "invokeEndpoint",
        "SageMaker's InvokeEndpoint.",
        lambda facts: _runtime(facts, streamed=False),
    ),
    ("POST", "/endpoints/{endpoint}/invocations-response-stream"): (
        "invokeEndpointWithResponseStream",
        "SageMaker's InvokeEndpointWithResponseStream.",
        lambda facts: _runtime(facts, streamed=True),
    ),
    ("POST", "/models"): ("loadModel", "Load a model under a name.", _load),
    ("GET", "/models"): ("listModels", "The loaded models.", _list),
    ("GET", "/models/{model}"): ("getModel", "One loaded model.", _get(reference("LoadedModel"), 404)),
    ("DELETE", "/models/{model}"): ("unloadModel", "Let a model go.", _get(an_object(modelName=STRING), 404)),
    ("POST", "/models/{model}/invoke"): (
        "invokeModel",
        "Ask a loaded model.",
        lambda facts: _invocation(facts, failures=(404, 429, 507)),
    ),
}
