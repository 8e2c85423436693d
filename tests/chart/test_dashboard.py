"""The Grafana dashboard: found by Grafana's sidecar, and every query of it one that Prometheus reads and our metrics answer."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagebrush.core.scaling.decision import Decision, Predicted, Proposal, ScalingReason
from sagebrush.core.scaling.facts import Capacity
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.words import sentence
from sagebrush.metrics.exporter import OperatorMetrics
from sagebrush.metrics.scaler import Price, Shown
from tests.chart.conftest import CHART, program
from tests.integration.kube import wait_for
from tests.integration.operator_process import free_port

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
DASHBOARD = json.loads((CHART / "files" / "dashboards" / "scaling.json").read_text())
SERVER_METRICS = CHART.parents[1] / "model_server" / "sagebrush_server" / "metrics.py"


def expressions() -> list[str]:
    """Every query, with values for Grafana's variables."""
    values = {"$namespace": "shop", "$endpoint": "kdd", "$__rate_interval": "1m"}
    out = []
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in values.items():
                text = text.replace(name, value)
            out.append(text)
    return out


def exported() -> set[str]:
    """Names of all series that the operator and the model server export."""
    metrics = OperatorMetrics()
    made = Decision(
        4, 1, ScalingReason.ABOVE_TARGET, "", History(), requests_per_minute=1.0, recommended=5, limited_by="maxReplicas",
        capacity=Capacity(1.0), prediction=Predicted(1.0, NOON), proposals=(Proposal("Target", 4, sentence("")),),
    )  # fmt: skip
    shown = {"AllTraffic": Shown(made, 1, 1.0, timedelta(0), {"0.5": 1.0})}
    metrics.scaler.decided(shown, namespace="shop", endpoint="kdd", cost=Price(1.0, "USD"))
    metrics.scaler.took(0.1)
    operator = set(re.findall(r"^(sagebrush_\w+)", metrics.render().decode(), re.MULTILINE))
    # The model server is no package of the operator's tests: its names as they stand in its source.
    stems = set(re.findall(r'"(sagebrush_\w+)"', SERVER_METRICS.read_text()))
    return operator | {f"{stem}{end}" for stem in stems for end in ("", "_total", "_bucket", "_sum", "_count")}


def test_dashboard_must_show_only_what_is_exported():
    """A panel whose metric was renamed would stay empty for ever, and nobody would know why."""
    asked = {name for text in expressions() for name in re.findall(r"sagebrush_\w+", text)}
    assert len(asked) > 10
    assert set() == asked - exported()


def test_dashboard_must_show_every_metric_of_the_scaler():
    """What the scaler tells is to be seen."""
    asked = {name.removesuffix("_bucket") for text in expressions() for name in re.findall(r"sagebrush_\w+", text)}
    told = {name for name in exported() if name.startswith(("sagebrush_scaler_", "sagebrush_endpoint_"))}
    told = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in told}
    assert set() == told - asked - {name for name in told if f"{name}_total" in told}


def test_dashboard_must_be_whole():
    """Panels have ids of their own, places that don't overlap, titles, and words about what they show."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in panels
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels)


def test_dashboard_must_be_rendered_on_request_only(render, template):
    """A ConfigMap with the sidecar's label, in the folder of one's choice; none by default."""
    assert not [each for each in render() if each["metadata"]["name"].endswith("-dashboard")]
    arguments = ("dashboard.enabled=true", "dashboard.folder=ML", "dashboard.labels.team=ml")
    objects = render(*(f"--set={each}" for each in arguments))
    (found,) = [each for each in objects if each["metadata"]["name"].endswith("-dashboard")]
    assert DASHBOARD == json.loads(found["data"]["scaling.json"])
    assert {"grafana_dashboard": "1", "team": "ml"}.items() <= found["metadata"]["labels"].items()
    assert {"grafana_folder": "ML"} == found["metadata"]["annotations"]
    other = render("--set=dashboard.enabled=true", "--set=dashboard.folderAnnotation=example.com/folder")
    (found,) = [each for each in other if each["metadata"]["name"].endswith("-dashboard")]
    assert {"example.com/folder": "Sagebrush"} == found["metadata"]["annotations"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes nothing."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("{}\n")
    port = free_port()
    command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: asked(url, "1")[0] == 200, "Prometheus", seconds=60, otherwise=log.read_text)
            yield url
        finally:
            process.kill()


def asked(url: str, expression: str) -> tuple[int, Any]:
    """Status and answer of an instant query; 0 while nobody listens."""
    form = urllib.parse.urlencode({"query": expression}).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query", data=form, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_queries_must_be_prometheus_own_language(prometheus: str):
    """A real Prometheus takes every query of the dashboard."""
    assert 400 == asked(prometheus, "sum(")[0]
    wrong = {text: answer for text in expressions() if (answer := asked(prometheus, text))[0] != 200}
    assert {} == wrong
