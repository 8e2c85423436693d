"""One client connection: bytes to requests, answers to bytes, in order, and the ways in which it ends.

Requests are answered as they are parsed, so answers to pipelined requests keep their order by themselves; all that
arrived in one read is written in one write. `Connection: close` goes on the last answer of such a batch only, so that a
pipelining client loses nothing that it had already sent.
"""

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final, cast

import httptools

from sagebrush_server.http.application import answer_alone
from sagebrush_server.http.messages import CONTINUE, Answer, Ask, Request, refusal

if TYPE_CHECKING:
    from sagebrush_server.http.server import Server

_MAX_AGE_SPREAD: Final = 0.2
_LINGER_SECONDS: Final = 2.0
"""How long input is still read and dropped after the last answer: closing with unread input would make the kernel reset
the connection, and the reset can overtake the answer (RFC 9112, section 9.6)."""

_CHUNK_OVERHEAD: Final = 8


class Connection(asyncio.Protocol):
    """Parser callbacks (`on_*`) and transport callbacks of one connection. Lives on the event loop only."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._loop = server.loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.file_number = -1
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._bytes_fed = 0
        self._url = b""
        self._linger: asyncio.TimerHandle | None = None
        self._out: list[tuple[Answer, str] | None] = []
        self._unsent: list[float] = []
        self._last_request = False
        self._http_1_0 = False
        self._finished = False
        self._paused_since: float | None = None
        # The loop's clock, which stands still within a turn, is enough for time-outs; durations take a finer one.
        self._message_since: float | None = None
        self._arrived = 0.0
        self._offered = b""
        self._quiet_since = self._loop.time()
        age = server.settings.connection_max_age
        spread = random.uniform(1 - _MAX_AGE_SPREAD, 1 + _MAX_AGE_SPREAD)  # noqa: S311 – spreads load, guards nothing
        self._expires = self._quiet_since + age * spread

    # --- transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # With a limit of 0 the transport reports exactly when bytes are left over and when the kernel has them all.
        self._transport.set_write_buffer_limits(high=0)
        self.file_number = self._transport.get_extra_info("socket").fileno()
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._finished:
            return
        begun = time.monotonic()
        self._bytes_fed += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as problem:
            if not self._last_request:
                self._refuse(refusal(400, message=f"not an HTTP request: {problem}"))
        # Whatever of a request isn't body (an endless header, trailer or chunk extension) is bounded too; a chunk of
        # one byte has five bytes around it.
        limit = self._server.settings.max_header_bytes + _CHUNK_OVERHEAD * self._body_bytes
        if self._message_since is not None and self._bytes_fed > limit and not self._last_request:
            self._refuse_header()
        self._flush()
        self._server.counts.handling_seconds += time.monotonic() - begun

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # An offer such as h2c, which Java's client makes with every first request, may be ignored (RFC 9110,
                # section 7.8). The parser stops behind the headers; a new one gets them again without the offer.
                self._parser = httptools.HttpRequestParser(self)
                if self._last_request:
                    return
                data = self._head_without_offer() + data[offer.args[0] :]
            else:
                return

    def pause_writing(self) -> None:
        self._paused_since = self._loop.time()
        # A client that doesn't read its answers gets no further ones built.
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused_since = None
        self._server.touch()
        self._settle()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 – the client's reasons are its own
        counts = self._server.counts
        counts.in_flight -= len(self._unsent)
        self._unsent.clear()
        if self._request is not None and self._request.path == b"/invocations":
            counts.in_flight -= 1
        self._request = None
        self._finished = True
        if self._linger is not None:
            self._linger.cancel()
        self._server.connections.discard(self)

    # --- parser ---

    def on_message_begin(self) -> None:
        self._message_since = self._loop.time()
        self._arrived = time.monotonic()
        self._bytes_fed = 0
        self._body, self._body_bytes = [], 0
        self._url = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Once the request is there, what comes is a trailer, which must not change it.
        if self._request is None:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._last_request:
            return
        path = self._url.partition(b"?")[0]
        if path != b"/ping":  # the kubelet's probes go on while a pod ends, and are no reason to stay
            self._server.touch()
        method = self._parser.get_method().decode("latin-1")
        if self._parser.should_upgrade():
            self._offered = self._parser.get_method()
            if method == "CONNECT":
                self._refuse(refusal(405, message="this is no proxy"))
            return
        self._request = Request(method=method, path=path, arrived=self._arrived, headers=self._headers)
        self._http_1_0 = self._parser.get_http_version() == "1.0"
        if path == b"/invocations":
            self._server.counts.invocations += 1
            self._server.counts.in_flight += 1
        header_bytes = len(self._url) + sum(map(len, self._headers)) + sum(map(len, self._headers.values()))
        if header_bytes > self._server.settings.max_header_bytes:
            self._refuse_header()
            return
        length = self._headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._server.settings.max_body_bytes:
            self._refuse_size()
            return
        expectation = self._headers.get(b"expect", b"").lower()
        if expectation == b"100-continue" and not self._http_1_0:
            self._out.append(None)
        elif expectation:
            self._refuse(refusal(417, message="only Expect: 100-continue is understood"))

    def on_body(self, body: bytes) -> None:
        if self._last_request:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._server.settings.max_body_bytes:
            self._refuse_size()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._last_request or self._request is None:
            return
        request = self._request
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._last_request = not self._parser.should_keep_alive()
        reply = self._server.application.reply(request)
        self._give(answer_alone(reply) if isinstance(reply, Ask) else cast("Answer", reply))

    def _head_without_offer(self) -> bytes:
        offer = (b"upgrade", b"connection", b"http2-settings")
        lines = [self._offered + b" " + self._url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self._headers.items() if name not in offer]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    # --- answers ---

    def sweep(self, now: float) -> None:
        """Let go of a client that stopped in the middle of a request, doesn't read its answer, or is long idle."""
        settings = self._server.settings
        if self._paused_since is not None:
            if now - self._paused_since > settings.request_timeout:
                self._transport.abort()
        elif self._finished:
            return
        elif self._message_since is not None:
            if now - self._message_since > settings.request_timeout:
                self._refuse(refusal(408, message="the rest of the request did not arrive in time"))
                self._flush()
        elif now - self._quiet_since > settings.idle_timeout:
            self._transport.close()

    @property
    def takes_requests(self) -> bool:
        """Whether what the client sends is read: not while it leaves its answers unread, nor after the last answer."""
        return self._paused_since is None and not self._finished

    @property
    def busy(self) -> bool:
        """Whether a request is half received or an answer half sent."""
        return self._paused_since is not None or (self._message_since is not None and not self._finished)

    def close(self) -> None:
        """Close after what is written has been sent."""
        self._transport.close()

    def _refuse_header(self) -> None:
        limit = self._server.settings.max_header_bytes
        self._refuse(refusal(431, message=f"the headers are over {limit} bytes (SAGEBRUSH_MAX_HEADER_BYTES)"))

    def _refuse_size(self) -> None:
        limit = self._server.settings.max_body_bytes
        self._refuse(refusal(413, message=f"the body is over {limit} bytes (SAGEMAKER_MAX_PAYLOAD_IN_MB)"))

    def _refuse(self, answer: Answer) -> None:
        """Answer and read no further request: what follows on this connection can't be trusted or isn't wanted."""
        self._last_request = True
        self._give(answer)

    def _give(self, answer: Answer) -> None:
        request, self._request = self._request, None
        self._message_since = None
        self._quiet_since = self._loop.time()
        self._out.append((answer, request.method if request is not None else ""))
        if request is not None and request.path == b"/invocations":
            self._server.counts.responses[answer.status] += 1
            self._unsent.append(request.arrived)

    def _flush(self) -> None:
        """Write all answers there are, and end the connection where it is due."""
        if not self._out:
            return
        expired = self._message_since is None and (self._server.draining or self._loop.time() >= self._expires)
        closing = self._last_request or expired
        last = len(self._out) - 1
        parts = []
        for index, item in enumerate(self._out):
            if item is None:
                parts.append(CONTINUE)
                continue
            answer, method = item
            keep = "keep-alive" if self._http_1_0 else ""
            connection = "close" if closing and index == last else keep
            parts.append(answer.to_bytes(connection=connection, with_body=method != "HEAD"))
        self._out.clear()
        self._transport.write(b"".join(parts))
        if self._paused_since is None:
            self._settle()
        if closing:
            self._finish()

    def _settle(self) -> None:
        """Account for the answers whose last byte the kernel has taken."""
        now = time.monotonic()
        for arrived in self._unsent:
            self._server.counts.observe_duration(now - arrived)
        self._server.counts.in_flight -= len(self._unsent)
        self._unsent.clear()

    def _finish(self) -> None:
        """Say that nothing more comes; the client's close, or the linger time, ends the connection."""
        self._finished = True
        if self._transport.is_closing():
            return
        self._transport.write_eof()
        self._linger = self._loop.call_later(_LINGER_SECONDS, self._transport.close)
