"""The Prometheus of the fakes with all that can happen to a real one: it dies, hangs, is late, or knows only half."""

import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any, Self
from weakref import WeakSet

from tests.fakes.prometheus import FakePrometheus

Series = dict[str, Any]
Change = Callable[[list[Series]], list[Series]]

HANGS_SECONDS = 60.0


def unchanged(series: list[Series]) -> list[Series]:
    """All of it."""
    return series


class FaultyPrometheus(FakePrometheus):
    """Healthy until told otherwise; :meth:`heal` ends whatever was wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.change: Change = unchanged
        """What becomes of the series before they are sent."""
        self.status = 200
        """HTTP status; another than 200 comes without a word that Prometheus would say."""
        self.late_seconds = 0.0
        self._answering = threading.Event()
        self._answering.set()
        self._killed = self._usurped = False
        # One thread for each connection, whoever is at its end.
        self._connections: WeakSet[threading.Thread] = WeakSet()
        self._strangers: WeakSet[threading.Thread] = WeakSet()

    def hang(self) -> None:
        """Take connections and questions, and answer none."""
        self._answering.clear()

    def usurp(self) -> None:
        """Somebody else answers at this address, and goes on to do so on the connections that there are when it is healed."""
        self._usurped = True
        self._strangers |= self._connections

    def kill(self) -> None:
        """Nobody listens any more."""
        self._killed = True
        self._server.shutdown()
        self._server.server_close()

    def heal(self, *, change: Change = unchanged) -> None:
        """Answer as ever, at the same address, but for this *change*."""
        self.change, self.status, self.late_seconds, self.mode = change, 200, 0.0, "series"
        self._usurped = False
        self._answering.set()
        if self._killed:
            self._killed = False
            self._server = ThreadingHTTPServer(self._server.server_address, self._server.RequestHandlerClass)
            self._server.daemon_threads = True
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, query: str) -> tuple[int, dict[str, Any]]:
        """The answer to a query, with what is wrong now."""
        self._answering.wait(HANGS_SECONDS)
        self._connections.add(threading.current_thread())
        if self._usurped:
            self._strangers.add(threading.current_thread())
        if threading.current_thread() in self._strangers:
            return 404, {}
        status, document = super().answer(path, query)
        if self.status != 200:
            return self.status, {}
        if document["status"] == "success" and document["data"]["resultType"] == "matrix":
            document["data"]["result"] = self.change(document["data"]["result"])
        time.sleep(self.late_seconds)
        return status, document

    def __enter__(self) -> Self:
        super().__enter__()
        self._server.RequestHandlerClass.protocol_version = "HTTP/1.1"  # type: ignore[attr-defined]  # keeps connections
        return self

    def __exit__(self, *_: object) -> None:
        self._answering.set()
        if not self._killed:
            super().__exit__()


def without(*pods: str) -> Change:
    """These pods are not in the answer."""
    return lambda series: [one for one in series if one["metric"]["pod"] not in pods]


def without_values(*pods: str) -> Change:
    """These pods' samples, all of them where none is named, are NaN."""

    def change(series: list[Series]) -> list[Series]:
        for one in series:
            if not pods or one["metric"]["pod"] in pods:
                one["values"] = [[at, "NaN"] for at, _ in one["values"]]
        return series

    return change


def between(*, oldest_seconds: float = 1e9, newest_seconds: float = 0.0) -> Change:
    """Only samples between these ages: a server that has just begun, or one whose scrapes have come to a stop."""

    def change(series: list[Series]) -> list[Series]:
        now = time.time()
        for one in series:
            one["values"] = [each for each in one["values"] if newest_seconds <= now - each[0] <= oldest_seconds]
        return series

    return change


def with_gap(*, begin_seconds: float, end_seconds: float) -> Change:
    """No samples of these ages: it was away."""

    def change(series: list[Series]) -> list[Series]:
        now = time.time()
        for one in series:
            one["values"] = [each for each in one["values"] if not end_seconds <= now - each[0] <= begin_seconds]
        return series

    return change
