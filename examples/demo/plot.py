"""Draws the run as one picture: requests, replicas and latency over the same time."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.demo.metrics import Point, Series
from examples.demo.watch import Decision, Sample

INK, FAINT, BLUE, GREEN, RED, AMBER = "#222222", "#8a8a8a", "#1f6fb4", "#2a8a4a", "#c0392b", "#d98200"
LEAD_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the picture shows."""

    series: Series
    samples: list[Sample]
    decisions: list[Decision]
    load_window: tuple[datetime, datetime]
    target_per_replica: float
    """Requests per second that each replica should carry."""
    title: str


def draw(picture: Picture, *, path: Path) -> None:
    """Write the picture as PNG. Time 0 is the first request of the load."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    zero = picture.load_window[0].timestamp()
    duration = picture.load_window[1].timestamp() - zero
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(11, 9), sharex=True, gridspec_kw={"height_ratios": [3, 2.4, 2.4]}, constrained_layout=True
    )
    figure.suptitle(picture.title, fontsize=13, fontweight="bold", color=INK)
    _requests(top, picture=picture, zero=zero)
    _replicas(middle, picture=picture, zero=zero)
    _latency(bottom, series=picture.series, zero=zero)
    for panel in (top, middle, bottom):
        panel.axvspan(0, duration, color="#f1e7cf", alpha=0.6, zorder=0, linewidth=0)
        panel.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    top.text(duration / 2, 1.01, "load", transform=top.get_xaxis_transform(), ha="center", va="bottom", color=AMBER)
    bottom.set_xlabel("seconds since the first request of the load")
    newest = max([sample.time.timestamp() - zero for sample in picture.samples] or [duration])
    bottom.set_xlim(-LEAD_SECONDS, newest + 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _requests(panel: Any, *, picture: Picture, zero: float) -> None:
    times, values = _columns(picture.series.requests_per_second, zero=zero)
    panel.plot(times, values, color=BLUE, linewidth=1.8, label="requests/s")
    sampled = [sample.time.timestamp() - zero for sample in picture.samples]
    room = [sample.ready * picture.target_per_replica for sample in picture.samples]
    label = f"target × ready replicas ({picture.target_per_replica:g} requests/s each)"
    panel.plot(sampled, room, color=AMBER, linewidth=1.4, linestyle="--", drawstyle="steps-post", label=label)
    panel.set_ylabel("requests/s")
    panel.set_ylim(0, 1.3 * max([*values, *room, 1.0]))


def _replicas(panel: Any, *, picture: Picture, zero: float) -> None:
    times = [sample.time.timestamp() - zero for sample in picture.samples]
    ready = [sample.ready for sample in picture.samples]
    wanted = [sample.desired if sample.desired is not None else sample.replicas for sample in picture.samples]
    panel.fill_between(times, ready, step="post", color=GREEN, alpha=0.25, linewidth=0)
    panel.plot(times, ready, color=GREEN, linewidth=1.8, drawstyle="steps-post", label="ready")
    panel.plot(times, wanted, color=INK, linewidth=1.2, linestyle=":", drawstyle="steps-post", label="wanted")
    highest = max([*ready, *wanted, 1])
    last = float("-inf")
    level = 0
    for decision in picture.decisions:
        when = decision.time.timestamp() - zero
        # Labels that would overlap take turns on three levels.
        level = (level + 1) % 3 if when - last < 9 else 0
        last = when
        panel.annotate(
            f"{decision.from_replicas}→{decision.to_replicas}",
            xy=(when, decision.to_replicas),
            xytext=(when, highest * 1.12 + level * highest * 0.17),
            ha="center",
            fontsize=9,
            color=RED if decision.to_replicas > decision.from_replicas else BLUE,
            arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 0.8},
        )
    panel.set_ylabel("replicas")
    panel.set_ylim(0, highest * 1.7)
    panel.set_yticks(range(highest + 1))


def _latency(panel: Any, *, series: Series, zero: float) -> None:
    for points, color, label in ((series.p99_ms, RED, "p99"), (series.p50_ms, BLUE, "p50")):
        times, values = _columns(points, zero=zero)
        panel.plot(times, values, color=color, linewidth=1.5, label=label)
    panel.set_ylabel("latency in the server, ms")
    highest = max([point.value for point in series.p99_ms] or [1.0])
    panel.set_ylim(0, highest * 1.3)


def _columns(points: list[Point], *, zero: float) -> tuple[list[float], list[float]]:
    return [point.time - zero for point in points], [point.value for point in points]
