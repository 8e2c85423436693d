"""An HTTP server of known capacity: so many slots, each busy for a fixed time with a request; and its misbehaviours."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["FakeServer", bytes], bytes | None]


def ok(server: "FakeServer", body: bytes) -> bytes:
    """A prediction."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class FakeServer:
    """`slots` / `service_seconds` requests per second; the others wait in line."""

    slots: int = 1
    service_seconds: float = 0.0
    answer: Answer = ok
    requests: int = 0
    connections: int = 0
    bodies: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    url: str = ""
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    """While set, nothing is answered."""
    _free: list[float] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) if b"ength:" in head else 0
                body = await reader.readexactly(length)
                self.requests += 1
                self.heads.append(head)
                self.bodies.append(body)
                await self._work()
                answer = self.answer(self, body)
                if answer is None:
                    return
                writer.write(answer)
                if b"onnection: close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _work(self) -> None:
        """Wait for the earliest free slot, then for the service: by the clock, so that late wake-ups don't add up."""
        loop = asyncio.get_running_loop()
        if self.service_seconds:
            earliest = min(range(self.slots), key=self._free.__getitem__)
            self._free[earliest] = max(self._free[earliest], loop.time()) + self.service_seconds
            await asyncio.sleep(self._free[earliest] - loop.time())
        while self.stalled.is_set():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[FakeServer]:
    """A server on a free port of loopback."""
    fake = FakeServer(**settings)  # type: ignore[arg-type]
    fake._free = [0.0] * fake.slots
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
