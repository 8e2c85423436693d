"""From the bytes of one connection to its requests, by llhttp's parser, within limits."""

import time
from typing import TYPE_CHECKING, Final

import httptools

from sagebrush_server.http.heads import Head
from sagebrush_server.http.messages import refusal
from sagebrush_server.http.quick import END

if TYPE_CHECKING:
    from sagebrush_server.http.connection import Connection
    from sagebrush_server.http.messages import Answer
    from sagebrush_server.http.server import Server

_CHUNK_OVERHEAD: Final = 8


class RequestReader:
    """Parser callbacks (`on_*`) of one connection. Hands whole requests to it; refuses what can't become one.

    `message_since` is the loop's time at which the message that is being read began, None between two messages;
    after `stop` no request is read any more.
    """

    def __init__(self, connection: "Connection", *, server: "Server") -> None:
        self._connection = connection
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self.message_since: float | None = None
        self.stopped = False
        self._head: Head | None = None
        self._lesson: bytes | None = None
        self._arrived = 0.0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._bytes_fed = 0
        self._url = b""
        self._offered = b""

    @property
    def receives_invocation(self) -> bool:
        """Whether the head of an invocation is there and its body is not."""
        return self._head is not None and self._head.is_invocation

    def feed(self, data: bytes) -> None:
        """Read what a client sent."""
        try:
            if self.message_since is None:
                data = self._feed_head(data)
            self._feed(data)
        except httptools.HttpParserError as problem:
            self._refuse(refusal(400, message=f"not an HTTP request: {problem}"))
        # Whatever of a request isn't body (an endless header, trailer or chunk extension) is bounded too; a chunk of
        # one byte has five bytes around it.
        limit = self._server.settings.max_header_bytes + _CHUNK_OVERHEAD * self._body_bytes
        if self.message_since is not None and self._bytes_fed > limit:
            self._refuse_header()

    def stop(self) -> None:
        """Read no further request: what follows on this connection can't be trusted or isn't wanted."""
        self.stopped = True
        self.message_since = None
        if self.receives_invocation:
            self._server.counts.in_flight -= 1
            self._server.counts.invocations += 1
        self._head = None

    def time_out(self) -> None:
        """Refuse a request whose rest did not arrive."""
        self._refuse(refusal(408, message="the rest of the request did not arrive in time"))

    def _feed_head(self, data: bytes) -> bytes:
        """Feed what looks like one whole head by itself, so that it is known which bytes the parser took for it."""
        end = data.find(END) + len(END)
        if end < len(END):
            return data
        parser = self._parser
        self._feed(data[:end])
        whole = self._parser is parser and self._head is not None and self._body_bytes == 0
        self._lesson = data[:end] if whole else None
        return data[end:]

    def _feed(self, data: bytes) -> None:
        while data and not self.stopped:
            self._bytes_fed += len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # An offer such as h2c, which Java's client makes with every first request, may be ignored (RFC 9110,
                # section 7.8). The parser stops behind the headers; a new one gets them again without the offer.
                self._parser = httptools.HttpRequestParser(self)
                if self.stopped:
                    return
                data = self._head_without_offer() + data[offer.args[0] :]
            else:
                return

    def _head_without_offer(self) -> bytes:
        offer = (b"upgrade", b"connection", b"http2-settings")
        lines = [self._offered + b" " + self._url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self._headers.items() if name not in offer]
        return b"\r\n".join(lines) + END

    # --- parser ---

    def on_message_begin(self) -> None:
        self.message_since = self._server.loop.time()
        self._arrived = time.monotonic()
        self._bytes_fed = 0
        self._body, self._body_bytes = [], 0
        self._url = b""
        self._headers = {}
        self._lesson = None

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Once the head is there, what comes is a trailer, which must not change it.
        if self._head is None:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self.stopped:
            return
        method = self._parser.get_method()
        if self._parser.should_upgrade():
            self._offered = method
            if method == b"CONNECT":
                self._refuse(refusal(405, message="this is no proxy"))
            return
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(refusal(505, message=f"this is a server of HTTP/1.1, not {version}"))
            return
        http_1_0 = version == "1.0"
        try:
            head = Head(method=method.decode("latin-1"), target=self._url, headers=self._headers, http_1_0=http_1_0)
        except httptools.HttpParserInvalidURLError:
            self._refuse(refusal(400, message="not an HTTP request: the target is no URL"))
            return
        self._head = head
        if head.path != b"/ping":  # the kubelet's probes go on while a pod ends, and are no reason to stay
            self._server.touch()
        if head.is_invocation:
            self._server.counts.in_flight += 1
        if http_1_0:
            self._connection.needs_care()
        self._check_head(head)

    def _check_head(self, head: Head) -> None:
        header_bytes = len(self._url) + sum(map(len, self._headers)) + sum(map(len, self._headers.values()))
        if header_bytes > self._server.settings.max_header_bytes:
            self._refuse_header()
        elif head.length > self._server.settings.max_body_bytes:
            self._refuse_size()
        elif (expectation := self._headers.get(b"expect", b"").lower()) == b"100-continue" and not head.http_1_0:
            self._connection.invite()
        elif expectation:
            self._refuse(refusal(417, message="only Expect: 100-continue is understood"))

    def on_body(self, body: bytes) -> None:
        if self.stopped:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._server.settings.max_body_bytes:
            self._refuse_size()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self.stopped or self._head is None:
            return
        head, lesson = self._head, self._lesson
        self._head = self._lesson = self.message_since = None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if head.is_invocation:
            self._server.counts.in_flight -= 1
        if not self._parser.should_keep_alive():
            self.stopped = True
            self._connection.needs_care()
        elif lesson is not None and self._is_plain(head):
            self._server.application.learn(lesson, head=head)
        self._connection.received(head, body=body, arrived=self._arrived)

    def _is_plain(self, head: Head) -> bool:
        """Whether the message ended where its head, and nothing else, says."""
        return (
            head.length == self._body_bytes
            and not head.http_1_0
            and not any(name in head.headers for name in (b"transfer-encoding", b"expect", b"upgrade"))
        )

    # --- refusals ---

    def _refuse_header(self) -> None:
        limit = self._server.settings.max_header_bytes
        self._refuse(refusal(431, message=f"the headers are over {limit} bytes (SAGEBRUSH_MAX_HEADER_BYTES)"))

    def _refuse_size(self) -> None:
        limit = self._server.settings.max_body_bytes
        self._refuse(refusal(413, message=f"the body is over {limit} bytes (SAGEMAKER_MAX_PAYLOAD_IN_MB)"))

    def _refuse(self, answer: "Answer") -> None:
        if self.stopped:
            return
        head, arrived = self._head, self._arrived
        self.stop()
        self._connection.needs_care()
        self._connection.refuse(answer, head=head, arrived=arrived)
