"""A client that sees bytes: what a library would repair or hide is what these tests are about."""

import http.client
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

TIMEOUT_SECONDS = 10.0


def wait_until(condition: Callable[[], bool], *, about: str, seconds: float = TIMEOUT_SECONDS) -> None:
    """Return when `condition` holds; connection refusals count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {about}"
        time.sleep(0.005)


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers=named)
        response = self._connection.getresponse()
        data = response.read()
        return Reply(response.status, data, {name.lower(): value for name, value in response.getheaders()})

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def invoke(self, body: bytes, content_type: str = "text/csv", **headers: str) -> Reply:
        return self.request("POST", "/invocations", body, Content_Type=content_type, **headers)

    def close(self) -> None:
        self._connection.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)


def post(body: bytes, *headers: str, content_type: str = "text/csv", version: str = "1.1") -> bytes:
    """The bytes of an invocation."""
    lines = [f"POST /invocations HTTP/{version}", "Host: model", f"Content-Type: {content_type}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_reply(stream: Any) -> Reply | None:
    """Read one answer from a socket's file; None at the end of the connection."""
    start = stream.readline()
    if not start:
        return None
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    return Reply(int(start.split()[1]), stream.read(int(headers.get("content-length", "0"))), headers)


def read_replies(connection: socket.socket) -> list[Reply]:
    """Read answers until the server ends the connection."""
    replies = []
    with connection.makefile("rb") as stream:
        while (reply := read_reply(stream)) is not None:
            replies.append(reply)
    return replies
