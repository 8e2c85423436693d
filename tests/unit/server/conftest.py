"""Real servers on loopback ports, small models, and a training pod's folders."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.algorithms.model import Model
from sagebrush_server.http.server import Server
from sagebrush_server.http.settings import ServeSettings
from sagebrush_server.paths import Paths

from .wire import Client, wait_until

FEATURES = 3
SETTINGS = ServeSettings(port=0, metrics_port=0, bind_address="127.0.0.1", endpoint_name="kdd", model_sha256="abc123")


def tiny_model(**changes: Any) -> LinearModel:
    """score = sigmoid(x1 - x2 + 0.5): rows by which a person can tell what the answer must be."""
    weights, bias, row = [[1.0, -1.0, 0.0]], [0.5], [1.0, 1.0, 1.0]
    values: dict[str, Any] = {
        "predictor_type": "binary_classifier",
        "feature_dim": FEATURES,
        "link": "logistic",
        "weights": weights,
        "bias": bias,
        "offset": [0.0] * FEATURES,
        "scale": [1.0] * FEATURES,
        "threshold": 0.5,
        "label_scale": 1.0,
        "label_offset": 0.0,
        "self_test_row": row,
        "self_test_score": [float(1 / (1 + np.exp(-0.5)))],
    }
    return LinearModel(**{**values, **changes})


@dataclass
class RunningServer:
    """A server in a thread with an event loop of its own."""

    server: Server
    thread: threading.Thread
    outcome: list[BaseException | None]

    @property
    def port(self) -> int:
        return self.server.port

    def client(self) -> Client:
        return Client(self.port)

    def stop(self) -> None:
        if self.thread.is_alive():
            self.server.loop.call_soon_threadsafe(self.server.stop)

    def join(self) -> None:
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server did not leave"


def launch(load: Callable[[], Model], *, settings: ServeSettings) -> RunningServer:
    """Start a server and return once it listens."""
    servers: list[Server] = []
    outcome: list[BaseException | None] = []

    async def run() -> None:
        import asyncio

        servers.append(Server(settings, loop=asyncio.get_running_loop()))
        await servers[0].run(load)

    def body() -> None:
        try:
            uvloop.run(run())
            outcome.append(None)
        except Exception as problem:  # noqa: BLE001 – the test looks at it
            outcome.append(problem)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    wait_until(lambda: (bool(servers) and servers[0].port != 0) or bool(outcome), about="the server listens")
    return RunningServer(servers[0], thread, outcome)


@pytest.fixture
def start_server() -> Iterator[Callable[..., RunningServer]]:
    """Start servers with other settings or models; all are stopped at the end."""
    started: list[RunningServer] = []

    def start(load: Callable[[], Model] | None = None, *, ready: bool = True, **changes: Any) -> RunningServer:
        settings = replace(SETTINGS, **{"drain_quiet": 0.05, **changes})
        running = launch(load or (lambda: LinearPredictor(tiny_model())), settings=settings)
        started.append(running)
        if ready:
            wait_until(lambda: running.client().get("/ping").status == 200, about="the server is ready")
        return running

    yield start
    for running in started:
        running.stop()
    for running in started:
        running.join()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RunningServer]:
    """One server for all tests that leave it as they found it."""
    settings = replace(SETTINGS, drain_quiet=0.05, connection_max_age=600.0)
    running = launch(lambda: LinearPredictor(tiny_model()), settings=settings)
    wait_until(lambda: running.client().get("/ping").status == 200, about="the server is ready")
    yield running
    running.stop()
    running.join()


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A pod's folders below tmp_path, with claims mounted in `claims` and quick retries."""
    (tmp_path / "ml").mkdir()
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    monkeypatch.setenv("SAGEBRUSH_TERMINATION_LOG", str(tmp_path / "termination-log"))
    monkeypatch.setenv("SAGEBRUSH_PVC_DIR", str(tmp_path / "claims"))
    monkeypatch.setenv("SAGEBRUSH_RETRY_SECONDS", "0")
    (tmp_path / "claims" / "data").mkdir(parents=True)
    return Paths.from_environment()


@pytest.fixture
def plan_document() -> dict[str, Any]:
    """The training plan of docs/contract.md, on a claim."""
    channel = {"contentType": "text/csv", "compression": "None", "recordWrapper": "None", "inputMode": "File"}
    return {
        "jobName": "kdd",
        "algorithm": "linear-learner",
        "hyperParameters": {"predictor_type": "binary_classifier", "epochs": "5"},
        "channels": [{"name": "train", "uri": "pvc://data/train", "distribution": "FullyReplicated", **channel}],
        "hosts": ["algo-1"],
        "output": {"uri": "pvc://data/output", "uploadTimeoutSeconds": 60},
    }


def plan_environment(document: dict[str, Any], **more: str) -> dict[str, str]:
    """The environment in which the operator hands over a plan."""
    return {"SAGEBRUSH_TRAINING_PLAN": json.dumps(document), **more}


@pytest.fixture(autouse=True)
def own_sigterm() -> Iterator[None]:
    """Commands that run inside the test process install SIGTERM handlers; give the old one back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
