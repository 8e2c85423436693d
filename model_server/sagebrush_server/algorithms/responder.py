"""What serving knows of a model that answers whole requests by code of its own, such as a user's `inference.py`."""

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Invocation:
    """A request as the code sees it. Header names are lower case; `accept` is the default where the header is absent."""

    body: bytes
    content_type: str
    accept: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a body, or pieces that are sent one by one as they come (chunked)."""

    body: bytes | Iterator[bytes] | AsyncIterator[bytes]
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Responder(Protocol):
    """Answers requests one by one.

    `respond` runs in the server's one thread for such code, never two at a time in a process, so that /ping goes on;
    what it returns may be an awaitable, which is then awaited on the event loop, several at a time.
    Raises RequestError for a request that is refused; any other exception is a 500 with an id in the log.
    """

    @property
    def algorithm(self) -> str:
        """What it is, in a word, for the log."""
        ...

    @property
    def fork_safe(self) -> bool:
        """Whether it may be used in a forked process."""
        ...

    def respond(self, invocation: Invocation) -> Reply | Awaitable[Reply]:
        """Answer one request."""
        ...

    def self_test(self) -> None:
        """Answer once before the server says it is ready, where there is something to ask. Raises ValueError."""
        ...
