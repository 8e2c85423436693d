"""The /metrics of pods, each on an address of loopback of its own: counters that rise as a test says, or silence."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

HANGS_SECONDS = 60.0


class PodMetrics:
    """One pod. Its counter rises evenly at :attr:`requests_per_minute` from the moment that it is set."""

    def __init__(self, address: str, *, port: int = 0, endpoint: str = "model") -> None:
        self.address, self._port, self._endpoint = address, port, endpoint
        self._rate, self._count, self._since = 0.0, 0.0, time.monotonic()
        self._lock = threading.Lock()
        self._answering = threading.Event()
        self._answering.set()

    def load(self, requests_per_minute: float) -> None:
        """From now on."""
        with self._lock:
            self._count, self._since, self._rate = self._now(), time.monotonic(), requests_per_minute

    def hang(self, *, until_told: bool = True) -> None:
        """Take questions and answer none; with *until_told* False answer again."""
        (self._answering.clear if until_told else self._answering.set)()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def _now(self) -> float:
        return self._count + self._rate / 60 * (time.monotonic() - self._since)

    def __enter__(self) -> Self:
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pod._answering.wait(HANGS_SECONDS)
                with pod._lock:
                    count = int(pod._now())
                labels = f'endpoint_name="{pod._endpoint}",variant_name="AllTraffic"'
                body = f"sagebrush_invocations_total{{{labels}}} {count}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Quiet."""

        self._server = ThreadingHTTPServer((self.address, self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._answering.set()
        self._server.shutdown()
        self._server.server_close()
