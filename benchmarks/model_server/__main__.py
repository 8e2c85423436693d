"""Measure: one CPU for a server, one for the load, the same models and requests for all, every answer verified."""

import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.model_server import report
from benchmarks.model_server.environments import InstallError, installed_version, python_version
from benchmarks.model_server.figures import Figures, judge, lines, misconduct, summarise
from benchmarks.model_server.generator import LoadError, open_files_needed, raise_open_files
from benchmarks.model_server.options import Options, parse
from benchmarks.model_server.payloads import PAYLOADS
from benchmarks.model_server.processes import ServerError
from benchmarks.model_server.rounds import Round, Row
from benchmarks.model_server.servers import SERVERS
from benchmarks.model_server.workload import Workload
from devcluster.debian import require
from devcluster.errors import DevclusterError
from devcluster.progress import say, step


def main() -> int:
    """Run, print and write; 1 where answers of Sagebrush were wrong or cut, or it could not be measured."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    threadpool_limits(limits=1)  # threads of OpenMP that wait for a CPU burn the other one
    folder = options.out / "model-server"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        raise_open_files(open_files_needed(max(payload.connections for payload in PAYLOADS.values())))
        needs = {"taskset": "util-linux"}
        for key in options.servers:
            needs |= SERVERS[key].needs
        require(needs)
    except (DevclusterError, LoadError) as error:
        say(f"FAILED: {error}")
        return 1
    with step("training the models and making the requests"):
        workload = Workload(folder / "models")
        described = workload.describe()
    try:
        rows, failures = _measure(Round(options=options, workload=workload, folder=folder))
    finally:
        shutil.rmtree(folder / "requests", ignore_errors=True)
    figures = summarise(rows)
    document = _document(options, figures=figures, rows=rows, failures=failures, described=described)
    text = _write(options, document=document, figures=figures)
    print(text)
    wrong = misconduct(figures, ours=[key for key in options.servers if SERVERS[key].ours])
    wrong += [f"{key}: {reason}" for key, reason in failures.items() if SERVERS[key].ours]
    for line in wrong:
        say(f"WRONG: {line}")
    say(f"all figures: {options.out / 'model-server.json'}; table: model-server.md; picture: model-server.png")
    return 1 if wrong else 0


def _measure(one: Round) -> tuple[list[Row], dict[str, str]]:
    """Go through all servers in every round; one that fails is left out from then on, with the reason."""
    rows: list[Row] = []
    failures: dict[str, str] = {}
    options = one.options
    for number in range(options.rounds):
        for key in options.servers:
            if key in failures:
                continue
            try:
                for row in one.measure(SERVERS[key], number=number):
                    rows.append(row)
                    say(f"round {number + 1}/{options.rounds}, {_told(row)}")
            except (InstallError, ServerError, LoadError, DevclusterError) as error:
                failures[key] = f"in round {number + 1}: {error}"
                say(f"round {number + 1}/{options.rounds}, {key}: NOT MEASURED: {error}")
    return rows, failures


def _told(row: Row) -> str:
    said = f"{row['server']:<18} {row['payload']:<9} "
    if "requestsPerSecond" in row:
        said += f"{row['requestsPerSecond']:>9,.0f}/s {report.short(row['cpuMicroseconds']):>6} CPU-µs  p50 {report.short(row['p50Ms'])} ms  p99 {report.short(row['p99Ms'])} ms"
    elif "readySeconds" in row:
        said += f"ready after {row['readySeconds']:.2f} s, {row['memoryMb']:.0f} MB"
    elif "cut" in row:
        said += f"{row['cut']} cut, exit {report.short(row['exitSeconds'])} s after SIGTERM, {report.short(row['exitAfterLastAnswerSeconds'])} s after the last answer"
    else:
        said += f"{row['memoryMb']:.0f} MB"
    bad = {**row.get("failed", {}), **({"WRONG": row["wrong"]} if row.get("wrong") else {})}
    return said + "".join(f", {count} {kind}" for kind, count in bad.items()) + _first_sample(row)


def _first_sample(row: Row) -> str:
    return f" ({row['samples'][0][:160]!r})" if row.get("samples") else ""


def _document(
    options: Options, *, figures: Figures, rows: list[Row], failures: dict[str, str], described: dict[str, Any]
) -> dict[str, Any]:
    return {
        "about": {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": report.processor(),
            "cpus": os.cpu_count(),
            "loadAverage": os.getloadavg()[0],
            "rounds": options.rounds,
            "seconds": options.seconds,
            "workload": described,
            "versions": _versions(options),
        },
        "figures": lines(figures),
        "goals": [
            {
                "goal": one.goal.text,
                "bound": one.goal.bound,
                "must": one.goal.must,
                "found": one.value,
                "met": one.met,
                "byCpu": one.by_cpu,
            }
            for one in judge(figures)
        ],
        "failures": failures,
        "rounds": rows,
    }


def _versions(options: Options) -> dict[str, str]:
    found = {"scikit-learn": version("scikit-learn"), "numpy": version("numpy"), "Python": python_version()}
    for key in options.servers:
        server = SERVERS[key]
        found |= {package: installed_version(server.environment, package) for package in server.versions}
    return found


def _write(options: Options, *, document: dict[str, Any], figures: Figures) -> str:
    servers = [SERVERS[key] for key in options.servers]
    text = report.markdown(
        figures, servers=servers, judged=judge(figures), failures=document["failures"], about=document["about"]
    )
    (options.out / "model-server.json").write_text(json.dumps(document, indent=2) + "\n")
    (options.out / "model-server.md").write_text(text)
    report.draw(figures, servers=servers, path=options.out / "model-server.png")
    return text


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
