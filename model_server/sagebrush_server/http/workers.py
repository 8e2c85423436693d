"""Several worker processes behind one port: started, replaced, told to leave, and their metrics added up."""

import contextlib
import gc
import logging
import mmap
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from sagebrush_server.counts import CELLS, RequestCounts
from sagebrush_server.http.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagebrush_server.algorithms.model import Model
    from sagebrush_server.algorithms.responder import Responder

_LOG = logging.getLogger(__name__)
_LOAD_PER_WORKER: Final = "SAGEBRUSH_LOAD_PER_WORKER"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_BACK_OFF_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""How long the replacement of a worker waits that has ended so many times in a row before it could serve."""
_LEAVE_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 1.0


class WorkerError(Exception):
    """No worker can be kept alive, so the container has to end."""


@dataclass
class _Slot:
    """The place of one worker, which outlives it: its socket, its counts, and the line on which it is asked for them."""

    number: int
    listening: socket.socket
    counts: RequestCounts
    asks: socket.socket
    asked: socket.socket
    pid: int = 0
    failures: int = 0
    due: float = 0.0


def supervise(settings: ServeSettings, *, model_folder: Path) -> None:
    """Serve with `settings.workers` processes until SIGTERM. Raises WorkerError, OSError and what loading raises."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    load = _loader(model_folder)
    slots = _slots(settings)
    port = slots[0].listening.getsockname()[1]
    exporter, metrics_port = _start_exporter(settings, slots=slots)
    _LOG.info(
        "listening on %s:%d with %d workers, metrics on :%d", settings.bind_address, port, len(slots), metrics_port
    )
    # What is there by now is shared by all; moving it to the permanent generation keeps the collector from touching it.
    gc.freeze()
    supervisor = _Supervisor(settings, slots=slots, load=load)
    try:
        supervisor.run()
    finally:
        supervisor.end()
        os.kill(exporter, signal.SIGKILL)
        os.waitpid(exporter, 0)


def _loader(model_folder: Path) -> "Callable[[], Model | Responder]":
    """Return what gives a worker its model: the one that is loaded here, or, where that can't be forked, its own."""
    from sagebrush_server.models.loading import load_model

    if os.environ.get(_LOAD_PER_WORKER) == "true":
        return lambda: load_model(model_folder)
    model = load_model(model_folder)
    if not model.fork_safe:
        _begin_anew(about=model.algorithm)
    return lambda: model


def _begin_anew(*, about: str) -> NoReturn:
    """Start this program again without a model: its threads and pools must not be there when workers are forked."""
    _LOG.info("a %s model can't be shared between processes; each worker loads it", about)
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.execve(sys.executable, sys.orig_argv, {**os.environ, _LOAD_PER_WORKER: "true"})  # noqa: S606 – itself


def _slots(settings: ServeSettings) -> list[_Slot]:
    memory = memoryview(mmap.mmap(-1, CELLS * 8 * settings.workers)).cast("d")
    slots, port = [], settings.port
    for number in range(settings.workers):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Each worker has a queue of its own, over which the kernel spreads connections; it outlives the worker.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((settings.bind_address, port))
        listening.listen(settings.backlog)
        port = listening.getsockname()[1]
        asks, asked = socket.socketpair()
        counts = RequestCounts(memory[number * CELLS : (number + 1) * CELLS])
        slots.append(_Slot(number, listening, counts, asks, asked))
    return slots


class _Supervisor:
    def __init__(self, settings: ServeSettings, *, slots: list[_Slot], load: "Callable[[], Model | Responder]") -> None:
        self._settings = settings
        self._slots = slots
        self._load = load

    def run(self) -> None:
        """Keep every worker alive until SIGTERM, then wait for all to leave. Raises WorkerError."""
        while True:
            now = time.monotonic()
            for slot in self._slots:
                if not slot.pid and now >= slot.due:
                    self._start(slot)
            due = [slot.due - now for slot in self._slots if not slot.pid]
            told = signal.sigtimedwait(_SIGNALS, min([1.0, *(max(seconds, 0.0) for seconds in due)]))
            for slot, status in self._ended():
                self._plan_replacement(slot, status=status)
            if told is not None and told.si_signo != signal.SIGCHLD:
                return

    def end(self) -> None:
        """Tell the workers to leave, and see to it that they have."""
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_limit + _LEAVE_SECONDS
        while any(slot.pid for slot in self._slots):
            signal.sigtimedwait((signal.SIGCHLD,), 0.1)
            for slot, status in self._ended():
                _LOG.info("worker %d has left (%s)", slot.number, _describe(status))
            if time.monotonic() > deadline:
                for slot in self._slots:
                    if slot.pid:
                        _LOG.warning("worker %d did not leave", slot.number)
                        os.kill(slot.pid, signal.SIGKILL)
                deadline = float("inf")

    def _start(self, slot: _Slot) -> None:
        slot.counts.begin_anew()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _be_worker(self._settings, slot=slot, slots=self._slots, load=self._load)
        slot.pid = pid

    def _ended(self) -> list[tuple[_Slot, int]]:
        ended = []
        for slot in self._slots:
            if slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    slot.pid = 0
                    ended.append((slot, status))
        return ended

    def _plan_replacement(self, slot: _Slot, *, status: int) -> None:
        slot.failures = 0 if slot.counts.ready else slot.failures + 1
        slot.counts.begin_anew()
        if slot.failures >= len(_BACK_OFF_SECONDS) or (slot.failures and not any(s.counts.ready for s in self._slots)):
            raise WorkerError(f"worker {slot.number} can't serve ({_describe(status)}); its reason stands above")
        wait = _BACK_OFF_SECONDS[slot.failures]
        slot.due = time.monotonic() + wait
        _LOG.error("worker %d ended (%s) and is replaced in %.1f s", slot.number, _describe(status), wait)


def _describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _be_worker(
    settings: ServeSettings, *, slot: _Slot, slots: list[_Slot], load: "Callable[[], Model | Responder]"
) -> NoReturn:
    """Serve in a forked process, and end it without what its parent would do at its end."""
    import asyncio

    import uvloop

    from sagebrush_server.http.server import Server, run_server

    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))  # until there is something to drain
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for other in slots:
            if other is not slot:
                other.listening.close()

        async def run() -> None:
            server = Server(settings, loop=asyncio.get_running_loop(), counts=slot.counts)
            server.others = [other.counts for other in slots if other is not slot]
            server.application.others_ready = lambda: all(other.counts.ready for other in slots)
            threading.Thread(target=_answer_asks, args=(slot, server.refresh), daemon=True).start()
            await run_server(server, load, listening=slot.listening, metrics=False)

        uvloop.run(run())
        code = 0
    except Exception as problem:  # noqa: BLE001 – whatever it was, the pod has to say so
        _LOG.debug("a worker ended", exc_info=True)
        _LOG.error("worker %d can't serve: %s", slot.number, " ".join(str(problem).split()) or repr(problem))
    finally:
        sys.stdout.flush()
        os._exit(code)


def _answer_asks(slot: _Slot, refresh: "Callable[[], None]") -> None:
    """Bring the counts up to date whenever the exporter asks for it."""
    while slot.asked.recv(1):
        refresh()
        slot.asked.send(b".")


def _start_exporter(settings: ServeSettings, *, slots: list[_Slot]) -> tuple[int, int]:
    """Start the process that answers /metrics for all workers; return its number and the port it has taken."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _be_exporter(settings, slots=slots, writer=writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    if not told.isdecimal():
        raise OSError(told or "the process that answers /metrics has ended")
    return pid, int(told)


def _be_exporter(settings: ServeSettings, *, slots: list[_Slot], writer: int) -> NoReturn:
    from sagebrush_server.metrics import RequestCollector, serve_metrics

    lock = threading.Lock()

    def refresh() -> None:
        with lock:
            for slot in slots:
                slot.asks.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    slot.asks.recv(4096)
                slot.asks.send(b"?")
            deadline = time.monotonic() + _ANSWER_SECONDS
            for slot in slots:
                slot.asks.settimeout(max(deadline - time.monotonic(), 0.001))
                try:
                    slot.asks.recv(1)
                except TimeoutError:
                    _LOG.warning("worker %d does not say how it is; its last figures count", slot.number)

    try:
        collector = RequestCollector(
            [slot.counts for slot in slots],
            endpoint_name=settings.endpoint_name,
            variant_name=settings.variant_name,
            refresh=refresh,
        )
        port = serve_metrics(collector, port=settings.metrics_port, address=settings.bind_address)
        os.write(writer, str(port).encode())
        os.close(writer)
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(1)
    except OSError as problem:
        os.write(writer, str(problem).encode())
    finally:
        os._exit(0)
