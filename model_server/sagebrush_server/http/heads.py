"""What the parser said about a request's head, and a memory of the heads it has already read.

Clients send the same head again and again. A head is remembered by its exact bytes, and only after the parser has read
it, and the body of the announced length behind it, to the end of the message; so whatever the parser refuses, or frames
in another way, is never found here. It is looked up only between two messages, where the parser has no state.
"""

from typing import Final

import httptools

from sagebrush_server.http.messages import Ask

_LONGEST: Final = 4096
_MOST: Final = 1024
_ASKING: Final = (b"/invocations", b"/infer", b"/invocations-response-stream", b"/invoke")


class Head:
    """Method, target and headers of one request. Header names are lower case; of a repeated one the last value counts.

    `length` is the Content-Length, -1 where there is none. `ask` is what /invocations asks for with this head, where
    that doesn't depend on the body.
    """

    __slots__ = ("ask", "headers", "http_1_0", "length", "method", "path", "query")

    def __init__(self, *, method: str, target: bytes, headers: dict[bytes, bytes], http_1_0: bool) -> None:
        self.method = method
        if not target.startswith(b"/") and b"://" in target:
            # The absolute form, as to a proxy, which a server has to take (RFC 9112, section 3.2.2).
            parts = httptools.parse_url(target)
            self.path, self.query = parts.path or b"/", parts.query or b""
        else:
            self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.http_1_0 = http_1_0
        length = headers.get(b"content-length", b"")
        self.length = int(length) if length.isdigit() else -1
        self.ask: Ask | None = None

    @property
    def is_invocation(self) -> bool:
        """Whether it asks a model, in whichever protocol, so that the metrics count it."""
        return self.path.endswith(_ASKING)


class HeadMemory:
    """Heads of invocations by their bytes, at most 1,024 of up to 4 KiB each; when it is full it starts anew."""

    def __init__(self) -> None:
        self.known: dict[bytes, Head] = {}

    def learn(self, data: bytes, *, head: Head) -> None:
        """Remember a head that the parser has read from exactly these bytes. `head.ask` must be set."""
        if len(data) > _LONGEST:
            return
        if len(self.known) >= _MOST:
            self.known.clear()
        self.known[data] = head

    def forget(self) -> None:
        """Start anew: what an invocation asks for has changed."""
        self.known.clear()
