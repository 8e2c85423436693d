"""Measure: how soon new replicas are Ready after a step in load, what users feel of it, and what others would have done."""

import json
import math
import signal
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.scaling import report, shape, simulated
from benchmarks.scaling.driving import drive
from benchmarks.scaling.options import Options, parse
from benchmarks.scaling.results import Run, checks, figures, ready_at
from benchmarks.scaling.stage import NAMESPACE, Stage, pause_until, wait_policy_seen
from benchmarks.scaling.watching import Watching
from devcluster.errors import DevclusterError
from examples.demo.progress import DemoError, reason_of, say

_LEAD_SECONDS = 100.0
"""Between the making of a scheduled endpoint and its hour: the start-up time, as status learns it, and a look or two."""


def main() -> int:
    """Run, print and write; 1 where something was wrong (a failed request, a wrong answer), not where it was slow."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    document: dict[str, Any] = {"parameters": _parameters(options), "runs": []}
    try:
        with Stage(options) as stage:
            runs = [_run(stage, source) for source in options.sources]
            if options.schedule:
                document["schedule"] = _scheduled(stage)
            stage.logs()
    except (DemoError, DevclusterError) as error:
        say(f"FAILED: {reason_of(error)}")
        return 1
    bound = options.latency_ms / 1000
    document["runs"] = [figures(run, latency_seconds=bound, capacity=options.capacity) for run in runs]
    startup = _startup_seconds(runs)
    document["startupSeconds"] = startup
    _write(document, options)  # what took long is safe before it is compared
    document["simulated"] = simulated.beside(runs[0].shape, options=options, startup_seconds=startup)
    if not options.quick:
        document["learned"] = simulated.learned()
    document["checks"] = checks(document)
    _write(document, options)
    report.draw(runs, path=options.out / "scaling.png", capacity=options.capacity, latency_seconds=bound)
    print(report.text(document))
    print(f"\nall figures: {options.out / 'scaling.json'}; picture: {options.out / 'scaling.png'}")
    return 0 if all(check["passed"] for check in document["checks"] if check["must"]) else 1


def _write(document: dict[str, Any], options: Options) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scaling.json").write_text(json.dumps(document, indent=2, default=str) + "\n")


def _parameters(options: Options) -> dict[str, Any]:
    return {
        "baseRequestsPerSecond": options.base,
        "factor": options.factor,
        "capacityRequestsPerSecond": options.capacity,
        "latencyMs": options.latency_ms,
        "quick": options.quick,
        "scaling": {source: options.scaling(source) for source in options.sources},
        "began": datetime.now(UTC).isoformat(),
    }


def _run(stage: Stage, source: str) -> Run:
    options = stage.options
    load = shape.article(options.base, options.factor, quick=options.quick)
    name = f"spikes-{source.lower()}"
    say(
        f"source {source}: {load.seconds:.0f} s of load, {options.base:g} to {options.base * options.factor:g} requests/s"
    )
    with (
        stage.endpoint(name, options.scaling(source)) as url,
        Watching(stage.cluster, namespace=NAMESPACE, name=name) as watching,
    ):
        wait_policy_seen(stage, name)
        driven = drive(url, load, latency_seconds=options.latency_ms / 1000)
    say(f"{len(driven.due)} requests, {sum(driven.failures.values())} failed; at most {max((s.ready for s in watching.samples), default=0)} replicas Ready")  # fmt: skip
    return Run(
        source=source,
        shape=load,
        driven=driven,
        samples=watching.samples,
        decisions=((watching.endpoint.get("status") or {}).get("scaling") or {}).get("decisions") or [],
        missed_looks=watching.missed,
    )


def _scheduled(stage: Stage) -> dict[str, Any]:
    """A floor that is due at a full minute, and the load that comes with it."""
    options = stage.options
    floor = min(options.most_replicas, math.ceil(1.1 * options.base * options.factor / options.capacity))
    at = datetime.now(UTC) + timedelta(seconds=_LEAD_SECONDS)
    at = at.replace(second=0, microsecond=0) + timedelta(minutes=1 if at.second or at.microsecond else 0)
    plan = {"name": "known", "cron": f"{at.minute} {at.hour} * * *", "duration": "10m", "minReplicas": floor}
    scaling = {**options.scaling(options.sources[0]), "schedules": [plan]}
    say(f"schedule: {floor} replicas from {at:%H:%M} UTC on")
    name, step = "scheduled", at.timestamp()
    with (
        stage.endpoint(name, scaling) as url,
        Watching(stage.cluster, namespace=NAMESPACE, name=name) as watching,
    ):
        wait_policy_seen(stage, name, seconds=30)
        pause_until(step - 15)
        load = shape.scheduled(options.base, options.factor, before=max(1.0, step - time.time()), quick=options.quick)
        driven = drive(url, load, latency_seconds=options.latency_ms / 1000)
    run = Run(source="schedule", shape=load, driven=driven, samples=watching.samples, decisions=[], missed_looks=0)
    told = figures(run, latency_seconds=options.latency_ms / 1000, capacity=options.capacity)
    asked = next((sample.time for sample in watching.samples if sample.asked >= floor), None)
    ready = next((sample.time for sample in watching.samples if sample.ready >= floor), None)
    return {
        "floor": floor,
        "at": at.isoformat(),
        "readyAtStep": ready_at(watching.samples, step),
        "floorReadyAfterSeconds": None if ready is None else round(ready - step, 1),
        "startup": ((watching.endpoint.get("status") or {}).get("scaling") or {}).get("startup"),
        "askedBeforeSeconds": None if asked is None else round(step - asked, 1),
        "failed": told["failed"],
        "latePercent": told["parts"][1]["latePercent"],
        "p99Ms": told["parts"][1]["p99Ms"],
    }


def _startup_seconds(runs: list[Run]) -> int:
    """How long replicas took here from the decision to Ready: the median over all growths."""
    found = []
    for run in runs:
        for before, after in zip(run.samples, run.samples[1:], strict=False):
            if after.asked > before.asked:
                ready = next((s.time for s in run.samples if s.time > after.time and s.ready >= after.asked), None)
                if ready is not None:
                    found.append(ready - after.time)
    return max(1, round(statistics.median(found))) if found else 3


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
