"""A server as a tree of processes: what it uses, and that nothing of it stays."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.model_server.processes import Running, ServerError, Start, free_ports

# A parent that ends at SIGTERM with a child that doesn't: the child is a server that burns CPU for each request.
_TREE = """
import http.server, os, signal, sys, time
port, stubborn = int(sys.argv[1]), sys.argv[2] == "stubborn"
child = os.fork()
if child:
    signal.signal(signal.SIGTERM, lambda *_: (stubborn or os.kill(child, signal.SIGTERM), os._exit(0)))
    os.waitpid(child, 0)
    os._exit(0)
if stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        until = time.process_time() + (0.2 if self.path == "/burn" else 0)
        while time.process_time() < until:
            pass
        self.send_response(404 if self.path == "/no" else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def started(tmp_path: Path, *, program: str = _TREE, way: str = "", path: str = "/ping") -> Running:
    (port,) = free_ports(1)
    return Running(
        Start(
            command=[sys.executable, "-c", program, str(port), way],
            environment=dict(os.environ),
            folder=tmp_path,
            log=tmp_path / "log",
            port=port,
            ready_path=path,
        )
    )


def alive(pids: set[int]) -> set[int]:
    """Those that still run; a zombie waits only for init to notice it."""
    found = set()
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if text[text.rindex(")") + 2] != "Z":
            found.add(pid)
    return found


def test_running_must_count_all_processes_of_the_server(tmp_path: Path) -> None:
    """CPU and memory of parent and child."""
    with started(tmp_path, path="/burn") as running:
        assert 0 < running.wait_ready(seconds=20) == running.seconds_to_ready
        assert len(running.pids()) == 2
        assert running.cpu_seconds() >= 0.18  # burnt by the child
        assert alive(running.pids()) == running.pids()
        assert 2 < running.memory_mb() < 200
        running.settle()
        pids = running.pids()
    assert not alive(pids)
    assert running.wait_ended(seconds=1) is not None


def test_running_must_end_a_child_that_its_parent_left_behind(tmp_path: Path) -> None:
    """A process that ignores SIGTERM and has lost its parent is ended by its own number."""
    with started(tmp_path, way="stubborn") as running:
        running.wait_ready(seconds=20)
        pids = running.pids()
        assert len(pids) == 2
        running.end(seconds=0.3)
        assert not alive(pids)


@pytest.mark.parametrize(
    ("program", "path", "reason"),
    [("import sys; sys.exit('no such model')", "/ping", "it ended with 1 at start: no such model"), (_TREE, "/no", "it was not ready within 1 s")],
)  # fmt: skip
def test_running_must_say_why_a_server_is_not_ready(tmp_path: Path, program: str, path: str, reason: str) -> None:
    """It ended, with the last line of its log; or it never said 200."""
    with (
        started(tmp_path, program=program, path=path) as running,
        pytest.raises(ServerError, match=reason),
    ):
        running.wait_ready(seconds=1 if path == "/no" else 20)
