"""What the paths of the hosting contract answer. Knows no sockets."""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import orjson

from sagebrush_server.algorithms.responder import Invocation
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import decoder_for, encoder_for, refuse_encoded
from sagebrush_server.http.heads import Head, HeadMemory
from sagebrush_server.http.messages import Answer, Ask, Request, refusal
from sagebrush_server.http.routes import Function, Routes
from sagebrush_server.http.served import Served

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model
    from sagebrush_server.algorithms.responder import Responder
    from sagebrush_server.http.settings import ServeSettings

_LOG = logging.getLogger(__name__)
_CUSTOM_ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
_INFERENCE_ID: Final = b"x-amzn-sagemaker-inference-id"
_TARGET_MODEL: Final = b"x-amzn-sagemaker-target-model"
_ONE_MODEL: Final = "X-Amzn-SageMaker-Target-Model: one model is served here (SAGEMAKER_MULTI_MODEL=true: many)"
_ECHOED: Final = (
    (_CUSTOM_ATTRIBUTES, "X-Amzn-SageMaker-Custom-Attributes"),
    (_INFERENCE_ID, "X-Amzn-SageMaker-Inference-Id"),
)

_MOST_ASKS: Final = 256


class Application:
    """Says what each request gets. Not ready until `serve_model`; not ready again after `start_draining`.

    `models` are those that are served, by name; `default` is the one that /invocations asks. Both change on the event
    loop only, by `serve` and `drop`. `others_ready` tells whether the other workers, if any, can serve.
    """

    def __init__(self, settings: "ServeSettings") -> None:
        self.default_accept = settings.default_accept
        self.models: dict[str, Served] = {}
        self.default: Served | None = None
        self.not_ready = "the model is being loaded"
        self.others_ready: Callable[[], bool] = lambda: True
        self.heads = HeadMemory()
        self._asks: dict[tuple[Served, str, str, tuple[tuple[str, str], ...]], Ask] = {}
        self.routes = Routes()
        self.routes.add("GET", "/ping", function=self._ping)
        self.routes.add("POST", "/invocations", function=self.invocations)
        self.invoke: Function = self._ask_default
        self.routes.add("GET", "/execution-parameters", function=self._execution_parameters)
        sha256 = settings.model_sha256
        self._ping_headers = (("x-sagebrush-model-sha256", sha256),) if sha256 else ()
        self._batch = {
            "MaxConcurrentTransforms": settings.max_concurrent_transforms,
            "BatchStrategy": settings.batch_strategy,
            "MaxPayloadInMB": settings.max_body_bytes // 2**20,
        }

    def serve_model(self, model: "Model | Responder", *, name: str = "model") -> None:
        """Answer /invocations with `model` from now on, and be ready. Raises ValueError where its self-test fails."""
        served = Served(name, model=model)
        served.self_test()
        self.serve_by_default(served)

    def serve_by_default(self, served: Served) -> None:
        """Answer /invocations with a model that has passed its self-test, and be ready."""
        self.serve(served)
        self.default = served
        self.heads.forget()
        self.not_ready = ""

    def serve_many(self) -> None:
        """Be ready without a default model: requests name theirs."""
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
        self.heads.forget()
        self._asks.clear()
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
        headers = _echoed(request.headers)
        if not request.body:
            return Answer(204, headers=headers)
        try:
            ask = self._ask(request.headers, served=served)
        except RequestError as refused:
            return refusal(refused.status, message=str(refused), headers=headers)
        return Ask(
            served,
            body=request.body,
            decoder=ask.decoder,
            encoder=ask.encoder,
            invocation=ask.invocation,
            headers=headers,
        )

    def learn(self, data: bytes, *, head: Head) -> None:
        """Remember an invocation's head, if every body behind it is asked the same way."""
        if (
            head.path == b"/invocations"
            and head.method == "POST"
            and self.default is not None
            and _TARGET_MODEL not in head.headers
        ):
            try:
                head.ask = self._ask(head.headers, served=self.default)
            except RequestError:
                return
            self.heads.learn(data, head=head)

    def _ask(self, headers: dict[bytes, bytes], *, served: Served) -> Ask:
        """Return the ask without its body. Equal ones are one object, so that requests gather around it."""
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        accept = headers.get(b"accept", b"").decode("latin-1")
        echoed = _echoed(headers)
        if served.responder is not None:
            named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            invocation = Invocation(b"", content_type, accept or self.default_accept, named)
            return Ask(served, invocation=invocation, headers=echoed)
        if (encoding := headers.get(b"content-encoding")) is not None:
            refuse_encoded(encoding.decode("latin-1"))
        decoder, encoder = decoder_for(content_type), encoder_for(accept, default=self.default_accept)
        key = (served, decoder.media_type, encoder.media_type, echoed)
        ask = self._asks.get(key)
        if ask is None or ask.decoder is not decoder or ask.encoder is not encoder:
            ask = Ask(served, decoder=decoder, encoder=encoder, headers=echoed)
            if len(self._asks) >= _MOST_ASKS:
                self._asks.clear()
            self._asks[key] = ask
        return ask

    def why_not_ready(self) -> str:
        """Return why requests should go elsewhere for now, empty if they need not."""
        return self.not_ready or ("" if self.others_ready() else "another worker is not ready")

    def _ping(self, request: Request) -> Answer:  # noqa: ARG002 – what it asks is all in its path
        if reason := self.why_not_ready():
            return Answer(503, body=orjson.dumps({"reason": reason}), headers=self._ping_headers)
        return Answer(200, body=b"{}", headers=self._ping_headers)

    def _execution_parameters(self, request: Request) -> Answer:  # noqa: ARG002 – as above
        """Tell a batch transform how to ask (SageMaker, "Use Your Own Inference Code with Batch Transform")."""
        return Answer(200, body=orjson.dumps(self._batch))

    def invocations(self, request: Request) -> Answer | Ask | Awaitable[Answer | Ask]:
        """Answer as /invocations does."""
        return self.invoke(request)

    def _ask_default(self, request: Request) -> Answer | Ask:
        if _TARGET_MODEL in request.headers:
            return refusal(400, message=_ONE_MODEL)
        if self.default is None:
            return refusal(503, message=self.not_ready or "no model is loaded", headers=(("Retry-After", "1"),))
        return self.invocation(request, served=self.default)


def _echoed(headers: dict[bytes, bytes]) -> tuple[tuple[str, str], ...]:
    return tuple((shown, headers[name].decode("latin-1")) for name, shown in _ECHOED if name in headers)


def failure(about: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Log the exception that is being handled under an id, and build the 500 that tells the client this id."""
    error_id = uuid.uuid4().hex
    _LOG.exception("error %s while answering %s", error_id, about)
    return refusal(500, message="an error in the server; the log has it under this id", headers=headers, id=error_id)
