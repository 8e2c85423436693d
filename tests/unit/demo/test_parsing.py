"""What other programs answer, read correctly: wrk, Prometheus, the endpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.demo import data, load, metrics, predict, progress, settings, shell, stack

WRK = {"seconds": 10.0, "sent": 701, "answered": 700, "not200": 0, "wrong": 0, "connect": 0, "read": 0, "write": 0}
WRK |= {"timeout": 0, "p50Ms": 1.0, "p90Ms": 2.0, "p99Ms": 3.0, "maxMs": 4.0}


def result(**changes: Any) -> load.LoadResult:
    return load.parse_result(json.dumps({**WRK, "firstWrong": "", **changes}), connections=16)


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({}, 0),
        ({"sent": 717}, 0),  # one on each connection when time was up
        ({"sent": 720}, 3),
        ({"not200": 2, "wrong": 1}, 3),
        ({"sent": 703, "read": 2}, 2),
        ({"connect": 4}, 4),
        ({"timeout": 1}, 1),
    ],
)
def test_load_result_must_count_every_failed_request_once(changes: dict[str, Any], errors: int) -> None:
    """No error hides: refused, wrong, broken off, never answered."""
    assert result(**changes).errors == errors


def test_bodies_must_be_many_and_different(tmp_path: Path) -> None:
    """A load of few rows would measure a cache."""
    rows = [f"{number},0" for number in range(1200)]
    assert load.write_bodies(rows + rows, path=tmp_path / "bodies.csv") == 1200
    assert len((tmp_path / "bodies.csv").read_text().splitlines()) == 1200
    with pytest.raises(progress.DemoError, match="2 different rows"):
        load.write_bodies(["1", "2", "2"], path=tmp_path / "bodies.csv")


def test_matrix_must_leave_out_what_is_not_known() -> None:
    """A quantile of no requests is NaN, not zero."""
    answer = {"data": {"result": [{"values": [[1.0, "2.5"], [2.0, "NaN"], [3.0, "4"]]}]}}
    assert [(point.time, point.value) for point in metrics.parse_matrix(answer)] == [(1.0, 2.5), (3.0, 4.0)]
    assert metrics.parse_matrix({"data": {"result": []}}) == []


def test_prediction_must_be_a_linear_learners_answer() -> None:
    """Anything else is shown, not guessed at."""
    answer = json.dumps({"predictions": [{"score": 0.9, "predicted_label": 1.0}]})
    assert predict.parse_predictions(answer, expected=1) == [predict.Prediction(score=0.9, label=1)]
    for bad in ("busy", "{}", '{"predictions": [{"score": 1}]}'):
        with pytest.raises(progress.DemoError, match="no prediction"):
            predict.parse_predictions(bad, expected=1)
    with pytest.raises(progress.DemoError, match="1 predictions for 2 rows"):
        predict.parse_predictions(answer, expected=2)


def test_dataset_must_give_rows_without_their_label(tmp_path: Path) -> None:
    """The channels have the label first; requests have none."""
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "part-0000.csv").write_text("1,2,3\n0,4,5\n")
    (tmp_path / "sample.csv").write_text("2,3\n4,5\n")
    (tmp_path / "sample-labels.csv").write_text("1\n0\n")
    dataset = data.Dataset(folder=tmp_path, summary={"source": "generated"})
    assert dataset.bodies() == ["2,3", "4,5"]
    assert dataset.sample() == data.Sample(rows=["2,3", "4,5"], labels=[1, 0])
    assert dataset.description == "generated"


def test_wait_must_end_with_the_detail_and_the_hint() -> None:
    """Who waited in vain reads what was the matter, and what to do."""
    with pytest.raises(progress.DemoError, match=r"the pod: .*; ImagePullBackOff. Push it"):
        progress.wait_for("the pod", check=lambda: None, timeout=0, detail=lambda: "ImagePullBackOff", hint="Push it")
    assert progress.wait_for("the pod", check=lambda: 7, timeout=0) == 7


def test_image_tag_must_follow_the_content(tmp_path: Path) -> None:
    """A changed line gives another tag, so that the changed image is the one that runs; caches give none."""
    for name in (*stack.SHARED, "operator/sagebrush/app.py", "model_server/sagebrush_server/app.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")

    def tags() -> tuple[str, str]:
        return tuple(stack.image_of(target, root=tmp_path).tag for target in ("operator", "model-server"))  # type: ignore[return-value]

    before = tags()
    (tmp_path / "operator/sagebrush/__pycache__").mkdir()
    (tmp_path / "operator/sagebrush/__pycache__/app.pyc").write_text("y")
    assert tags() == before
    (tmp_path / "operator/sagebrush/app.py").write_text("y")
    assert tags()[0] != before[0]
    assert tags()[1] == before[1]
    assert stack.image_of("operator", registry="r.example/me/", root=tmp_path).name.startswith(
        "r.example/me/sagebrush-operator:"
    )


def test_empty_flags_must_count_as_not_given() -> None:
    """The Makefile passes CLUSTER=, DATA= and KUBECONFIG= on whether they are set or not."""
    chosen = settings.parse(["--cluster", "", "--data", "", "--kubeconfig", "", "--context", "", "--registry", ""])
    assert (chosen.cluster, chosen.data, chosen.kubeconfig, chosen.context, chosen.registry) == (
        "devcluster",
        "auto",
        None,
        None,
        None,
    )


def test_example_load_must_drive_the_policy_to_its_maximum() -> None:
    """The demo's endpoint has room to scale, and a cooldown short enough to watch."""
    spec = yaml.safe_load((shell.REPOSITORY / "examples/kdd/endpoint.yaml").read_text())["spec"]
    assert spec["scaling"]["maxReplicas"] > spec["scaling"]["minReplicas"]
    assert spec["cluster"]["service"]["nodePort"] == 30080
