"""What the paths of the hosting contract answer. Knows no sockets."""

import logging
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

import orjson

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.algorithms.responder import Invocation
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import decoder_for, encoder_for
from sagebrush_server.http.messages import Answer, Ask, Request, refusal
from sagebrush_server.http.routes import Routes
from sagebrush_server.http.served import Served

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model
    from sagebrush_server.algorithms.responder import Responder

_LOG = logging.getLogger(__name__)
_CUSTOM_ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
_INFERENCE_ID: Final = b"x-amzn-sagemaker-inference-id"
_ECHOED: Final = (
    (_CUSTOM_ATTRIBUTES, "X-Amzn-SageMaker-Custom-Attributes"),
    (_INFERENCE_ID, "X-Amzn-SageMaker-Inference-Id"),
)


class Application:
    """Says what each request gets. Not ready until `serve_model`; not ready again after `start_draining`.

    `models` are those that are served, by name; `default` is the one that /invocations asks. Both change on the event
    loop only, by `serve` and `drop`.
    """

    def __init__(self, *, default_accept: str, model_sha256: str) -> None:
        self.default_accept = default_accept
        self.models: dict[str, Served] = {}
        self.default: Served | None = None
        self.not_ready = "the model is being loaded"
        self.routes = Routes()
        self.routes.add("GET", "/ping", function=self._ping)
        self.routes.add("POST", "/invocations", function=self._invocations)
        self._ping_headers = (("x-sagebrush-model-sha256", model_sha256),) if model_sha256 else ()

    def serve_model(self, model: "Model | Responder", *, name: str = "model") -> None:
        """Answer /invocations with `model` from now on, and be ready. Raises ValueError where its self-test fails."""
        served = Served(name, model=model)
        served.self_test()
        self.serve(served)
        self.default = served
        self.not_ready = ""

    def serve(self, served: Served) -> None:
        """Let requests ask for a model that has passed its self-test. Raises ValueError where the name is taken."""
        if served.name in self.models:
            raise ValueError(f"there is a model {served.name} already")
        self.models[served.name] = served

    def drop(self, name: str) -> Served:
        """Take a model away from requests that come from now on. Raises KeyError where there is none of this name."""
        served = self.models.pop(name)
        if self.default is served:
            self.default = None
        return served

    def start_draining(self) -> None:
        """Say 503 to /ping from now on; invocations are still answered."""
        self.not_ready = "the server is shutting down"

    def reply(self, request: Request) -> Answer | Ask | Awaitable[Answer | Ask]:
        """Say what a request gets. An unforeseen error becomes a 500 with an id that stands in the log too."""
        try:
            found = self.routes.find(request)
            return found if isinstance(found, Answer) else found(request)
        except RequestError as refused:
            return refusal(refused.status, message=str(refused))
        except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
            return failure(f"{request.method} {request.path.decode('latin-1')}")

    def invocation(self, request: Request, *, served: Served) -> Answer | Ask:
        """Ask `served` as /invocations does: formats by Content-Type and Accept, 204 for an empty body."""
        headers = tuple((shown, request.header(name)) for name, shown in _ECHOED if name in request.headers)
        if not request.body:
            return Answer(204, headers=headers)
        if served.responder is not None:
            named = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
            invocation = Invocation(
                body=request.body,
                content_type=request.header(b"content-type"),
                accept=request.header(b"accept") or self.default_accept,
                headers=named,
            )
            return Ask(served, body=request.body, invocation=invocation, headers=headers)
        try:
            decoder = decoder_for(request.header(b"content-type"))
            encoder = encoder_for(request.header(b"accept"), default=self.default_accept)
        except RequestError as refused:
            return refusal(refused.status, message=str(refused), headers=headers)
        return Ask(served, body=request.body, decoder=decoder, encoder=encoder, headers=headers)

    def _ping(self, request: Request) -> Answer:  # noqa: ARG002 – what it asks is all in its path
        if self.not_ready:
            return Answer(503, body=orjson.dumps({"reason": self.not_ready}), headers=self._ping_headers)
        return Answer(200, body=b"{}", headers=self._ping_headers)

    def _invocations(self, request: Request) -> Answer | Ask:
        if self.default is None:
            return refusal(503, message=self.not_ready or "no model is loaded", headers=(("Retry-After", "1"),))
        return self.invocation(request, served=self.default)


def failure(about: str) -> Answer:
    """Log the exception that is being handled under an id, and build the 500 that tells the client this id."""
    error_id = uuid.uuid4().hex
    _LOG.exception("error %s while answering %s", error_id, about)
    return refusal(500, message="an error in the server; the log has it under this id", id=error_id)


def answer_alone(ask: Ask) -> Answer:
    """Answer one ask of a model of rows by itself, with the exact error where it is refused."""
    model, decoder, encoder = ask.served.rows, ask.decoder, ask.encoder
    if model is None or decoder is None or encoder is None:
        raise TypeError("a model of rows is asked with a decoder and an encoder")
    try:
        rows = decoder.decode(ask.body, feature_dim=model.feature_dim)
        predictions = model.predict(rows)
        (body,) = encoder.encode(predictions, counts=[len(rows)])
    except RequestError as refused:
        return refusal(refused.status, message=str(refused), headers=ask.headers)
    except RowError as refused:
        return refusal(400, message=f"row {refused.row + 1}: {refused}", headers=ask.headers)
    except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
        return failure("an invocation")
    return Answer(200, body=body, content_type=encoder.media_type, headers=ask.headers)
