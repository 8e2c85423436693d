"""The paths below `/v2`: the Open Inference Protocol V2 over HTTP, which KServe, Triton and MLServer speak."""

import functools
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import orjson

from sagebrush_server import __version__
from sagebrush_server.algorithms.responder import Invocation
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import refuse_encoded
from sagebrush_server.codecs.rows import shown
from sagebrush_server.http.messages import Answer, Ask, Request
from sagebrush_server.protocols.open_inference.documents import DocumentAnswer, document_of
from sagebrush_server.protocols.open_inference.messages import (
    HEADER_LENGTH,
    InferenceRequest,
    OutputPlan,
    read_request,
)
from sagebrush_server.protocols.open_inference.rows import Signature, rows_of
from sagebrush_server.protocols.open_inference.rows_codec import TensorAnswer, raw_rows

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.http.served import Served
    from sagebrush_server.protocols.models_by_name import ModelsByName

MODEL_VERSION: Final = "1"
"""The one version of every model: a new version is a new revision of the endpoint."""


class OpenInference:
    """Answers the protocol for the models that `models` knows by name."""

    def __init__(self, application: "Application", *, models: "ModelsByName") -> None:
        self._application = application
        self._models = models
        self._signatures: WeakKeyDictionary[Served, Signature] = WeakKeyDictionary()

    def add_routes(self) -> None:
        """Put the protocol's paths into the application's table."""
        routes = self._application.routes
        routes.add("GET", "/v2", function=self._server)
        routes.add("GET", "/v2/health/live", function=self._live)
        routes.add("GET", "/v2/health/ready", function=self._ready)
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes.add("GET", model, function=self._metadata)
            routes.add("GET", f"{model}/ready", function=self._model_ready)
            routes.add("POST", f"{model}/infer", function=self._infer)

    def _server(self, request: Request) -> Answer:  # noqa: ARG002
        return _json({"name": "sagebrush", "version": __version__, "extensions": ["binary_tensor_data"]})

    def _live(self, request: Request) -> Answer:  # noqa: ARG002
        return _json({"live": True})

    def _ready(self, request: Request) -> Answer:  # noqa: ARG002
        reason = self._application.why_not_ready()
        return _json({"ready": False, "error": reason}, status=503) if reason else _json({"ready": True})

    def _model_ready(self, request: Request) -> Answer:
        name = self._name(request)
        self._models.find(name)
        return _json({"name": name, "ready": True})

    def _metadata(self, request: Request) -> Answer:
        name = self._name(request)
        served = self._models.find(name)
        document: dict[str, Any] = {"name": name, "versions": [MODEL_VERSION], "platform": served.algorithm}
        if served.rows is None:
            # What its code takes and gives isn't known before it is asked.
            return _json({**document, "inputs": [], "outputs": []})
        signature = self._signature(served)
        inputs, outputs = signature.inputs_document(), signature.outputs_document()
        return _json({**document, "inputs": inputs, "outputs": outputs})

    def _infer(self, request: Request) -> Answer | Ask | Awaitable[Answer | Ask]:
        name = self._name(request)
        return self._models.ask(name, build=functools.partial(self._ask, request, name=name))

    def _ask(self, request: Request, *, served: "Served", name: str) -> Ask:
        refuse_encoded(request.header(b"content-encoding"))
        wanted = read_request(request.body, header_length=request.header(HEADER_LENGTH), model_name=name)
        if served.rows is None:
            return self._ask_code(request, wanted=wanted, served=served, name=name)
        signature = self._signature(served)
        rows = rows_of(wanted.inputs, signature=signature)
        plan = OutputPlan.of(wanted, names=tuple(signature.outputs))
        answer = TensorAnswer(plan, model_name=name, model_version=MODEL_VERSION, identity=wanted.id)
        decoder = raw_rows(rows.shape[1])
        return Ask(served, body=rows.tobytes(), decoder=decoder, encoder=answer, then=answer.finish)

    def _ask_code(self, request: Request, *, wanted: InferenceRequest, served: "Served", name: str) -> Ask:
        body = document_of(wanted.inputs)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in request.headers.items()}
        invocation = Invocation(body=body, content_type="application/json", accept="application/json", headers=headers)
        answer = DocumentAnswer(wanted, model_name=name, model_version=MODEL_VERSION)
        return Ask(served, body=body, invocation=invocation, then=answer.finish)

    def _name(self, request: Request) -> str:
        """Return the model that the path names. Raises RequestError (404) for a version that there isn't."""
        version = request.parameters.get("version", MODEL_VERSION)
        if version != MODEL_VERSION:
            raise RequestError(404, message=f"there is no version {shown(version)}; there is: {MODEL_VERSION}")
        return request.parameters["model"]

    def _signature(self, served: "Served") -> Signature:
        signature = self._signatures.get(served)
        if signature is None:
            if served.rows is None:
                raise TypeError("only a model of rows has a signature")
            signature = self._signatures[served] = Signature.of(served.rows)
        return signature


def _json(document: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status, body=orjson.dumps(document))
