"""``make bench-replay``: the scaling policy and its anchors in the simulator, goal by goal."""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from benchmarks.replay import bounds
from benchmarks.replay.frontier import frontier
from benchmarks.replay.goals import Case, Verdict, cases, verdicts
from sagebrush.replay.contenders import OURS
from sagebrush.replay.files import TraceError
from sagebrush.replay.report import aligned, table
from sagebrush.replay.run import Row, replay

OUTPUT = Path("build/bench/replay.json")
FRONTIER_OUTPUT = Path("build/bench/replay-frontier.json")

_work: list[Case] = []


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 if a line is worse than its recorded bound, 2 if the traces can't be used."""
    args = _parse(arguments)
    if args.traces is not None and not any(args.traces.glob("*.csv")):
        print(f"bench-replay: no *.csv in {args.traces}", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        _work[:] = [case for case in cases(args.traces) if not args.only or case.goal in args.only]
    except TraceError as error:
        print(f"bench-replay: {error}", file=sys.stderr)
        return 2
    if args.frontier:
        _frontier()
        return 0
    rows: list[Row] = []
    for done, (case, found) in enumerate(_measured(processes=args.processes), start=1):
        rows += found
        print(
            f"[{time.monotonic() - began:5.0f} s, {done}/{len(_work)}] {case.goal} {found[0].trace}",
            file=sys.stderr,
            flush=True,
        )
    rows.sort(key=lambda row: row.goal)
    goals = verdicts(rows) if not args.only else []
    _print(rows, goals=goals)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(_as_json(rows, goals=goals, traces=args.traces))
    print(f"\nwrote {args.output} in {time.monotonic() - began:.0f} s")
    if args.record:
        print(f"recorded {bounds.record(rows)} lines in {bounds.FILE.name}")
        return 0
    worse = bounds.broken(rows, bounds=bounds.read())
    for line in worse:
        print(f"WORSE THAN RECORDED  {line}")
    return 1 if worse else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-replay", description=__doc__)
    parser.add_argument("--traces", type=Path, help="folder of *.csv; without it daily-shaped traces are generated")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"JSON of all rows (default: {OUTPUT})")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--record", action="store_true", help="take what is measured as the new bounds")
    parser.add_argument("--only", action="append", metavar="GOAL", help="G1 … G7; may be repeated")
    parser.add_argument(
        "--frontier", action="store_true", help="instead: what no policy without foresight can do better (G4's traces)"
    )
    return parser.parse_args(arguments)


def _frontier() -> None:
    """Prints, for each of G4's traces, standing headroom beside our policy and the bound for all; and writes it as JSON."""
    document = []
    for case in _work:
        if case.goal == "G4":
            rows, bound = frontier(case.load, system=case.system)
            print(f"\n{table(rows)}\n\n{bound}", flush=True)
            document.append({"bound": asdict(bound), "rows": [row.to_dict() for row in rows]})
    FRONTIER_OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    FRONTIER_OUTPUT.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(f"\nwrote {FRONTIER_OUTPUT}")


def _measured(*, processes: int) -> Iterator[tuple[Case, list[Row]]]:
    """Each case with its rows, in the cases' order, so that a run prints what the run before it printed."""
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from zip(_work, map(_rows_of, range(len(_work))), strict=True)
        return
    # Forked: a case holds functions, which can't be sent, and is known to the children as it is.
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from zip(_work, pool.imap(_rows_of, range(len(_work))), strict=True)


def _rows_of(index: int) -> list[Row]:
    case = _work[index]
    trace, system, label = case.situation()
    return [replay(trace, contender, system, goal=case.goal, label=label)[0] for contender in case.contenders]


def _print(rows: Sequence[Row], *, goals: Sequence[Verdict]) -> None:
    for goal, found in groupby(rows, key=lambda row: row.goal):
        print(f"\n{goal}")
        print(table(list(found)))
    if goals:
        lines = [("goal", "wanted", "sagebrush", "met")]
        lines += [(one.goal, one.wanted, one.found, "yes" if one.met else "NO") for one in goals]
        print("\n" + aligned(lines, left=4))


def _as_json(rows: Sequence[Row], *, goals: Sequence[Verdict], traces: Path | None) -> str:
    document = {
        "traces": "generated" if traces is None else sorted(file.name for file in traces.glob("*.csv")),
        "goals": [{"goal": one.goal, "wanted": one.wanted, "found": one.found, "met": one.met} for one in goals],
        "rows": [row.to_dict() for row in rows],
        "cpu": [row.times() for row in rows if row.policy.startswith(OURS)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
