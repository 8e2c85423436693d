"""Requests as the parser leaves them, answers as the application gives them, and their bytes on the wire."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson

from sagebrush_server.http.quick import Lead

if TYPE_CHECKING:
    from sagebrush_server.algorithms.responder import Invocation, Reply
    from sagebrush_server.codecs.base import Decoder, Encoder
    from sagebrush_server.http.served import Served

REASONS: Final[Mapping[int, str]] = {status.value: status.phrase for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; of a repeated header the last value counts.

    `query` is what stands behind the `?`, as sent; `parameters` are the parts of the path that its route names.
    """

    method: str
    path: bytes
    arrived: float
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    query: bytes = b""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: bytes) -> str:
        """Return a header's value, or an empty string where it is absent."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers; Content-Length and Connection are added when it is written."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, *, connection: str, length: int | None) -> bytes:
        """Return the head as HTTP/1.1. `connection` is the header's value, empty for none; so is `length` if None."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}"]
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Type: {self.content_type}")
            if length is not None:
                lines.append(f"Content-Length: {length}")
        lines.extend(f"{name}: {value}" for name, value in self.headers)
        if connection:
            lines.append(f"Connection: {connection}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def to_bytes(self, *, connection: str, with_body: bool) -> bytes:
        """Return the whole answer as HTTP/1.1."""
        head = self.head(connection=connection, length=len(self.body))
        return head + self.body if with_body and self.status != HTTPStatus.NO_CONTENT else head


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What a route returns where a model has to be asked: the answer comes later, perhaps together with others'.

    For a model of rows: `decoder` reads the body and `encoder` writes the answer. Asks of one model and decoder that
    arrived together are predicted together, whatever their encoders are. For a `Responder`: `invocation`.
    `headers` are added to the answer, a refusal's too. `then` makes the final answer out of the model's, whatever that
    is: also a refusal, a failure, a stream. It is called exactly once on the event loop, with a refusal even where the
    client has gone.
    """

    served: "Served"
    body: bytes = b""
    decoder: "Decoder | None" = None
    encoder: "Encoder | None" = None
    invocation: "Invocation | None" = None
    headers: tuple[tuple[str, str], ...] = ()
    then: "Callable[[Reply], Reply] | None" = None


@functools.lru_cache(maxsize=256)
def lead_of(content_type: str, headers: tuple[tuple[str, str], ...]) -> Lead:
    """Return what a 200 begins with. Equal ones are one object."""
    lines = [f"Content-Type: {content_type}", *(f"{name}: {value}" for name, value in headers), "Content-Length: "]
    return Lead(("HTTP/1.1 200 OK\r\n" + "\r\n".join(lines)).encode("latin-1"))


def as_reply(answer: Answer) -> "Reply":
    """Return an answer as `Ask.then` takes it."""
    from sagebrush_server.algorithms.responder import Reply

    return Reply(answer.body, answer.content_type, answer.status, dict(answer.headers))


def as_answer(reply: "Reply") -> Answer:
    """Return a reply that is no stream as an answer."""
    if not isinstance(reply.body, bytes):
        raise TypeError("a stream is no answer")
    return Answer(reply.status, reply.body, reply.content_type, tuple(reply.headers.items()))


def refusal(status: int, *, message: str, headers: tuple[tuple[str, str], ...] = (), **more: str) -> Answer:
    """Build an error answer: a JSON object with `error` and whatever `more` says."""
    return Answer(status, body=orjson.dumps({"error": message, **more}), headers=headers)
