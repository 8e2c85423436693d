"""Several worker processes behind one port."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sagebrush_server.cpus import usable_cpus
from tests.unit.server.test_drain import ready_port, server_process  # noqa: F401 – a fixture
from tests.unit.server.wire import Client, connect, post, read_replies, wait_until

NOT_FORKED = """
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.cli import serve
LinearPredictor.fork_safe = False
serve()
"""


def metrics(text):
    port = int(re.search(r"metrics on :(\d+)", text())[1])
    body = Client(port).get("/metrics").body.decode()
    return {
        (sample.name, sample.labels.get("code")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def children(process):
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(word) for word in text.split()]


def workers(process):
    """The children that serve: they listen, and the one that answers /metrics is the oldest."""
    return children(process)[1:]


def invoke(port, times):
    """Send each request on a connection of its own, so that all workers get some."""
    for _ in range(times):
        client = Client(port)
        assert client.invoke(b"3,1,0").status == 200
        client.close()


@pytest.fixture
def two_workers(server_process):  # noqa: F811
    process, text = server_process(SAGEMAKER_MODEL_SERVER_WORKERS="2")
    return process, text, ready_port(text)


def test_metrics_must_add_up_over_workers(two_workers):
    """One port shows all workers together: what they answered, and how many they are."""
    process, text, port = two_workers
    assert len(workers(process)) == 2
    invoke(port, 40)
    shown = metrics(text)
    assert shown["sagebrush_invocations_total", None] == 40
    assert shown["sagebrush_responses_total", "200"] == 40
    assert shown["sagebrush_request_duration_seconds_count", None] == 40
    assert shown["sagebrush_workers", None] == 2
    assert shown["sagebrush_requests_waiting", None] == 0
    assert shown["sagebrush_busy_seconds_total", None] > 0
    assert 0 < shown["sagebrush_model_load_seconds", None] < 10


def test_worker_that_dies_must_be_replaced_and_its_counts_be_kept(two_workers):
    """Killed from outside, it is told of in the log and replaced; counters never go back; requests are answered on."""
    process, text, port = two_workers
    invoke(port, 20)
    before = workers(process)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(workers(process)) - set(before)) == 1, about="a new worker")
    wait_until(lambda: Client(port).get("/ping").status == 200, about="all are ready")
    assert "ended (SIGKILL) and is replaced" in text()
    invoke(port, 20)
    shown = metrics(text)
    assert shown["sagebrush_invocations_total", None] == 40
    assert shown["sagebrush_requests_in_flight", None] == 0


def test_sigterm_must_reach_every_worker(two_workers):
    """All drain and leave; nothing of the server is left behind."""
    process, text, port = two_workers
    family = children(process)
    invoke(port, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0, text()
    assert text().count("drained in") == 2
    for pid in family:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_must_leave_when_their_parent_is_gone(two_workers):
    """Without the process that replaces them and answers for them, they end as at SIGTERM."""
    process, _, _ = two_workers
    family = children(process)
    process.kill()
    process.wait()

    def gone():
        return not any(Path(f"/proc/{pid}").exists() for pid in family)

    wait_until(gone, about="the workers have left")


def test_model_that_cannot_be_forked_must_be_loaded_by_each_worker(server_process):  # noqa: F811
    """Then nothing of it is in the process that forks."""
    process, text = server_process(program=NOT_FORKED, SAGEMAKER_MODEL_SERVER_WORKERS="2")
    port = ready_port(text)
    invoke(port, 10)
    assert "each worker loads it" in text()
    assert text().count("serving a linear-learner model") == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


@pytest.mark.parametrize("program", [None, NOT_FORKED])
def test_model_that_cannot_be_served_must_end_the_container(server_process, tmp_path, program):  # noqa: F811
    """Whoever loads it, the process leaves with 1 and says why."""
    (tmp_path / "ml" / "model" / "model.json").write_text('{"algorithm": "linear-learner"}')
    process, text = server_process(program=program, SAGEMAKER_MODEL_SERVER_WORKERS="2")
    assert process.wait(20) == 1
    assert "is not a linear-learner model" in text()


def test_metrics_port_that_is_taken_must_end_the_container(server_process, shared_server):  # noqa: F811
    """A server whose load nobody can see is never scaled."""
    taken = str(shared_server.server.metrics_port)
    process, text = server_process(SAGEMAKER_MODEL_SERVER_WORKERS="2", SAGEBRUSH_METRICS_PORT=taken)
    assert process.wait(20) == 1
    assert "in use" in text().splitlines()[-1]


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, 1e9),
        ({"cpu.max": "max 100000"}, 1e9),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 1e9),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cpus_must_be_those_the_container_may_use(tmp_path, files, most):
    """The quota of cgroup v2 or v1 counts, rounded down, and the affinity; at least one is left."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert usable_cpus(tmp_path) == min(len(os.sched_getaffinity(0)), most)


def test_workers_must_leave_together(two_workers):
    """While one of them owes an answer, none leaves: the kernel goes on sending connections to each."""
    process, text, port = two_workers
    data = post(b"3,1,0")
    with connect(port) as connection:
        connection.sendall(data[:-1])
        wait_until(lambda: metrics(text)["sagebrush_requests_in_flight", None] == 1, about="half received")
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: text().count("draining") == 2, about="both drain")
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert len(workers(process)) == 2
            time.sleep(0.05)
        connection.sendall(data[-1:])
        assert [reply.status for reply in read_replies(connection)] == [200]
    assert process.wait(15) == 0
