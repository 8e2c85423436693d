"""One keep-alive HTTP/1.1 connection of the load: as little work per request as honest timing allows."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

_KEPT_BYTES = 400
_LONGEST_HEAD = 64 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked")
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*close")
NO_ANSWER = 0


@dataclass(slots=True)
class Exchange:
    """One request on its way. Times are seconds of the event loop's clock."""

    payload: bytes
    intended: float
    """When it should have been sent: its latency counts from here, whatever kept it."""
    sent: float = 0.0
    status: int = NO_ANSWER
    problem: str = ""
    """Why there is no answer."""
    body: bytes = b""
    """The first bytes of the answer."""
    retried: bool = False
    over: bool = False


class Connection(asyncio.Protocol):
    """Sends one request at a time; tells *done* of each answer, and *lost* once when it is closed."""

    def __init__(
        self, *, done: "Callable[[Connection, Exchange], None]", lost: "Callable[[Connection, Exchange | None], None]"
    ) -> None:
        self._done, self._lost = done, lost
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._buffer = bytearray()
        self._left: int | None = None  # of the body; None while the head is incomplete
        self._chunked = self._until_close = self._close_after = False
        self.exchange: Exchange | None = None
        self.answered = 0

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, exchange: Exchange, *, now: float) -> None:
        """Put the request on the wire."""
        exchange.sent = now
        self.exchange = exchange
        self._transport.write(exchange.payload)

    def abort(self) -> None:
        """Drop the connection and what is on it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:  # nobody asked: an answer to nothing can't be trusted
            self.abort()
            return
        self._buffer += data
        try:
            while self.exchange is not None and self._advance():
                pass
        except ValueError as error:
            self.exchange.problem = f"not an HTTP answer: {error}"
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.exchange
        if exchange is not None and self._until_close and exc is None:
            self._finish()
            exchange = None
        if exchange is not None:
            exchange.status = NO_ANSWER
            exchange.problem = exchange.problem or (
                f"connection lost: {exc}" if exc else "connection closed before the answer"
            )
        self.exchange = None
        self._lost(self, exchange)

    def _advance(self) -> bool:
        """One part of the answer; False where more bytes are needed. Raises ValueError for what is no HTTP."""
        if self._left is None and not self._until_close and not self._chunked:
            return self._head()
        if self._chunked:
            return self._chunk()
        if self._until_close:
            self._keep(bytes(self._buffer))
            self._buffer.clear()
            return False
        left = self._left or 0
        if left and not self._buffer:
            return False
        taken = bytes(self._buffer[:left])
        del self._buffer[:left]
        self._keep(taken)
        self._left = left - len(taken)
        if self._left:
            return False
        self._finish()
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise ValueError("headers without end")
            return False
        head = bytes(self._buffer[: end + 2]).lower()
        del self._buffer[: end + 4]
        if not re.match(rb"http/1\.[01] [1-5][0-9][0-9]", head):
            raise ValueError(repr(head[:40]))
        status = int(head[9:12])
        if status < 200:
            return True
        exchange = cast("Exchange", self.exchange)
        exchange.status = status
        self._close_after = _CLOSE.search(head) is not None or head.startswith(b"http/1.0")
        length = _LENGTH.search(head)
        if status in (204, 304):
            self._left = 0
        elif _CHUNKED.search(head):
            self._chunked = True
        elif length:
            self._left = int(length[1])
        else:
            self._until_close = True
        return True

    def _chunk(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        size = int(bytes(self._buffer[:end]).split(b";")[0], 16)
        if size == 0:
            trailer = self._buffer.find(b"\r\n\r\n", end)
            if trailer < 0:
                return False
            del self._buffer[: trailer + 4]
            self._finish()
            return True
        if len(self._buffer) < end + 2 + size + 2:
            return False
        self._keep(bytes(self._buffer[end + 2 : end + 2 + size]))
        del self._buffer[: end + 2 + size + 2]
        return True

    def _keep(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and len(exchange.body) < _KEPT_BYTES:
            exchange.body += data[: _KEPT_BYTES - len(exchange.body)]

    def _finish(self) -> None:
        exchange, self.exchange = self.exchange, None
        self._left, self._chunked, self._until_close = None, False, False
        self.answered += 1
        if self._close_after:
            self._transport.close()
        self._done(self, cast("Exchange", exchange))
