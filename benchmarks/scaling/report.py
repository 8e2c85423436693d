"""Tables and a picture."""

import math
from pathlib import Path
from typing import Any

from benchmarks.scaling.results import Run
from benchmarks.scaling.shape import Shape

_LAG_MS = 50
_BLUE, _GREEN, _RED, _INK = "#1f6fb4", "#2a8a4a", "#c0392b", "#222222"


def text(document: dict[str, Any]) -> str:
    """What is printed at the end."""
    lines = []
    for run in document["runs"]:
        lines += ["", f"source: {run['source']}: {run['requests']} requests, {run['failed']} failed, {run['latePercent']} % late, p50 {run['p50Ms']} ms, p99 {run['p99Ms']} ms, {run['replicaSeconds']:.0f} replica-seconds, {run['changes']} changes"]  # fmt: skip
        if run["generatorLagP99Ms"] > _LAG_MS:
            lines.append(
                f"  the load generator was {run['generatorLagP99Ms']:.0f} ms late itself at p99, which is in the latencies: the machine is busy"
            )
        header = ("part", "seconds", "requests", "late %", "p50 ms", "p99 ms", "most ready", "first new Ready, s")
        rows = [header, *(_part(part) for part in run["parts"])]
        lines += _table(rows)
    if "schedule" in document:
        known = document["schedule"]
        lines += ["", f"schedule: floor of {known['floor']} at the step; {known['readyAtStep']} Ready then, asked for {known['askedBeforeSeconds']} s before, all Ready {known['floorReadyAfterSeconds']} s after (negative: before); {known['failed']} failed, {known['latePercent']} % late in the step"]  # fmt: skip
    if document.get("simulated"):
        lines += ["", "the same load in the simulator:"]
        rows = [("policy", "late %", "lost %", "replica-seconds", "first new Ready, s")]
        for row in document["simulated"]:
            first = ", ".join("–" if value is None else str(value) for value in row["firstNewReadySeconds"].values())
            rows.append(
                (row["policy"], str(row["latePercent"]), str(row["lostPercent"]), str(row["replicaSeconds"]), first)
            )
        lines += _table(rows)
    if document.get("learned"):
        told = "; ".join(f"{name}: {row['latePercent']} % late at {row['costRatio']}×" for name, row in document["learned"]["policies"].items())  # fmt: skip
        lines += ["", f"learned (simulator, {document['learned']['trace']}, 6-minute start): {told}"]
    lines.append("")
    for check in document["checks"]:
        word = "ok   " if check["passed"] else "WRONG" if check["must"] else "MISS "
        lines.append(f"{word} {check['check']}: {check['value']}")
    return "\n".join(lines)


def _part(part: dict[str, Any]) -> tuple[str, ...]:
    first = part.get("firstNewReadySeconds", "") if part.get("readyBefore", 0) < part.get("needed", 0) else ""
    cells = (part["part"], f"{part['to'] - part['from']:.0f}", part["requests"], part["latePercent"], part["p50Ms"], part["p99Ms"], part["mostReady"], "none" if first is None else first)  # fmt: skip
    return tuple(str(cell) for cell in cells)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def draw(runs: list[Run], *, path: Path, capacity: float, latency_seconds: float) -> None:
    """Demand, replicas and latency over time, a column for each source."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        3, len(runs), figsize=(8 * len(runs), 9), sharex="col", squeeze=False, constrained_layout=True
    )
    for column, run in enumerate(runs):
        top, middle, bottom = (panels[row][column] for row in range(3))
        began = run.driven.began
        times = [sample.time - began for sample in run.samples]
        seconds = list(range(math.floor(run.shape.seconds)))
        top.plot(seconds, [run.shape.rate(second) for second in seconds], color=_BLUE, label="sent, requests/s")
        room = [sample.ready * capacity for sample in run.samples]
        top.plot(times, room, color=_GREEN, linestyle="--", drawstyle="steps-post", label="capacity of Ready replicas")
        middle.plot(times, [s.ready for s in run.samples], color=_GREEN, drawstyle="steps-post", label="Ready")
        middle.plot(
            times, [s.asked for s in run.samples], color=_INK, linestyle=":", drawstyle="steps-post", label="asked for"
        )
        for share, color in ((0.99, _RED), (0.5, _BLUE)):
            bottom.plot(*_by_second(run, run.shape, share), color=color, label=f"p{share * 100:.0f}")
        bottom.axhline(latency_seconds * 1000, color=_INK, linewidth=0.8, linestyle="--", label="bound")
        bottom.set_yscale("log")
        top.set_title(f"source: {run.source}")
        for panel, label in ((top, "requests/s"), (middle, "replicas"), (bottom, "latency, ms")):
            panel.set_ylabel(label)
            panel.grid(color="#e4e4e4")
            panel.legend(loc="upper right", fontsize=8)
            panel.set_xlim(-5, run.shape.seconds + 5)
        bottom.set_xlabel("seconds")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _by_second(run: Run, shape: Shape, share: float) -> tuple[list[float], list[float]]:
    bins: dict[int, list[float]] = {}
    for due, late in zip(run.driven.due, run.driven.latencies, strict=True):
        if math.isfinite(late):
            bins.setdefault(int(due), []).append(late)
    times = [second for second in sorted(bins) if second < shape.seconds]
    values = [sorted(bins[second])[max(0, math.ceil(share * len(bins[second])) - 1)] * 1000 for second in times]
    return [float(second) for second in times], values
