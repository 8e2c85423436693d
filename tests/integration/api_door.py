"""A way to the API server that a test can shut at one request: before it gets there, or before its answer gets back."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, Self

import urllib3
import yaml

from tests.integration.kube import WAIT_SECONDS, Kube

Matches = Callable[[str, str, bytes], bool]
"""Whether a request (method, path, body) is the one."""
_PASSED_ON = ("Accept", "Content-Type")


class ApiDoor:
    """Plain HTTP on loopback, to be named in a kubeconfig; it goes on to the API server as its administrator."""

    def __init__(self, kube: Kube) -> None:
        self._pool, self._target = kube._pool, kube._server
        self._held: tuple[Matches, Literal["before", "after"]] | None = None
        self._caught, self._open = threading.Event(), threading.Event()

    def hold(self, matches: Matches, *, cut: Literal["before", "after"]) -> None:
        """Keep the first such request for ever, or let it in and keep its answer."""
        self._caught.clear()
        self._open.clear()
        self._held = matches, cut

    def wait_caught(self) -> None:
        """Return once a request is held: the API server has it not, or has carried it out."""
        assert self._caught.wait(WAIT_SECONDS), "the request did not come"

    def release(self) -> None:
        """Let go of what is held, unanswered, and hold nothing more."""
        self._held = None
        self._open.set()

    def kubeconfig(self, folder: Path) -> Path:
        """One that leads through this door."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "door",
            "contexts": [{"name": "door", "context": {"cluster": "door", "user": "door"}}],
            "clusters": [{"name": "door", "cluster": {"server": url}}],
            "users": [{"name": "door", "user": {}}],
        }
        path = folder / "kubeconfig-door"
        path.write_text(yaml.safe_dump(content))
        return path

    def __enter__(self) -> Self:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                held = door._held
                if held is not None and held[0](self.command, self.path, body):
                    if held[1] == "after":
                        door._ask(self, body).drain_conn()
                    door._caught.set()
                    door._open.wait(WAIT_SECONDS)
                    return
                try:
                    answer = door._ask(self, body)
                except urllib3.exceptions.HTTPError:
                    return
                with answer:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                    self.end_headers()
                    try:
                        for part in answer.stream(decode_content=True):
                            self.wfile.write(part)
                    except (OSError, urllib3.exceptions.HTTPError):
                        return  # either side has gone

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> urllib3.BaseHTTPResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        return self._pool.request(
            request.command, self._target + request.path, body=body or None, headers=headers,
            preload_content=False, timeout=WAIT_SECONDS,
        )  # fmt: skip
