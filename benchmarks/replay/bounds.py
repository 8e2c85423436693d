"""What each line of the table was when it was last accepted: a line that is worse fails the benchmark."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagebrush.replay.contenders import OURS
from sagebrush.replay.run import Row

FILE = Path(__file__).with_name("bounds.json")

LATE_SLACK = 0.0001
"""Share of requests by which a line may be later than recorded: numbers differ in their last digits between machines."""

COST_SLACK = 0.01
CHANGES_SLACK = 1.0


def key_of(row: Row) -> str:
    """How a row is found again."""
    return f"{row.goal} | {row.trace} | {row.policy}"


def read(file: Path = FILE) -> dict[str, dict[str, float]]:
    """The recorded lines; none where there is no file."""
    return dict(json.loads(file.read_text())) if file.exists() else {}


def record(rows: Sequence[Row], *, file: Path = FILE) -> int:
    """Takes the rows of our policy as the new bounds; lines of traces that were not run stay. Their number."""
    bounds: dict[str, Any] = read(file)
    mine = [row for row in rows if row.policy.startswith(OURS)]
    for row in mine:
        bounds[key_of(row)] = {
            "late_share": round(row.late_share, 6),
            "cost_ratio": round(row.cost_ratio, 4),
            "changes_per_hour": round(row.changes_per_hour, 2),
        }
    file.write_text(json.dumps(dict(sorted(bounds.items())), indent=1, ensure_ascii=False) + "\n")
    return len(mine)


def broken(rows: Sequence[Row], *, bounds: dict[str, dict[str, float]]) -> list[str]:
    """A sentence for each figure of our policy that is worse than recorded."""
    found = []
    for row in rows:
        bound = bounds.get(key_of(row))
        if bound is None or not row.policy.startswith(OURS):
            continue
        if row.late_share > bound["late_share"] + LATE_SLACK:
            found.append(f"{key_of(row)}: {100 * row.late_share:.3f} % late, was {100 * bound['late_share']:.3f} %")
        if row.cost_ratio > bound["cost_ratio"] + COST_SLACK:
            found.append(f"{key_of(row)}: cost {row.cost_ratio:.3f}×, was {bound['cost_ratio']:.3f}×")
        if row.changes_per_hour > bound["changes_per_hour"] + CHANGES_SLACK:
            found.append(f"{key_of(row)}: {row.changes_per_hour:.1f} changes/h, were {bound['changes_per_hour']:.1f}")
    return found
