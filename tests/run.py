"""Runs the test suites in the order in which they can begin. Behind them, on time that they leave over: the replay, and
what e2e will need, programs and images.

`make test` runs all of them; `.venv/bin/python -m tests.run NAME…` runs some. Exit code 0 only if every suite passed.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devcluster import teardown
from devcluster.paths import state_dir
from examples.demo.shell import prepare_environment, stop_group
from examples.demo.stack import image_of

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "test"
API_TOOLS = "etcd,kube-apiserver,kube-controller-manager,kubectl,helm,prometheus"
REPLAY = ("-m", "benchmarks.replay")
E2E_SECONDS = 1800
"""For a test and the fixtures it is the first to need: the cluster's start, image builds, the demo."""
INTERRUPTED = 130
STOP_SECONDS = 30
LAST = 19
"""The nice value of what runs behind: its share of a busy core is a hundredth of that of the suite in front."""
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")
"""A worker has all tests of a file, with what is set up for them; files go out in their order, not the many-tested first."""
INTEGRATION_WORKERS = "4"
"""Twice CI's cores: most of the time a test that drives an operator waits for it."""
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
    keep_bytecode()
    OUT.mkdir(parents=True, exist_ok=True)
    for report in OUT.glob("*.xml"):
        report.unlink()

    try:
        return summarise(run_all(chosen, options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def keep_bytecode() -> None:
    """
    Have what is compiled once used by every process that is started: workers, hundreds of operators, servers, trainers.

    In a folder of its own, so that this holds too where the environment forbids to write beside the sources.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / "build" / "pycache")


def run_all(chosen: list[str], options: argparse.Namespace) -> list[Result]:
    """One suite after the other; where there are several, what can go on behind them does."""
    results: list[Result] = []
    with contextlib.ExitStack() as behind:
        several = len(chosen) > 1
        if several and "e2e" in chosen:
            behind.enter_context(Behind("e2e-needs", e2e_needs()))
        replaying = behind.enter_context(Behind("replay", [REPLAY])) if several and "replay" in chosen else None
        for name, suite in SUITES.items():
            if name not in chosen or (name == "replay" and replaying):
                continue
            begin(name)
            begun = time.monotonic()
            code = suite(options)
            results.append(Result(name, code, time.monotonic() - begun))
        if replaying:
            begin("replay")
            results.append(replaying.result())
    return results


def begin(name: str) -> None:
    """The line above a suite's output."""
    print(f"\n=== {name} " + "=" * (70 - len(name)), flush=True)


class Behind:
    """
    Commands of this interpreter, one after the other until one fails, on time that nobody else wants; their words go to a
    file in OUT. Whatever still runs at the end of the `with` block is stopped.
    """

    def __init__(self, name: str, commands: Sequence[Sequence[str]]) -> None:
        """Nothing is started yet."""
        self._name, self._log = name, OUT / f"{name}.log"
        self._line = " && ".join(shlex.join([sys.executable, *command]) for command in commands)

    def __enter__(self) -> Self:
        """Start."""
        self._begun = time.time()
        command = ["nice", "-n", str(LAST), "bash", "-c", self._line]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        # Where the kernel shares time by sessions, nice counts within one, and each has a value of its own.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/autogroup").write_text(str(LAST))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what runs."""
        if self._process.poll() is None:
            stop_group(self._process)

    def result(self) -> Result:
        """How it went, once it has ended: its output is printed then. Its time is that to its last words."""
        code = self._process.wait()
        print(self._log.read_text(errors="replace"), flush=True)
        return Result(self._name, code, self._log.stat().st_mtime - self._begun)


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
    return pytest("unit", "tests/unit", "-n", "2", *BY_FILE, "-q")


def replay(_: argparse.Namespace) -> int:
    """The scaling policy over generated traffic: no line may be worse than its recorded bound."""
    return call("python", *REPLAY)


def integration(_: argparse.Namespace) -> int:
    """Against a real kube-apiserver and etcd, and the chart."""
    # What drives operators is long and comes first, SageMaker's tests before all: each worker must have some of them, since
    # it is the last of all workers that judges the permissions. Many short tests then even the workers out.
    return tools("--only", API_TOOLS) or pytest(
        "integration", "tests/integration", "tests/contract", "tests/chart", "-q",
        "-n", INTEGRATION_WORKERS, *BY_FILE,
    )  # fmt: skip


def e2e_needs() -> list[tuple[str, ...]]:
    """Commands that make what e2e would have to wait for. It asks for all of it again: what failed here fails there, in sight."""
    images = (image_of("operator"), image_of("model-server"))
    build = ("-m", "devcluster", "build-image")
    return [
        ("-m", "devcluster", "tools"),
        *((*build, "--target", image.target, "--tag", image.name) for image in images),
    ]


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
