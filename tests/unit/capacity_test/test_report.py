"""What the user reads at the end: figures, lines of YAML, warnings."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from sagebrush.api.scaling import Scaling
from sagebrush.capacity_test import report
from sagebrush.capacity_test.measurement import Bound, Step, quantile
from sagebrush.capacity_test.search import Finding

BOUND = Bound(0.5, 0.1)


def step(
    rate: float, *, count: int = 1000, latency: float = 0.02, kind: str = "rate", cpu: float = 0.1, lag: float = 0.0
) -> Step:
    made = Step(kind, rate, 8, BOUND, seconds=10.0, cpu_share=cpu, lags=[lag] * count)
    for _ in range(count):
        made.answered(latency)
    return made


def result(finding: Finding) -> report.Result:
    return report.Result(
        name="kdd",
        namespace="ml",
        revision="r",
        way="its own address",
        replica="pod p",
        bound=BOUND,
        measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        finding=finding,
    )


def good(**changes: float) -> Finding:
    held = step(90.0, **changes)
    return Finding(
        [step(0.0, kind="connections"), step(95.0, latency=0.7), held],
        held,
        throughput=100.0,
        concurrency=2,
        service_seconds=0.02,
    )


def test_lines_of_yaml_must_be_a_policy():
    """Each target line that is shown makes a valid spec.scaling, with the values that were measured."""
    lines = [line for line in report.summary(result(good())).splitlines() if line.startswith("  ")]
    blocks = [yaml.safe_load(line) for line in lines]
    assert blocks == [
        {"target": {"latency": "500ms"}},
        {"capacity": {"requestsPerSecond": 100, "concurrency": 2}},
        {"target": {"requestsPerMinute": 2700}},
    ]
    Scaling.model_validate({"maxReplicas": 4, **blocks[0], **blocks[1]})
    Scaling.model_validate({"maxReplicas": 4, **blocks[2]})


def test_sizing_rule_must_be_sagemakers():
    """Max RPS × 0.5 × 60; none without a confirmed rate."""
    assert result(good()).requests_per_minute == 2700
    assert result(Finding()).requests_per_minute is None


def test_report_must_be_json_without_nan(tmp_path: Path):
    """What was never measured is null: NaN is no JSON."""
    path = tmp_path / "r.json"
    finding = Finding([Step("rate", 5.0, 0, BOUND)], why="no")
    report.write_files(result(finding), report=path, plot=None)
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document["requestsPerSecondWithinLatency"] is None
    assert document["steps"][0]["p99Ms"] is None
    assert "No capacity found: no." in report.summary(result(finding))


def test_picture_must_be_drawn(tmp_path: Path):
    """A PNG, for a run that found a rate and for one that did not."""
    for number, finding in enumerate((good(), Finding())):
        path = tmp_path / f"{number}.png"
        assert report.write_files(result(finding), report=None, plot=path) == [path]
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        (good(), None),
        (good(lag=0.08), "the load generator was late itself"),
        (good(cpu=0.95), "the load generator used 95% of a core"),
        (good(count=20), "20 requests are few"),
    ],
    ids=["fine", "late generator", "busy generator", "few"],
)
def test_doubtful_figures_must_be_told(finding: Finding, says: str | None):
    """Where the generator was the limit, or too little was sent to know, the user is warned."""
    found = report.warnings(finding)
    assert [text.startswith(says) for text in found] == [True] if says else found == []


def test_bound_must_allow_one_hiccup_and_no_more_than_its_share():
    """0.1 % of 5,000 are five; of 50 none, and one is forgiven."""
    assert [BOUND.allowed(count) for count in (50, 1000, 5000)] == [1, 1, 5]
    made = step(10, count=5000)
    for late, holds in ((5, True), (6, False)):
        made.over = late
        assert made.holds is holds


def test_unsent_and_failed_requests_must_count_as_late():
    """Late is all that was not answered well in time."""
    made = step(10, count=10)
    made.refuse()
    made.fail("HTTP 500", number=2)
    made.unsent = 3
    assert (made.requests, made.late) == (16, 6)


def test_quantile_must_be_one_of_the_values():
    """The smallest value that the share does not exceed; NaN without any."""
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0, 0.5, 0.99, 1)] == [1.0, 2.0, 3.0, 3.0]
    assert math.isnan(quantile([], 0.5))
