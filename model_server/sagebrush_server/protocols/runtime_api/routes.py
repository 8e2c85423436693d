"""The paths of SageMaker's runtime API, so that AWS' clients, told of this server's address, call its models.

Signatures are not looked at: who may reach the port may ask, as at `/invocations`.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import shown
from sagebrush_server.http.messages import Answer, Ask, Request, as_answer, as_reply
from sagebrush_server.protocols.models_by_name import ModelNotReadyError
from sagebrush_server.protocols.runtime_api.errors import Headers, error_of, runtime_error
from sagebrush_server.protocols.runtime_api.event_stream import MEDIA_TYPE, async_frames, frames

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application

Outcome = Answer | Ask | Awaitable[Answer | Ask]

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
        endpoint_name: str,
        variant_name: str,
        takes_target_model: bool,
    ) -> None:
        self._application = application
        self._endpoint_name, self._variant_name = endpoint_name, variant_name
        self._takes_target_model = takes_target_model

    def add_routes(self) -> None:
        """Put the API's paths into the application's table."""
        routes = self._application.routes
        routes.add("POST", "/endpoints/{endpoint}/invocations", function=self._whole)
        routes.add("POST", "/endpoints/{endpoint}/invocations-response-stream", function=self._streamed)

    def _whole(self, request: Request) -> Outcome:
        return self._reply(request, success=lambda reply, headers: replace(reply, headers=headers))

    def _streamed(self, request: Request) -> Outcome:
        # In this call the header Accept is the client library's own.
        request.headers = {**request.headers, b"accept": request.headers.get(_STREAM_ACCEPT, b"")}
        return self._reply(request, success=_as_events)

    def _reply(self, request: Request, *, success: Callable[[Reply, Headers], Reply]) -> Outcome:
        headers = {
            "x-Amzn-Invoked-Production-Variant": self._variant_name,
            "x-amzn-RequestId": os.urandom(16).hex(),
        }

        def finish(reply: Reply) -> Reply:
            if 200 <= reply.status < 300:
                return success(reply, {**reply.headers, **headers})
            kept = {name: value for name, value in reply.headers.items() if name == "Retry-After"}
            return error_of(reply, headers={**kept, **headers})

        def wrapped(outcome: Answer | Ask) -> Answer | Ask:
            if isinstance(outcome, Answer):
                return as_answer(finish(as_reply(outcome)))
            before = outcome.then
            return replace(outcome, then=finish if before is None else lambda reply: finish(before(reply)))

        async def later(outcome: Awaitable[Answer | Ask]) -> Answer | Ask:
            try:
                return wrapped(await outcome)
            except RequestError as refused:
                return as_answer(_refused(refused, headers=headers))

        try:
            self._check(request)
            outcome = self._application.invocations(request)
        except RequestError as refused:
            return as_answer(_refused(refused, headers=headers))
        return wrapped(outcome) if isinstance(outcome, (Answer, Ask)) else later(outcome)

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


def _refused(refused: RequestError, *, headers: Headers) -> Reply:
    """Say in the API's terms why no model was asked."""
    if isinstance(refused, ModelNotReadyError):
        return runtime_error("ModelNotReadyException", message=str(refused), headers=headers)
    if refused.status >= 500:
        return runtime_error("ServiceUnavailable", message=str(refused), headers=headers)
    return runtime_error("ValidationError", message=str(refused), headers=headers)


def _as_events(reply: Reply, headers: Headers) -> Reply:
    """Put the answer into frames, piece by piece where it comes so."""
    body: bytes | Iterator[bytes] | AsyncIterator[bytes]
    if isinstance(reply.body, bytes):
        body = b"".join(frames([reply.body]))
    elif isinstance(reply.body, AsyncIterator):
        body = async_frames(reply.body)
    else:
        body = frames(reply.body)
    return Reply(body, MEDIA_TYPE, 200, {"X-Amzn-SageMaker-Content-Type": reply.content_type, **headers})
