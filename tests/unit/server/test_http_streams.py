"""Models that answer whole requests by code of their own: replies, streams, and what goes wrong in the middle of them."""

import asyncio
import re
import threading
import time

import pytest

from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.http import dispatcher
from tests.unit.server.wire import connect, post, read_reply, wait_until


class Code:
    """A responder whose answer is given by the test."""

    algorithm, fork_safe = "user code", True

    def __init__(self, respond):
        self.respond = respond

    def self_test(self):
        pass


@pytest.fixture
def ask(start_server):
    """Serve a function, send one request and return what the socket gives; the server stands beside it."""

    def start(respond, **changes):
        return start_server(lambda: Code(respond), connection_max_age=600.0, **changes)

    return start


def test_code_must_see_the_whole_request(ask):
    """Body, formats and headers in lower case, the trace among them; the default Accept where there is none."""
    seen = []

    def respond(invocation):
        seen.append(invocation)
        return Reply(b"hello", "text/plain", headers={"X-Mine": "1"})

    client = ask(respond).client()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for _ in range(3):
        reply = client.invoke(b"anything", "application/x-mine", traceparent=trace, X_Amzn_SageMaker_Inference_Id="i7")
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"hello", "text/plain")
        assert (reply.headers["x-mine"], reply.headers["x-amzn-sagemaker-inference-id"]) == ("1", "i7")
    assert len(seen) == 3
    assert seen[2].body == b"anything"
    assert (seen[2].content_type, seen[2].accept) == ("application/x-mine", "application/json")
    assert seen[2].headers["traceparent"] == trace
    assert isinstance(seen[2], Invocation)


def test_code_must_never_run_twice_at_a_time(ask):
    """Users' code need not be thread-safe, and /ping is answered while it runs."""
    at_work, most, go = [], [], threading.Event()

    def respond(_):
        at_work.append(1)
        most.append(len(at_work))
        assert go.wait(10)
        at_work.pop()
        return Reply(b"", "text/plain", status=204)

    running = ask(respond)
    connections = [connect(running.port) for _ in range(3)]
    for connection in connections:
        connection.sendall(post(b"x"))
    wait_until(lambda: at_work == [1], about="at work")
    assert running.client().get("/ping").status == 200
    go.set()
    for connection in connections:
        with connection, connection.makefile("rb") as stream:
            assert read_reply(stream).status == 204
    assert most == [1, 1, 1]


def test_answer_must_not_wait_for_what_is_slow_behind_it(ask, monkeypatch):
    """What the code has answered is written while it is already at the next, which may take its time."""
    began, first, go = threading.Event(), threading.Event(), threading.Event()

    def respond(invocation):
        if invocation.body == b"first":
            began.set()
            assert first.wait(10)
        elif invocation.body == b"slow":
            assert go.wait(10)
        return Reply(invocation.body, "text/plain")

    monkeypatch.setattr(dispatcher, "_HAND_BACK_SECONDS", 60.0)
    running = ask(respond)
    bodies = (b"first", b"quick", b"slow")
    connections = [connect(running.port) for _ in bodies]
    connections[0].sendall(post(bodies[0]))
    assert began.wait(10)
    for number, (connection, body) in enumerate(zip(connections[1:], bodies[1:], strict=True), start=1):
        connection.sendall(post(body))
        wait_until(lambda number=number: running.server.dispatcher.waiting == number, about="the next one waits")
    first.set()
    for connection, body in zip(connections[:-1], bodies[:-1], strict=True):
        with connection, connection.makefile("rb") as stream:
            assert read_reply(stream).body == body
    go.set()
    with connections[-1] as connection, connection.makefile("rb") as stream:
        assert read_reply(stream).body == b"slow"


def test_awaited_replies_must_be_awaited_together(ask):
    """Code that waits for others does so on the loop, several requests at a time."""
    together = asyncio.Event()
    inside = []

    async def respond(invocation):
        inside.append(invocation.body)
        if len(inside) == 2:
            together.set()
        async with asyncio.timeout(10):
            await together.wait()
        return Reply(invocation.body, "text/plain")

    running = ask(respond)
    connections = [connect(running.port) for _ in range(2)]
    for number, connection in enumerate(connections):
        connection.sendall(post(b"%d" % number))
    bodies = []
    for connection in connections:
        with connection, connection.makefile("rb") as stream:
            bodies.append(read_reply(stream).body)
    assert bodies == [b"0", b"1"]


@pytest.mark.parametrize(
    ("respond", "status", "says"),
    [
        (lambda _: (_ for _ in ()).throw(RequestError(422, message="not like this")), 422, "not like this"),
        (lambda _: 1 / 0, 500, "the log has it"),
        (lambda _: Reply(b"", "text/plain", status=99), 500, "the log has it"),
        (lambda _: Reply(b"", "text/plain", headers={"Content-Length": "7"}), 500, "the log has it"),
        (lambda _: Reply(b"", "text/plain", headers={"A": "b\r\nC: d"}), 500, "the log has it"),
        (lambda _: Reply(b"", "text/plain\r\nC: d"), 500, "the log has it"),
        (lambda _: Reply("text", "text/plain"), 500, "the log has it"),
        (lambda _: None, 500, "the log has it"),
    ],
)
def test_reply_that_cannot_be_given_must_be_an_error_with_an_id(ask, caplog, respond, status, says):
    """Refusals are the code's own; exceptions and replies that HTTP can't carry are a 500 that the log explains."""
    client = ask(respond).client()
    reply = client.invoke(b"x", traceparent="00-abc-def-01")
    assert reply.status == status
    assert says in reply.json["error"]
    if status == 500:
        assert reply.json["id"] in caplog.text
        assert "00-abc-def-01" in caplog.text
    assert client.get("/ping").status == 200


def pieces(number=5):
    for index in range(number):
        yield b"piece %d\n" % index


async def pieces_awaited(number=5):
    for piece in pieces(number):
        await asyncio.sleep(0)
        yield piece


@pytest.mark.parametrize("body", [pieces, pieces_awaited])
def test_stream_must_be_chunked_and_the_connection_go_on(ask, body):
    """Pieces arrive as chunks, ended by the last one; the next request on the connection is answered behind it."""
    running = ask(lambda _: Reply(body(), "text/event-stream"))
    client = running.client()
    for _ in range(3):
        reply = client.invoke(b"x")
        assert (reply.status, reply.body) == (200, b"".join(pieces()))
        assert reply.headers["transfer-encoding"] == "chunked"
    with connect(running.port) as connection:
        connection.sendall(post(b"x") + post(b"x", "Connection: close"))
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    assert data.count(b"HTTP/1.1 200 OK") == 2
    assert data.count(b"piece 4") == 2
    assert data.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("body", [pieces, pieces_awaited])
def test_stream_to_http_1_0_must_end_with_the_connection(ask, body):
    """HTTP/1.0 knows no chunks."""
    running = ask(lambda _: Reply(body(), "text/plain"))
    with connect(running.port) as connection:
        connection.sendall(post(b"x", "Connection: keep-alive", version="1.0"))
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"chunked" not in head
    assert rest == b"".join(pieces())


def failing():
    yield b"first"
    raise RuntimeError("in the middle")


async def failing_awaited():
    yield b"first"
    raise RuntimeError("in the middle")


@pytest.mark.parametrize("body", [failing, failing_awaited])
def test_stream_that_fails_must_break_its_connection(ask, body, caplog):
    """The client sees a connection that ends before the last chunk, and the log has the reason under an id."""
    running = ask(lambda _: Reply(body(), "text/plain"))
    data = b""
    with connect(running.port) as connection:
        connection.sendall(post(b"x"))
        try:
            while part := connection.recv(65536):
                data += part
        except ConnectionResetError:
            pass
    assert not data.endswith(b"0\r\n\r\n")
    wait_until(lambda: "in the middle" in caplog.text, about="the log")
    assert re.search(r"error [0-9a-f]{32} in the middle of the answer to POST /invocations", caplog.text)
    assert running.client().get("/ping").status == 200


def test_first_piece_must_not_wait_for_the_last(ask):
    """A stream is sent as it comes."""
    go = threading.Event()

    def slowly():
        yield b"first"
        assert go.wait(10)
        yield b"last"

    running = ask(lambda _: Reply(slowly(), "text/plain"))
    with connect(running.port) as connection:
        connection.sendall(post(b"x", "Connection: close"))
        data = b""
        while b"first" not in data:
            data += connection.recv(65536)
        go.set()
        while part := connection.recv(65536):
            data += part
    assert b"last" in data


@pytest.mark.parametrize("awaited", [False, True])
def test_stream_must_wait_for_a_client_that_does_not_read(ask, awaited):
    """What is drawn from the model is bounded by what the client takes; others are answered; the end tells the model."""
    drawn, closed = [], threading.Event()

    def endless():
        try:
            while True:
                drawn.append(1)
                yield b"x" * 10_000
        finally:
            closed.set()

    async def endless_awaited():
        try:
            for piece in endless():
                yield piece
        finally:
            closed.set()

    def respond(invocation):
        if invocation.body == b"short":
            return Reply(b"ok", "text/plain")
        return Reply(endless_awaited() if awaited else endless(), "text/plain")

    running = ask(respond)
    with connect(running.port) as connection:
        connection.sendall(post(b"x"))
        wait_until(lambda: len(drawn) > 10, about="it streams")
        wait_until(lambda: is_steady(lambda: len(drawn)), about="it waits")
        assert len(drawn) < 5000
        assert running.client().invoke(b"short").body == b"ok"
    wait_until(closed.is_set, about="the model's iterator is closed")


def is_steady(value):
    first, until = value(), time.monotonic() + 0.1
    while time.monotonic() < until:
        if value() != first:
            return False
        time.sleep(0.01)
    return True
