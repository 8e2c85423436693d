"""What is left of a run: report.json for programs, report.md for people, and the verdict."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.demo.load import LoadResult
from examples.demo.watch import Decision, Sample

LEAST_ACCURACY = 0.9


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """How training went."""

    seconds: float
    """From the start of the job to its completion, whole seconds of the job's status."""
    accuracy: float | None
    """On the validation channel."""
    artifact: str
    sha256: str
    data: str


@dataclass(frozen=True, kw_only=True)
class ScalingReport:
    """How the number of replicas followed the load. Times are seconds, None where it never happened."""

    start: int
    most: int
    first_decision: float | None
    """From the first request to the first decision for more replicas."""
    first_ready: float | None
    """From the first request to the first moment at which more replicas were ready."""
    back_to_min: float | None
    """From the last request to the moment at which only the minimum was left."""
    decisions: list[Decision]


@dataclass(kw_only=True)
class Run:
    """What is known of one run; parts stay None where it did not get so far."""

    began: datetime
    train: TrainReport | None = None
    endpoint_ready_seconds: float | None = None
    """From the job's completion to the endpoint being Ready."""
    predictions: Mapping[str, float] = field(default_factory=dict)
    load: LoadResult | None = None
    load_window: tuple[datetime, datetime] | None = None
    scaling: ScalingReport | None = None
    versions: dict[str, str] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    final_table: str = ""
    failure: str = ""
    """Why the run broke off, empty where it came to its end."""


def scaling_report(
    samples: list[Sample], *, decisions: list[Decision], minimum: int, window: tuple[datetime, datetime]
) -> ScalingReport:
    """Read from samples and decisions how replicas followed the load in `window`."""
    begun, ended = window
    before = [sample.ready for sample in samples if sample.time <= begun]
    start = before[-1] if before else minimum
    after = [sample for sample in samples if sample.time >= begun]
    first = next((d.time for d in decisions if d.to_replicas > d.from_replicas), None)
    first = first or next((s.time for s in after if (s.desired or 0) > start), None)
    ready = next((s.time for s in after if s.ready > start), None)
    back = next((s.time for s in samples if s.time >= ended and s.ready == s.replicas == s.desired == minimum), None)
    return ScalingReport(
        start=start,
        most=max([start, *(sample.ready for sample in after)]),
        first_decision=_since(begun, then=first),
        first_ready=_since(begun, then=ready),
        back_to_min=_since(ended, then=back),
        decisions=decisions,
    )


def problems(run: Run) -> list[str]:
    """Say what did not go as it should, one line each; empty is success."""
    if run.failure:
        return [run.failure]
    found = []
    if run.train is None or run.train.accuracy is None:
        found.append("the TrainingJob's status has no validation accuracy")
    elif run.train.accuracy < LEAST_ACCURACY:
        found.append(f"the validation accuracy is {run.train.accuracy:.4f}, below {LEAST_ACCURACY}")
    if run.load is None or not run.load.requests:
        found.append("no request was answered under load")
    elif run.load.errors:
        first = f"; the first: {run.load.first_wrong}" if run.load.first_wrong else ""
        found.append(f"{run.load.errors} of {run.load.requests} requests failed under load{first}")
    if run.scaling is None or run.scaling.most <= run.scaling.start:
        found.append("the endpoint did not scale out under load")
    elif run.scaling.back_to_min is None:
        found.append("the endpoint did not come back to its minimum after the load")
    return found


def to_json(run: Run) -> dict[str, Any]:
    """Return the report in the schema that other programs read."""
    train, load, scaling = run.train, run.load, run.scaling
    begun = run.load_window[0] if run.load_window else run.began
    return {
        "began": run.began.isoformat(timespec="seconds"),
        "problems": problems(run),
        "train": train
        and {
            "seconds": train.seconds,
            "accuracy": train.accuracy,
            "artifact": train.artifact,
            "sha256": train.sha256,
            "data": train.data,
        },
        "endpoint": {"readySeconds": run.endpoint_ready_seconds, "rightPredictions": dict(run.predictions)},
        "load": load
        and {
            "requests": load.requests,
            "errors": load.errors,
            "p50Ms": load.p50_ms,
            "p90Ms": load.p90_ms,
            "p99Ms": load.p99_ms,
            "maxMs": load.max_ms,
            "seconds": load.seconds,
            "not200": load.not_200,
            "wrongAnswers": load.wrong_answers,
            "connectionErrors": load.connection_errors,
            "timeouts": load.timeouts,
            "unanswered": load.unanswered,
        },
        "scaling": scaling
        and {
            "from": scaling.start,
            "to": scaling.most,
            "firstScaleUpSeconds": scaling.first_decision,
            "firstReadySeconds": scaling.first_ready,
            "backToMinSeconds": scaling.back_to_min,
            "decisions": [
                {
                    "t": _since(begun, then=decision.time),
                    "time": decision.time.isoformat(),
                    "from": decision.from_replicas,
                    "replicas": decision.to_replicas,
                    "reason": decision.reason,
                }
                for decision in scaling.decisions
            ],
        },
        "versions": run.versions,
        "steps": dict(run.steps),
    }


def write(run: Run, *, folder: Path) -> None:
    """Write report.json and report.md."""
    content = to_json(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "report.md").write_text(to_markdown(run, picture=(folder / "run.png").exists()))


def to_markdown(run: Run, *, picture: bool) -> str:
    """Return the report as a page for people."""
    bad = problems(run)
    parts = [
        "# The demo run",
        "",
        f"{run.began:%Y-%m-%d %H:%M} UTC. " + ("It did not pass:" if bad else "All went well."),
    ]
    parts += [f"- {line}" for line in bad]
    if run.train:
        accuracy = "unknown" if run.train.accuracy is None else f"{run.train.accuracy:.4f}"
        parts += [
            *("", "## Training"),
            f"- Data: {run.train.data}",
            f"- {run.train.seconds:.0f} s from start to completion, validation accuracy **{accuracy}**",
            f"- Model: `{run.train.artifact}` (sha256 `{run.train.sha256}`)",
        ]
    if run.endpoint_ready_seconds is not None:
        parts += ["", "## Endpoint", f"- Ready {run.endpoint_ready_seconds:.1f} s after the model was there"]
        parts += [f"- {kind}: {share:.0%} of the sample rows right" for kind, share in run.predictions.items()]
    parts += _load_section(run) + _scaling_section(run)
    if picture:
        parts += ["", "![requests per second, replicas and latency over the run](run.png)"]
    parts += ["", "## Time by step", "", "| step | seconds |", "|---|---|"]
    parts += [f"| {step} | {seconds:.1f} |" for step, seconds in run.steps.items()]
    parts += ["", "## Versions", "", *(f"- {name}: {value}" for name, value in run.versions.items())]
    return "\n".join(parts) + "\n"


def _load_section(run: Run) -> list[str]:
    load = run.load
    if load is None:
        return []
    return [
        *("", "## Load"),
        (
            f"- {load.requests} requests in {load.seconds:.0f} s ({load.requests / load.seconds:.0f} per second), "
            f"**{load.errors} failed**"
        ),
        (
            f"- Latency at the client: p50 {load.p50_ms:.1f} ms, p90 {load.p90_ms:.1f} ms, p99 {load.p99_ms:.1f} ms, "
            f"longest {load.max_ms:.1f} ms"
        ),
    ]


def _scaling_section(run: Run) -> list[str]:
    scaling = run.scaling
    if scaling is None:
        return []
    begun = run.load_window[0] if run.load_window else run.began
    lines = [
        *("", "## Scaling"),
        (
            f"- {scaling.start} → {scaling.most} replicas; first decision {_said(scaling.first_decision)} after the first request, "
            f"first added replica ready after {_said(scaling.first_ready)}"
        ),
        f"- Back to the minimum {_said(scaling.back_to_min)} after the last request",
        *("", "| seconds after the first request | replicas | why |", "|---|---|---|"),
    ]
    for decision in scaling.decisions:
        seconds = _since(begun, then=decision.time)
        lines.append(f"| {seconds:.1f} | {decision.from_replicas} → {decision.to_replicas} | {decision.reason} |")
    if run.final_table:
        lines += ["", "`kubectl get modelendpoint`, at the end:", "", "```", run.final_table.rstrip(), "```"]
    return lines


def _since(begun: datetime, *, then: datetime | None) -> float | None:
    return None if then is None else round((then - begun).total_seconds(), 1)


def _said(seconds: float | None) -> str:
    return "(never)" if seconds is None else f"{seconds:.1f} s"
