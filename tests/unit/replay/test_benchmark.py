"""``make bench-replay``: its bounds and its verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.replay import __main__ as program
from benchmarks.replay import bounds
from benchmarks.replay.goals import OURS_PROMETHEUS, OUTAGE_SECONDS, Case, busiest, cases, steepest, verdicts
from sagebrush.replay.contenders import OURS, hpa, kpa
from sagebrush.replay.queueing import Service
from sagebrush.replay.report import as_json, percent, table
from sagebrush.replay.run import Row, replay
from sagebrush.replay.system import System
from sagebrush.replay.trace import Trace
from tests.unit.replay.builders import steady

ROW = Row(
    goal="G1",
    trace="days",
    policy=OURS,
    late_share=0.0005,
    lost_share=0.0,
    cost_ratio=1.08,
    changes_per_hour=20.0,
    replica_hours=10.0,
    price=None,
    startup_seconds=10,
    hours=72.0,
    scale_ins_blind=0,
    decision_milliseconds=0.05,
    calibration_seconds=0.3,
)
GOALS = [replace(ROW, goal=goal, late_share=0.0001) for goal in ("G1", "G2", "G3", "G4", "G5", "G6", "G7")] + [
    replace(ROW, goal="G5", policy=OURS_PROMETHEUS)
]


def changed(goal: str, policy: str = OURS, **figures: float) -> list[Row]:
    """All goals met, but for these figures."""
    return [replace(row, **figures) if (row.goal, row.policy) == (goal, policy) else row for row in GOALS]


@pytest.mark.parametrize(
    ("rows", "missed"),
    [
        (GOALS, set()),
        (changed("G1", late_share=0.0011), {"G1"}),
        (changed("G1", cost_ratio=1.11), {"G1"}),
        (changed("G2", late_share=0.0091), {"G2"}),
        (changed("G2", cost_ratio=1.51), {"G2"}),
        (changed("G3", cost_ratio=1.23), {"G3"}),
        (changed("G4", late_share=0.0011), {"G4"}),
        (changed("G5", late_share=0.0003), {"G5"}),
        (changed("G5", OURS_PROMETHEUS, scale_ins_blind=1), {"G5"}),
        (changed("G6", late_share=0.0021), {"G6"}),
        (changed("G7", changes_per_hour=61.0), {"G7"}),
        (changed("G4", calibration_seconds=2.1), {"G7"}),
        ([*GOALS, replace(ROW, trace="more", late_share=0.002)], {"G1"}),
    ],
)
def test_verdict_must_follow_the_table_of_goals(rows: list[Row], missed: set[str]) -> None:
    """Every trace is held to its share of late requests; costs and changes are means."""
    assert missed == {verdict.goal for verdict in verdicts(rows) if not verdict.met}


@pytest.mark.parametrize(
    ("row", "worse"),
    [
        (ROW, 0),
        (replace(ROW, late_share=0.00059, cost_ratio=1.089, changes_per_hour=20.9), 0),
        (replace(ROW, late_share=0.00061), 1),
        (replace(ROW, cost_ratio=1.0902), 1),
        (replace(ROW, changes_per_hour=21.1), 1),
        (replace(ROW, late_share=0.01, cost_ratio=2.0, changes_per_hour=99.0), 3),
        (replace(ROW, trace="never recorded", late_share=1.0), 0),
        (replace(ROW, policy="HPA 0.7", late_share=1.0), 0),
        (replace(ROW, late_share=0.0, cost_ratio=0.9, changes_per_hour=0.0), 0),
    ],
)
def test_line_worse_than_recorded_must_be_told(row: Row, worse: int, tmp_path: Path) -> None:
    """By more than the slack, each figure by itself; better is fine, and so is what was never recorded."""
    file = tmp_path / "bounds.json"
    assert 1 == bounds.record([ROW], file=file)
    assert worse == len(bounds.broken([row], bounds=bounds.read(file)))


def test_recording_must_keep_the_lines_of_other_traces(tmp_path: Path) -> None:
    """Bounds of recorded and of generated traces live in one file."""
    file = tmp_path / "bounds.json"
    bounds.record([ROW], file=file)
    bounds.record([replace(ROW, trace="other"), replace(ROW, policy="KPA 0.7")], file=file)
    assert ["G1 | days | sagebrush", "G1 | other | sagebrush"] == list(bounds.read(file))


def test_every_generated_line_must_have_a_bound() -> None:
    """Else it could get worse unseen."""
    recorded = bounds.read().keys()
    wanted = {
        f"{case.goal} | {case.situation()[2]} | {contender.name}"
        for case in cases(None)
        for contender in case.contenders
        if contender.name.startswith(OURS)
    }
    assert set() == wanted - recorded


def test_recorded_traces_must_take_the_place_of_generated_days(tmp_path: Path) -> None:
    """Files of a day and more are the daily-shaped traces, shorter ones are measured beside them."""
    (tmp_path / "long.csv").write_text("minute,requests\n" + "".join(f"{at},600\n" for at in range(2 * 1440)))
    (tmp_path / "short.csv").write_text("second,requests\n" + "".join(f"{at},6\n" for at in range(600)))
    found = [(case.goal, case.situation()[2]) for case in cases(tmp_path)]
    assert [("G1", "long"), ("G4", "long"), ("G6", "long"), ("G5", "long, rise"), ("G5", "long, peak")] == found[:5]
    assert ("G7", "short") in found
    assert not any("daily web" in label for _, label in found)


def test_outages_must_lie_where_they_hurt() -> None:
    """Just before the steepest rise, and where most requests fall into it; in seconds of the whole trace."""
    trace = steady((10, 7200), (10, 7200), (90, 7200), (120, 3600), (10, 3600), history=7200)
    rise, peak = steepest(trace), busiest(trace)
    assert 14400 == rise
    assert 21600 <= peak <= 21600 + 3600 - OUTAGE_SECONDS


def test_program_must_write_its_rows_and_fail_if_a_line_gets_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """build/bench/replay.json has a row for each trace and policy; the exit code is 1 only for worse lines."""
    mine = replace(hpa(0.7), name=OURS)
    trace = Trace(name="small", rate=np.full(900, 30.0), service=Service(capacity=10))
    case = Case("G1", lambda: trace, System(), (mine, kpa(0.7)))
    monkeypatch.setattr(program, "cases", lambda folder: [case])
    monkeypatch.setattr(bounds, "read", dict)
    flags = ["--output", str(tmp_path / "out/replay.json"), "--only", "G1", "--processes", "2"]
    assert 0 == program.main(flags)
    first = json.loads((tmp_path / "out/replay.json").read_text())
    assert [("small", OURS), ("small", "KPA 0.7")] == [(row["trace"], row["policy"]) for row in first["rows"]]
    assert {"late_share", "cost_ratio", "changes_per_hour"} <= first["rows"][0].keys()
    assert 0 == program.main([*flags[:4], "--processes", "1"])
    assert first["rows"] == json.loads((tmp_path / "out/replay.json").read_text())["rows"]
    better = {"G1 | small | sagebrush": {"late_share": 0.0, "cost_ratio": 0.5, "changes_per_hour": 0.0}}
    monkeypatch.setattr(bounds, "read", lambda: better)
    assert 1 == program.main(flags)
    assert "WORSE THAN RECORDED" in capsys.readouterr().out


def test_folder_without_traces_must_be_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error must not pass for the generated traces, nor a file that is none."""
    assert 2 == program.main(["--traces", str(tmp_path)])
    (tmp_path / "notes.csv").write_text("who,what\na,b\nc,d\n")
    assert 2 == program.main(["--traces", str(tmp_path)])
    assert "notes.csv" in capsys.readouterr().err


def test_folder_of_short_traces_must_be_judged_by_what_was_run() -> None:
    """Without days there is nothing to say of the goals about days."""
    assert ["G2", "G3"] == [verdict.goal for verdict in verdicts([row for row in GOALS if row.goal in {"G2", "G3"}])]


def test_table_must_say_each_trace_once() -> None:
    """And have a column for the price only where there is one."""
    text = table([ROW, replace(ROW, policy="KPA 0.7"), replace(ROW, trace="other", price=3.5)])
    assert 1 == text.count("days")
    assert "0.050 %" in text
    assert "price" in text
    assert "price" not in table([ROW])
    assert [ROW.to_dict()] == json.loads(as_json([ROW]))


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.000 %"), (0.00012, "0.012 %"), (0.1384, "13.8 %")])
def test_percent_must_have_the_digits_of_the_goals(share: float, text: str) -> None:
    """Three below ten percent."""
    assert text == percent(share)


def test_article_lines_must_be_no_worse_than_recorded() -> None:
    """The quick part of ``make bench-replay``: spikes and the ramp, by the policy as it is now."""
    # By its name: to make a trace of ten days takes seconds.
    named = [((case.goal, getattr(case.load, "name", "")), case) for case in cases(None) if not case.system.serialised]
    quick = [case for what, case in named if what in {("G2", "article spikes"), ("G7", "article ramp")}]
    rows = []
    for case in quick:
        trace, system, label = case.situation()
        mine = [contender for contender in case.contenders if contender.name == OURS]
        rows += [replay(trace, contender, system, goal=case.goal, label=label)[0] for contender in mine]
    assert 2 == len(rows)
    assert [] == bounds.broken(rows, bounds=bounds.read())
