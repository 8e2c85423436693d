"""What the user reads: a row for each step, the result with the lines to put into the manifest, JSON, a picture."""

import json
import math
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sagebrush.capacity_test.measurement import Bound, Step, milliseconds, quantile
from sagebrush.capacity_test.replica import CapacityTestError
from sagebrush.capacity_test.search import Finding

SAFETY = 0.5
"""SageMaker's sizing rule: half of what the instance can do. Source: "Load testing your auto scaling configuration" in
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html"""
_LAG_SHARE = 0.1
_BUSY = 0.85
_SHORT_SECONDS = 0.2
_COLUMNS = (12, 12, 10, 10, 10, 10, 8)
HEADING = "".join(
    word.rjust(width)
    for word, width in zip(
        ("asked req/s", "connections", "requests", "good/s", "p50 ms", "p99 ms", "late"), _COLUMNS, strict=True
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished test."""

    name: str
    namespace: str | None
    revision: str | None
    way: str
    """How the replica was reached, in words."""
    replica: str
    bound: Bound
    measured_at: datetime
    finding: Finding

    @property
    def requests_per_minute(self) -> int | None:
        """SageMaker's sizing rule: max RPS × 0.5 × 60."""
        rate = self.finding.requests_per_second
        return None if rate is None else max(1, math.floor(rate * SAFETY * 60))

    def to_dict(self) -> dict[str, Any]:
        """Everything measured, as JSON types."""
        rate = self.finding.requests_per_second
        return {
            "endpoint": self.name,
            "namespace": self.namespace,
            "revision": self.revision,
            "replica": self.replica,
            "reachedBy": self.way,
            "measuredAt": self.measured_at.isoformat(),
            "latencyMs": self.bound.seconds * 1000,
            "latePercent": self.bound.late_percent,
            "requestsPerSecondWithinLatency": None if rate is None else round(rate, 3),
            "capacity": {
                "requestsPerSecond": round(self.finding.throughput, 3),
                "concurrency": self.finding.concurrency,
            },
            "serviceMs": milliseconds(self.finding.service_seconds),
            "latePercentAtMost": round(self.finding.held.late_at_most_percent(), 4) if self.finding.held else None,
            "requestsPerMinuteToSet": self.requests_per_minute,
            "why": self.finding.why,
            "warnings": warnings(self.finding),
            "steps": [step.to_dict() for step in self.finding.steps],
        }


def row(step: Step) -> str:
    """A step as a line under :data:`HEADING`."""
    asked = f"{step.rate:.4g}" if step.kind == "rate" else "as it goes"
    cells = (
        asked,
        step.concurrency,
        step.requests,
        f"{step.answered_per_second:.4g}",
        _ms(step.quantile(0.5)),
        _ms(step.quantile(0.99)),
        step.late,
    )
    verdict = ("  holds" if step.holds else "  does not hold") if step.kind == "rate" else ""
    verdict += f": {step.broken_off}" if step.broken_off else ""
    verdict += f" ({step.refused} refused)" if step.refused else ""
    verdict += f" ({next(iter(step.errors))})" if step.errors else ""
    return "".join(str(cell).rjust(width) for cell, width in zip(cells, _COLUMNS, strict=True)) + verdict


def summary(result: Result) -> str:
    """The result in words, and what to put into the manifest."""
    finding, bound = result.finding, result.bound
    held = finding.held
    if held is None:
        return f"\nNo capacity found: {finding.why}."
    rate, limit = held.rate, f"{bound.seconds * 1000:g} ms"
    lines = [
        "",
        f"One replica carries {rate:.4g} requests/s with at most {bound.late_percent:g} % over {limit}.",
        f"Held for {held.seconds:.0f} s: {held.requests} requests, {held.late} late or failed (95 % sure: under {held.late_at_most_percent():.2g} %), p50 {_ms(held.quantile(0.5))} ms, p99 {_ms(held.quantile(0.99))} ms.",
        f"Its capacity, never idle and whatever the latency: {finding.throughput:.4g} requests/s, {finding.concurrency} at a time; one alone takes {_ms(finding.service_seconds)} ms.",
        "",
        "For spec.scaling, by what was measured (how much of it traffic may use follows from the latency, for as many replicas as there are):",
        f"  target: {{latency: {_duration(bound.seconds)}{_late(bound)}}}",
        f"  capacity: {{requestsPerSecond: {finding.throughput:.4g}, concurrency: {finding.concurrency}}}",
        f"or by SageMaker's sizing rule, {rate:.4g} requests/s × {SAFETY:g} × 60:",
        f"  target: {{requestsPerMinute: {result.requests_per_minute}}}",
    ]
    return "\n".join(lines)


def warnings(finding: Finding) -> list[str]:
    """What makes the figures doubtful."""
    found = []
    steps = [step for step in finding.steps if step.kind == "rate" and step.lags]
    last = finding.held or (steps[-1] if steps else None)
    if last is not None and last.lags:
        lag = quantile(last.lags, 0.99)
        if lag > max(0.005, _LAG_SHARE * last.bound.seconds):
            found.append(
                f"the load generator was late itself: 1 % of the requests left {lag * 1000:.0f} ms or more after their time, which is "
                "counted against the replica. Run it where a core is free"
            )
    busiest = max((step.cpu_share for step in finding.steps if step.seconds > _SHORT_SECONDS), default=0.0)
    if busiest > _BUSY:
        found.append(
            f"the load generator used {busiest:.0%} of a core: the replica may carry more than this machine can send. Run it where "
            "cores are faster or nearer"
        )
    if finding.held and finding.held.late_at_most_percent() > 10 * finding.held.bound.late_percent:
        found.append(
            f"{finding.held.requests} requests are few for a bound of {finding.held.bound.late_percent:g} %: give a longer --duration"
        )
    return found


def check_plot_possible() -> None:
    """Raises CapacityTestError without matplotlib, before any load is sent."""
    if find_spec("matplotlib") is None:
        raise CapacityTestError("--plot needs matplotlib: pip install matplotlib, or leave out --plot")


def write_files(result: Result, *, report: Path | None, plot: Path | None) -> list[Path]:
    """Write what was asked for; the paths."""
    if report:
        report.write_text(json.dumps(result.to_dict(), indent=2) + "\n")
    if plot:
        _draw(result, path=plot)
    return [path for path in (report, plot) if path]


def _draw(result: Result, *, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    steps = sorted((step for step in result.finding.steps if step.kind == "rate"), key=lambda step: step.rate)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 7), constrained_layout=True)
    rates = [step.rate for step in steps]
    for share, label, color in ((0.99, "p99", "#c0392b"), (0.5, "p50", "#1f6fb4")):
        top.plot(rates, [step.quantile(share) * 1000 for step in steps], "o-", color=color, label=label)
    top.axhline(result.bound.seconds * 1000, color="#d98200", linestyle="--", label="bound")
    top.set_yscale("log")
    top.set_xlabel("requests/s sent")
    top.set_ylabel("latency, ms")
    closed = [step for step in result.finding.steps if step.kind == "connections"][1:]
    bottom.plot(
        [step.concurrency for step in closed],
        [step.answered_per_second for step in closed],
        "o-",
        color="#2a8a4a",
        label="good answers/s",
    )
    bottom.set_xscale("log", base=2)
    bottom.set_xlabel("connections, each as fast as it goes")
    bottom.set_ylabel("answers/s")
    held = result.finding.requests_per_second
    if held:
        top.axvline(held, color="#222222", linestyle=":", label=f"held: {held:.4g}/s")
    for panel in (top, bottom):
        panel.grid(color="#e4e4e4")
        panel.legend()
    figure.suptitle(f"One replica of {result.name}, {result.bound.seconds * 1000:g} ms")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{seconds * 1000:.3g}" if seconds < 1 else f"{seconds * 1000:.0f}"


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 and seconds == int(seconds) else f"{seconds * 1000:.0f}ms"


def _late(bound: Bound) -> str:
    return "" if bound.late_percent == 0.1 else f", latePercent: {bound.late_percent:g}"
