"""One client connection: its requests in order, their answers in the same order, and the ways in which it ends.

What arrived in one read and could be answered at once is written in one write. `Connection: close` goes on the last
answer there is to give, so that a pipelining client loses nothing that it had already sent.
"""

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final, cast

from sagebrush_server.http.heads import Head
from sagebrush_server.http.messages import CONTINUE, Answer, Request
from sagebrush_server.http.quick import Exchange, QuickConnection
from sagebrush_server.http.reader import RequestReader

if TYPE_CHECKING:
    from sagebrush_server.http.server import Server

_MAX_AGE_SPREAD: Final = 0.2
_LINGER_SECONDS: Final = 2.0
"""How long input is still read and dropped after the last answer: closing with unread input would make the kernel reset
the connection, and the reset can overtake the answer (RFC 9112, section 9.6)."""
_MOST_PIPELINED: Final = 64
_HALF_CLOSE_SECONDS: Final = 0.5
"""A client that ends its side this soon after its request wants the answer; one that does so later has given up."""


class Connection(QuickConnection):
    """Transport callbacks of one connection (of `asyncio.Protocol`), and the order of its answers. On the event loop only."""

    def __init__(self, server: "Server") -> None:
        super().__init__(known=server.application.heads.known, arrivals=server.dispatcher.arrivals)
        self._server = server
        self._loop = server.loop
        self._dispatcher = server.dispatcher
        self._reader = RequestReader(self, server=server)
        self.file_number = -1
        self._unsent: list[float] = []
        self._linger: asyncio.TimerHandle | None = None
        self._finished = False
        self._held_back = self._half_closed = False
        # The loop's clock, which stands still within a turn, is enough for time-outs; durations take a finer one.
        self._quiet_since = self._loop.time()
        age = server.settings.connection_max_age
        spread = random.uniform(1 - _MAX_AGE_SPREAD, 1 + _MAX_AGE_SPREAD)  # noqa: S311 – spreads load, guards nothing
        self._expires = 0.0 if server.draining else self._quiet_since + age * spread
        self._access_log = server.access_log
        self._carefree_until = self._expires if self._access_log is None else 0.0

    # --- transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # With a limit of 0 the transport reports exactly when bytes are left over and when the kernel has them all.
        self._transport.set_write_buffer_limits(high=0)
        self.file_number = self._transport.get_extra_info("socket").fileno()
        self._server.connections.add(self)
        self._arrivals.alone = len(self._server.connections) == 1

    def read_on(self, data: bytes) -> None:
        """Take what is not known."""
        if self._finished:
            return
        reader = self._reader
        reader.feed(data)
        self._between = reader.message_since is None and not reader.stopped
        if len(self._exchanges) > _MOST_PIPELINED and not self._held_back:
            self._held_back = True
            self._transport.pause_reading()
        self._arrivals.answer_now()
        self.flush()

    def eof_received(self) -> bool:
        """Stay for the answers of a client that has said all it wants to; let go of one that has given up."""
        waited = time.monotonic() - self._exchanges[0].arrived if self._exchanges else 0.0
        if self._finished or not self._exchanges or waited > _HALF_CLOSE_SECONDS:
            self._let_go()
            return False
        self._half_closed = True
        self._stop_reading()
        self.needs_care()
        return True

    def pause_writing(self) -> None:
        self._paused_since = self._loop.time()
        # A client that doesn't read its answers gets no further ones built.
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused_since = None
        self._server.touch()
        self._settle()
        if self._exchanges and (stream := self._exchanges[0].stream) is not None:
            stream.go_on()
        if not self._transport.is_closing() and not self._held_back:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 – the client's reasons are its own
        self._let_go()
        self._finished = True
        if self._linger is not None:
            self._linger.cancel()
        self._server.connections.discard(self)
        self._arrivals.alone = len(self._server.connections) == 1

    def _let_go(self) -> None:
        """Forget what was asked here: what has not begun will not be computed."""
        self.lost = True
        self._server.counts.in_flight -= len(self._unsent)
        self._unsent.clear()
        self._stop_reading()
        for exchange in self._exchanges:
            if exchange.stream is not None:
                exchange.stream.cancel()
        self._exchanges.clear()

    def _stop_reading(self) -> None:
        """Take no further request: what follows can't be trusted or isn't wanted."""
        self._between = False
        self._reader.stop()

    # --- requests ---

    def received(self, head: Head, *, body: bytes, arrived: float) -> None:
        """Take a request that the reader has read to its end."""
        exchange = Exchange(self, head, None, body, arrived)
        self._exchanges.append(exchange)
        request = Request(head.method, head.path, arrived, head.headers, body, head.query)
        self._dispatcher.take(exchange, self._server.application.reply(request))

    def refuse(self, answer: Answer, *, head: Head | None, arrived: float) -> None:
        """Answer what is no request that can be served."""
        exchange = Exchange(self, head, None, b"", arrived)
        exchange.answer = answer
        self._exchanges.append(exchange)

    def invite(self) -> None:
        """Ask for the body of a request that expects it."""
        exchange = Exchange(self, None, None, b"", 0.0)
        exchange.bare, exchange.payload = True, CONTINUE
        self._exchanges.append(exchange)

    def needs_care(self) -> None:
        """Write no further answer the quick way: HTTP/1.0, the last answer, a server that is leaving."""
        self._carefree_until = 0.0

    def drain(self) -> None:
        """End with the next answer there is to give."""
        self._expires = self._carefree_until = 0.0

    # --- answers ---

    def flush(self) -> None:
        """Write all answers that are there and whose turn it is, and end the connection where it is due."""
        exchanges = self._exchanges
        if self._finished or not exchanges or not exchanges[0].done:
            return
        parts, written, closing = [], [], False
        while exchanges and exchanges[0].done and exchanges[0].stream is None:
            exchange = exchanges.popleft()
            closing = self._is_last()
            parts.append(self._bytes_of(exchange, closing=closing))
            if exchange.head is not None:
                written.append(exchange)
        self._quiet_since = self._loop.time()
        if parts:
            self._transport.write(b"".join(parts))
            self.account(written)
        if exchanges and (stream := exchanges[0].stream) is not None:
            stream.start(closing=self._is_last(besides=1))
        elif closing:
            self._finish()
        elif self._held_back and len(exchanges) <= _MOST_PIPELINED // 2:
            self._held_back = False
            if self._paused_since is None:
                self._transport.resume_reading()

    def write_piece(self, data: bytes) -> bool:
        """Write a part of a stream, and say whether the client has taken all so far."""
        if self._finished or self.lost:
            return False
        self._quiet_since = self._loop.time()
        self._transport.write(data)
        return self._paused_since is None

    def end_stream(self, *, closing: bool) -> None:
        """Go on behind a stream that has been written to its end."""
        if self._exchanges and not self.lost:
            self.account([self._exchanges.popleft()])
            if closing:
                self._finish()
            else:
                self.flush()

    def break_off(self) -> None:
        """Reset the connection, so that the client can't take half an answer for a whole one."""
        self._let_go()
        self._transport.abort()

    def _is_last(self, *, besides: int = 0) -> bool:
        if len(self._exchanges) > besides:
            return False
        reader = self._reader
        return reader.stopped or (reader.message_since is None and self._loop.time() >= self._expires)

    def _bytes_of(self, exchange: Exchange, *, closing: bool) -> bytes:
        if exchange.bare:
            return exchange.payload
        head = exchange.head
        keep = "keep-alive" if head is not None and head.http_1_0 else ""
        connection = "close" if closing else keep
        answer, lead = exchange.answer, exchange.lead
        if lead is not None:
            line = f"\r\nConnection: {connection}".encode() if connection else b""
            return b"%b%d%b\r\n\r\n%b" % (lead.text, len(exchange.payload), line, exchange.payload)
        if answer is None:
            raise TypeError("there is no answer yet")
        return answer.to_bytes(connection=connection, with_body=head is None or head.method != "HEAD")

    def account(self, written: list[Exchange]) -> None:
        """Count answers that were written. Of those that the kernel has not all of, the duration follows when it has."""
        counts = self._server.counts
        if self._access_log is not None:
            self._access_log.write(written)
        written = [exchange for exchange in written if exchange.counts]
        for exchange in written:
            counts.responses.add(exchange.status)
        if self._paused_since is None:
            now = time.monotonic()
            for exchange in written:
                counts.duration.observe(now - exchange.arrived)
        else:
            self._unsent += [exchange.arrived for exchange in written]
            counts.in_flight += len(written)

    def _settle(self) -> None:
        """Account for the answers whose last byte the kernel has taken by now."""
        counts, now = self._server.counts, time.monotonic()
        for arrived in self._unsent:
            counts.duration.observe(now - arrived)
        counts.in_flight -= len(self._unsent)
        self._unsent.clear()

    # --- the end ---

    def sweep(self, now: float) -> None:
        """Let go of a client that stopped in the middle of a request, doesn't read its answer, or is long idle."""
        settings = self._server.settings
        if self._paused_since is not None:
            if now - self._paused_since > settings.request_timeout:
                self.break_off()
        elif self._finished:
            return
        elif self._reader.message_since is not None:
            if now - self._reader.message_since > settings.request_timeout:
                self._reader.time_out()
                self.flush()
        elif not self._exchanges and now - self._quiet_since > settings.idle_timeout:
            self._transport.close()

    @property
    def takes_requests(self) -> bool:
        """Whether what the client sends is read: not while it leaves its answers unread, nor after the last answer."""
        return self._paused_since is None and not self._finished

    @property
    def busy(self) -> bool:
        """Whether a request is half received, or an answer is owed or half sent."""
        waits = self._reader.message_since is not None or bool(self._exchanges)
        return self._paused_since is not None or (waits and not self._finished)

    def close(self) -> None:
        """Close after what is written has been sent; what is not answered yet won't be."""
        self._let_go()
        self._transport.close()

    def _finish(self) -> None:
        """Say that nothing more comes; the client's close, or the linger time, ends the connection."""
        self._finished = True
        self._stop_reading()
        if self._transport.is_closing():
            return
        if self._half_closed:
            self._transport.close()
            return
        self._transport.write_eof()
        self._linger = self._loop.call_later(_LINGER_SECONDS, self._transport.close)
