"""The report as a page for people."""

import json
from pathlib import Path

from examples.sagemaker_demo.report import (
    STAGES,
    Run,
    audit_lines,
    decisions_in,
    first_decisions,
    problems,
    seconds_since,
    to_json,
)


def write(run: Run, *, folder: Path) -> None:
    """Write report.json and report.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(to_json(run), indent=2) + "\n")
    (folder / "report.md").write_text(to_markdown(run, picture=(folder / "run.png").exists()))


def to_markdown(run: Run, *, picture: bool) -> str:
    """Return the report as a page for people."""
    bad = problems(run)
    parts = [
        *("# The demo on a simulated SageMaker", ""),
        f"{run.began:%Y-%m-%d %H:%M} UTC. " + ("It did not pass:" if bad else "All went well."),
        *(f"- {line}" for line in bad),
        *(
            "",
            "The operator, the Kubernetes API and Prometheus are real. SageMaker is the simulator of the tests, whose clock",
        ),
        f"runs {run.speed:g} times as fast; it trains nothing and answers no prediction. No AWS account was involved.",
        *_train_section(run),
        *_scaling_section(run),
        *(["", "![requests, instances and states over the run](run.png)"] if picture else []),
        *_update_section(run),
        *_audit_section(run),
        *("", "## Time by step", "", "| step | seconds |", "|---|---|"),
        *(f"| {step} | {seconds:.1f} |" for step, seconds in run.steps.items()),
        *("", "## Versions", "", *(f"- {name}: {value}" for name, value in run.versions.items())),
    ]
    return "\n".join(parts) + "\n"


def _train_section(run: Run) -> list[str]:
    lines = []
    if run.train:
        train = run.train
        lines = [
            *("", "## Training", f"- Data: {run.data}"),
            f"- {' → '.join(train.phases)} in {train.virtual_seconds:.0f} s of SageMaker's time",
            f"- Model: `{train.artifact}`",
            (
                f"- {train.billable_seconds} s billed, {train.cost:.4f} {train.currency} by the chart's table of "
                f"{train.prices_as_of} (an estimate)"
            ),
        ]
    if run.serve:
        lines += [
            *("", "## Endpoint"),
            f"- Creating for {run.serve.virtual_seconds:.0f} s of SageMaker's time, {run.serve.wall_seconds:.1f} s here",
        ]
    if run.hourly:
        lines.append(f"- `status.cost.hourly` was between {run.hourly[0]:.3f} and {run.hourly[-1]:.3f} USD")
    return lines


def _scaling_section(run: Run) -> list[str]:
    if not run.stages:
        return []
    lines = [
        *(
            "",
            "## Scaling",
            "",
            "The operator's policy, from Prometheus, in seconds of this machine's clock (the scrapes' clock):",
            "",
        ),
        *("| stage | seconds | instances | why |", "|---|---|---|---|"),
    ]
    for stage in run.stages:
        label = f"{stage.rate:.0f} requests/min, target {stage.target}"
        lines += [
            f"| {label} | {seconds_since(stage, each.time):.1f} | {each.from_replicas} → {each.to_replicas} | {each.reason} |"
            for each in decisions_in(run, stage)
        ]
    if run.activities:
        lines += [
            *(
                "",
                "`engine: ApplicationAutoScaling`, the same load on another endpoint, in seconds of SageMaker's clock:",
                "",
            ),
            *("| stage | seconds | what |", "|---|---|---|"),
            *(f"| {STAGES[each.stage]} | {each.seconds:.0f} | {each.description} |" for each in run.activities),
            "",
            first_decisions(run),
            "Each in its own time, so the picture does not show which is sooner. The alarms (three minutes out, fifteen in) and the",
            "cooldowns (5 min) are simulated after what AWS documents; an instance takes its three minutes under either engine. The",
            "operator's policy needs a Prometheus that counts the requests, and here it has `scaleInCooldown: 10s`.",
        ]
    return lines


def _update_section(run: Run) -> list[str]:
    if not run.updates:
        return []
    rows = [
        f"| {each.what} | {'the first' if each.is_first else 'another'} | {each.reason} | {each.message} |"
        for each in run.updates
    ]
    header = [
        "",
        "## Updates",
        "",
        "| what | configuration that serves | Ready's reason | message |",
        "|---|---|---|---|",
    ]
    return [*header, *rows]


def _audit_section(run: Run) -> list[str]:
    lines = ["", "## Deletion and audit"] if run.audit or run.deletion_seconds else []
    if run.deletion_seconds is not None:
        lines.append(f"- `kubectl delete` returned after {run.deletion_seconds:.1f} s")
    if run.audit:
        lines += ["", "```", *audit_lines(run.audit), "```"]
    return lines
