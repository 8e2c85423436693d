"""The load generator against servers that misbehave: it must notice, and not take what is right for wrong."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest

from benchmarks.model_server.generator import Exchange, Load, Loaded, LoadError, build, run, write_exchanges

Answering = Callable[[bytes, int], Awaitable[tuple[bytes, bool]] | tuple[bytes, bool]]
"""From the body of a request and its number (from 0) to the bytes of the answer, and whether to close then."""


def request_of(number: int) -> bytes:
    body = str(number).encode()
    return b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def answer_of(body: bytes, *, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), headers, body)


def scored(body: bytes) -> bytes:
    """The right answer: half of the number that was asked about."""
    return json.dumps({"predictions": [{"score7": int(body) / 2}]}).encode()


def right(body: bytes, _: int) -> tuple[bytes, bool]:
    return answer_of(scored(body)), False


class Misbehaving:
    """A server on a free port that answers as it is told."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: list[bytes] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.client, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"content-length: (\d+)", head)
                assert found
                body = await reader.readexactly(int(found[1]))
                self.asked.append(body)
                made = self.answering(body, len(self.asked) - 1)
                answer, closes = made if isinstance(made, tuple) else await made
                writer.write(answer)
                await writer.drain()
                if closes:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build()


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests"
    exchanges = [Exchange(request_of(number), [number / 2]) for number in range(7)]
    assert write_exchanges(path, exchanges, tolerance=1e-6, anchor=b'"predictions":') == 7
    return path


async def loaded(
    answering: Answering, requests: Path, *, count: int = 40, connections: int = 2, timeout: float = 5.0
) -> tuple[Loaded, list[bytes]]:
    async with Misbehaving(answering) as server:
        load = Load(port=server.port, connections=connections, seconds=20, most_requests=count, timeout=timeout)
        return await asyncio.to_thread(run, load, requests=requests), server.asked


async def test_load_must_send_all_requests_in_turn_and_take_right_answers(requests: Path) -> None:
    """Every prepared request is sent, in turn, and a right answer is no error."""
    found, asked = await loaded(right, requests, connections=1)
    assert asked == [str(number % 7).encode() for number in range(40)]
    assert (found["answered"], found["measured"], found["connects"]) == (40, 40, 1)
    assert (found.wrong, found.failed, found.samples) == (0, {}, [])
    latency = found.latency_ms
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"] <= 1.01 * latency["max"]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (lambda body: answer_of(scored(body).replace(b".", b".1")), "wrong_body"),
        (lambda _: answer_of(b'{"predictions": []}'), "wrong_body"),
        (lambda body: answer_of(scored(body).replace(b"]", b", 1]")), "wrong_body"),
        (lambda body: answer_of(scored(body).replace(b"predictions", b"errors")), "wrong_body"),
        (lambda body: answer_of(scored(body), status=b"500 Oops"), "wrong_status"),
        (lambda body: answer_of(scored(body)) + b"HTTP", "malformed"),
        (lambda _: b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed"),
        (lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
    ],
)
async def test_load_must_notice_a_wrong_answer(requests: Path, bad: Callable[[bytes], bytes], kind: str) -> None:
    """A wrong number, one too few or too many, a status that isn't 200, bytes behind the answer, no HTTP."""
    found, _ = await loaded(lambda body, n: (bad(body), False) if n == 11 else right(body, n), requests)
    assert found[kind] == 1 == found.wrong
    assert len(found.samples) == 1


@pytest.mark.parametrize(
    ("cut", "midway"), [(lambda _: b"", 0), (lambda a: a[:20], 1), (lambda a: a[:-1], 1)], ids=["none", "head", "body"]
)
async def test_load_must_notice_a_cut_answer(requests: Path, cut: Callable[[bytes], bytes], midway: int) -> None:
    """A connection that ends before the whole answer is broken, and is opened anew."""
    found, _ = await loaded(
        lambda body, n: (cut(answer_of(scored(body))), True) if n == 11 else right(body, n), requests, connections=1
    )
    assert (found["broken"], found["broken_midway"], found.wrong) == (1, midway, 0)
    assert (found["answered"], found["connects"]) == (39, 2)


async def test_load_must_take_a_connection_closed_in_order_for_no_error(requests: Path) -> None:
    """`Connection: close` with a whole answer is the server's right."""

    def closing(body: bytes, number: int) -> tuple[bytes, bool]:
        return answer_of(scored(body), headers=b"Connection: close\r\n" if number % 4 == 3 else b""), number % 4 == 3

    found, _ = await loaded(closing, requests)
    assert (found["answered"], found["closed_by_server"], found.wrong, found.failed) == (40, 10, 0, {})


async def test_load_must_read_chunks_and_answers_that_end_with_the_connection(requests: Path) -> None:
    """Both other ways in which HTTP says where a body ends."""

    def cut_up(body: bytes, number: int) -> tuple[bytes, bool]:
        text = scored(body)
        if number % 2:
            return b"HTTP/1.1 200 OK\r\n\r\n" + text, True
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (text[:5], text[5:17], text[17:]))
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", False

    found, _ = await loaded(cut_up, requests)
    assert (found["answered"], found.wrong, found.failed) == (40, 0, {})


async def test_load_must_give_up_an_answer_that_does_not_come(requests: Path) -> None:
    """After the time-out it is counted, and the load goes on."""

    async def hangs(body: bytes, number: int) -> tuple[bytes, bool]:
        if number == 3:
            await asyncio.sleep(2)
        return right(body, number)

    found, _ = await loaded(hangs, requests, timeout=0.2, connections=1)
    assert found.failed == {"timed_out": 1}
    assert found["answered"] == 39


async def test_load_must_compare_bytes_where_it_is_told(tmp_path: Path) -> None:
    """A body that must be exact is compared byte by byte."""
    path = tmp_path / "requests"
    write_exchanges(path, [Exchange(request_of(5), b"yes")], tolerance=0)
    found, _ = await loaded(lambda _, n: (answer_of(b"no" if n == 2 else b"yes"), False), path, count=4)
    assert (found["answered"], found["wrong_body"], found.samples) == (4, 1, ["not the right answer: no"])


@pytest.mark.parametrize("text", ["0", "-1.25e-3", "123456789.125", "1e300", "0.1234567890123456789", "5e-324", "7E+2"])
async def test_load_must_read_numbers_as_they_are(tmp_path: Path, text: str) -> None:
    """In every spelling, to a few units in the last place."""
    path = tmp_path / "requests"
    write_exchanges(path, [Exchange(request_of(5), [float(text)])], tolerance=1e-14)
    found, _ = await loaded(lambda *_: (answer_of(f'{{"x1": [{text}]}}'.encode()), False), path, count=1)
    assert (found["answered"], found.wrong) == (1, 0)


async def test_load_must_count_refused_connects(requests: Path) -> None:
    """Where nobody listens each try is refused; the load ends at its time all the same."""
    async with Misbehaving(right) as server:
        port = server.port
    found = await asyncio.to_thread(run, Load(port=port, connections=2, seconds=0.2), requests=requests)
    assert found["answered"] == 0
    assert 2 <= found["refused"] <= 2 * 0.2 / 0.01 + 2


_LEAVING = """
import socket, signal, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
cut, leaving = sys.argv[1] == "cut", threading.Event()
signal.signal(signal.SIGTERM, lambda *_: leaving.set())
def client(connection):
    while True:
        data = connection.recv(65536)
        if not data:
            return
        number = int(data.rsplit(b"\\r\\n\\r\\n", 1)[1])
        body = b'{"predictions": %a}' % (number / 2)
        leaving_now = leaving.is_set()
        head = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n" % len(body)
        head += b"connection: close\\r\\n" if leaving_now else b""
        whole = head + b"\\r\\n" + body
        connection.sendall(whole[:-2] if leaving_now and cut else whole)
        if leaving_now:
            connection.close()
            return
def accept():
    while True:
        threading.Thread(target=client, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
leaving.wait()
threading.Event().wait(1.0)
"""


@pytest.mark.parametrize("way", ["cut", "whole"])
async def test_load_must_tell_cut_answers_from_whole_ones_after_sigterm(requests: Path, way: str) -> None:
    """What was asked and not answered in full counts as cut; a whole last answer with `Connection: close` doesn't."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LEAVING, way),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout
        port = int(await server.stdout.readline())
        load = Load(port=port, connections=4, term_pid=server.pid, term_after=0.2, reconnect_for=0.2, term_limit=5)
        found = await asyncio.to_thread(run, load, requests=requests)
        assert found["answered"] > 4
        assert found.failed == {}
        assert found.moment("term_at") > 0
        if way == "cut":
            assert found["cut"] >= found["cut_midway"] >= 4
        else:
            assert (found["cut"], found.wrong) == (0, 0)
            assert found["answered_after_term"] >= 4
            assert found.moment("last_answer_at") >= found.moment("term_at")
    finally:
        if server.returncode is None:
            server.send_signal(signal.SIGKILL)
        await server.wait()


@pytest.mark.parametrize("content", [b"", b"SBLOAD1\n", b"SBLOAD1\n" + bytes(24), b"SBLOAD1\n" + bytes(16) + b"\1" + bytes(7)])  # fmt: skip
def test_load_must_refuse_a_file_that_holds_no_requests(tmp_path: Path, content: bytes) -> None:
    """An empty or cut file is an error that names it, not a load of nothing."""
    path = tmp_path / "requests"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=str(path)):
        run(Load(port=9, seconds=0.1), requests=path)


@pytest.mark.parametrize("word", ["--connections=0", "--port=70000", "--seconds=soon", "--unknown"])
def test_load_must_refuse_options_that_make_no_sense(word: str) -> None:
    """Exit code 2 and the option's name."""
    command = [str(build()), "--port=1", "--requests=/dev/null", word]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 2
    assert word.removeprefix("--").split("=")[0] in done.stderr
