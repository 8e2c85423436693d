"""The main job, by the demo itself: the manifests of examples/kdd on real pods, and its report."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.demo.cluster import Cluster
from examples.demo.stack import Stack
from tests.e2e.conftest import DEMO_NAMESPACE

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO_SECONDS = 1500.0


@pytest.fixture(scope="session")
def nobodys_demo(cluster: Cluster) -> None:
    """Ends the run, before anything is installed, where a user's demo would be replaced."""
    if os.environ.get("SAGEBRUSH_E2E_REPLACE_DEMO") != "1" and (found := demo_objects(cluster)):
        pytest.exit(
            f"namespace {DEMO_NAMESPACE} has {', '.join(found)}, which the test of the main job would replace: "
            "`make demo-down` first, or set SAGEBRUSH_E2E_REPLACE_DEMO=1",
            returncode=1,
        )


def demo_objects(cluster: Cluster) -> list[str]:
    """Our objects in the demo's namespace."""
    kinds = ("trainingjobs.sagebrush.dev", "modelendpoints.sagebrush.dev")
    known = cluster.ctl("get", "crd", *kinds, "-o", "name", "--ignore-not-found").split()
    kinds = [name.partition("/")[2] for name in known]
    return cluster.ctl("get", ",".join(kinds), "-n", DEMO_NAMESPACE, "-o", "name").split() if kinds else []


@pytest.fixture(scope="module")
def report(
    nobodys_demo: None, cluster: Cluster, stack: Stack, remove_namespace: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The report of one run of the demo with a short load; what it made is removed afterwards, whether it passed or not."""
    out = ROOT / "build" / "test" / "demo"
    path = out / "report.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "examples.demo", "--data", "generated", "--load-seconds", "45", "--out", str(out)]
    try:
        ended = subprocess.run(command, cwd=ROOT, check=False, timeout=DEMO_SECONDS)
        found = json.loads(path.read_text()) if path.exists() else {}
        problems = found.get("problems", ["it left no report"])
        assert ended.returncode == 0, f"the demo failed (exit code {ended.returncode}): {'; '.join(problems)}"
        assert (out / "run.png").stat().st_size > 10_000
        found["markdown"] = (out / "report.md").read_text()
        yield found
    finally:
        remove_namespace(DEMO_NAMESPACE)


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
