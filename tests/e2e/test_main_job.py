"""The main job, by the demo itself: the manifests of examples/kdd on real pods, and its report."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.demo.stack import Stack

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def report(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of one run of the demo with a short load."""
    out = ROOT / "build" / "test" / "demo"
    command = [sys.executable, "-m", "examples.demo", "--data", "generated", "--load-seconds", "45", "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, check=False, timeout=900)
    found = json.loads((out / "report.json").read_text())
    assert ended.returncode == 0, f"the demo failed: {found.get('failure')}"
    assert (out / "run.png").stat().st_size > 10_000
    found["markdown"] = (out / "report.md").read_text()
    return found


def test_demo_must_train_a_good_model(report: dict[str, Any]) -> None:
    """Training reports its accuracy, the artifact's address and which data it used."""
    train = report["train"]
    assert train["accuracy"] >= 0.9
    assert train["artifact"].endswith("/kdd/output/model.tar.gz")
    assert "generated" in train["data"]


def test_demo_must_lose_no_request(report: dict[str, Any]) -> None:
    """Not one of the requests of the load fails, while replicas come and go."""
    assert report["load"]["requests"] > 1000
    assert report["load"]["errors"] == 0


def test_demo_must_scale_out_and_back(report: dict[str, Any]) -> None:
    """The endpoint leaves its minimum under load and comes back to it afterwards, and says why each time."""
    scaling = report["scaling"]
    assert scaling["from"] == 1
    assert scaling["to"] > 1
    assert scaling["backToMinSeconds"] > 0
    assert all(decision["reason"] for decision in scaling["decisions"])


def test_report_must_name_versions_and_be_readable(report: dict[str, Any]) -> None:
    """A person can read what ran, and with which versions."""
    assert report["versions"]
    assert "requests" in report["markdown"]
