"""Runs the test suites in the order in which they can begin: the tools of the later ones are built during the first.

`make test` runs all of them; `.venv/bin/python -m tests.run NAME…` runs some. Exit code 0 only if every suite passed.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from devcluster import teardown
from devcluster.paths import state_dir
from examples.demo.shell import prepare_environment, stop_group

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "test"
API_TOOLS = "etcd,kube-apiserver,kube-controller-manager,kubectl,helm,prometheus"
E2E_SECONDS = 1800
"""For a test and the fixtures it is the first to need: the cluster's start, image builds, the demo."""
INTERRUPTED = 130
STOP_SECONDS = 30
NEEDS_ROOT = (
    "{command} needs root for the e2e part, whose one-node cluster runs containers: run it as root; "
    "make lint, make unit and make integration run without"
)


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
    if "e2e" in chosen and os.geteuid() != 0:
        print(NEEDS_ROOT.format(command="make test" if len(chosen) > 1 else "make e2e"), file=sys.stderr)
        return 2
    prepare_environment()
    OUT.mkdir(parents=True, exist_ok=True)
    for report in OUT.glob("*.xml"):
        report.unlink()

    results: list[Result] = []
    try:
        with prebuild() if "e2e" in chosen and len(chosen) > 1 else contextlib.nullcontext():
            for name, suite in SUITES.items():
                if name not in chosen:
                    continue
                print(f"\n=== {name} " + "=" * (70 - len(name)), flush=True)
                begun = time.monotonic()
                code = suite(options)
                results.append(Result(name, code, time.monotonic() - begun))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return summarise(results)


@contextlib.contextmanager
def prebuild() -> Iterator[None]:
    """Build all programs in the background meanwhile; its words go to a file: who needs the programs asks for them again."""
    command = ["nice", sys.executable, "-m", "devcluster", "tools"]
    with (OUT / "tools.log").open("wb") as log:
        builder = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield
        finally:
            if builder.poll() is None:
                stop_group(builder)


def call(*command: str) -> int:
    """Run a command in the repository with this interpreter's environment; its exit code."""
    line = (
        [sys.executable, *command[1:]]
        if command[0] == "python"
        else [str(Path(sys.executable).parent / command[0]), *command[1:]]
    )
    with subprocess.Popen(line, cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has told the command too: let it tidy up
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOP_SECONDS)
            raise
        finally:
            if process.poll() is None:
                process.kill()


def tools(*arguments: str) -> int:
    """Build or find programs, in sight; waits for the background where that is at the same ones."""
    return call("python", "-m", "devcluster", "tools", *arguments)


def pytest(name: str, *arguments: str) -> int:
    """Run pytest; its report is counted in the summary, and no report is a failure."""
    report = OUT / f"{name}.xml"
    code = call("python", "-m", "pytest", f"--junitxml={report}", *arguments)
    if code == 0 and not report.exists():
        print(f"pytest left no {report}", file=sys.stderr)
        return 1
    return code


def lint(_: argparse.Namespace) -> int:
    """Style, types, layers."""
    steps = (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("lint-imports",),
    )
    # All of them, and not the maximum: a killed program's code is negative.
    codes = [call(*step) for step in steps]
    return int(any(codes))


def unit(_: argparse.Namespace) -> int:
    """Without a cluster, in seconds."""
    return pytest("unit", "tests/unit", "-n", "2", "-q")


def replay(_: argparse.Namespace) -> int:
    """The scaling policy over generated traffic: no line may be worse than its recorded bound."""
    return call("python", "-m", "benchmarks.replay")


def integration(_: argparse.Namespace) -> int:
    """Against a real kube-apiserver and etcd, and the chart."""
    return tools("--only", API_TOOLS) or pytest(
        "integration", "tests/contract", "tests/integration", "tests/chart", "-n", "2", "--dist", "loadfile", "-q"
    )


def e2e(options: argparse.Namespace) -> int:
    """On the one-node cluster with real pods; a cluster that was not there before goes again, without a trace."""
    if missing := tools():
        return missing
    was_there = (state_dir() / teardown.MARKER).exists()
    code, down = 1, 0
    try:
        # Without capture, or the minutes of a cluster's start and of image builds would pass in silence.
        code = pytest("e2e", "tests/e2e", "-v", "--capture=no", f"--timeout={E2E_SECONDS}", "--durations=10")
    finally:
        if code != 0:
            keep_logs()
        if not was_there and not options.keep:
            down = call("python", "-m", "devcluster", "down")
    return code or down


def keep_logs() -> None:
    """Copy the cluster's logs to where `down` doesn't delete them."""
    source, target = state_dir() / "logs", OUT / "e2e" / "cluster-logs"
    shutil.rmtree(target, ignore_errors=True)
    if source.is_dir():
        with contextlib.suppress(OSError):  # shutil.Error is one; what could be copied is there
            shutil.copytree(source, target)
        print(f"the cluster's logs are in {target}", flush=True)


SUITES: dict[str, Callable[[argparse.Namespace], int]] = {
    "lint": lint,
    "unit": unit,
    "replay": replay,
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
