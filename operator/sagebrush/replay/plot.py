"""A picture of a replay: the demand, what each policy had for it, and when requests were late."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagebrush.replay.queueing import Floats
from sagebrush.replay.report import percent
from sagebrush.replay.system import Outcome
from sagebrush.replay.trace import Trace

_MOST_POINTS = 1500
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""By ending: without the time of day, so that the same replay gives the same file."""

_COLOURS = ("#0b6e4f", "#c1666b", "#4281a4", "#d4a017", "#7a5195", "#6b705c")


class PlotError(Exception):
    """The picture can't be drawn; the message says what to install or change."""


def check(path: Path) -> None:
    """Raises PlotError where no picture could be written to *path*: better known before a long replay than after."""
    try:
        from matplotlib.figure import Figure  # noqa: F401 - whether it is there is the question
    except ImportError as error:
        raise PlotError("a picture needs matplotlib: pip install 'sagebrush[plot]', or leave out --plot") from error
    if path.suffix.lower() not in _METADATA:
        raise PlotError(f"{path}: the name must end with {', '.join(_METADATA)}")
    if not path.parent.is_dir():
        raise PlotError(f"{path}: there is no folder {path.parent}")


def plot(path: Path, *, trace: Trace, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    """Writes PNG, SVG or PDF, by the name's ending. Raises PlotError where matplotlib is missing or refuses."""
    check(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    demand, replicas, late = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    step = max(1, -(-trace.seconds // _MOST_POINTS))
    hours = np.arange(0, trace.seconds, step) / 3600
    _demand(demand, trace=trace, hours=hours, step=step)
    for index, (name, outcome) in enumerate(outcomes):
        colour = _COLOURS[index % len(_COLOURS)]
        asked = _binned(outcome.asked.astype(np.float64), step=step, how=np.max)
        replicas.plot(hours, asked, color=colour, lw=1.0, label=name, drawstyle="steps-post")
        late_share = _late(outcome, step=step)
        late.plot(hours, 100 * late_share, color=colour, lw=1.0, label=f"{name}: {percent(outcome.late_share)}")
    replicas.set_ylabel("replicas asked for")
    late.set_ylabel("late, %")
    late.set_xlabel("hours")
    for axes in (demand, replicas, late):
        axes.grid(visible=True, alpha=0.25)
        axes.legend(loc="upper right", fontsize=8)
        axes.set_ylim(bottom=0)
    try:
        # SVG's identifiers are drawn at random without a salt.
        with rc_context({"svg.hashsalt": "sagebrush"}):
            figure.savefig(path, dpi=120, metadata=_METADATA[path.suffix.lower()])
    except (OSError, ValueError) as error:
        raise PlotError(f"{path}: {error}") from error


def _demand(axes: Any, *, trace: Trace, hours: Floats, step: int) -> None:
    arrivals = trace.judged
    mean = _binned(arrivals, step=step, how=np.mean)
    if step > 1:
        axes.fill_between(
            hours,
            mean,
            _binned(arrivals, step=step, how=np.max),
            color="#9aa0a6",
            lw=0,
            alpha=0.5,
            label="busiest second",
        )
    axes.plot(hours, mean, color="#202124", lw=0.9, label="requests/s")
    axes.set_ylabel("requests/s")
    axes.set_title(trace.name)


def _binned(values: Floats, *, step: int, how: Any) -> Floats:
    """One value for each *step* seconds; the last may cover fewer."""
    missing = -len(values) % step
    padded = np.concatenate((values, np.full(missing, values[-1])))
    return np.asarray(how(padded.reshape(-1, step), axis=1))


def _late(outcome: Outcome, *, step: int) -> Floats:
    late, arrived = (_binned(values, step=step, how=np.sum) for values in (outcome.late, outcome.arrivals))
    return np.asarray(np.divide(late, arrived, out=np.zeros_like(late), where=arrived > 0))
