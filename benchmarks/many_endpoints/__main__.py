"""Measure: what a decision round of the operator costs with many endpoints, and how soon all are scaled out."""

import json
import logging
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks.many_endpoints.options import Options, parse
from benchmarks.many_endpoints.report import table
from benchmarks.many_endpoints.scenario import Scenario
from benchmarks.many_endpoints.stage import Stage, TooSlowError

CPU_GOAL_SECONDS = 1.0


def main() -> int:
    """Run, print and write; 1 where something was wrong, not where it was slow."""
    options = parse()
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = datetime.now(UTC)
    print("starting Kubernetes, nodes that run nothing, the pods' Prometheus and the operator", flush=True)
    with Stage(options) as stage:
        run = Scenario(stage)
        try:
            run.run()
        except TooSlowError as error:
            print(f"WRONG  {error}\nthe operator's log: {stage.log}", file=sys.stderr)
            return 1
    document = _document(run, options, began)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "many-endpoints.json"
    target.write_text(json.dumps(document, indent=2, default=str) + "\n")
    print(f"{table(document)}\n\nall figures: {target}")
    return 0 if all(check["passed"] for check in document["checks"]) else 1


def _document(run: Scenario, options: Options, began: datetime) -> dict[str, Any]:
    phases = run.phases
    steady, few = phases["steady"], phases["few"]
    queries = (steady["queries"]["counters"] + steady["queries"]["gauges"]) / max(1, steady["queries"]["counters"])
    cpu = steady["cpuSecondsPerRound"]["p50"]
    checks = [
        {"name": f"every endpoint has the right number, {name}", "passed": not wrong, "detail": list(wrong)[:3]}
        for name, wrong in run.wrong.items()
    ]
    checks.append(
        {
            "name": "as many queries in a round with many endpoints as with few",
            "passed": abs(queries - few["queriesPerRound"]) < 1,
            "detail": [few["queriesPerRound"], round(queries, 2)],
        }
    )
    return {
        "began": began.isoformat(),
        "parameters": asdict(options),
        "goals": {"cpu_seconds_per_round": {"goal": CPU_GOAL_SECONDS, "measured": cpu, "met": cpu <= CPU_GOAL_SECONDS}},
        "queriesPerRound": {str(options.few): few["queriesPerRound"], str(options.endpoints): round(queries, 2)},
        "phases": phases,
        "wrong": run.wrong,
        "checks": checks,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
