"""How the suites are run: nothing of what runs behind them is lost, and nothing of it is left."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import run

SPEAK = "print('a table', flush=True)"


@pytest.fixture
def suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Suites that pass at once, with nothing to build; each test replaces what it is about."""
    chosen: dict[str, Any] = dict.fromkeys(run.SUITES, lambda _: 0)
    monkeypatch.setattr(run, "SUITES", chosen)
    monkeypatch.setattr(run, "OUT", tmp_path)
    monkeypatch.setattr(run, "e2e_needs", list)
    monkeypatch.setattr(run, "REPLAY", ("-c", SPEAK))
    return chosen


def run_all(*names: str) -> list[run.Result]:
    """Without flags."""
    return run.run_all(list(names), argparse.Namespace(keep=False))


def test_replay_must_go_on_behind_the_others(suites: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """It is not waited for before the next suite; its words come as a whole when all have ended, and a time of its own."""
    suites["unit"] = lambda _: print("tests pass", flush=True) or 0
    suites["replay"] = lambda _: pytest.fail("ran in front")
    results = run_all("lint", "replay", "unit")
    assert [("lint", 0), ("unit", 0), ("replay", 0)] == [(each.name, each.code) for each in results]
    assert 0 < results[-1].seconds < 60
    said = capfd.readouterr().out
    assert said.index("tests pass") < said.index("=== replay") < said.index("a table")


def test_replay_alone_must_be_seen(suites: dict[str, Any]) -> None:
    """Who asks for nothing else sees how far it is."""
    suites["replay"] = lambda _: 3
    assert [("replay", 3)] == [(each.name, each.code) for each in run_all("replay")]


def test_failure_behind_must_fail_the_run(suites: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in front."""
    monkeypatch.setattr(run, "REPLAY", ("-c", f"{SPEAK}; raise SystemExit(1)"))
    results = run_all("lint", "replay")
    assert 1 == results[-1].code
    assert 1 == run.summarise(results)


def test_interruption_must_stop_what_runs_behind(
    suites: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal tells only the suite in front."""
    script = f"import os, pathlib, time; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr(run, "REPLAY", ("-c", script))
    pids = []

    def interrupted(_: argparse.Namespace) -> int:
        pids.append(eventually(tmp_path / "pid"))
        raise KeyboardInterrupt

    suites["lint"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        run_all("lint", "replay")
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_what_runs_behind_must_leave_the_time_to_the_others(suites: dict[str, Any]) -> None:
    """The least of shares, among processes and, where the kernel shares by sessions, among sessions."""
    script = "import os, pathlib; group = pathlib.Path('/proc/self/autogroup')\n"
    script += "print(os.nice(0), group.read_text().split()[-1] if group.exists() else os.nice(0))"
    with run.Behind("a", [("-c", "import time; time.sleep(0.2)"), ("-c", script)]) as behind:
        assert 0 == behind.result().code
    assert f"{run.LAST} {run.LAST}" == (run.OUT / "a.log").read_text().strip()


def test_processes_must_share_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment forbids to write it beside the sources; a start of the operator costs twice as much without."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/elsewhere")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    run.keep_bytecode()
    (tmp_path / "module.py").touch()
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, check=True)
    assert not (tmp_path / "__pycache__").exists()
    assert list((tmp_path / "build" / "pycache").rglob("module.*.pyc"))


def eventually(path: Path) -> int:
    """The number in a file, once it is there."""
    deadline = time.monotonic() + 120  # it has the least of shares
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())
