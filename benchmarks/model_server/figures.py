"""From the rows of all rounds to one figure for each server and payload, and from figures to goals. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Row = Mapping[str, Any]
Figures = dict[tuple[str, str], dict[str, Any]]
"""By server and payload."""
_SUMMED = ("answers", "wrong", "cut", "cutMidway", "unsentAfterSigterm", "refusedAfterSigterm", "connectionsKeptOpen")
"""Counts of what went wrong, and of how much was asked: all rounds together. All other figures are medians."""


def summarise(rows: Iterable[Row]) -> Figures:
    """Return medians over the rounds, sums of what counts as wrong, and how many rounds there were."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["server"], row["payload"]), []).append(row)
    return {key: _summary(members) for key, members in grouped.items()}


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {"rounds": len(rows)}
    for name in rows[0]:
        if name in ("server", "payload", "round"):
            continue
        values = [row[name] for row in rows]
        if name == "failed":
            kinds = {kind for value in values for kind in value}
            found[name] = {kind: sum(value.get(kind, 0) for value in values) for kind in sorted(kinds)}
        elif name == "samples":
            found[name] = [text for value in values for text in value][:5]
        elif name in _SUMMED:
            found[name] = sum(values)
        else:
            found[name] = None if None in values else statistics.median(values)
    return found


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What Sagebrush is to reach: a figure of its own, by the same of another server or by itself."""

    text: str
    ours: str
    payload: str
    figure: str
    bound: float
    beside: str | None = None
    """The server that the figure is divided by; None: the figure itself is judged."""
    must: Literal["at least", "at most"] = "at least"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A goal and what was found; `value` is None where it could not be measured."""

    goal: Goal
    value: float | None
    by_cpu: float | None = None
    """The same for CPU-microseconds of a request (theirs by ours), which other work on the machine disturbs less."""

    @property
    def met(self) -> bool | None:
        """Whether it is met; None where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.goal.bound if self.goal.must == "at least" else self.value <= self.goal.bound


def _ratios(ours: str, *, payload: str, title: str, least: Mapping[str, float], p99: float | None) -> list[Goal]:
    names = {"sagemaker": "SageMaker's stack", "kserve": "KServe V1", "nginx": "nginx's constant"}
    goals = []
    for other, factor in least.items():
        text = f"{title}: requests/s, by {names[other]}"
        goals.append(
            Goal(text=text, ours=ours, payload=payload, figure="requestsPerSecond", bound=factor, beside=other)
        )
        if p99 is not None and other != "nginx":
            text = f"{title}: p99, by {names[other]}"
            goals.append(
                Goal(text=text, ours=ours, payload=payload, figure="p99Ms", bound=p99, beside=other, must="at most")
            )
    return goals


def _own(text: str, *, payload: str, figure: str, bound: float) -> Goal:
    return Goal(text=text, ours="sagebrush", payload=payload, figure=figure, bound=bound, must="at most")


GOALS: tuple[Goal, ...] = (
    *_ratios("sagebrush", payload="csv-1", title="1 row, CSV", least={"sagemaker": 40, "nginx": 0.7}, p99=1 / 20),
    *_ratios(
        "sagebrush",
        payload="json-1",
        title="1 row, JSON",
        least={"sagemaker": 40, "kserve": 30, "nginx": 0.7},
        p99=1 / 20,
    ),
    *_ratios("sagebrush", payload="csv-100", title="100 rows, CSV", least={"sagemaker": 25}, p99=None),
    *_ratios(
        "sagebrush-sklearn", payload="gb-1", title="gradient boosting, 1 row", least={"sagemaker": 40}, p99=None
    ),
    Goal(
        text="1,000 connections: p99, by SageMaker's stack",
        ours="sagebrush",
        payload="many",
        figure="p99Ms",
        bound=1 / 10,
        beside="sagemaker",
        must="at most",
    ),
    _own("1,000 connections: errors", payload="many", figure="errors", bound=0),
    *_ratios("sagebrush", payload="lone", title="one connection", least={"sagemaker": 8}, p99=None),
    *_ratios("sagebrush-code", payload="code-1", title="own inference.py", least={"sagemaker": 5}, p99=None),
    _own("SIGTERM: answers cut", payload="sigterm", figure="cut", bound=0),
    _own("SIGTERM: seconds from the last answer to the exit", payload="sigterm", figure="exitAfterLastAnswerSeconds", bound=1),
    _own("memory of a ready process, MB (PSS)", payload="start-linear", figure="memoryMb", bound=80),
    _own("start to the first 200, s", payload="start-linear", figure="readySeconds", bound=0.5),
)  # fmt: skip


def judge(figures: Figures, *, goals: Iterable[Goal] = GOALS) -> list[Judged]:
    """Return every goal with what was found."""
    return [Judged(goal=goal, value=_value(figures, goal=goal), by_cpu=_by_cpu(figures, goal=goal)) for goal in goals]


def _by_cpu(figures: Figures, *, goal: Goal) -> float | None:
    if goal.beside is None or goal.figure != "requestsPerSecond":
        return None
    ours, theirs = (
        figure(figures, server=server, payload=goal.payload, name="cpuMicroseconds")
        for server in (goal.ours, goal.beside)
    )
    return theirs / ours if ours and theirs else None


def _value(figures: Figures, *, goal: Goal) -> float | None:
    own = figure(figures, server=goal.ours, payload=goal.payload, name=goal.figure)
    if own is None or goal.beside is None:
        return own
    other = figure(figures, server=goal.beside, payload=goal.payload, name=goal.figure)
    return own / other if other else None


def figure(figures: Figures, *, server: str, payload: str, name: str) -> float | None:
    """Return one figure; None where it was not measured. `errors` is all that went wrong."""
    found = figures.get((server, payload))
    if found is None:
        return None
    if name == "errors":
        return float(found["wrong"] + sum(found["failed"].values()))
    value = found.get(name)
    return None if value is None else float(value)


def lines(figures: Figures) -> list[dict[str, Any]]:
    """Return a row for each server, payload and figure."""
    made = []
    for (server, payload), found in figures.items():
        for name, value in found.items():
            if name == "failed":
                made += [
                    {"server": server, "payload": payload, "figure": f"failed.{kind}", "value": count}
                    for kind, count in value.items()
                ]
            elif name != "samples":
                made.append({"server": server, "payload": payload, "figure": name, "value": value})
    return made


def misconduct(figures: Figures, *, ours: Iterable[str]) -> list[str]:
    """Say what is wrong with Sagebrush's answers: each of these fails the run."""
    found = []
    kept = set(ours)
    for (server, payload), row in figures.items():
        if server not in kept:
            continue
        if row.get("wrong"):
            found.append(f"{server}, {payload}: {row['wrong']} wrong answers, such as {row['samples'][:1]}")
        if row.get("failed"):
            told = ", ".join(f"{count} {kind}" for kind, count in row["failed"].items())
            found.append(f"{server}, {payload}: {told}")
        if row.get("cut"):
            found.append(f"{server}, {payload}: {row['cut']} answers cut after SIGTERM")
    return found
