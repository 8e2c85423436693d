"""The way that nearly all requests go: heads that were read before, requests answered together, answers written at once.

What is here runs once for every request, and the rest of the server once for many or for few. So it is compiled.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sagebrush_server.http.connection import Connection
from sagebrush_server.http.heads import Head
from sagebrush_server.http.messages import Answer, Ask
from sagebrush_server.http.streams import Stream

END: Final[bytes]
"""Ends a head."""

class Lead:
    """The head of a 200 up to its length, and whole heads for the lengths that occur.

    `text` goes up to the number behind `Content-Length: `, without it.
    """

    text: Final[bytes]
    def __init__(self, text: bytes) -> None: ...
    def head(self, length: int) -> bytes:
        """Return the whole head of an answer with a body of `length` bytes, on a connection that stays."""

class Exchange:
    """A request, its place among those of its connection, and its answer once there is one.

    The answer is `answer`, or `lead` and `payload` (the quick way for predictions), or `stream`; where `bare`, the
    payload is all there is to write. `head` is None where there was no request, `ask` where no model is asked.
    `arrived` is the monotonic clock when the first byte was read, `queued` when the model's thread was asked for it.
    """

    connection: Final[Connection]
    head: Final[Head | None]
    ask: Ask | None
    answer: Answer | None
    stream: Stream | None
    body: bytes
    payload: bytes
    lead: Lead | None
    arrived: float
    queued: float
    bare: bool
    def __init__(
        self, connection: Connection, head: Head | None, ask: Ask | None, body: bytes, arrived: float
    ) -> None: ...
    @property
    def done(self) -> bool:
        """Whether there is an answer to write."""
    @property
    def status(self) -> int:
        """The answer's status code."""
    @property
    def counts(self) -> bool:
        """Whether the metrics count it as an invocation."""
    @property
    def about(self) -> str:
        """The request in a log line: method, path and, where the client sent one, its trace (W3C `traceparent`)."""

class Arrivals:
    """What was read in this turn of the loop, to be answered by `turn` in the next step of the loop.

    `began` is the monotonic clock when the first of it came; `room` how much of it there may be; `alone` is whether there
    is one connection only.
    """

    pending: Final[list[Exchange]]
    began: Final[float]
    room: int
    alone: bool
    def __init__(self, *, turn: Callable[[], None], room: int, loop: asyncio.AbstractEventLoop) -> None: ...
    def add(self, exchange: Exchange) -> None:
        """Add a request, and see to it that it is answered: soon or, where there is one connection only, by `answer_now`."""
    def answer_now(self) -> None:
        """Answer what is there, if there is one connection only. Call it when all that was received is added."""
    def take(self, most: int) -> list[Exchange]:
        """Return what came, at most so much. The rest waits for another turn."""

class QuickConnection:
    """A connection as far as known heads and answers that are written at once go; `Connection` has the rest.

    `lost` is whether the client has gone, or was let go; it may be read in any thread.
    """

    lost: bool
    _arrivals: Final[Arrivals]
    _exchanges: Final[deque[Exchange]]
    _transport: asyncio.Transport
    _between: bool
    """Whether the reader is neither in the middle of a message nor at the end of the last."""
    _paused_since: float | None
    """The loop's time since which the kernel takes no more bytes."""
    _quiet_since: float
    _carefree_until: float
    """Until then an answer may be written without a look at anything else."""
    def __init__(self, *, known: dict[bytes, Head], arrivals: Arrivals) -> None: ...
    def data_received(self, data: bytes) -> None:
        """Take what a client sent (of `asyncio.Protocol`): known heads at once, and what is not known by `read_on`."""
    def give(self, exchange: Exchange, now: float) -> bool:
        """Write the prediction of an exchange if it is its turn, and say whether the kernel has all of it.

        Else leaves it to `flush`, and what the kernel doesn't take to `account`. `now` is the loop's time.
        """

def of_one_ask(group: list[Exchange]) -> bool:
    """Whether all requests, of which there is at least one, ask the same in the same way."""

def all_there(group: list[Exchange]) -> bool:
    """Whether no client has gone."""

def bodies_of(group: list[Exchange]) -> list[bytes]:
    """Return the bodies of requests."""

def set_answers(group: list[Exchange], lead: Lead, bodies: list[bytes]) -> None:
    """Give each request its answer. Raises ValueError where their numbers differ."""

def give_all(group: list[Exchange], now: float) -> tuple[int, int, list[Exchange]]:
    """Write the answers; `now` is the loop's time.

    Returns the bytes of all bodies and, of the answers that the kernel has to their ends, how many are to requests that
    arrived with the first, and the requests of the others.
    """
