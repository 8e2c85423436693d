"""The paths of SageMaker's runtime API, so that AWS' clients, told of this server's address, call its models.

Signatures are not looked at: who may reach the port may ask, as at `/invocations`.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import shown
from sagebrush_server.http.messages import Answer, Ask, Request
from sagebrush_server.protocols.models_by_name import ModelNotReadyError
from sagebrush_server.protocols.runtime_api.errors import Headers, error_of, runtime_error
from sagebrush_server.protocols.runtime_api.event_stream import MEDIA_TYPE, PAYLOAD_LIMIT, payload_part

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application

Reply = Answer | Ask | Awaitable[Answer | Ask]

_VARIANT: Final = b"x-amzn-sagemaker-target-variant"
_STREAM_ACCEPT: Final = b"x-amzn-sagemaker-accept"
_REFUSED: Final[Mapping[bytes, str]] = {
    b"x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname: an endpoint has one container",
    b"x-amzn-sagemaker-enable-explanations": "EnableExplanations: explanations are not supported",
    b"x-amzn-sagemaker-inference-component": "InferenceComponentName: inference components are not supported",
    b"x-amzn-sagemaker-session-id": "SessionId: sessions are not supported",
    b"x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId: routing by prefix is not supported",
}
_LIMITS: Final[Mapping[bytes, tuple[str, int]]] = {
    b"x-amzn-sagemaker-custom-attributes": ("CustomAttributes", 1024),
    b"x-amzn-sagemaker-inference-id": ("InferenceId", 64),
    b"x-amzn-sagemaker-target-model": ("TargetModel", 1024),
}


class RuntimeApi:
    """Answers for the endpoint `endpoint_name`; where that is empty, under any endpoint's name."""

    def __init__(
        self,
        application: "Application",
        *,
        invoke: Callable[[Request], Reply],
        endpoint_name: str,
        variant_name: str,
        takes_target_model: bool,
    ) -> None:
        self._application = application
        self._invoke = invoke
        self._endpoint_name, self._variant_name = endpoint_name, variant_name
        self._takes_target_model = takes_target_model

    def add_routes(self) -> None:
        """Put the API's paths into the application's table."""
        routes = self._application.routes
        routes.add("POST", "/endpoints/{endpoint}/invocations", function=self._whole)
        routes.add("POST", "/endpoints/{endpoint}/invocations-response-stream", function=self._streamed)

    def _whole(self, request: Request) -> Reply:
        return self._reply(request, success=lambda answer, headers: replace(answer, headers=headers))

    def _streamed(self, request: Request) -> Reply:
        # In this call the header Accept is the client library's own.
        request.headers = {**request.headers, b"accept": request.headers.get(_STREAM_ACCEPT, b"")}
        return self._reply(request, success=_as_events)

    def _reply(self, request: Request, *, success: Callable[[Answer, Headers], Answer]) -> Reply:
        headers: Headers = (
            ("x-Amzn-Invoked-Production-Variant", self._variant_name),
            ("x-amzn-RequestId", str(uuid.uuid4())),
        )

        def finish(answer: Answer) -> Answer:
            if 200 <= answer.status < 300:
                return success(answer, (*answer.headers, *headers))
            kept = tuple(item for item in answer.headers if item[0] == "Retry-After")
            return error_of(answer, headers=(*kept, *headers))

        def wrapped(reply: Answer | Ask) -> Answer | Ask:
            if isinstance(reply, Answer):
                return finish(reply)
            before = reply.then
            return replace(reply, then=finish if before is None else lambda answer: finish(before(answer)))

        async def later(reply: Awaitable[Answer | Ask]) -> Answer | Ask:
            try:
                return wrapped(await reply)
            except RequestError as refused:
                return _refused(refused, headers=headers)

        try:
            self._check(request)
            reply = self._invoke(request)
        except RequestError as refused:
            return _refused(refused, headers=headers)
        return wrapped(reply) if isinstance(reply, (Answer, Ask)) else later(reply)

    def _check(self, request: Request) -> None:
        """Refuse what can't be honoured. Raises RequestError."""
        endpoint = request.parameters["endpoint"]
        if self._endpoint_name and endpoint != self._endpoint_name:
            raise _invalid(f"EndpointName: there is no endpoint {shown(endpoint)}; here is {self._endpoint_name}")
        variant = request.header(_VARIANT)
        if variant and variant != self._variant_name:
            raise _invalid(f"TargetVariant: there is no variant {shown(variant)}; there is {self._variant_name}")
        for name, why in _REFUSED.items():
            if request.headers.get(name):
                raise _invalid(why)
        for name, (member, limit) in _LIMITS.items():
            value = request.header(name)
            if len(value) > limit or not value.isascii() or not value.isprintable():
                raise _invalid(f"{member}: must be at most {limit} printable ASCII characters")
        if b"x-amzn-sagemaker-target-model" in request.headers and not self._takes_target_model:
            raise _invalid("TargetModel: the endpoint serves one model; SAGEMAKER_MULTI_MODEL=true makes it serve many")


def _invalid(message: str) -> RequestError:
    return RequestError(400, message=message)


def _refused(refused: RequestError, *, headers: Headers) -> Answer:
    """Say in the API's terms why no model was asked."""
    if isinstance(refused, ModelNotReadyError):
        return runtime_error("ModelNotReadyException", message=str(refused), headers=headers)
    if refused.status >= 500:
        return runtime_error("ServiceUnavailable", message=str(refused), headers=headers)
    return runtime_error("ValidationError", message=str(refused), headers=headers)


def _as_events(answer: Answer, headers: Headers) -> Answer:
    body = answer.body
    frames = b"".join(payload_part(body[at : at + PAYLOAD_LIMIT]) for at in range(0, len(body), PAYLOAD_LIMIT))
    kind = ("X-Amzn-SageMaker-Content-Type", answer.content_type)
    return Answer(200, body=frames, content_type=MEDIA_TYPE, headers=(kind, *headers))
