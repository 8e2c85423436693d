"""
Port-forward through the API server: a local port whose connections end at a port of a pod.

One WebSocket for each connection, subprotocol v4.channel.k8s.io: the first byte of a message is its channel, 0 for data, 1
for errors, and each channel begins with the port as two bytes, the lower first. Source: Kubernetes,
staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from sagebrush.kube.client import KubernetesClient
from sagebrush.kube.resources import PODS

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_PORT_BYTES = 2
_CHUNK = 64 * 1024


class Forward:
    """Listens on loopback; `problem` is what the API server last said against it."""

    def __init__(self, client: KubernetesClient, *, namespace: str, pod: str, port: int) -> None:
        self._client, self._path = client, PODS.path(namespace, pod, "portforward")
        self._pod_port = port
        self._session: aiohttp.ClientSession
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.problem = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Forward"]:
        """The port is open as long as the block runs."""
        url, headers, tls = await self._client.signed("GET", self._path, query=[("ports", str(self._pod_port))])
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
        async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=True) as self._session:
            self._url = url
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
            self.port = int(server.sockets[0].getsockname()[1])
            try:
                yield self
            finally:
                server.close()
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # A pod, a node or an API server that goes away is seen as a lost connection, as without the forward.
        with contextlib.suppress(OSError, asyncio.CancelledError, aiohttp.ClientConnectionError):
            try:
                async with self._session.ws_connect(
                    self._url, protocols=(_PROTOCOL,), autoping=True, max_msg_size=0, compress=0
                ) as socket:
                    await self._pump(reader, writer, socket)
            except aiohttp.WSServerHandshakeError as error:
                self.problem = f"{error.status} {error.message}"
        writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        upward = asyncio.create_task(_upward(reader, socket))
        begun: set[int] = set()
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel not in begun:
                    begun.add(channel)
                    data = data[_PORT_BYTES:]
                if channel == _DATA and data:
                    writer.write(data)
                    await writer.drain()
                elif channel == _ERROR and data:
                    self.problem = data.decode("utf-8", "replace").strip()
                    return
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)


async def _upward(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(_CHUNK):
        await socket.send_bytes(bytes([_DATA]) + data)
    await socket.close()
