"""How the demo runs other programs: none is left behind, and local addresses are asked directly."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.demo import __main__ as demo
from examples.demo import settings, shell, start
from examples.demo.cluster import Cluster
from examples.demo.progress import DemoError


def test_long_command_must_leave_no_grandchild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out ends the whole process group, even what ignores an interruption."""
    monkeypatch.setattr(shell, "PATIENCE_SECONDS", 0.3)
    script = f"(trap '' INT TERM; exec sleep 60) & echo $! > {tmp_path}/pid; trap '' INT TERM; wait"
    with pytest.raises(DemoError, match="no end after 0 s"):
        shell.run_long(["bash", "-c", script], what="a sleeper", log=tmp_path / "log", timeout=0)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    deadline = time.monotonic() + 5
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("inherited", [signal.SIG_IGN, signal.default_int_handler])
def test_long_command_must_be_interrupted_before_it_is_killed(tmp_path: Path, inherited: Any) -> None:
    """What a program does on Ctrl-C it does here too, also where we ourselves were started in a shell's background."""
    ready, tidy = tmp_path / "ready", tmp_path / "tidy"
    script = f"import pathlib, time\ntry:\n pathlib.Path('{ready}').touch(); time.sleep(60)\nfinally:\n pathlib.Path('{tidy}').touch()"
    before = signal.signal(signal.SIGINT, inherited)
    try:
        with pytest.raises(DemoError, match="no end"):
            shell.run_long([sys.executable, "-c", script], what="a sleeper", log=tmp_path / "log", timeout=1)
        assert inherited == signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ready.exists() == tidy.exists()


def test_failure_of_what_is_shown_must_be_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What went by on the screen minutes ago is in the error too."""
    with pytest.raises(DemoError, match=r"exit code 3 (?s:.*)\ninstalling\nno such mirror$"):
        shell.run_long(
            ["bash", "-c", "echo installing; echo no such mirror >&2; exit 3"],
            what="a program",
            log=tmp_path / "log",
            timeout=10,
            through=True,
        )
    assert "installing\nno such mirror" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "127.0.0.1,localhost"),
        ("corp.example, localhost", "corp.example,localhost,127.0.0.1"),
        ("*", "*"),
    ],
)
def test_local_addresses_must_not_go_to_a_proxy(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    """Node ports and port-forwards are on loopback, whatever proxy the machine has."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        if before is not None:
            monkeypatch.setenv(name, before)
    monkeypatch.setenv("KUBECACHEDIR", "/elsewhere")
    shell.prepare_environment()
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"], os.environ["KUBECACHEDIR"]) == (after, after, "/elsewhere")


@pytest.mark.parametrize("flag", ["--context", "--registry", "--kubeconfig"])
def test_flags_of_another_cluster_must_not_be_ignored(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who names a context means that cluster, and would not want another one made."""
    with pytest.raises(SystemExit):
        settings.parse([flag, "x"])
    assert "--cluster current" in capsys.readouterr().err
    assert settings.parse(["--cluster", "current", flag, "x"]).cluster == "current"


def test_dev_cluster_must_ask_for_root_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before ten minutes of compiling, not after."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(start, "run_long", lambda *_, **__: pytest.fail("began to build"))
    with pytest.raises(DemoError, match="root"):
        start.start_cluster(settings.parse([]))


def test_unforeseen_error_must_leave_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken connection to the store is no reason to leave without the cluster's words and a report."""

    def broken(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(sys, "argv", ["demo", "--out", str(tmp_path)])
    monkeypatch.setattr(demo, "prepare_environment", lambda: None)
    monkeypatch.setattr(demo, "start_cluster", lambda _: Cluster(kind="current", kubectl="kubectl", helm="helm"))
    monkeypatch.setattr(demo, "ensure_clients", broken)
    monkeypatch.setattr(demo, "explain", lambda *_, **__: "what the cluster says")
    assert demo.main() == 1
    said = capsys.readouterr()
    assert "what the cluster says" in said.out
    assert "Traceback" in said.err
    assert "KeyError: 'oops'" in (tmp_path / "report.json").read_text()
