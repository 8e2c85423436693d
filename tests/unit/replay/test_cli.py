"""``sagebrush replay``."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import yaml

from sagebrush.replay.cli import add_flags, run, seconds_of
from sagebrush.replay.files import read_trace
from sagebrush.replay.plot import plot
from sagebrush.replay.system import System, simulate
from tests.unit.replay.builders import SERVICE, scripted

SCALING = {
    "minReplicas": 1,
    "maxReplicas": 20,
    "target": {"latency": "1s"},
    "capacity": {"requestsPerSecond": 20, "concurrency": 4},
}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Twenty minutes with a step in the middle."""
    path = tmp_path / "mine.csv"
    rates = [30] * 600 + [90] * 600
    path.write_text("second,requests\n" + "".join(f"{at},{rate}\n" for at, rate in enumerate(rates)))
    return path


def replayed(policy: object, *flags: object, folder: Path) -> int:
    file = folder / "policy.yaml"
    file.write_text(policy if isinstance(policy, str) else yaml.safe_dump(policy))
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return run(parser.parse_args(["--policy", str(file), *(str(flag) for flag in flags)]))


def test_replay_must_print_the_policy_beside_all_anchors(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row each, the figures as JSON, and the price where one is given."""
    code = replayed(SCALING, "--trace", trace, "--json", tmp_path / "x.json", "--price", "0.5", folder=tmp_path)
    printed = capsys.readouterr().out
    assert 0 == code
    rows = json.loads((tmp_path / "x.json").read_text())
    assert [
        "sagebrush", "HPA 0.7", "HPA 0.6", "KEDA 0.7", "KPA 0.7", "KPA 0.6", "TT 0.7", "TT 0.5", "TT 10s 0.7", "TT 10s 0.5",
    ] == [row["policy"] for row in rows]  # fmt: skip
    assert all(row["policy"] in printed for row in rows)
    assert rows[0]["price"] == pytest.approx(0.5 * rows[0]["replica_hours"])
    assert {"mine"} == {row["trace"] for row in rows}
    assert [10, 360] == sorted({row["startup_seconds"] for row in rows})


def test_manifest_must_bring_what_was_measured(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Capacity and start-up time from status, where the endpoint was asked for with its status."""
    endpoint = {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"name": "prices", "namespace": "shop"},
        "spec": {"model": {}, "scaling": {"maxReplicas": 9, "target": {"requestsPerMinute": 600}, "source": "Pods"}},
        "status": {
            "scaling": {
                "capacity": {"requestsPerSecond": 25.0, "concurrency": 2, "source": "Tested"},
                "startup": {"p50Seconds": 5.0, "p90Seconds": 7.0},
            }
        },
    }
    assert 0 == replayed(endpoint, "--trace", trace, folder=tmp_path)
    assert "25 requests/s, 2 at the same time, Ready after 7 s; late after 0.42 s" in (out := capsys.readouterr().out)
    assert "pods 1 s" in out


def test_picture_must_be_drawn(trace: Path, tmp_path: Path) -> None:
    """By the command, as the name's ending says."""
    assert 0 == replayed(SCALING, "--trace", trace, "--plot", tmp_path / "a.svg", folder=tmp_path)
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_picture_must_be_the_same_for_the_same_replay(trace: Path, tmp_path: Path) -> None:
    """No time of day in it."""
    read = read_trace(trace, service=SERVICE)
    outcome = simulate(read, scripted(lambda view: 9), System())
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        plot(tmp_path / name, trace=read, outcomes=[("nine", outcome)])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for ending in ("png", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_missing_matplotlib_must_be_told_with_the_way_out(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is an extra: everything but the picture works without."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert 2 == replayed(SCALING, "--trace", trace, "--plot", tmp_path / "a.png", folder=tmp_path)
    assert "pip install 'sagebrush[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "flags", "told"),
    [
        ({**SCALING, "capacity": None}, [], "--capacity"),
        ({**SCALING, "maxReplicas": "many"}, [], "spec.scaling.maxReplicas"),
        ({**SCALING, "target": {"query": {"expression": "x", "perReplica": 1}}}, [], "can't be replayed"),
        ({"kind": "ModelEndpoint", "spec": {}}, [], "no spec.scaling"),
        ("", [], "is empty"),
        ("{", [], "not YAML"),
        (SCALING, ["--startup", "soon"], "--startup"),
        (SCALING, ["--latency", "100ms"], "takes 0.2 s by itself"),
        ({**SCALING, "target": {"latency": "150ms"}}, [], "takes 0.2 s by itself"),
        (SCALING, ["--plot", "/nowhere/a.png"], "/nowhere/a.png"),
        (SCALING, ["--plot", "a.nonsense"], "nonsense"),
        (SCALING, ["--json", "/nowhere/a.json"], "/nowhere/a.json"),
    ],
)
def test_what_cannot_be_used_must_be_told_in_a_line(
    policy: object, flags: list[str], told: str, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to change."""
    assert 2 == replayed(policy, "--trace", trace, *flags, folder=tmp_path)
    assert told in capsys.readouterr().err


def test_prometheus_without_an_endpoint_must_ask_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scaling block alone names no endpoint."""
    assert 2 == replayed(SCALING, "--prometheus", "http://x", folder=tmp_path)
    assert "--query" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("14d", 14 * 86400), ("1h30m", 5400), ("10s", 10), ("500ms", 0.5), ("90m", 5400)]
)
def test_times_must_be_read_as_people_write_them(text: str, seconds: float) -> None:
    """Days and milliseconds beside Kubernetes' own."""
    assert pytest.approx(seconds) == seconds_of(text, flag="--x")
