"""Runs the test suites in the order in which they can begin: the tools of the later ones are built during the first.

`make test` runs all of them; `python -m tests.run NAME…` runs some. Exit code 0 only if every suite passed.
"""

import argparse
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "test"
API_TOOLS = "etcd,kube-apiserver,kube-controller-manager,kubectl,helm"


@dataclass
class Result:
    """How one suite went."""

    name: str
    code: int
    seconds: float


def main() -> int:
    """Run the chosen suites and print a summary."""
    parser = argparse.ArgumentParser(prog="python -m tests.run", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)} (default: all)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up after e2e")
    options = parser.parse_args()
    chosen = options.suites or list(SUITES)
    unknown = set(chosen) - set(SUITES)
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    OUT.mkdir(parents=True, exist_ok=True)
    for report in OUT.glob("*.xml"):
        report.unlink()

    builder = prebuild() if "e2e" in chosen or "integration" in chosen else None
    results = []
    for name, suite in SUITES.items():
        if name not in chosen:
            continue
        if name == "integration":
            call("python", "-m", "devcluster", "tools", "--only", API_TOOLS)
        if name == "e2e" and builder:
            builder.wait()
        print(f"\n=== {name} " + "=" * (70 - len(name)), flush=True)
        begun = time.monotonic()
        code = suite(options)
        results.append(Result(name, code, time.monotonic() - begun))
    if builder:
        builder.wait()
    return summarise(results)


def prebuild() -> subprocess.Popen[bytes]:
    """Build or find all programs in the background; what it says goes to a file, and a failure shows again later."""
    log = (OUT / "tools.log").open("wb")
    return subprocess.Popen(
        ["nice", sys.executable, "-m", "devcluster", "tools"], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
    )


def call(*command: str) -> int:
    """Run a command in the repository with this interpreter's environment; its exit code."""
    line = (
        [sys.executable, *command[1:]]
        if command[0] == "python"
        else [str(Path(sys.executable).parent / command[0]), *command[1:]]
    )
    return subprocess.run(line, cwd=ROOT, check=False).returncode


def pytest(name: str, *arguments: str) -> int:
    """Run pytest; its report is counted in the summary."""
    return call("python", "-m", "pytest", f"--junitxml={OUT / f'{name}.xml'}", *arguments)


def lint(_: argparse.Namespace) -> int:
    """Style, types, layers, and that what is generated is up to date."""
    steps = (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("lint-imports",),
    )
    return max(call(*step) for step in steps)


def unit(_: argparse.Namespace) -> int:
    """Without a cluster, in seconds."""
    return pytest("unit", "tests/unit", "-n", "2", "-q")


def integration(_: argparse.Namespace) -> int:
    """Against a real kube-apiserver and etcd, and the chart."""
    return pytest("integration", "tests/integration", "tests/chart", "-n", "2", "--dist", "loadfile", "-q")


def e2e(options: argparse.Namespace) -> int:
    """On the one-node cluster with real pods; a cluster that was not there before goes again, without a trace."""
    was_up = subprocess.run([sys.executable, "-m", "devcluster", "status"], cwd=ROOT, capture_output=True, check=False)
    code = pytest("e2e", "tests/e2e", "-v", "--durations=10")
    if was_up.returncode != 0 and not options.keep:
        code = max(code, call("python", "-m", "devcluster", "down"))
    return code


SUITES: dict[str, Callable[[argparse.Namespace], int]] = {
    "lint": lint,
    "unit": unit,
    "integration": integration,
    "e2e": e2e,
}


def summarise(results: list[Result]) -> int:
    """Print a line a suite and the sum of the tests; the exit code."""
    print("\n=== summary " + "=" * 63)
    passed = failed = skipped = 0
    for result in results:
        counts = ""
        report = OUT / f"{result.name}.xml"
        if report.exists():
            suite = ET.parse(report).getroot().find("testsuite")
            number = (
                {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
                if suite is not None
                else {}
            )
            bad = number.get("failures", 0) + number.get("errors", 0)
            good = number.get("tests", 0) - bad - number.get("skipped", 0)
            passed, failed, skipped = passed + good, failed + bad, skipped + number.get("skipped", 0)
            counts = f"{good} passed, {bad} failed"
        print(f"{result.name:<12} {'ok' if result.code == 0 else 'FAILED':<7} {result.seconds:6.0f} s  {counts}")
    bad_suites = [result.name for result in results if result.code != 0]
    if bad_suites:
        print(f"failed: {', '.join(bad_suites)}; run one alone with `make {bad_suites[0]}`")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if bad_suites else 0


if __name__ == "__main__":
    sys.exit(main())
