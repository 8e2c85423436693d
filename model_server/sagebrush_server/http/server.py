"""The life of one serving process: listen, load, serve, drain, leave."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sagebrush_server.counts import RequestCounts
from sagebrush_server.http.access_log import AccessLog
from sagebrush_server.http.application import Application
from sagebrush_server.http.busy import BusyTime
from sagebrush_server.http.connection import Connection
from sagebrush_server.http.dispatcher import Dispatcher
from sagebrush_server.http.served import Served
from sagebrush_server.http.settings import ServeSettings
from sagebrush_server.http.waiting import unread_requests, waiting_requests
from sagebrush_server.memory import keep_freed_memory
from sagebrush_server.protocols.wiring import add_protocols

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model
    from sagebrush_server.algorithms.responder import Responder

_LOG = logging.getLogger(__name__)
_SWEEP_SECONDS: Final = 1.0
_DRAIN_POLL_SECONDS: Final = 0.02

Load = Callable[[], "Model | Responder"]


class Server:
    """What the connections of one process share. Lives on its event loop only, except for `counts`, which are read.

    `port` is 0 until the server listens; `others` are the counts of the other workers, where there are any.
    """

    def __init__(
        self, settings: ServeSettings, *, loop: asyncio.AbstractEventLoop, counts: RequestCounts | None = None
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.access_log = AccessLog() if settings.access_log else None
        self.application = Application(settings)
        add_protocols(self.application, settings=settings)
        self.counts = counts or RequestCounts()
        self.dispatcher = Dispatcher(settings, counts=self.counts, loop=loop)
        self.others: list[RequestCounts] = []
        self.connections: set[Connection] = set()
        self.draining = False
        self.port = self.metrics_port = 0
        self._busy = BusyTime(self.counts, model_thread=self.dispatcher.thread.busy_seconds)
        self._listener = -1
        self._parent = os.getppid()
        self._stop = asyncio.Event()

    def touch(self) -> None:
        """Note that somebody wants something: draining waits for quiet."""
        self.dispatcher.last_activity = self.loop.time()

    def stop(self) -> None:
        """Begin to drain. Safe to call more than once."""
        self._stop.set()

    async def run(self, load: Load, *, listening: socket.socket | None = None, metrics: bool = True) -> None:
        """Serve until `stop` and the drain after it. Raises what listening, loading or the self-test raises.

        `listening` is a bound socket to take connections from, in place of a new one; with `metrics` the process
        answers /metrics by itself.
        """
        settings = self.settings
        if listening:
            # The other workers serve meanwhile; who comes to this one's socket waits instead of being refused.
            await self._load(load)
        listener = await self.loop.create_server(
            lambda: cast("asyncio.Protocol", Connection(self)),
            **({"sock": listening} if listening else {"host": settings.bind_address, "port": settings.port}),
            backlog=settings.backlog,
        )
        own = listener.sockets[0]
        self._listener, self.port = own.fileno(), own.getsockname()[1]
        if metrics:
            self._serve_metrics()
            _LOG.info("listening on %s:%d, metrics on :%d", settings.bind_address, self.port, self.metrics_port)
        sweeper = self.loop.create_task(self._sweep())
        try:
            if not listening:
                await self._load(load)
            await self._stop.wait()
            await self._drain()
        finally:
            self.counts.ready = 0
            sweeper.cancel()
            listener.close()
            for connection in list(self.connections):
                connection.close()
        # One more turn of the loop, in which the closed connections send their last bytes.
        await asyncio.sleep(0)

    def refresh(self) -> None:
        """Bring up to date what is measured only when somebody asks. Blocks: not for the event loop's thread."""
        self.counts.queued = self.dispatcher.waiting
        self.counts.waiting = waiting_requests(
            self._files_read, listener=self._listener, queued=lambda: self.dispatcher.waiting
        )
        self.counts.busy_seconds = self._busy.seconds()

    def _serve_metrics(self) -> None:
        from sagebrush_server.metrics import RequestCollector, serve_metrics

        settings = self.settings
        collector = RequestCollector(
            [self.counts],
            endpoint_name=settings.endpoint_name,
            variant_name=settings.variant_name,
            refresh=self.refresh,
        )
        self.metrics_port = serve_metrics(collector, port=settings.metrics_port, address=settings.bind_address)

    def _files_read(self) -> set[int]:
        """File numbers of the connections whose requests are read; in any thread, where connections come and go."""
        return {connection.file_number for connection in list(self.connections) if connection.takes_requests}

    async def _load(self, load: Load) -> None:
        if self.settings.multi_model is not None:
            self.application.serve_many()
            self.counts.ready = 1
            _LOG.info("serving the models below %s as they are asked for", self.settings.multi_model.folder)
            return
        start = time.perf_counter()
        served = await self._in_thread(lambda: _load_and_test(load))
        if served is None:
            return
        self.application.serve_by_default(served)
        self.counts.model_load_seconds = time.perf_counter() - start
        self.counts.ready = 1
        _LOG.info(
            "serving a %s model, loaded and self-tested in %.3f s",
            *(served.algorithm, self.counts.model_load_seconds),
        )

    async def _in_thread(self, work: "Callable[[], Served]") -> "Served | None":
        """Return what `work` does beside the loop, so that /ping can say why it isn't ready; None if `stop` comes first.

        In a daemon, for which the end of the process doesn't wait.
        """
        done: asyncio.Future[Served] = self.loop.create_future()

        def run() -> None:
            # RuntimeError: the loop is closed, so nobody waits any more.
            with contextlib.suppress(RuntimeError):
                try:
                    result = work()
                except Exception as problem:  # noqa: BLE001 – raised where it is awaited
                    self.loop.call_soon_threadsafe(done.set_exception, problem)
                else:
                    self.loop.call_soon_threadsafe(done.set_result, result)

        threading.Thread(target=run, name="load", daemon=True).start()
        stop = self.loop.create_task(self._stop.wait())
        await asyncio.wait((done, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        return await done if done.done() else None

    async def _drain(self) -> None:
        """Answer what still comes, and return when it has been quiet, at the latest after the drain limit."""
        settings = self.settings
        self.draining = True
        self.counts.ready = 0
        self.application.start_draining()
        for connection in self.connections:
            connection.drain()
        _LOG.info("SIGTERM: draining %d connections", len(self.connections))
        start = self.loop.time()
        self.dispatcher.last_activity = max(self.dispatcher.last_activity, start)
        while self.loop.time() - start < settings.drain_limit:
            if self._quiet_seconds() >= settings.drain_quiet:
                _LOG.info("drained in %.1f s", self.loop.time() - start)
                return
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        busy = sum(connection.busy for connection in self.connections)
        _LOG.warning("leaving after %.0f s with %d requests unfinished", settings.drain_limit, busy)

    def _quiet_seconds(self) -> float:
        """Return for how long no worker has been asked anything, or owed an answer.

        All leave together: the connections that the kernel has meant for one that has left would wait in vain.
        """
        now = time.monotonic()
        own = now if self._owes_anything() else now - (self.loop.time() - self.dispatcher.last_activity)
        self.counts.last_activity = own
        return now - max([own, *(counts.last_activity for counts in self.others)])

    def _owes_anything(self) -> bool:
        """Whether somebody waits for an answer, though he may have asked only now: unread, or not yet accepted."""
        if any(connection.busy for connection in self.connections):
            return True
        return unread_requests(self._files_read(), listener=self._listener) > 0

    async def _sweep(self) -> None:
        interval = max(min(_SWEEP_SECONDS, self.settings.request_timeout / 4, self.settings.idle_timeout / 4), 0.01)
        while True:
            await asyncio.sleep(interval)
            now = self.loop.time()
            for connection in list(self.connections):
                connection.sweep(now)
            if os.getppid() != self._parent:
                _LOG.warning("the process that started this one is gone")
                self.stop()


def _load_and_test(load: Load) -> Served:
    served = Served("model", model=load())
    served.self_test()
    return served


async def run_server(server: Server, load: Load, *, listening: socket.socket | None = None, metrics: bool) -> None:
    """Run a server that SIGTERM and SIGINT stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        server.loop.add_signal_handler(number, server.stop)
    await server.run(load, listening=listening, metrics=metrics)


def serve(settings: ServeSettings, *, model_folder: Path) -> None:
    """Serve the model in `model_folder` until SIGTERM. Raises OSError (a port is taken) and what loading raises."""
    keep_freed_memory()
    if settings.workers > 1:
        from sagebrush_server.http.workers import supervise

        supervise(settings, model_folder=model_folder)
        return
    import uvloop

    async def run() -> None:
        # Here, so that the loader's imports happen in its thread.
        from sagebrush_server.models.loading import load_model

        server = Server(settings, loop=asyncio.get_running_loop())
        await run_server(server, lambda: load_model(model_folder), metrics=True)

    uvloop.run(run())
