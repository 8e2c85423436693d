"""What people read: the table, the goals, and a picture."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.model_server.figures import Figures, Judged, figure
from benchmarks.model_server.payloads import PAYLOADS
from benchmarks.model_server.server import Server

_NONE = "–"


def markdown(
    figures: Figures,
    *,
    servers: Sequence[Server],
    judged: Sequence[Judged],
    failures: Mapping[str, str],
    about: Mapping[str, Any],
) -> str:
    """Return the tables of a run, ready for docs/benchmarks.md."""
    told = f"{about['date']}, {about['processor']}, one CPU for the server and one for the load, {about['rounds']} interleaved rounds of {about['seconds']:g} s, medians; load average at the end {about['loadAverage']:.1f}."
    parts = [told, _speed(figures, servers=servers), _life(figures, servers=servers), goals(judged)]
    parts += [f"Not measured: {key}: {reason.splitlines()[0]}" for key, reason in failures.items()]
    parts += _notes(figures, servers=servers)
    parts.append("Versions: " + "; ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".")
    return "\n\n".join(parts) + "\n"


def _speed(figures: Figures, *, servers: Sequence[Server]) -> str:
    keys = [key for key in PAYLOADS if any((server.key, key) in figures for server in servers)]
    rows = [[server.title, *(_cell(figures, server=server, payload=key) for key in keys)] for server in servers]
    head = ["requests/s · CPU-µs · p99 ms", *(PAYLOADS[key].title for key in keys)]
    return table(head, rows) if keys else ""


def _cell(figures: Figures, *, server: Server, payload: str) -> str:
    rate = figure(figures, server=server.key, payload=payload, name="requestsPerSecond")
    if rate is None:
        return _NONE
    cpu = figure(figures, server=server.key, payload=payload, name="cpuMicroseconds")
    p99 = figure(figures, server=server.key, payload=payload, name="p99Ms")
    mark = " †" if figure(figures, server=server.key, payload=payload, name="errors") else ""
    return f"{rate:,.0f} · {short(cpu)} · {short(p99)}{mark}"


def _life(figures: Figures, *, servers: Sequence[Server]) -> str:
    """Start, memory and the end."""
    rows = []
    for server in servers:
        first = next(iter(server.models))

        def told(payload: str, name: str, key: str = server.key) -> str:
            return short(figure(figures, server=key, payload=payload, name=name))

        rows.append(
            [
                server.title,
                told(f"start-{first}", "readySeconds"),
                told(f"start-{first}", "memoryMb"),
                told(f"after-{first}", "memoryMb"),
                *(told("sigterm", name) for name in ("cut", "refusedAfterSigterm", "connectionsKeptOpen")),
                told("sigterm", "exitSeconds"),
                told("sigterm", "exitAfterLastAnswerSeconds"),
            ]
        )
    head = ["", "start to first 200, s", "memory when ready, MB", "after the load, MB", "SIGTERM: answers cut"]
    head += ["connects refused", "connections kept open", "to the exit, s", "from the last answer to the exit, s"]
    return table(head, rows)


def goals(judged: Sequence[Judged]) -> str:
    """Return the table of goals."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = []
    for one in judged:
        sign = "≥" if one.goal.must == "at least" else "≤"
        unit = "×" if one.goal.beside else ""
        found = _NONE if one.value is None else f"{_exact(one.value)}{unit}"
        cpu = _NONE if one.by_cpu is None else f"{_exact(one.by_cpu)}×"
        rows.append([one.goal.text, f"{sign} {_exact(one.goal.bound)}{unit}", found, words[one.met], cpu])
    return table(["goal", "wanted", "found", "met", "by CPU for each request"], rows)


def _notes(figures: Figures, *, servers: Sequence[Server]) -> list[str]:
    """What went wrong where, and for which servers a payload of CSV was JSON."""
    made = []
    wrong = []
    for (server, payload), found in figures.items():
        kinds = {"wrong": found.get("wrong", 0), **found.get("failed", {})}
        if any(kinds.values()):
            told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
            wrong.append(f"{server}, {payload}: {told} of {found['answers']:,}")
    if wrong:
        made.append("† " + "; ".join(wrong) + ".")
    shares = {key: found["loadCpuShare"] for key, found in figures.items() if found.get("loadCpuShare")}
    if shares:
        server, payload = max(shares, key=lambda key: shares[key])
        made.append(f"The load used at most {shares[server, payload]:.0%} of its CPU ({server}, {payload}).")
    without = [server.title for server in servers if server.csv is None]
    if without:
        made.append(f"Asked in their own JSON form, since they have no CSV: {', '.join(without)}.")
    return made


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    ruled = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in ruled)


def short(value: float | None) -> str:
    """Return a number with as many digits as it deserves."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _exact(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def draw(figures: Figures, *, servers: Sequence[Server], path: Path) -> None:
    """Draw requests/s and CPU for one row, each server's CSV or else its JSON, on logarithmic scales."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = []
    for server in servers:
        for payload in ("csv-1", "json-1", "code-1"):
            if (server.key, payload) in figures:
                row = figures[server.key, payload]
                found.append((server, row["requestsPerSecond"], row["cpuMicroseconds"] or 0.0))
                break
    if not found:
        return
    found.sort(key=lambda one: one[1])
    names = [server.title for server, _, _ in found]
    colours = ["#2b7a4b" if server.ours else "#9a9a9a" if server.constant else "#b9c6d6" for server, _, _ in found]
    figure_, axes = plt.subplots(1, 2, figsize=(12, 0.45 * len(found) + 1.4), sharey=True)
    titles = ("requests/s, one row, 64 connections, one CPU", "CPU-µs for each request, all processes")
    for axis, title, values in zip(axes, titles, ([one[1] for one in found], [one[2] for one in found]), strict=True):
        bars = axis.barh(names, values, color=colours)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=10)
        axis.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=3, fontsize=8)
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
    figure_.tight_layout()
    figure_.savefig(path, dpi=110)
    plt.close(figure_)


def processor() -> str:
    """Return the name of this machine's processor, as its kernel has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
