"""The load generator against servers of known capacity and with every bad habit."""

import asyncio

import pytest

from sagebrush.capacity_test import generator as generator_module
from sagebrush.capacity_test.generator import Generator, Target
from sagebrush.capacity_test.measurement import Bound
from tests.unit.capacity_test.servers import FakeServer, serving

BOUND = Bound(0.2, 0.1)
HEAD = b"HTTP/1.1 200 OK\r\n"


def generator(
    url: str, *, bodies: tuple[bytes, ...] = (b"1,2",), timeout: float = 5.0, most: int = 100_000
) -> Generator:
    target = Target.of(url, bodies=bodies, content_type="text/csv", accept=None, timeout=timeout)
    return Generator(target, BOUND, most_requests=most)


def answering(answer: bytes):
    return lambda server, body: answer


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  5 \r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
            200,
            b"hello",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200, b"x"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 415 No\r\nContent-Length: 3\r\n\r\nwhy", 415, b"why"),
    ],
    ids=["length", "case", "no content", "interim", "chunks with trailer", "chunks", "until close", "refused"],
)
async def test_answer_must_be_read_however_it_is_framed(answer: bytes, status: int, body: bytes):
    """Every framing that HTTP/1.1 knows is understood, and the connection used again where it may be."""
    async with serving(answer=answering(answer)) as server:
        load = generator(server.url)
        first = await load.closed(1, seconds=5, most=1)
        second = await load.closed(1, seconds=5, most=1)
        assert load.last is not None
        assert (load.last.status, load.last.body) == (status, body)
        assert [len(step.latencies) for step in (first, second)] == ([1, 1] if status < 300 else [0, 0])
        assert server.connections == (2 if b"close" in answer else 1)
        await load.close()


async def test_request_must_be_whole():
    """Path, host, type and length as the hosting contract wants them; several payloads take turns."""
    async with serving() as server:
        load = generator(server.url, bodies=(b"a", b"bb"))
        await load.closed(1, seconds=5, most=3)
        await load.close()
    assert server.bodies == [b"a", b"bb", b"a"]
    head = server.heads[1].decode()
    assert head.startswith("POST /invocations HTTP/1.1\r\n")
    assert "Content-Type: text/csv\r\n" in head
    assert "Content-Length: 2\r\n" in head
    assert f"Host: {server.url.removeprefix('http://')}\r\n" in head


async def test_open_loop_must_send_the_rate_whatever_the_answers_do():
    """As many requests as the rate says, no more and no fewer, even where the replica answers only half of them in time."""
    async with serving(slots=1, service_seconds=0.02) as server:
        load = generator(server.url)
        step = await load.open(100, seconds=0.5, give_up=False)
        await load.close()
    assert step.requests == server.requests == 50
    assert step.errors.total() == 0


async def test_latency_must_count_from_the_intended_moment(monkeypatch: pytest.MonkeyPatch):
    """A replica that stalls is charged for every request that was due meanwhile, not only for the one that it held."""
    monkeypatch.setattr(generator_module, "MOST_CONNECTIONS", 1)
    async with serving() as server:
        load = generator(server.url)
        server.stalled.set()
        asyncio.get_running_loop().call_later(0.6, server.stalled.clear)
        step = await load.open(100, seconds=0.5, give_up=False)
        await load.close()
    # Due evenly over half a second, all answered at 0.6 s: from 0.1 to 0.6 s each, a fifth of them within the bound.
    assert step.requests == 50
    assert step.late >= 35
    assert 0.25 < step.quantile(0.5) < 0.6


async def test_hopeless_step_must_be_broken_off():
    """Once far more are late than may be, no further load is put on the replica; what was not sent counts as late."""
    async with serving(slots=1, service_seconds=0.05) as server:
        load = generator(server.url)
        step = await load.open(200, seconds=30)
        await load.close()
    assert step.broken_off == "too many are late"
    assert step.seconds < 5
    assert not step.holds


def drop_every_third(server: FakeServer, body: bytes) -> bytes | None:
    return None if server.requests % 3 == 0 else HEAD + b"Content-Length: 0\r\n\r\n"


async def test_connection_lost_between_requests_must_be_no_failure():
    """A server that closes a kept connection under the next request gets it again on a new one; users' clients do the same."""
    async with serving(answer=drop_every_third) as server:
        load = generator(server.url)
        step = await load.closed(1, seconds=5, most=9)
        await load.close()
    assert (len(step.latencies), step.errors) == (9, {})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "connection closed before the answer"),
        (b"SSH-2.0-x\r\n\r\n", "not an HTTP answer"),
        (HEAD + b"Content-Length: 9\r\n\r\nshort", "no answer within"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 6\r\n\r\nbroken", "HTTP 500: broken"),
    ],
    ids=["closes", "no HTTP", "stops in the middle", "bad chunk", "error"],
)
async def test_bad_answer_must_be_counted_with_its_reason(answer: bytes | None, words: str):
    """Whatever a server does, the step ends, and the reason is told in its own words."""
    async with serving(answer=lambda server, body: answer) as server:
        load = generator(server.url, timeout=0.3)
        step = await load.closed(1, seconds=0.3, most=1)
        after = await load.closed(1, seconds=0.3, most=1)
        await load.close()
    (said,) = step.errors
    assert said.startswith(words)
    assert after.requests == 1


async def test_refusals_must_count_as_late_and_be_no_error():
    """429 and 503 say that the replica has enough: late requests, and no reason to stop."""
    async with serving(answer=answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")) as server:
        load = generator(server.url)
        step = await load.open(50, seconds=0.1)
        await load.close()
    assert (step.refused, step.late, step.errors, step.holds) == (5, 5, {}, False)


async def test_nobody_there_must_be_told():
    """A refused connection is one failed request with the system's words."""
    async with serving() as server:
        url = server.url
    load = generator(url)
    step = await load.closed(1, seconds=5, most=1)
    (said,) = step.errors
    assert said.startswith("can't connect")


async def test_requests_must_be_bounded():
    """Never more requests than --max-requests, over all steps together."""
    async with serving() as server:
        load = generator(server.url, most=20)
        await load.closed(4, seconds=5, most=15)
        step = await load.open(1000, seconds=1)
        await load.close()
    assert server.requests == 20
    assert step.broken_off == "the limit on requests was reached (--max-requests)"
