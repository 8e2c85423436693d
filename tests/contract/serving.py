"""A model server as a pod has it: the command `serve` in a process of its own, with a model that `train` has trained."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COMMANDS = Path(sys.executable).parent
SECONDS = 30.0
FEATURES = 4


@dataclass(frozen=True)
class ServerProcess:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def environment(base: Path, **more: str) -> dict[str, str]:
    """What the operator gives a container, without a cluster's addresses."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEBRUSH_TERMINATION_LOG": str(base / "termination-log"),
        "SAGEBRUSH_BIND_ADDRESS": "127.0.0.1",
        **more,
    }


def train_linear_model(base: Path) -> Path:
    """Train a linear-learner on generated rows in `base`, laid out as `/opt/ml`; return the model's folder."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(400, FEATURES))
    labels = (rows @ np.array([2.0, -1.0, 0.5, 0.0]) > 0).astype(int)
    channel = base / "input" / "data" / "train"
    channel.mkdir(parents=True)
    lines = [f"{label}," + ",".join(map(repr, row)) for label, row in zip(labels, rows.tolist(), strict=True)]
    (channel / "rows.csv").write_text("\n".join(lines) + "\n")
    config = base / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"predictor_type": "binary_classifier", "epochs": "3"}))
    described = {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    described |= {"RecordWrapperType": "None"}
    (config / "inputdataconfig.json").write_text(json.dumps({"train": described}))
    resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    (config / "resourceconfig.json").write_text(json.dumps(resources))
    done = subprocess.run(
        [COMMANDS / "train"],
        env=environment(base, SAGEBRUSH_ALGORITHM="linear-learner"),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return base / "model"


@contextmanager
def serving(base: Path, **more: str) -> Iterator[ServerProcess]:
    """Run `serve` until the end of the block, and see it leave with 0 after SIGTERM."""
    port = free_port()
    given = {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEBRUSH_METRICS_PORT": str(free_port()), **more}
    log = base / f"serve-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [COMMANDS / "serve"], env=environment(base, **given), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            wait_ready(port, process=process, log=log)
            yield ServerProcess(port)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
        assert code == 0, log.read_text()


def wait_ready(port: int, *, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1) as reply:
                if reply.status == 200:
                    return
        except OSError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
