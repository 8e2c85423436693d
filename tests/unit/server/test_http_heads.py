"""The memory of heads must change nothing but the time it takes."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.http.connection import Connection
from sagebrush_server.http.heads import HeadMemory
from sagebrush_server.http.server import Server
from tests.unit.server.conftest import SETTINGS, tiny_model
from tests.unit.server.wire import post


class Transport:
    """A client that takes everything at once."""

    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, data):
        assert not self.closed
        self.written += data

    def write_eof(self):
        self.closed = True

    close = abort = write_eof

    def is_closing(self):
        return False

    def get_extra_info(self, _):
        return self

    def fileno(self):
        return -1

    def set_write_buffer_limits(self, **_):
        pass

    pause_reading = resume_reading = lambda self: None


class Forgetful(HeadMemory):
    def learn(self, data, *, head):
        pass


@pytest.fixture(scope="module")
def pair():
    """Two servers on one loop, of which one forgets every head, and the loop."""
    loop = asyncio.new_event_loop()

    async def make(memory):
        server = Server(replace(SETTINGS, connection_max_age=1e6), loop=loop)
        server.application.heads = memory
        server.application.serve_model(LinearPredictor(tiny_model()))
        return server

    yield loop, [loop.run_until_complete(make(memory)) for memory in (HeadMemory(), Forgetful())]
    loop.close()


async def converse(server, pieces):
    """Send pieces, each in a turn of the loop of its own, and return what was answered and whether it was the end."""
    connection, transport = Connection(server), Transport()
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        while connection._exchanges:
            await asyncio.sleep(0.001)
    connection.connection_lost(None)
    return transport.written, transport.closed


ROW = b"3,1,0"
WHOLE = [
    post(ROW),
    post(b"0,3,9"),
    post(b"1,2"),
    post(b"3,1,0\n0,3,9"),
    post(b"", "Content-Length: 0"),
    post(ROW, "Accept: text/csv"),
    post(ROW, "X-Amzn-SageMaker-Custom-Attributes: a=1"),
    post(b"[[3,1,0]]", content_type="application/json"),
    post(ROW, "Connection: close"),
    post(ROW, version="1.0"),
    post(ROW, "Connection: keep-alive", version="1.0"),
    post(b"5\r\n3,1,0\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    post(ROW, "Expect: 100-continue"),
    post(ROW, "Upgrade: h2c", "Connection: Upgrade"),
    b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /ping HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n" + post(ROW),
    post(post(ROW)),
    post(b"\n" + post(ROW), "Expect: 100-continue"),
    post(ROW).replace(b"/invocations", b"/invocations?a=b"),
    post(ROW).replace(b"/invocations", b"http://model/invocations"),
]
BROKEN = [
    post(ROW, "Content-Length: 5", "Content-Length: 5"),
    post(ROW, "Content-Length: 5", "Content-Length: 6"),
    post(ROW, "Content-Length: 5", "Transfer-Encoding: chunked"),
    post(ROW, "Content-Length: +5"),
    post(ROW, "Content-Length : 5"),
    post(ROW).replace(b"\r\n", b"\n"),
    post(ROW, "A: b\r\n folded"),
    post(b"5x\r\n3,1,0\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    b"\r\n\r\n",
    b"5\r\n",
    post(ROW)[:-3],
]
MESSAGES = st.sampled_from([*WHOLE, *WHOLE, *BROKEN])


def cut(messages, randomness):
    """Cut a stream into reads, mostly where heads and messages end, or a byte or two beside that, or anywhere."""
    data, at, likely = b"".join(messages), 0, []
    for message in messages:
        for end in (message.find(b"\r\n\r\n") + 4, len(message)):
            likely += [at + end + randomness.choice((0, 0, 0, -1, 1, -2))]
        at += len(message)
    some = [where for where in likely if randomness.random() < 0.6]
    anywhere = [randomness.randrange(len(data) + 1) for _ in range(randomness.randrange(4))]
    ends = sorted({min(max(where, 0), len(data)) for where in (*some, *anywhere, len(data))})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


@settings(max_examples=250, deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_memory_of_heads_must_change_no_answer(pair, messages, randomness):
    """Any stream of requests, whole, broken or smuggled, however it is cut, is answered the same with and without."""
    loop, (remembering, forgetful) = pair
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    pieces = cut(messages, randomness)
    answers = [loop.run_until_complete(converse(server, pieces)) for server in (remembering, forgetful)]
    assert answers[0] == answers[1]


def test_memory_must_hold_only_what_the_parser_has_read_to_its_end(pair):
    """Heads of requests that say all by Content-Length, and keep alive, are remembered; no other is."""
    loop, (remembering, _) = pair
    memory = remembering.application.heads
    for message in [*WHOLE, *BROKEN]:
        memory.forget()
        loop.run_until_complete(converse(remembering, [message]))
        for data, head in memory.known.items():
            assert data.count(b"\r\n\r\n") == 1
            assert len(data) + head.length == len(message)
            assert message.startswith(data)
            assert b"HTTP/1.1\r\n" in data
            for word in (b"chunked", b"Expect", b"Upgrade", b"close", b"GET", b"HEAD"):
                assert word not in data
    memory.forget()
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    assert len(memory.known) == 1


def test_memory_must_be_used(pair):
    """The second time a head comes, the parser doesn't see it: also behind another, and with the next cut in pieces."""
    loop, (remembering, _) = pair
    remembering.application.heads.forget()
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    connection, transport = Connection(remembering), Transport()
    connection.connection_made(transport)
    connection._reader.feed = None

    async def send():
        connection.data_received(post(ROW) * 3)
        await asyncio.sleep(0)

    loop.run_until_complete(send())
    connection.connection_lost(None)
    assert transport.written.count(b"HTTP/1.1 200 OK") == 3


def test_who_becomes_the_only_client_must_be_answered_once(pair):
    """What the loop was to do in its next step has been done at once, when nobody else can come any more."""
    loop, (remembering, _) = pair
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    staying, going, transport, problems = Connection(remembering), Connection(remembering), Transport(), []
    loop.set_exception_handler(lambda _, context: problems.append(context))

    async def send():
        staying.connection_made(transport)
        going.connection_made(Transport())
        staying.data_received(post(ROW))
        assert not transport.written
        going.connection_lost(None)
        staying.data_received(post(ROW))
        assert transport.written.count(b"HTTP/1.1 200 OK") == 2
        await asyncio.sleep(0)

    loop.run_until_complete(send())
    staying.connection_lost(None)
    loop.set_exception_handler(None)
    assert problems == []
    assert transport.written.count(b"HTTP/1.1 200 OK") == 2


def test_client_that_goes_before_its_turn_must_not_be_computed(pair):
    """Beside those that stay, in whose answers nothing changes."""
    loop, (remembering, _) = pair
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    staying, going, transport = Connection(remembering), Connection(remembering), Transport()
    refused = dict(remembering.counts.refused())["ClientGone"]

    async def send():
        staying.connection_made(transport)
        going.connection_made(Transport())
        for connection in (going, staying):
            connection.data_received(post(ROW))
        going.connection_lost(None)
        rows = remembering.counts.batch_rows.sum
        await asyncio.sleep(0)
        return remembering.counts.batch_rows.sum - rows

    assert loop.run_until_complete(send()) == 1
    staying.connection_lost(None)
    assert transport.written.count(b"HTTP/1.1 200 OK") == 1
    assert dict(remembering.counts.refused())["ClientGone"] == refused + 1


def test_answer_must_be_in_flight_until_the_kernel_has_all_of_it(pair):
    """It is counted when it is written, and its duration when its last byte has gone."""
    loop, (remembering, _) = pair
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    counts, connection, transport = remembering.counts, Connection(remembering), Transport()
    transport.write = lambda _: connection.pause_writing()

    def seen():
        return counts.responses[200], counts.in_flight, sum(counts.duration.buckets)

    async def send():
        connection.connection_made(transport)
        connection.data_received(post(ROW))
        await asyncio.sleep(0)

    answered, in_flight, timed = seen()
    loop.run_until_complete(send())
    assert seen() == (answered + 1, in_flight + 1, timed)
    connection.resume_writing()
    assert seen() == (answered + 1, in_flight, timed + 1)
    connection.connection_lost(None)


def test_memory_must_be_bounded(pair):
    """Clients that send a head of its own with every request, or a very long one, fill no memory."""
    loop, (remembering, _) = pair
    memory = remembering.application.heads

    async def many():
        for number in range(1100):
            await converse(remembering, [post(ROW, f"X-Request-Id: {number}")])
        await converse(remembering, [post(ROW, f"X-Long: {'x' * 5000}")])

    loop.run_until_complete(many())
    assert 0 < len(memory.known) <= 1024
    assert max(map(len, memory.known)) < 4096


def test_memory_must_forget_when_another_model_is_served(pair):
    """What an invocation asks for changes with the model, so no head may go on asking the old one."""
    loop, (remembering, _) = pair
    loop.run_until_complete(converse(remembering, [post(ROW)]))
    application = remembering.application
    assert application.heads.known
    old = application.drop("model")
    assert not application.heads.known
    written, _ = loop.run_until_complete(converse(remembering, [post(ROW)]))
    assert written.startswith(b"HTTP/1.1 503 ")
    application.serve_model(old.model)
