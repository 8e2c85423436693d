"""Requests that two readers could cut in different places, and clients that bend HTTP: one meaning, or an end."""

import socket
import time

import pytest

from tests.unit.server.wire import connect, post, read_replies, read_reply

ROW = b"3,1,0"
HIDDEN = post(b"0,3,9", "X-Hidden: 1")
LAST = post(ROW, "Connection: close")


def chunked(body, *headers):
    return post(body, "Transfer-Encoding: chunked", *headers)


@pytest.mark.parametrize(
    "data",
    [
        post(ROW, "Content-Length: 5", "Transfer-Encoding: chunked"),
        chunked(b"5\r\n3,1,0\r\n0\r\n\r\n", "Content-Length: 5"),
        post(ROW, "Content-Length: 5", "Content-Length: 5"),
        post(ROW + HIDDEN, "Content-Length: 5", f"Content-Length: {5 + len(HIDDEN)}"),
        post(ROW, "Content-Length: 5, 5"),
        post(ROW, "Content-Length: +5"),
        post(ROW, "Content-Length: -5"),
        post(ROW, "Content-Length: 0x5"),
        post(ROW, "Content-Length: 99999999999999999999"),
        post(ROW, "Content-Length : 5"),
        post(ROW).replace(b"Host: model", b" Host: model"),
        post(ROW).replace(b"Host: model", b"Ho st: model"),
        post(ROW).replace(b"Host: model", b"Host\x00: model"),
        post(ROW).replace(b"Host: model", b"Host: mo\x00del"),
        post(ROW).replace(b"\r\n", b"\n"),
        post(ROW).replace(b"\r\n", b"\r"),
        post(ROW).replace(b" HTTP/1.1", b" HTTP/3.7"),
        post(ROW).replace(b"POST", b"PO ST"),
        chunked(b"5;\n\r\n3,1,0\r\n0\r\n\r\n"),
        chunked(b"5x\r\n3,1,0\r\n0\r\n\r\n"),
        chunked(b"-5\r\n3,1,0\r\n0\r\n\r\n"),
        chunked(b"0x5\r\n3,1,0\r\n0\r\n\r\n"),
        chunked(b" 5\r\n3,1,0\r\n0\r\n\r\n"),
        chunked(b"5\n3,1,0\n0\n\n"),
        chunked(b"4\r\n3,1,0\r\n0\r\n\r\n"),
        chunked(b"ffffffffffffffffff\r\n3,1,0\r\n0\r\n\r\n"),
        post(b"5\r\n3,1,0\r\n0\r\n\r\n", "Transfer-Encoding: chunked, identity"),
        post(b"5\r\n3,1,0\r\n0\r\n\r\n", "Transfer-Encoding: xchunked"),
        post(b"5\r\n3,1,0\r\n0\r\n\r\n", "Transfer-Encoding : chunked"),
    ],
    ids=lambda data: repr(data[:0]) if not data else None,
)
def test_doubtful_framing_must_be_refused_and_nothing_behind_it_be_read(shared_server, data):
    """Where two readers could disagree about the end of a message: one 400, the end, and no second request."""
    with connect(shared_server.port) as connection:
        connection.sendall(data + HIDDEN + HIDDEN)
        replies = read_replies(connection)
    assert [reply.status for reply in replies] == [400]
    assert replies[0].headers["connection"] == "close"


def test_folded_header_must_not_become_another_one(shared_server):
    """A continued line (obsolete since RFC 7230) is part of the value before it, or refused; never a header."""
    with connect(shared_server.port) as connection:
        connection.sendall(post(ROW, "A: b\r\n Content-Length: 0") + LAST)
        statuses = [reply.status for reply in read_replies(connection)]
    assert statuses in ([400], [200, 200])


def test_body_that_looks_like_requests_must_stay_a_body(shared_server):
    """What Content-Length counts is never read as a request, though its head is one that is remembered."""
    with connect(shared_server.port) as connection:
        connection.sendall(post(ROW) + post(ROW) + post(post(ROW) + b"GET /ping HTTP/1.1\r\n\r\n") + LAST)
        replies = read_replies(connection)
    assert [reply.status for reply in replies] == [200, 200, 400, 200]


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (chunked(b"2\r\n3,\r\n3\r\n1,0\r\n0\r\n\r\n") + LAST, [200, 200]),
        (chunked(b"5;name=value\r\n3,1,0\r\n0\r\nA: b\r\nContent-Type: image/png\r\n\r\n") + LAST, [200, 200]),
        (chunked(b"0\r\n\r\n") + LAST, [204, 200]),
        (b"\r\n" + post(ROW) + b"\r\n" + LAST, [200, 200]),
        (post(ROW).replace(b"POST ", b"POST http://model:8080") + LAST, [200, 200]),
        (post(ROW).replace(b"/invocations", b"http://[/invocations") + LAST, [400]),
        (post(ROW).replace(b"/invocations", b"/invocations?x=1&y=/ping") + LAST, [200, 200]),
        (post(ROW).replace(b"/invocations", b"//invocations") + LAST, [404, 200]),
        (post(ROW).replace(b"/invocations", b"/invocations/../ping") + LAST, [404, 200]),
        (post(ROW).replace(b"POST", b"PUT") + LAST, [405, 200]),
        (post(ROW).replace(b" HTTP/1.1", b"") + HIDDEN, [505]),
        (post(ROW).replace(b" HTTP/1.1", b" HTTP/2.0") + HIDDEN, [505]),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + LAST, [404, 200]),
        (b"HEAD /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [200]),
        (post(ROW, version="1.0") + HIDDEN, [200]),
        (post(ROW, "Connection: close") + HIDDEN, [200]),
        (post(ROW, "Connection: keep-alive, close") + HIDDEN, [200]),
        (post(ROW).replace(b"Content-Type", b"cOnTeNt-TyPe") + LAST, [200, 200]),
    ],
)
def test_unusual_requests_must_be_answered_as_http_says(shared_server, data, statuses):
    """Chunks with extensions and trailers, empty lines before a request, absolute targets, odd methods, closes."""
    with connect(shared_server.port) as connection:
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            replies = []
            while len(replies) < len(statuses):
                head = b"HEAD" in data[:4]
                reply = read_head(stream) if head else read_reply(stream)
                replies.append(reply)
            assert stream.read() == b""
    assert [reply.status for reply in replies] == statuses


def read_head(stream):
    """Read an answer to HEAD, whose length is that of a body which isn't sent."""
    lines = iter(lambda: stream.readline().strip(), b"")
    status = int(next(lines).split()[1])
    list(lines)
    from tests.unit.server.wire import Reply

    return Reply(status, b"")


def test_request_one_byte_at_a_time_must_be_answered(shared_server):
    """A slow client is slow, not wrong."""
    with connect(shared_server.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(ROW) + LAST:
            connection.sendall(bytes([byte]))
        assert [reply.status for reply in read_replies(connection)] == [200, 200]


def test_slow_header_must_time_out_however_it_trickles(start_server):
    """Slowloris: a byte now and then doesn't keep a connection beyond the time-out."""
    running = start_server(request_timeout=0.2)
    with connect(running.port) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nA: ")
        deadline, data = time.monotonic() + 10, b""
        connection.settimeout(0.02)
        while b"408" not in data:
            assert time.monotonic() < deadline
            try:
                connection.sendall(b"x")
                data += connection.recv(4096)
            except TimeoutError:
                continue


@pytest.mark.parametrize("size", [20, 100, 65_000])
def test_endless_parts_of_a_request_must_be_bounded(shared_server, size):
    """Chunk extensions and trailers without end fill no memory."""
    with connect(shared_server.port) as connection:
        extension = b"1;" + b"x" * size + b"\r\n1\r\n"
        connection.sendall(chunked(b""))
        try:
            for _ in range(3 + 200_000 // size):
                connection.sendall(extension)
        except OSError:
            pass
        assert [reply.status for reply in read_replies(connection)] == [431]
