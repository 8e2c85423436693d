"""What the two paths of the hosting contract answer. Knows no sockets."""

import logging
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import decoder_for, encoder_for
from sagebrush_server.http.messages import Answer, Request, refusal

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model

_LOG = logging.getLogger(__name__)
_CUSTOM_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"


class Application:
    """Answers requests with a model. Not ready until `serve_model`; not ready again after `start_draining`."""

    def __init__(self, *, default_accept: str, model_sha256: str) -> None:
        self._default_accept = default_accept
        self._model: Model | None = None
        self._not_ready = "the model is being loaded"
        self._ping_headers = (("x-sagebrush-model-sha256", model_sha256),) if model_sha256 else ()

    def serve_model(self, model: "Model") -> None:
        """Answer with `model` from now on. Raises ValueError, and stays not ready, where its self-test fails.

        The self-test sends the model's own rows through the whole path of a request, decoder and encoder included.
        """
        rows = model.self_test_rows()
        try:
            model.check_self_test(model.predict(rows))
        except RowError as refused:
            raise ValueError(f"the model can't score its own self-test row {refused.row + 1}: {refused}") from refused
        body = orjson.dumps({"instances": [{"features": row} for row in rows.tolist()]})
        headers = {b"content-type": b"application/json"}
        request = Request(method="POST", path=b"/invocations", arrived=0.0, headers=headers, body=body)
        answer = self._predict(request, model=model)
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"the model's self-test invocation was answered {answer.status}: {answer.body.decode()}")
        self._model = model
        self._not_ready = ""

    def start_draining(self) -> None:
        """Say 503 to /ping from now on; invocations are still answered."""
        self._not_ready = "the server is shutting down"

    def answer(self, request: Request) -> Answer:
        """Answer one request; an unforeseen error becomes a 500 with an id that stands in the log too."""
        try:
            if request.path == b"/invocations":
                return self._invocation(request)
            if request.path == b"/ping":
                return self._ping(request)
        except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
            error_id = uuid.uuid4().hex
            _LOG.exception("error %s while answering %s %s", error_id, request.method, request.path.decode("latin-1"))
            return refusal(500, message="an error in the server; the log has it under this id", id=error_id)
        return refusal(404, message="there are GET /ping and POST /invocations")

    def _ping(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return refusal(405, message="/ping takes GET", headers=(("Allow", "GET, HEAD"),))
        if self._not_ready:
            return Answer(503, body=orjson.dumps({"reason": self._not_ready}), headers=self._ping_headers)
        return Answer(200, body=b"{}", headers=self._ping_headers)

    def _invocation(self, request: Request) -> Answer:
        if request.method != "POST":
            return refusal(405, message="/invocations takes POST", headers=(("Allow", "POST"),))
        if self._model is None:
            return refusal(503, message=self._not_ready, headers=(("Retry-After", "1"),))
        return self._predict(request, model=self._model)

    def _predict(self, request: Request, *, model: "Model") -> Answer:
        attributes = request.header(_CUSTOM_ATTRIBUTES)
        headers = (("X-Amzn-SageMaker-Custom-Attributes", attributes),) if attributes else ()
        if not request.body:
            return Answer(204, headers=headers)
        try:
            decoder = decoder_for(request.header(b"content-type"))
            encoder = encoder_for(request.header(b"accept"), default=self._default_accept)
            rows = decoder.decode(request.body, feature_dim=model.feature_dim)
            predictions = model.predict(rows)
        except RequestError as refused:
            return refusal(refused.status, message=str(refused), headers=headers)
        except RowError as refused:
            return refusal(400, message=f"row {refused.row + 1}: {refused}", headers=headers)
        (body,) = encoder.encode(predictions, counts=[len(rows)])
        return Answer(200, body=body, content_type=encoder.media_type, headers=headers)
