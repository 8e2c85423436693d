"""The figures of the model server's benchmark, from made-up rows; and the forms in which servers are asked."""

import json
import re

import pytest

from benchmarks.model_server import wires
from benchmarks.model_server.figures import (
    GOALS,
    Goal,
    figure,
    judge,
    lines,
    misconduct,
    summarise,
)
from benchmarks.model_server.options import SIGTERM, parse
from benchmarks.model_server.payloads import PAYLOADS
from benchmarks.model_server.report import draw, markdown
from benchmarks.model_server.servers import SERVERS


def row(server: str, payload: str = "csv-1", **changes: object) -> dict[str, object]:
    plain = {
        "server": server,
        "payload": payload,
        "round": 0,
        "requestsPerSecond": 1000.0,
        "cpuMicroseconds": 900.0,
        "p99Ms": 80.0,
        "loadCpuShare": 0.5,
        "answers": 5000,
        "wrong": 0,
        "failed": {},
        "samples": [],
    }
    return {**plain, **changes}


def test_figures_must_be_medians_and_sums() -> None:
    """A slow round moves no median; each wrong answer of any round stays."""
    rates = [900.0, 1000.0, 10.0]
    found = summarise(
        row("flask", round=n, requestsPerSecond=rate, wrong=n, failed={"broken": 2} if n else {})
        for n, rate in enumerate(rates)
    )["flask", "csv-1"]
    assert (found["requestsPerSecond"], found["wrong"], found["failed"]) == (900.0, 3, {"broken": 4})
    assert (found["rounds"], found["answers"]) == (3, 15000)


def test_figures_must_not_hide_a_round_without_one() -> None:
    """A server that did not leave in one round has no median of its leaving."""
    found = summarise([row("a", "sigterm", exitSeconds=1.0), row("a", "sigterm", exitSeconds=None)])
    assert found["a", "sigterm"]["exitSeconds"] is None


def test_goals_must_be_met_by_ratios_of_the_same_run() -> None:
    """Forty times the requests and a twentieth of the p99; what was not measured is neither met nor missed."""
    figures = summarise(
        [
            row("sagemaker"),
            row("sagebrush", requestsPerSecond=40_000.0, p99Ms=4.1, cpuMicroseconds=9.0),
            row("nginx", requestsPerSecond=6e4),
        ]
    )
    found = {one.goal.text: one for one in judge(figures)}
    assert found["1 row, CSV: requests/s, by SageMaker's stack"].met is True
    assert found["1 row, CSV: requests/s, by SageMaker's stack"].by_cpu == pytest.approx(900 / 9)
    assert found["1 row, CSV: p99, by SageMaker's stack"].by_cpu is None
    assert found["1 row, CSV: p99, by SageMaker's stack"].met is False
    assert found["1 row, CSV: requests/s, by nginx's constant"].met is False
    assert found["1 row, JSON: requests/s, by KServe V1"].met is None


@pytest.mark.parametrize(("value", "met"), [(0.0, True), (1.0, False)])
def test_goal_of_no_errors_must_count_all_kinds(value: float, met: bool) -> None:
    """Wrong answers and broken connections alike."""
    goal = Goal(text="", ours="sagebrush", payload="many", figure="errors", bound=0, must="at most")
    for bad in ({"wrong": int(value)}, {"failed": {"refused": int(value)}}):
        assert judge(summarise([row("sagebrush", "many", **bad)]), goals=[goal])[0].met is met


def test_goals_must_be_those_of_servers_and_payloads_that_there_are() -> None:
    """A goal that names nothing would never be measured."""
    payloads = {*PAYLOADS, "sigterm", "start-linear"}
    for goal in GOALS:
        assert goal.ours in SERVERS
        assert SERVERS[goal.ours].ours
        assert goal.beside is None or goal.beside in SERVERS
        assert goal.payload in payloads
        for key in (goal.ours, goal.beside):
            if key and goal.payload in PAYLOADS:
                assert SERVERS[key].wire(PAYLOADS[goal.payload]) is not None


@pytest.mark.parametrize(
    "bad", [{"wrong": 1, "samples": ["not a 200"]}, {"failed": {"broken": 1}}, {"cut": 1}], ids=["wrong", "broken", "cut"]
)  # fmt: skip
def test_run_must_fail_for_what_sagebrush_did_wrong_only(bad: dict[str, object]) -> None:
    """A peer's errors are reported, ours fail the run."""
    figures = summarise([row("sagebrush", **bad), row("flask", **bad)])
    assert len(misconduct(figures, ours=["sagebrush"])) == 1
    assert misconduct(figures, ours=["sagebrush-code"]) == []


def test_report_must_show_every_server_and_what_could_not_be_measured(tmp_path) -> None:
    """A line for each server, marks where there were errors, and the reason where there are no figures."""
    fast = row("sagebrush", requestsPerSecond=1e5, cpuMicroseconds=8.5, loadCpuShare=0.875)
    rows = [row("sagemaker", failed={"broken": 7}), fast]
    figures = summarise([*rows, row("sagebrush", "sigterm", cut=0, exitSeconds=1.2)])
    servers = [SERVERS[key] for key in ("sagemaker", "bentoml", "sagebrush")]
    about = {"date": "2026-11-29", "processor": "one", "rounds": 3, "seconds": 2.0, "loadAverage": 0.5, "versions": {"flask": "3"}}  # fmt: skip
    text = markdown(
        figures, servers=servers, judged=judge(figures), failures={"bentoml": "no such\nthing"}, about=about
    )
    for server in servers:
        assert re.search(rf"^\| {re.escape(server.title)} \|", text, re.MULTILINE)
    assert "1,000 · 900 · 80 †" in text
    assert "100,000 · 8.5 · 80 |" in text
    assert "sagemaker, csv-1: 7 broken of 5,000" in text
    assert "at most 88% of its CPU (sagebrush, csv-1)" in text
    assert "Not measured: bentoml: no such\n" in text
    draw(figures, servers=servers, path=tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_lines_must_be_one_for_each_figure() -> None:
    """A row for each server, payload and figure, kinds of failures among them."""
    made = lines(summarise([row("a", failed={"broken": 3})]))
    assert {"server": "a", "payload": "csv-1", "figure": "failed.broken", "value": 3} in made
    assert {"server": "a", "payload": "csv-1", "figure": "p99Ms", "value": 80.0} in made
    assert json.dumps(made)


def test_figure_must_be_none_where_nothing_was_measured() -> None:
    """Not zero."""
    assert figure({}, server="a", payload="b", name="errors") is None


CELLS = [["1", "2.50"], ["-3e2", "0"]]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (wires.json_rows, [[1, 2.5], [-300, 0]]),
        (wires.json_instances, {"instances": [[1, 2.5], [-300, 0]]}),
        (wires.json_features, {"instances": [{"features": [1, 2.5]}, {"features": [-300, 0]}]}),
        (wires.json_named, {"rows": [[1, 2.5], [-300, 0]]}),
        (
            wires.json_v2,
            {"inputs": [{"name": "rows", "shape": [2, 2], "datatype": "FP64", "data": [1, 2.5, -300, 0]}]},
        ),
    ],
)
def test_bodies_must_hold_the_rows_in_each_form(body, expected) -> None:
    """Every form says the same."""
    assert json.loads(body(CELLS)) == expected
    assert wires.csv(CELLS) == b"1,2.50\n-3e2,0\n"


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_requests_must_be_whole_http_for_every_server(server) -> None:
    """The stated length is the body's, and the answer's numbers are as many as the rows need."""
    wire = server.csv or server.json
    made = wires.exchanges(wire, bodies=[CELLS], scores=[[0.25, 0.75]])[0]
    head, _, body = made.request.partition(b"\r\n\r\n")
    assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
    assert head.startswith(b"POST /")
    assert b"{rows}" not in head
    assert len(made.expected) >= 2


def test_answers_must_be_the_numbers_of_each_form() -> None:
    """Score, label and both classes, row by row."""
    assert wires.scores_and_labels([0.25, 0.75]) == [0.25, 0, 0.75, 1]
    assert wires.labels_and_both_classes([0.75]) == [1, 0.25, 0.75]
    assert wires.both_classes([0.75]) == [0.25, 0.75]


def test_options_must_choose_by_names_and_beginnings() -> None:
    """In the order of the table; SIGTERM is asked for like a payload."""
    found = parse(["--servers", "sagebrush-*,nginx", "--payloads", "lone,csv-1,sigterm"])
    assert found.servers == ("nginx", "sagebrush-sklearn", "sagebrush-xgboost", "sagebrush-code")
    assert (found.payloads, found.sigterm) == (("csv-1", "lone"), True)
    assert set(parse([]).servers) == set(SERVERS)
    assert parse([]).sigterm
    assert SIGTERM not in parse([]).payloads
    assert parse(["--quick"]).rounds < parse([]).rounds


@pytest.mark.parametrize("words", [["--servers", "tomcat"], ["--payloads", "xml"], ["--rounds", "-1"]])
def test_options_must_refuse_what_there_is_not(words: list[str], capsys) -> None:
    """Exit code 2 and the legal values."""
    with pytest.raises(SystemExit) as refused:
        parse(words)
    assert refused.value.code == 2
    assert words[1].lstrip("-") in capsys.readouterr().err or words[0] == "--rounds"
