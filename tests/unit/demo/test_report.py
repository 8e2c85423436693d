"""The report says what was measured, in the promised schema, and passes no bad run."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.demo import report
from examples.demo.load import LoadResult
from examples.demo.watch import Decision, Sample

ZERO = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
END = ZERO + timedelta(seconds=60)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def sample(seconds: float, *, ready: int, desired: int | None = None, replicas: int | None = None) -> Sample:
    return Sample(
        time=at(seconds),
        desired=ready if desired is None else desired,
        replicas=ready if replicas is None else replicas,
        ready=ready,
        requests_per_minute=None,
        reason="",
        message="",
    )


SAMPLES = [
    sample(-2, ready=1),
    sample(4, ready=1, desired=4),
    sample(6, ready=3, desired=4),
    sample(7, ready=4),
    sample(59, ready=4),
    sample(80, ready=1, desired=1, replicas=2),
    sample(83, ready=1),
]
DECISIONS = [
    Decision(time=at(3), from_replicas=1, to_replicas=4, reason="4200 requests per minute"),
    Decision(time=at(78), from_replicas=4, to_replicas=1, reason="no requests"),
]


def load_result(**changes: Any) -> LoadResult:
    given: dict[str, Any] = {
        "requests": 4200,
        "seconds": 60.0,
        "not_200": 0,
        "wrong_answers": 0,
        "connection_errors": 0,
        "timeouts": 0,
        "unanswered": 0,
        "p50_ms": 1.2,
        "p90_ms": 2.0,
        "p99_ms": 5.5,
        "max_ms": 20.0,
        "first_wrong": "",
    }
    return LoadResult(**{**given, **changes})


def good_run(**changes: Any) -> report.Run:
    scaling = report.scaling_report(SAMPLES, decisions=DECISIONS, minimum=1, window=(ZERO, END))
    train = report.TrainReport(
        seconds=9, accuracy=0.95, artifact="s3://b/kdd/output/model.tar.gz", sha256="ab", data="generated"
    )
    run = report.Run(
        began=at(-60),
        train=train,
        endpoint_ready_seconds=3.5,
        load=load_result(),
        load_window=(ZERO, END),
        scaling=scaling,
        versions={"kubernetes": "v1.36.3"},
    )
    for name, value in changes.items():
        setattr(run, name, value)
    return run


def test_scaling_report_must_measure_from_first_and_last_request() -> None:
    """Scale-up counts from the first request, the way back from the last, and only a settled endpoint is back."""
    found = report.scaling_report(SAMPLES, decisions=DECISIONS, minimum=1, window=(ZERO, END))
    assert (found.start, found.most) == (1, 4)
    assert (found.first_decision, found.first_ready, found.back_to_min) == (3.0, 6.0, 23.0)


def test_scaling_report_must_say_never_where_nothing_happened() -> None:
    """An endpoint that kept its one replica has no times at all, apart from being at its minimum."""
    samples = [sample(second, ready=1) for second in range(-1, 70)]
    found = report.scaling_report(samples, decisions=[], minimum=1, window=(ZERO, END))
    assert (found.most, found.first_decision, found.first_ready) == (1, None, None)


def test_report_must_have_the_promised_schema() -> None:
    """Programs read these keys; more may come, none may go."""
    content = json.loads(json.dumps(report.to_json(good_run())))
    assert {"seconds", "accuracy", "artifact", "data"} <= content["train"].keys()
    assert "readySeconds" in content["endpoint"]
    assert {"requests", "errors", "p50Ms", "p99Ms"} <= content["load"].keys()
    assert {"from", "to", "firstScaleUpSeconds", "backToMinSeconds", "decisions"} <= content["scaling"].keys()
    assert {"t", "replicas", "reason"} <= content["scaling"]["decisions"][0].keys()
    assert content["scaling"]["decisions"][0]["t"] == 3.0
    assert content["versions"]["kubernetes"] == "v1.36.3"


def test_good_run_must_have_no_problems() -> None:
    assert report.problems(good_run()) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"failure": "helm install: exit code 1"}, "helm"),
        ({"train": None}, "accuracy"),
        ({"load": None}, "no request"),
        ({"load": load_result(not_200=1, first_wrong="503 busy")}, "503 busy"),
        ({"load": load_result(connection_errors=2)}, "2 of 4200"),
        ({"load": load_result(unanswered=3)}, "3 of 4200"),
        ({"scaling": None}, "did not scale out"),
        (
            {"scaling": report.scaling_report(SAMPLES[:5], decisions=DECISIONS[:1], minimum=1, window=(ZERO, END))},
            "did not come back",
        ),
    ],
)
def test_bad_run_must_name_its_problem(changes: dict[str, Any], word: str) -> None:
    """A run passes only when every promise was kept."""
    found = report.problems(good_run(**changes))
    assert len(found) == 1
    assert word in found[0]


def test_low_accuracy_must_fail_the_run() -> None:
    """A model that guesses is no success, however fast it is served."""
    train = report.TrainReport(seconds=9, accuracy=0.6, artifact="", sha256="", data="")
    assert "0.6" in report.problems(good_run(train=train))[0]


def test_report_must_be_written_for_a_run_that_broke_off(tmp_path: Path) -> None:
    """A failed run leaves a report too, with the reason."""
    report.write(report.Run(began=ZERO, failure="no cluster"), folder=tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["problems"] == ["no cluster"]
    assert "no cluster" in (tmp_path / "report.md").read_text()


def test_page_must_tell_the_whole_story(tmp_path: Path) -> None:
    """People see accuracy, failures, the scaling table and the picture, where there is one."""
    (tmp_path / "run.png").touch()
    report.write(good_run(final_table="NAME  READY\nkdd   True"), folder=tmp_path)
    page = (tmp_path / "report.md").read_text()
    for part in ("0.9500", "**0 failed**", "| 3.0 | 1 → 4 | 4200 requests per minute |", "(run.png)", "kdd   True"):
        assert part in page
