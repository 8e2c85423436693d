"""Draws the run as one picture: requests, instances under both engines, and the endpoint's states, over the same time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.demo.metrics import Point
from examples.demo.plot import AMBER, BLUE, FAINT, GREEN, INK, RED
from examples.demo.watch import Decision
from examples.sagemaker_demo.report import Stage
from examples.sagemaker_demo.watch import Sample

PHASES = {
    "Creating": "#9bb7d4",
    "InService": "#a9d5b2",
    "Updating": "#f3c969",
    "RollingBack": "#d9776a",
    "Deleting": "#bbbbbb",
}
VIOLET = "#7a4fa3"
CLOSE_SECONDS = 9
STAGE_COLOURS = ("#f7ecd2", "#f1dcb0", "#eeeeee")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the picture shows."""

    requests: Sequence[Point]
    """Requests per minute of the operator's endpoint, from Prometheus."""
    ours: Sequence[Sample]
    theirs: Sequence[Sample]
    decisions: Sequence[Decision]
    stages: Sequence[Stage]
    speed: float
    title: str
    notes: Sequence[tuple[datetime, str]] = ()
    """Moments to name in the band of states."""


def draw(picture: Picture, *, path: Path) -> None:
    """Write the picture as PNG. Time 0 is the first request."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    zero = picture.stages[0].begun.time.timestamp() if picture.stages else picture.ours[0].time.timestamp()
    figure, panels = plt.subplots(
        4, 1, figsize=(12, 10), sharex=True, gridspec_kw={"height_ratios": [3, 2.6, 2, 1.2]}, constrained_layout=True
    )
    requests, ours, theirs, states = panels
    figure.suptitle(picture.title, fontsize=13, fontweight="bold", color=INK)
    _requests(requests, picture=picture, zero=zero)
    _instances(ours, picture.ours, zero=zero, colour=GREEN, room=True)
    _decisions(ours, picture.decisions, zero=zero, highest=_highest(picture.ours))
    ours.set_title(
        "engine: Sagebrush — decides on this machine's clock, from Prometheus", loc="left", fontsize=10, color=INK
    )
    _instances(theirs, picture.theirs, zero=zero, colour=VIOLET)
    theirs.set_title(
        f"engine: ApplicationAutoScaling — alarms on SageMaker's clock, {picture.speed:g} × as fast: 1 s here is "
        f"{picture.speed / 60:g} min there",
        loc="left",
        fontsize=10,
        color=INK,
    )
    _states(states, picture=picture, zero=zero)
    times = [sample.time.timestamp() - zero for sample in picture.ours] or [0.0, 1.0]
    for panel in (requests, ours, theirs):
        _stages(panel, picture.stages, zero=zero, named=panel is requests, last=times[-1])
        panel.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        panel.set_axisbelow(True)
        place = (
            {"loc": "upper right"}
            if panel is requests
            else {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
        )
        panel.legend(frameon=panel is requests, framealpha=0.9, edgecolor="none", fontsize=9, **place)
    states.set_xlabel("seconds of this machine's clock since the first request")
    states.set_xlim(times[0], times[-1] + 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _requests(panel: Any, *, picture: Picture, zero: float) -> None:
    times = [point.time - zero for point in picture.requests]
    values = [point.value / 1000 for point in picture.requests]
    panel.plot(times, values, color=BLUE, linewidth=1.8, label="requests/min (Prometheus)")
    room = [sample.current * _target(picture, sample.time) / 1000 for sample in picture.ours]
    sampled = [sample.time.timestamp() - zero for sample in picture.ours]
    panel.plot(
        sampled, room, color=AMBER, linewidth=1.4, linestyle="--", drawstyle="steps-post", label="target × instances"
    )
    panel.set_ylabel("thousand requests/min")
    panel.set_ylim(0, 1.3 * max([*values, *room, 1.0]))


def _target(picture: Picture, time: datetime) -> float:
    """Return the target in force at a moment."""
    passed = [stage.target for stage in picture.stages if stage.begun.time <= time]
    known = passed or [stage.target for stage in picture.stages[:1]]
    return float(known[-1]) if known else 0.0


def _instances(panel: Any, samples: Sequence[Sample], *, zero: float, colour: str, room: bool = False) -> None:
    """Draw both counts; `room` leaves some above them, for the decisions."""
    times = [sample.time.timestamp() - zero for sample in samples]
    current = [sample.current for sample in samples]
    panel.fill_between(times, current, step="post", color=colour, alpha=0.25, linewidth=0)
    panel.plot(times, current, color=colour, linewidth=1.8, drawstyle="steps-post", label="instances that serve")
    desired = [sample.desired for sample in samples]
    panel.plot(times, desired, color=INK, linewidth=1.2, linestyle=":", drawstyle="steps-post", label="asked for")
    highest = _highest(samples)
    panel.set_ylabel("instances")
    panel.set_ylim(0, highest * (1.5 if room else 1.15))
    panel.set_yticks(range(highest + 1))


def _highest(samples: Sequence[Sample]) -> int:
    return max([1, *(max(sample.current, sample.desired) for sample in samples)])


def _decisions(panel: Any, decisions: Sequence[Decision], *, zero: float, highest: int) -> None:
    last, level = float("-inf"), 0
    for decision in decisions:
        when = decision.time.timestamp() - zero
        # Labels that would overlap take turns on two levels.
        level = (level + 1) % 2 if when - last < CLOSE_SECONDS else 0
        last = when
        panel.annotate(
            f"{decision.from_replicas}→{decision.to_replicas}",
            xy=(when, max(decision.to_replicas, decision.from_replicas)),
            xytext=(when, highest * (1.15 + 0.18 * level)),
            ha="center",
            fontsize=9,
            color=RED if decision.to_replicas > decision.from_replicas else BLUE,
            arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 0.8},
        )


def _states(panel: Any, *, picture: Picture, zero: float) -> None:
    seen: dict[str, Any] = {}
    for start, end, status in spans(picture.ours):
        begun = start.timestamp() - zero
        width = end.timestamp() - zero - begun
        colour = PHASES.get(status, "#dddddd")
        seen[status] = panel.barh(0, width, left=begun, height=0.8, color=colour, linewidth=0)
    panel.legend(seen.values(), seen.keys(), loc="upper center", ncols=len(seen) or 1, frameon=False, fontsize=9,
                 bbox_to_anchor=(0.5, -0.5))  # fmt: skip
    for number, (time, text) in enumerate(picture.notes):
        when, height = time.timestamp() - zero, 0.6 + 0.45 * number
        panel.plot([when, when], [-0.4, height + 0.3], color=INK, linewidth=0.8)
        panel.text(when, height, f"{text} ", fontsize=9, ha="right", va="bottom", color=INK)
    panel.set_yticks([])
    panel.set_ylim(-0.4, max(0.9, 0.6 + 0.45 * len(picture.notes)))
    panel.set_ylabel("state of\nkdd", rotation=0, ha="right", va="center")
    panel.spines["left"].set_visible(False)


def _stages(panel: Any, stages: Sequence[Stage], *, zero: float, named: bool, last: float) -> None:
    """Colour the stages, each until the next begins."""
    for number, stage in enumerate(stages):
        begun = stage.begun.time.timestamp() - zero
        ended = stages[number + 1].begun.time.timestamp() - zero if number + 1 < len(stages) else last
        panel.axvspan(begun, ended, color=STAGE_COLOURS[number % len(STAGE_COLOURS)], alpha=0.6, zorder=0, linewidth=0)
        if named:
            text = f"target {stage.target / 1000:g}k" if stage.rate else "no requests"
            panel.text(
                (begun + ended) / 2,
                1.01,
                text,
                transform=panel.get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=AMBER,
            )


def spans(samples: Sequence[Sample]) -> list[tuple[datetime, datetime, str]]:
    """Return the states as they followed each other: from, to, state."""
    found: list[tuple[datetime, datetime, str]] = []
    for sample in samples:
        if found and found[-1][2] == sample.status:
            found[-1] = (found[-1][0], sample.time, sample.status)
        else:
            if found:
                found[-1] = (found[-1][0], sample.time, found[-1][2])
            found.append((sample.time, sample.time, sample.status))
    return found
