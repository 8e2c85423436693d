"""Leaving: what SIGTERM must not break."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.unit.server.conftest import tiny_model
from tests.unit.server.wire import Client, connect, post, read_replies, read_reply, wait_until

CONNECTIONS = 16


@pytest.fixture
def server_process(tmp_path):
    """Start `serve` as a process; the fixture gives a function that returns it with its port once it is ready."""
    folder = tmp_path / "ml" / "model"
    folder.mkdir(parents=True)
    tiny_model().save(folder)
    started = []

    def start(program=None, **environment):
        log_path = tmp_path / f"log-{len(started)}"
        log = log_path.open("w")
        settings = {"SAGEMAKER_BIND_TO_PORT": "0", "SAGEBRUSH_METRICS_PORT": "0", "SAGEBRUSH_BIND_ADDRESS": "127.0.0.1"}
        process = subprocess.Popen(
            [sys.executable, "-c", program or "from sagebrush_server.cli import serve; serve()", "serve"],
            env={**os.environ, **settings, "SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        started.append((process, log))

        return process, log_path.read_text

    yield start
    for process, log in started:
        process.kill()
        process.wait()
        log.close()


def ready_port(text):
    wait_until(lambda: "listening on" in text(), about="the process listens", seconds=30)
    port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)", text())[1])
    wait_until(lambda: Client(port).get("/ping").status == 200, about="the process serves", seconds=30)
    return port


class Load:
    """Keep-alive clients that never stop, and go to `fallback` where a connection to `port` has been closed politely."""

    def __init__(self, port, fallback):
        self.ports = [port, fallback]
        self.failures, self.answers = [], 0
        self.leaving = threading.Event()
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CONNECTIONS)]

    def run(self):
        port = self.ports[0]
        while not self.done.is_set():
            try:
                with connect(port) as connection, connection.makefile("rb") as stream:
                    closing = False
                    while not closing and not self.done.is_set():
                        connection.sendall(post(b"3,1,0"))
                        reply = read_reply(stream)
                        if reply is None or reply.status != 200:
                            self.failures.append(reply)
                            return
                        self.answers += 1
                        closing = reply.headers.get("connection") == "close"
            except OSError as problem:
                self.failures.append(problem)
                return
            # The Service sends new connections elsewhere once the pod is leaving.
            if self.leaving.is_set():
                port = self.ports[1]


def test_sigterm_must_not_fail_one_request(server_process, shared_server):
    """Sixteen busy keep-alive connections, SIGTERM in the middle: every request is answered 200, the exit code is 0."""
    process, text = server_process(
        SAGEBRUSH_CONNECTION_MAX_AGE_SECONDS="0.2",
        SAGEBRUSH_DRAIN_QUIET_SECONDS="0.2",
        SAGEBRUSH_DRAIN_LIMIT_SECONDS="20",
    )
    load = Load(ready_port(text), shared_server.port)
    for thread in load.threads:
        thread.start()
    wait_until(lambda: load.answers > 500, about="load")
    load.leaving.set()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0, text()
    before = load.answers
    wait_until(lambda: load.answers > before + 100, about="the load goes on elsewhere")
    load.done.set()
    for thread in load.threads:
        thread.join(10)
    assert load.failures == []
    assert "drained in" in text()


def test_serve_must_exit_non_zero_with_the_reason_last(server_process, tmp_path):
    """Without a model the process leaves at once, and the last log line says what is missing."""
    (tmp_path / "ml" / "model" / "model.json").unlink()
    process, text = server_process()
    assert process.wait(20) == 1
    assert "holds no model.json" in text().strip().splitlines()[-1]


def test_draining_server_must_answer_with_close_and_take_new_connections(start_server):
    """After SIGTERM /ping says 503, every answer closes its connection, and new connections are still served."""
    running = start_server(drain_quiet=0.5, drain_limit=10.0)
    old = connect(running.port)
    wait_until(lambda: len(running.server.connections) > 0, about="connected")
    running.stop()
    wait_until(lambda: Client(running.port).get("/ping").status == 503, about="/ping says 503")
    for connection in (old, connect(running.port)):
        with connection:
            connection.sendall(post(b"3,1,0"))
            assert [(reply.status, reply.headers["connection"]) for reply in read_replies(connection)] == [
                (200, "close")
            ]
    running.join()
    assert running.outcome == [None]


def test_draining_server_must_finish_what_is_in_flight(start_server):
    """A request that was half received at SIGTERM, and silent for longer than the quiet time, is still answered."""
    running = start_server(drain_quiet=0.05, drain_limit=10.0)
    data = post(b"3,1,0")
    with connect(running.port) as connection:
        connection.sendall(data[:-1])
        wait_until(lambda: running.server.counts.in_flight == 1, about="half received")
        running.stop()
        wait_until(lambda: running.server.draining, about="draining")
        running.thread.join(0.5)
        assert running.thread.is_alive(), "left with a request in flight"
        connection.sendall(data[-1:])
        assert [reply.status for reply in read_replies(connection)] == [200]
    running.join()


def test_draining_server_must_leave_at_the_limit(start_server):
    """A request that never ends doesn't keep the process beyond the drain limit."""
    running = start_server(drain_quiet=0.05, drain_limit=0.3)
    with connect(running.port) as connection:
        connection.sendall(post(b"3,1,0")[:-1])
        wait_until(lambda: running.server.counts.in_flight == 1, about="half received")
        start = time.monotonic()
        running.stop()
        running.join()
    assert time.monotonic() - start < 5
    assert running.outcome == [None]


def test_probes_must_not_keep_a_draining_server(start_server):
    """The kubelet goes on probing a pod that ends; only requests of clients are a reason to stay."""
    running = start_server(drain_quiet=0.3, drain_limit=60.0)
    running.stop()

    def gone_though_probed():
        with contextlib.suppress(OSError):
            Client(running.port).get("/ping")
        return not running.thread.is_alive()

    wait_until(gone_though_probed, about="the server has left")
    assert running.outcome == [None]


def test_server_that_is_loading_must_leave_at_once(start_server):
    """SIGTERM during a long load ends the process: there is nothing to finish."""
    release = threading.Event()
    running = start_server(lambda: release.wait(20) and None, ready=False)
    start = time.monotonic()
    running.stop()
    running.join()
    assert running.outcome == [None]
    assert time.monotonic() - start < 5
    release.set()
