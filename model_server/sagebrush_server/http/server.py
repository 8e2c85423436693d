"""The life of the server process: listen, load, serve, drain, leave."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sagebrush_server.counts import RequestCounts
from sagebrush_server.http.application import Application
from sagebrush_server.http.connection import Connection
from sagebrush_server.http.dispatcher import Dispatcher
from sagebrush_server.http.settings import ServeSettings
from sagebrush_server.http.waiting import waiting_requests
from sagebrush_server.metrics import BusyTime, RequestCollector, serve_metrics
from sagebrush_server.protocols.wiring import add_protocols

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model

_LOG = logging.getLogger(__name__)
_SWEEP_SECONDS: Final = 1.0
_DRAIN_POLL_SECONDS: Final = 0.05


class Server:
    """What the connections of one process share. Lives on its event loop only, except for `counts`, which are read.

    `port` and `metrics_port` are 0 until the server listens.
    """

    def __init__(self, settings: ServeSettings, *, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.loop = loop
        self.application = Application(default_accept=settings.default_accept, model_sha256=settings.model_sha256)
        add_protocols(self.application, settings=settings)
        self.counts = RequestCounts()
        self.dispatcher = Dispatcher(settings, counts=self.counts, loop=loop)
        self.connections: set[Connection] = set()
        self.draining = False
        self.port = self.metrics_port = 0
        self._stop = asyncio.Event()

    def touch(self) -> None:
        """Note that somebody wants something: draining waits for quiet."""
        self.dispatcher.last_activity = self.loop.time()

    def stop(self) -> None:
        """Begin to drain. Safe to call more than once."""
        self._stop.set()

    async def run(self, load: "Callable[[], Model]") -> None:
        """Serve until `stop` and the drain after it. Raises what listening, loading or the self-test raises."""
        settings = self.settings
        listener = await self.loop.create_server(
            lambda: Connection(self), host=settings.bind_address, port=settings.port, backlog=settings.backlog
        )
        listening = listener.sockets[0]
        busy = BusyTime(self.counts, model_thread=self.dispatcher.thread.busy_seconds)
        collector = RequestCollector(
            [self.counts],
            endpoint_name=settings.endpoint_name,
            variant_name=settings.variant_name,
            refresh=lambda: self._refresh(busy, listener=listening.fileno()),
        )
        self.metrics_port = serve_metrics(collector, port=settings.metrics_port, address=settings.bind_address)
        self.port = listening.getsockname()[1]
        _LOG.info("listening on %s:%d, metrics on :%d", settings.bind_address, self.port, self.metrics_port)
        sweeper = self.loop.create_task(self._sweep())
        try:
            await self._load(load)
            await self._stop.wait()
            await self._drain()
        finally:
            sweeper.cancel()
            listener.close()
            for connection in list(self.connections):
                connection.close()
        # One more turn of the loop, in which the closed connections send their last bytes.
        await asyncio.sleep(0)

    def _refresh(self, busy: BusyTime, *, listener: int) -> None:
        """Bring up to date what is measured only when somebody asks. Not for the event loop's thread."""
        self.counts.queued = self.dispatcher.waiting
        self.counts.unread = waiting_requests(self._files_read, listener=listener)
        self.counts.busy_seconds = busy.seconds()

    def _files_read(self) -> set[int]:
        """File numbers of the connections whose requests are read; in any thread, where connections come and go."""
        return {connection.file_number for connection in list(self.connections) if connection.takes_requests}

    async def _load(self, load: "Callable[[], Model]") -> None:
        if self.settings.multi_model is not None:
            self.application.serve_many()
            _LOG.info("serving the models below %s as they are asked for", self.settings.multi_model.folder)
            return
        start = time.perf_counter()
        # In a thread, so that /ping can say why it isn't ready.
        model = await self.loop.run_in_executor(None, load)
        self.application.serve_model(model)
        self.counts.model_load_seconds = time.perf_counter() - start
        _LOG.info(
            "serving a %s model, loaded and self-tested in %.3f s",
            *(model.algorithm, self.counts.model_load_seconds),
        )

    async def _drain(self) -> None:
        """Answer what still comes, and return when it has been quiet, at the latest after the drain limit."""
        settings = self.settings
        self.draining = True
        for connection in self.connections:
            connection.drain()
        self.application.start_draining()
        _LOG.info("SIGTERM: draining %d connections", len(self.connections))
        start = self.loop.time()
        self.dispatcher.last_activity = max(self.dispatcher.last_activity, start)
        while self.loop.time() - start < settings.drain_limit:
            quiet = self.loop.time() - self.dispatcher.last_activity
            if quiet >= settings.drain_quiet and not any(connection.busy for connection in self.connections):
                _LOG.info("drained in %.1f s", self.loop.time() - start)
                return
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        busy = sum(connection.busy for connection in self.connections)
        _LOG.warning("leaving after %.0f s with %d requests unfinished", settings.drain_limit, busy)

    async def _sweep(self) -> None:
        interval = max(min(_SWEEP_SECONDS, self.settings.request_timeout / 4, self.settings.idle_timeout / 4), 0.01)
        while True:
            await asyncio.sleep(interval)
            now = self.loop.time()
            for connection in list(self.connections):
                connection.sweep(now)


async def _run(settings: ServeSettings, *, model_folder: Path) -> None:
    # Here, so that the loader's imports happen in its thread.
    from sagebrush_server.models.loading import load_model

    loop = asyncio.get_running_loop()
    server = Server(settings, loop=loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.run(lambda: load_model(model_folder))


def serve(settings: ServeSettings, *, model_folder: Path) -> None:
    """Serve the model in `model_folder` until SIGTERM. Raises OSError (a port is taken) and what loading raises."""
    import uvloop

    uvloop.run(_run(settings, model_folder=model_folder))
