"""One request on its way to its answer."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagebrush_server.http.connection import Connection
    from sagebrush_server.http.heads import Head
    from sagebrush_server.http.messages import Answer, Ask
    from sagebrush_server.http.streams import Stream


class Exchange:
    """A request, its place among those of its connection, and its answer once there is one.

    The answer is `answer`, or `lead` and `payload` (the quick way for predictions: all of a head up to the number of
    bytes, and the body), or `stream`. `head` is None where there was no request, `ask` where no model is asked.
    `arrived` is the monotonic clock when the first byte was read, `queued` when the model's thread was asked for it.
    """

    __slots__ = ("answer", "arrived", "ask", "body", "connection", "head", "lead", "payload", "queued", "stream")

    def __init__(
        self, connection: "Connection", head: "Head | None", ask: "Ask | None", body: bytes, arrived: float
    ) -> None:
        self.connection = connection
        self.head = head
        self.ask = ask
        self.body = body
        self.arrived = self.queued = arrived
        self.lead: bytes | None = None
        self.payload = b""
        self.answer: Answer | None = None
        self.stream: Stream | None = None

    @property
    def done(self) -> bool:
        """Whether there is an answer to write."""
        return self.lead is not None or self.answer is not None or self.stream is not None

    @property
    def status(self) -> int:
        """The answer's status code."""
        if self.answer is not None:
            return self.answer.status
        return self.stream.status if self.stream is not None else 200

    @property
    def counts(self) -> bool:
        """Whether the metrics count it as an invocation."""
        return self.ask is not None or (self.head is not None and self.head.is_invocation)

    @property
    def about(self) -> str:
        """The request in a log line: method, path and, where the client sent one, its trace (W3C `traceparent`)."""
        if self.head is None:
            return "what is no request"
        trace = self.head.headers.get(b"traceparent", b"").decode("latin-1")
        return f"{self.head.method} {self.head.path.decode('latin-1')}" + (f" (trace {trace})" if trace else "")
