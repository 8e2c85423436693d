"""Answers that a model gives piece by piece: chunked, with back-pressure, broken off where the model fails."""

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from sagebrush_server.http.messages import Answer

if TYPE_CHECKING:
    from sagebrush_server.algorithms.responder import Reply
    from sagebrush_server.http.quick import Exchange

_LOG = logging.getLogger(__name__)
_DRAW_BYTES: Final = 64 * 1024
_DRAW_SECONDS: Final = 0.005
"""After so many bytes, or so long, others get their turn in the model's thread, and a slow client is noticed."""


class Runner(Protocol):
    """Where a stream's code runs."""

    loop: asyncio.AbstractEventLoop

    def in_thread(self, work: Callable[[], None]) -> None:
        """Do `work` in the model's thread."""
        ...

    def later(self, work: Callable[[], None]) -> None:
        """Do `work` on the event loop; called in the model's thread."""
        ...


class Stream:
    """The answer of one exchange. An iterator is drawn from in the model's thread, an asynchronous one on the loop.

    The next piece is asked for only when the client has taken those before it. In HTTP/1.0, which has no chunks, the
    end of the connection is the end of the answer.
    """

    def __init__(
        self, exchange: "Exchange", *, reply: "Reply", headers: tuple[tuple[str, str], ...], runner: Runner
    ) -> None:
        self.status = reply.status
        self._exchange = exchange
        self._connection = exchange.connection
        self._runner = runner
        self._reply = reply
        self._headers = headers
        self._chunked = exchange.head is None or not exchange.head.http_1_0
        self._closing = self._cancelled = self._drawing = False
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def as_reply(self) -> "Reply":
        """Return what hasn't begun yet as a reply that has every header."""
        return replace(self._reply, headers=dict(self._headers))

    def start(self, *, closing: bool) -> None:
        """Write the head and ask for the first pieces. Does nothing where it has begun. On the loop, as all below."""
        if self._task is not None or self._taken.is_set():
            return
        self._closing = closing or not self._chunked
        framing = (("Transfer-Encoding", "chunked"),) if self._chunked else ()
        answer = Answer(self.status, content_type=self._reply.content_type, headers=(*self._headers, *framing))
        self._taken.set()
        self._connection.write_piece(answer.head(connection="close" if self._closing else "", length=None))
        body = self._reply.body
        if isinstance(body, AsyncIterator):
            self._task = self._runner.loop.create_task(self._pump(body))
        else:
            self.go_on()

    def go_on(self) -> None:
        """Ask for more: the client has taken what was sent."""
        body = self._reply.body
        if self._task is not None:
            self._taken.set()
        elif isinstance(body, Iterator) and self._taken.is_set() and not self._drawing:
            self._drawing = True
            self._runner.in_thread(lambda: self._draw(body))

    def cancel(self) -> None:
        """Ask for nothing more: the client has gone."""
        self._cancelled = True
        body = self._reply.body
        if self._task is not None:
            self._task.cancel()
        elif isinstance(body, Iterator):
            self._runner.in_thread(lambda: _close(body))

    def _draw(self, body: "Iterator[bytes]") -> None:
        """Take some pieces, in the model's thread. Each is sent at once: nobody knows how long the next one takes."""
        size, until = 0, time.monotonic() + _DRAW_SECONDS
        try:
            while not self._cancelled and size < _DRAW_BYTES and time.monotonic() < until:
                piece = next(body, None)
                if piece is None:
                    self._runner.later(self._end)
                    return
                data = _as_bytes(piece)
                size += len(data)
                self._runner.later(functools.partial(self._send_drawn, data))
        except Exception:  # noqa: BLE001 – what the user's code raises
            _log_failure(self._exchange)
            self._runner.later(self._connection.break_off)
            return
        self._runner.later(self._drawn)

    def _send_drawn(self, data: bytes) -> None:
        self._send(data)

    def _drawn(self) -> None:
        self._drawing = False
        if not self._cancelled and self._connection.takes_requests:
            self.go_on()

    async def _pump(self, body: "AsyncIterator[bytes]") -> None:
        try:
            async for piece in body:
                if not self._send(_as_bytes(piece)):
                    self._taken.clear()
                    await self._taken.wait()
        except Exception:  # noqa: BLE001 – as above
            _log_failure(self._exchange)
            self._connection.break_off()
        else:
            self._end()
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    def _send(self, data: bytes) -> bool:
        """Write a piece as a chunk, and say whether the client has taken it."""
        if not data or self._cancelled:
            return True
        return self._connection.write_piece(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _end(self) -> None:
        if self._cancelled:
            return
        if self._chunked:
            self._connection.write_piece(b"0\r\n\r\n")
        self._connection.end_stream(closing=self._closing)


def _as_bytes(piece: object) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise TypeError(f"a stream must give bytes, not {type(piece).__name__}")
    return bytes(piece)


def _log_failure(exchange: "Exchange") -> None:
    error_id = uuid.uuid4().hex
    _LOG.exception("error %s in the middle of the answer to %s; the connection is reset", error_id, exchange.about)


def _close(body: "Iterator[bytes]") -> None:
    close = getattr(body, "close", None)
    if close is not None:
        with contextlib.suppress(Exception):
            close()
