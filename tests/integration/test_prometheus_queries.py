"""Every query of the operator against a real Prometheus that scrapes a real model server."""

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from devcluster import binaries
from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.facts import Signals
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.request_metrics import RequestMetrics
from sagebrush.metrics.targets import PodAddress
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from tests.integration.operator_process import free_port
from tests.unit.server.conftest import SETTINGS, RunningServer, launch, tiny_model
from tests.unit.server.wire import Client, connect, post, wait_until

KEY = SeriesKey("shop", "kdd", "AllTraffic")
# The same pod scraped by two jobs, as where somebody has installed two monitors.
CONFIGURATION = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: one
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{namespace: shop, pod: kdd-1}}}}]
  - job_name: two
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{namespace: shop, pod: kdd-1}}}}]
"""


class SlowModel(LinearPredictor):
    """Every row takes as long as it is told, also among others."""

    seconds = 0.0

    def predict(self, rows: Any) -> Any:
        time.sleep(self.seconds * len(rows))
        return super().predict(rows)


@pytest.fixture(scope="module")
def model() -> SlowModel:
    return SlowModel(tiny_model())


@pytest.fixture(scope="module")
def server(model: SlowModel) -> Iterator[RunningServer]:
    running = launch(lambda: model, settings=SETTINGS)
    wait_until(lambda: running.client().get("/ping").status == 200, about="the server is ready")
    yield running
    running.stop()
    running.join()


@pytest.fixture(scope="module")
def prometheus(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = binaries.find("prometheus")
    if program is None:
        pytest.skip("Prometheus is not built here: make cluster-up builds it")
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(port=server.server.metrics_port))
    port = free_port()
    with _running(program, configuration, port=port):
        wait_until(lambda: _listens(port), about="Prometheus listens", seconds=60)
        yield f"http://127.0.0.1:{port}"


class _running:  # noqa: N801 - reads as a verb
    """Prometheus in a process of its own."""

    def __init__(self, program: Path, configuration: Path, *, port: int) -> None:
        self._command = [
            str(program),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={configuration.parent / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def policy(expression: str) -> Scaling:
    target = {"query": {"expression": expression, "perReplica": 1}}
    return Scaling.model_validate({"maxReplicas": 5, "target": target, "source": "Prometheus"})


async def signals(metrics: RequestMetrics, expression: str, *, source: str = "Prometheus") -> Signals:
    await metrics.refresh()
    scaling = policy(expression).model_copy(update={"source": source})
    now = metrics.prometheus.latest.taken_at
    return metrics.signals(
        "shop", endpoint="kdd", variant="AllTraffic", scaling=scaling, ready_pods={"kdd-1": None}, now=now
    )


class Load:
    """Clients that ask without a pause until the block ends."""

    def __init__(self, port: int, *, clients: int) -> None:
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            client = Client(self._port)
            if client.invoke(b"1,2,3").headers.get("connection") == "close":
                client.close()

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


async def eventually(metrics: RequestMetrics, expression: str, holds: Any, *, seconds: float = 60) -> Signals:
    """The signals, once they are as wanted."""
    deadline = time.monotonic() + seconds
    while True:
        found = await signals(metrics, expression)
        if holds(found):
            return found
        assert time.monotonic() < deadline, f"{found}\n{metrics._load.latest}"
        await asyncio.sleep(0.2)


async def test_queries_must_show_a_saturated_server_as_it_is(
    prometheus: str, server: RunningServer, model: SlowModel
) -> None:
    """Four clients before a server that does 20 requests a second: the others wait, it is at work all the time, nothing is counted
    twice, the history has it, and the user's own PromQL is a number.
    """
    expression = "sum(max by (pod) (rate(sagebrush_invocations_total[10s]))) * 60"
    address = PodAddress("kdd-1", "127.0.0.1", server.server.metrics_port)
    async with aiohttp.ClientSession() as session:
        metrics = RequestMetrics(
            prometheus, interval=timedelta(seconds=1), session=session, targets=lambda: {KEY: [address]}
        )
        idle = await eventually(metrics, expression, lambda found: found.busy is not None and found.value is not None)
        assert (idle.waiting, idle.refused_per_minute) == (0, 0)
        assert idle.busy is not None
        assert idle.busy < 0.5
        model.seconds = 0.05
        with Load(server.port, clients=4):
            found = await eventually(
                metrics,
                expression,
                lambda found: (
                    (found.busy or 0) > 0.9
                    and 2 <= (found.waiting or 0) <= 4
                    and (found.value or 0) > 700
                    and (found.long.requests_per_minute or 0) > 700
                ),
            )
            # A look may fall between two calls of the model, when those who waited are in and those answered not yet back.
            async with asyncio.timeout(30):
                waiting = 0.0
                while waiting < 1:
                    await metrics.pods.read_all(session)
                    waiting = metrics.pods.load(KEY, ready_pods={"kdd-1": None}).waiting or 0.0
            assert waiting <= 4
        # 1,200 a minute are true, 2,400 would be counted twice; a late scrape of a few seconds' window moves it by a twentieth.
        assert found.short.requests_per_minute is not None
        assert found.short.requests_per_minute < 1500
        assert found.value is not None
        assert found.value < 1500
        assert found.busy is not None
        assert found.busy <= 1
        assert metrics.scrape_seconds("shop", "kdd", "AllTraffic") == pytest.approx(1, abs=0.3)
        history = await metrics.fetch_history(
            "shop", endpoint="kdd", variant="AllTraffic", span=timedelta(days=14), step=timedelta(seconds=5)
        )
    known = history.rates[~np.isnan(history.rates)]
    assert history.rates.shape == (14 * 86_400 / 5,)
    assert 1 <= len(known) < 100  # not scraped before this test, and so unknown
    assert known.max() < 30


async def test_refusals_must_show_from_the_first_on(prometheus: str, server: RunningServer) -> None:
    """They are what matters most, and a series born with a value would hide it."""
    application, loop = server.server.application, server.server.loop
    served = application.default
    assert served is not None
    loop.call_soon_threadsafe(application.drop, served.name)
    wait_until(lambda: application.default is None, about="no model")
    async with aiohttp.ClientSession() as session:
        metrics = RequestMetrics(prometheus, interval=timedelta(seconds=1), session=session)
        await eventually(metrics, "vector(1)", lambda found: found.refused_per_minute == 0)
        for _ in range(10):
            with connect(server.port) as connection:
                connection.sendall(post(b"1,2,3"))
                assert connection.recv(12) == b"HTTP/1.1 503"
        found = await eventually(metrics, "vector(1)", lambda found: (found.refused_per_minute or 0) > 0)
    loop.call_soon_threadsafe(application.serve_by_default, served)
    assert found.refused_per_minute is not None
    assert found.refused_per_minute <= 60
    assert found.value == 1
