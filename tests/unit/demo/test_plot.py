"""The picture of a run can be drawn from little and from much."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from examples.demo import plot
from examples.demo.metrics import Point, Series
from examples.demo.watch import Decision, Sample

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def sample(second: int) -> Sample:
    ready = 1 if second < 8 else 3
    return Sample(
        time=ZERO + timedelta(seconds=second),
        desired=3,
        replicas=3,
        ready=ready,
        requests_per_minute=1,
        reason="",
        message="",
    )


@pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
def test_picture_must_be_drawn(tmp_path: Path, full: bool) -> None:
    """Missing series leave an empty panel, not an error at the end of a long run."""
    points = [Point(time=ZERO.timestamp() + second, value=float(second)) for second in range(30)] if full else []
    decisions = (
        [Decision(time=ZERO + timedelta(seconds=4), from_replicas=1, to_replicas=3, reason="busy")] if full else []
    )
    picture = plot.Picture(
        series=Series(requests_per_second=points, p50_ms=points, p99_ms=points),
        samples=[sample(second) for second in range(-5, 40)] if full else [],
        decisions=decisions,
        load_window=(ZERO, ZERO + timedelta(seconds=20)),
        target_per_replica=20,
        title="A run",
    )
    plot.draw(picture, path=tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
