"""The HTTP server: keep-alive, a thread for each connection, all answers in one write."""

import contextlib
import json
import socket
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.sagemaker_simulator import protocol
from tests.sagemaker_simulator.errors import AwsError, ConnectionLost
from tests.sagemaker_simulator.protocol import Reply
from tests.sagemaker_simulator.traffic import exposition

if TYPE_CHECKING:
    from tests.sagemaker_simulator.simulator import Simulator


class Server(ThreadingHTTPServer):
    """Knows its open connections, to close them when it stops."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: "Simulator") -> None:
        self.simulator = simulator
        self.connections: set[socket.socket] = set()
        super().__init__(address, Handler)

    def stop(self) -> None:
        """Take no more calls and drop the connections."""
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break; that is what clients do."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """The audit is the log."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_DELETE(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Callable[[], Reply]) -> None:
        try:
            reply = method()
        except ConnectionLost:
            self.close_connection = True
            return
        except Exception:  # noqa: BLE001 - a bug of the simulator's must be seen, not taken for a lost connection
            traceback.print_exc()
            reply = protocol.encode_error("json", AwsError("SimulatorBug", traceback.format_exc(limit=-3), 500))
        head = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('Status', ''))[0]}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        head.append(f"Content-Length: {len(reply.body)}")
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + reply.body)

    def _get(self) -> Reply:
        simulator = self.server.simulator
        if self.path.split("?")[0] == "/metrics":
            with simulator.world.agenda.lock:
                simulator.world.agenda.catch_up()
                text = exposition(simulator.world)
            return Reply(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})
        return self._control({})

    def _post(self) -> Reply:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_simulator/"):
            return self._control(json.loads(body or b"{}"))
        try:
            request = protocol.decode(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        except AwsError as error:
            return protocol.encode_error("json", error)
        try:
            return protocol.encode(request, self.server.simulator.dispatcher.answer(request))
        except AwsError as error:
            return protocol.encode_error(request.protocol, error)

    def _control(self, document: Any) -> Reply:
        path, _, query = self.path.partition("?")
        try:
            answer = self.server.simulator.control(f"{self.command} {path}", document, query=query)
        except KeyError:
            return Reply(404, b'{"error": "no such path"}', {"Content-Type": "application/json"})
        except (ValueError, TypeError) as error:
            return Reply(400, json.dumps({"error": str(error)}).encode(), {"Content-Type": "application/json"})
        return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def serve(server: Server) -> threading.Thread:
    """Serve in the background."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    return thread
