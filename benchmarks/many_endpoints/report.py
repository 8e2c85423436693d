"""The figures as a table for people."""

from typing import Any

_WIDTH = 52


def table(document: dict[str, Any]) -> str:
    """All that matters of a result, in lines."""
    phases, given = document["phases"], document["parameters"]
    lines = [
        "",
        f"{given['endpoints']} endpoints, a round every {given['interval_seconds']:g} s, scraped every {given['scrape_seconds']:g} s",
        _row("phase: median (maximum) per round", "CPU s", "of it query", "decide()", "GC", "last decision s"),
    ]
    for name in ("steady", "changing", "daily", "step"):
        phase = phases[name]
        figures = [phase.get(key, {}) for key in ("cpuSecondsPerRound", "queryCpuSeconds", "decidingSeconds", "gcSeconds", "secondsToLastDecision")]  # fmt: skip
        lines.append(_row(f"  {name}", *(f"{each.get('p50', '-')} ({each.get('max', '-')})" for each in figures)))
    lines += ["", _row("phase", "rounds", "changes/min", "writes/min", "core", "MiB")]
    for name in ("few", "creation", "steady", "changing", "daily", "step"):
        phase = phases[name]
        writes = phase.get("writesPerMinute", {})
        lines.append(_row(f"  {name}", phase.get("rounds"), writes.get("Deployment", 0), round(sum(writes.values()), 1), phase["operatorCores"], phase["rssMib"]))  # fmt: skip
    step = phases["step"]
    lines += [
        f"  writes per minute, steady: {phases['steady'].get('writesPerMinute')}",
        _row("queries in a round, few and all endpoints", *document["queriesPerRound"].values()),
        _row(
            "step of all: seconds until asked for, until Ready",
            step["secondsUntilAllAsked"],
            step["secondsUntilAllReady"],
        ),
        _row("most memory, MiB", step["peakMib"]),
        _row("machine while measuring, steady: all cores", phases["steady"]["machineCores"]),
        "",
    ]
    for name, goal in document["goals"].items():
        lines.append(_row(f"{'met   ' if goal['met'] else 'MISSED'} {name}", goal["measured"], f"goal {goal['goal']:g}"))  # fmt: skip
    lines += [f"{'ok    ' if c['passed'] else 'WRONG '} {c['name']}: {c['detail']}" for c in document["checks"]]
    return "\n".join(lines)


def _row(name: str, *values: Any) -> str:
    return f"{name:<{_WIDTH}}" + "".join(f"{value!s:>17}" for value in values)
