"""Rows as people and programs read them."""

import json
from collections.abc import Sequence

from sagebrush.replay.run import Row

_HEADER = ("trace", "policy", "late", "lost", "cost by the minimum", "changes/h", "replica hours", "start")


def table(rows: Sequence[Row]) -> str:
    """A line for each row, in their order; a trace's name is told once."""
    priced = any(row.price is not None for row in rows)
    lines = [(*_HEADER, "price") if priced else _HEADER]
    told = ""
    for row in rows:
        name = "" if row.trace == told else row.trace
        told = row.trace
        cells = (
            name,
            row.policy,
            percent(row.late_share),
            percent(row.lost_share),
            f"{row.cost_ratio:.2f}×",
            f"{row.changes_per_hour:.1f}",
            f"{row.replica_hours:.1f}",
            f"{row.startup_seconds} s",
        )
        lines.append((*cells, "" if row.price is None else f"{row.price:.2f}") if priced else cells)
    return aligned(lines, left=2)


def percent(share: float) -> str:
    """A share as percent, with as many digits as the goals have."""
    value = 100 * share
    return f"{value:.3f} %" if value < 10 else f"{value:.1f} %"


def aligned(lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns: the first *left* flush left, the others right; the first line is the header, with a rule below it."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    written = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    written.insert(1, "-" * max(len(line) for line in written))
    return "\n".join(written)


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects, one for each row; the same text for the same rows."""
    return json.dumps([row.to_dict() for row in rows], indent=1, ensure_ascii=False) + "\n"
