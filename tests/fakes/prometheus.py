"""A server that answers Prometheus' query API with request counters that a test sets."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

WINDOW_SECONDS = 120
SCRAPE_SECONDS = 1


@dataclass
class FakePrometheus:
    """Counters that have risen at an even rate for two minutes. Starts in the `with` block."""

    mode: str = "series"
    """`series`; `empty`: success without any; `broken`: HTTP status 503."""
    past: Callable[[float], float] | None = None
    """Requests per second at a Unix time, of all endpoints, for who asks for the history; None: it knows none."""
    queries: int = 0
    """For request counters; what else is asked for has no series here."""
    _rates: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = field(default_factory=dict)

    def load(self, namespace: str, endpoint: str, *, requests_per_minute: float, pods: list[str]) -> None:
        """From now on, and as if always, the pods share this load."""
        self._rates[namespace, endpoint] = (requests_per_minute, tuple(pods))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path: str, query: str) -> tuple[int, dict[str, Any]]:
        """Status and document of the answer to a query."""
        counters = path == "/api/v1/query" and query.startswith("sagebrush_invocations_total")
        self.queries += counters
        if self.mode == "broken":
            return 503, {"status": "error", "errorType": "unavailable", "error": "the test broke it"}
        if not counters:
            kind = "vector" if path == "/api/v1/query" else "matrix"
            return 200, {"status": "success", "data": {"resultType": kind, "result": []}}
        result = [] if self.mode == "empty" else list(self._series())
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}

    def history(self, *, start: float, end: float, step: float) -> tuple[int, dict[str, Any]]:
        """Status and document of the answer to a query over a range, where :attr:`past` is set."""
        assert self.past is not None
        times = [start + index * step for index in range(int((end - start) / step) + 1)]
        series = [{"metric": {}, "values": [[time, str(self.past(time))] for time in times]}]
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": series}}

    def _series(self) -> Any:
        now = int(time.time())
        for (namespace, endpoint), (rate, pods) in list(self._rates.items()):  # a test may add one meanwhile
            for pod in pods:
                each = rate / 60 / len(pods)
                yield {
                    "metric": {
                        "namespace": namespace,
                        "endpoint_name": endpoint,
                        "variant_name": "AllTraffic",
                        "pod": pod,
                    },
                    "values": [
                        [now - back, str(1000 + each * (WINDOW_SECONDS - back))]
                        for back in range(WINDOW_SECONDS, -1, -SCRAPE_SECONDS)
                    ],
                }

    def __enter__(self) -> Self:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
                known = self.path in {"/api/v1/query", "/api/v1/query_range"}
                if fake.past is not None and self.path == "/api/v1/query_range":
                    start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
                    status, document = fake.history(start=start, end=end, step=step)
                else:
                    status, document = fake.answer(self.path, form.get("query", [""])[0]) if known else (404, {})
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
