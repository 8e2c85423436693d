"""Connections as clients really use them: pipelined, chunked, cut in pieces, slow, hostile."""

import contextlib
import random
import socket
import threading
import time

import pytest

from tests.unit.server.wire import connect, post, read_replies, read_reply, wait_until

LABELS = [1, 0, 1, 1, 0]


def labels(replies):
    return [reply.json["predictions"][0]["predicted_label"] for reply in replies]


def row(label):
    return b"3,1,0" if label else b"0,3,9"


def pipelined():
    """Five invocations, one of them chunked, one with a trailer; the last asks to close."""
    chunked = b"2\r\n0,\r\n3\r\n3,9\r\n0\r\nContent-Type: image/png\r\n\r\n"
    middle = [post(row(label)) for label in LABELS[:3]]
    return b"".join(
        [
            *middle[:1],
            post(chunked, "Transfer-Encoding: chunked"),
            *middle[2:],
            post(row(1)),
            post(row(0), "Connection: close"),
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_pipelined_requests_must_be_answered_in_order_however_they_are_cut(shared_server, seed):
    """Five requests in one stream give five answers in order, wherever the stream is cut into segments."""
    data, cuts = pipelined(), random.Random(seed)
    with connect(shared_server.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data:
            size = len(data) if seed == 0 else cuts.randint(1, 60)
            connection.sendall(data[:size])
            data = data[size:]
        replies = read_replies(connection)
    assert labels(replies) == LABELS
    assert [reply.headers.get("connection") for reply in replies] == [None] * 4 + ["close"]


def test_http_1_0_must_be_closed_unless_kept_alive(shared_server):
    """HTTP/1.0 closes after an answer; with Connection: keep-alive it is told so and goes on."""
    with connect(shared_server.port) as connection:
        connection.sendall(post(row(1), "Connection: keep-alive", version="1.0") + post(row(0), version="1.0"))
        replies = read_replies(connection)
    assert [reply.headers["connection"] for reply in replies] == ["keep-alive", "close"]


def test_expect_must_be_answered_before_the_body_is_sent(shared_server):
    """A client that waits for 100 Continue gets it, then its answer."""
    with connect(shared_server.port) as connection, connection.makefile("rb") as stream:
        connection.sendall(post(b"", "Expect: 100-continue", "Content-Length: 5"))
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        connection.sendall(row(1))
        assert read_reply(stream).status == 200


def test_expect_must_not_invite_a_body_that_is_too_large(start_server):
    """A body announced over the limit is refused with 413 before it is sent."""
    running = start_server(max_body_bytes=100)
    with connect(running.port) as connection:
        connection.sendall(post(b"", "Expect: 100-continue", "Content-Length: 101"))
        replies = read_replies(connection)
    assert [(reply.status, reply.headers["connection"]) for reply in replies] == [(413, "close")]


def test_chunked_body_over_the_limit_must_be_refused_while_the_client_still_sends(start_server):
    """The 413 reaches a client that goes on sending: the server reads on instead of resetting the connection."""
    running = start_server(max_body_bytes=1000)
    chunk = b"400\r\n" + b"1" * 1024 + b"\r\n"
    with connect(running.port) as connection:
        connection.sendall(post(chunk * 200, "Transfer-Encoding: chunked"))
        replies = read_replies(connection)
    assert [reply.status for reply in replies] == [413]
    assert "1000 bytes" in replies[0].json["error"]


def test_upgrade_offer_must_be_ignored(shared_server):
    """A request that offers h2c, with or without a body, is answered in HTTP/1.1 and the connection goes on."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    with connect(shared_server.port) as connection:
        connection.sendall(post(row(1), *offer) + post(row(0), "Connection: close"))
        replies = read_replies(connection)
    assert labels(replies) == [1, 0]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /ping HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /ping HTTP/1.1\r\nA: " + b"x" * 600_000, 431),
        (b"GET /ping HTTP/1.1\r\nExpect: a-miracle\r\n\r\n", 417),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 405),
    ],
)
def test_hostile_request_must_get_one_refusal_and_an_end(shared_server, data, status):
    """What isn't HTTP, is ambiguous (request smuggling) or endless is refused once and the connection closed."""
    with connect(shared_server.port) as connection:
        connection.sendall(data)
        replies = read_replies(connection)
    assert [(reply.status, reply.headers["connection"]) for reply in replies] == [(status, "close")]
    assert shared_server.client().get("/ping").status == 200


def test_old_connection_must_be_closed_with_an_answer(start_server):
    """Once older than the maximum age, a connection is told to close on its next answer, never without one."""
    running = start_server(connection_max_age=0.2)
    with connect(running.port) as connection, connection.makefile("rb") as stream:
        answered = []
        deadline = time.monotonic() + 10
        while not answered or answered[-1].headers.get("connection") != "close":
            assert time.monotonic() < deadline
            connection.sendall(post(row(1)))
            answered.append(read_reply(stream))
        assert read_reply(stream) is None
    assert {reply.status for reply in answered} == {200}
    assert len(answered) > 1


def test_unfinished_request_must_time_out(start_server):
    """A client that stops in the middle of a request is told 408 and let go."""
    running = start_server(request_timeout=0.1)
    with connect(running.port) as connection:
        connection.sendall(post(row(1))[:-2])
        replies = read_replies(connection)
    assert [reply.status for reply in replies] == [408]


def test_idle_connection_must_be_closed(start_server):
    """A connection without requests doesn't stay for ever."""
    running = start_server(idle_timeout=0.1)
    with connect(running.port) as connection:
        assert connection.recv(1) == b""


def test_slow_reader_must_not_make_the_server_buffer_without_bound(start_server):
    """Answers wait in the kernel of a client that doesn't read; the server stops reading it, and goes on when it reads."""
    running = start_server(connection_max_age=600.0)
    counts = running.server.counts
    request, total = post(b"\n".join([row(1)] * 2000)), 400
    with socket.socket() as connection:
        # Small, so that what the kernel holds for the client is far below the 40 MB of all answers.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", running.port))
        connection.settimeout(10)
        sender = threading.Thread(target=send_all, args=(connection, request * total), daemon=True)
        sender.start()
        wait_until(lambda: counts.in_flight > 0 and is_steady(lambda: counts.responses[200]), about="held back")
        assert counts.responses[200] < total
    wait_until(lambda: counts.in_flight == 0, about="a lost client is accounted for")


def send_all(connection, data):
    with contextlib.suppress(OSError):
        connection.sendall(data)


def is_steady(value):
    """Whether a value doesn't change for a tenth of a second."""
    first, until = value(), time.monotonic() + 0.1
    while time.monotonic() < until:
        if value() != first:
            return False
        time.sleep(0.01)
    return True


def test_client_that_does_not_read_must_be_let_go(start_server):
    """After the time-out its connection is reset, and the requests that it still had are accounted for."""
    running = start_server(connection_max_age=600.0, request_timeout=0.3)
    request = post(b"\n".join([row(1)] * 2000))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", running.port))
        connection.settimeout(10)
        sender = threading.Thread(target=send_all, args=(connection, request * 400), daemon=True)
        sender.start()
        wait_until(lambda: running.server.counts.in_flight > 0, about="held back")
        wait_until(lambda: not running.server.connections, about="let go")
        wait_until(lambda: running.server.counts.in_flight == 0, about="accounted for")
    assert running.client().get("/ping").status == 200
