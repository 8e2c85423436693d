"""The port-forward against a server that speaks the API server's side of it."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sagebrush.capacity_test.forward import Forward
from sagebrush.capacity_test.generator import Generator, Target
from sagebrush.capacity_test.measurement import Bound
from sagebrush.capacity_test.reach import reach
from sagebrush.capacity_test.replica import CapacityTestError
from tests.unit.capacity_test.servers import FakeServer, serving

POD = {"metadata": {"namespace": "ml", "name": "p"}, "status": {}}


class ApiServer:
    """`…/portforward` as a kubelet answers it, channel 0 data and 1 errors, each begun with the port."""

    def __init__(self, backend_port: int) -> None:
        self.backend_port, self.refuse, self.error, self.url = backend_port, False, b"", ""
        self.paths: list[str] = []

    async def forward(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        if self.refuse:
            raise web.HTTPForbidden(reason="pods/portforward is forbidden")
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        assert socket.ws_protocol == "v4.channel.k8s.io"
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + struct.pack("<H", 8080))
        if self.error:
            await socket.send_bytes(b"\x01" + self.error)
            return socket
        reader, writer = await asyncio.open_connection("127.0.0.1", self.backend_port)

        async def down() -> None:
            while data := await reader.read(1000):
                await socket.send_bytes(b"\x00" + data)
            await socket.close()

        task = asyncio.create_task(down())
        async for message in socket:
            assert message.data[0] == 0
            writer.write(message.data[1:])
        writer.close()
        task.cancel()
        return socket

    async def signed(self, method: str, path: str, *, query: list[tuple[str, str]]) -> Any:
        asked = "&".join(f"{name}={value}" for name, value in query)
        return f"{self.url}{path}?{asked}", {"Authorization": "Bearer x"}, ssl.create_default_context()


@asynccontextmanager
async def api_server(backend: FakeServer) -> AsyncIterator[ApiServer]:
    server = ApiServer(int(backend.url.rsplit(":", 1)[1]))
    application = web.Application()
    application.router.add_get("/api/v1/namespaces/ml/pods/p/portforward", server.forward)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def test_load_must_pass_through_the_forward():
    """Several connections at once, each over a WebSocket of its own; every request arrives whole and is answered."""
    async with serving() as backend, api_server(backend) as server:
        forward = Forward(server, namespace="ml", pod="p", port=8080)  # type: ignore[arg-type]
        async with forward.listening():
            target = Target.of(
                f"http://127.0.0.1:{forward.port}", bodies=[b"x" * 100_000], content_type="a/b", accept=None, timeout=10
            )
            load = Generator(target, Bound(1, 1), most_requests=1000)
            step = await load.closed(4, seconds=10, most=40)
            await load.close()
    assert (len(step.latencies), step.errors) == (40, {})
    assert {len(body) for body in backend.bodies} == {100_000}
    assert server.paths == ["/api/v1/namespaces/ml/pods/p/portforward?ports=8080"] * 4


async def test_refused_forward_must_tell_the_reason():
    """No permission, or nothing listening in the pod: the API server's own words and what to check."""
    async with serving() as backend, api_server(backend) as server:
        for change, words in (
            ({"refuse": True}, "403"),
            ({"error": b"connection refused in the pod"}, "connection refused"),
        ):
            server.refuse, server.error = bool(change.get("refuse")), bytes(change.get("error", b""))  # type: ignore[arg-type]
            with pytest.raises(CapacityTestError, match="pods/portforward") as refused:
                async with reach(server, POD, via="auto", sha256=None):  # type: ignore[arg-type]
                    pass
            assert words in str(refused.value)
