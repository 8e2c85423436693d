"""`make demo BACKEND=sagemaker`, a short version of it: the article's story on a simulated SageMaker, and its report."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 900.0
"""Most of a short run is the minute for which the policy looks back before it scales in."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The report of one run, and the folder that it left."""
    out = tmp_path_factory.mktemp("sagemaker-demo")
    flags = ["--short", "--speed=120", "--data=generated", f"--out={out}"]
    command = [sys.executable, "-m", "examples.sagemaker_demo", *flags]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-15000:]
    return json.loads((out / "report.json").read_text()), out


@pytest.mark.timeout(SECONDS + 30)
def test_demo_must_run_from_training_to_deletion(demo: tuple[dict[str, Any], Path]):
    """examples/kdd with another backend trains, serves, and is deleted without a trace; a report and a picture are left."""
    report, out = demo
    assert [] == report["problems"]
    assert ["Pending", "Downloading", "Training", "Uploading", "Completed"] == report["train"]["phases"]
    assert report["train"]["billableSeconds"] > 0
    assert report["train"]["cost"] > 0
    assert [] == report["deletion"]["objectsLeft"]
    assert {} == report["audit"]["leftovers"]
    assert [] == report["audit"]["violations"] + report["audit"]["orphans"]
    assert "All went well" in (out / "report.md").read_text()
    assert (out / "run.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.timeout(SECONDS + 30)
def test_demo_must_scale_as_the_article_did(demo: tuple[dict[str, Any], Path]):
    """72,000 requests a minute: three instances at 30,000 for each, five at 15,000, and one when they have gone."""
    stages = demo[0]["stages"]
    assert [(30_000, 3), (15_000, 5), (15_000, 1)] == [(each["target"], each["instances"]) for each in stages]
    assert [3, 5, 1] == [each["decisions"][-1]["to"] for each in stages]
    assert 5 == demo[0]["mostInstances"]


@pytest.mark.timeout(SECONDS + 30)
def test_demo_must_show_the_rollbacks(demo: tuple[dict[str, Any], Path]):
    """The silent one is told, the update after it serves, and one field brings the first revision back."""
    assert [("UpdateRolledBack", True), ("Serving", False), ("Serving", True)] == [
        (each["reason"], each["isFirst"]) for each in demo[0]["updates"]
    ]


@pytest.mark.timeout(SECONDS + 30)
def test_demo_must_leave_no_process(demo: tuple[dict[str, Any], Path]):
    """What it started has ended: no record of a process is left, and nothing runs that was started in its folder."""
    out = demo[1]
    assert [] == list((out / "run" / "processes").glob("*.json"))
    assert [] == [line for line in command_lines() if str(out).encode() in line]


def command_lines() -> list[bytes]:
    """Of everything that runs on this machine."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it is none, or has ended meanwhile
            found.append((process / "cmdline").read_bytes())
    return found
