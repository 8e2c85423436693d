"""The notebook's session on this machine: `train` and `serve` as processes, over the folders that a pod would have."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from examples.notebook.estimator import Estimator, Predictor

READY_SECONDS = 60.0


class LocalSession:
    """A folder in the place of the bucket, processes in the place of pods."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder).resolve()
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        # A cell that fails must not leave a server behind.
        atexit.register(self._stop_servers)

    @property
    def bucket(self) -> str:
        return f"file://{self._folder}/bucket"

    def upload(self, stream: BinaryIO, *, key: str) -> str:
        uri = f"{self.bucket}/{key}"
        path = _path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
        return uri

    def train(self, estimator: Estimator, *, channels: Mapping[str, str]) -> None:
        if estimator.instance_count != 1:
            raise RuntimeError("on one machine instance_count must be 1")
        base = self._folder / estimator.name
        shutil.rmtree(base, ignore_errors=True)
        for name, uri in channels.items():
            target = base / "input" / "data" / name
            target.mkdir(parents=True)
            shutil.copy(_path(uri), target)
        _write_configuration(base / "input" / "config", estimator=estimator, channels=channels)
        environment = {"SAGEMAKER_BASE_DIR": str(base), "SAGEBRUSH_ALGORITHM": estimator.algorithm}
        done = subprocess.run(_command("train"), env={**os.environ, **environment}, check=False)
        if done.returncode:
            raise RuntimeError((base / "output" / "failure").read_text())

    def deploy(self, estimator: Estimator, *, replicas: int) -> str:
        if replicas != 1:
            raise RuntimeError("on one machine initial_instance_count must be 1")
        base = self._folder / estimator.name
        environment = {
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_BIND_TO_PORT": "0",
            "SAGEBRUSH_METRICS_PORT": "0",
            "SAGEBRUSH_BIND_ADDRESS": "127.0.0.1",
        }
        log = base / "serve.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command("serve"), env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
            )
        self._servers[estimator.name] = process
        return f"http://127.0.0.1:{_port(process, log=log)}/invocations"

    def delete_endpoint(self, predictor: Predictor) -> None:
        process = self._servers.pop(predictor.endpoint)
        process.terminate()
        process.wait(timeout=READY_SECONDS)

    def _stop_servers(self) -> None:
        for process in self._servers.values():
            process.terminate()


def _path(uri: str) -> Path:
    return Path(urlsplit(uri).path)


def _command(name: str) -> list[str]:
    return [sys.executable, "-c", f"from sagebrush_server.cli import {name}; {name}()", name]


def _write_configuration(folder: Path, *, estimator: Estimator, channels: Mapping[str, str]) -> None:
    """Write the files of SageMaker's training contract."""
    files = {
        "hyperparameters": estimator.hyperparameters,
        "inputdataconfig": {
            name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
            for name in channels
        },
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
    }
    folder.mkdir(parents=True)
    for name, document in files.items():
        (folder / f"{name}.json").write_text(json.dumps(document))


def _port(process: subprocess.Popen[bytes], *, log: Path) -> int:
    """Wait until the server says that it serves, and return its port. Raises RuntimeError with its log."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", text)
        if found and re.search(r"serving an? .* model", text):
            return int(found[1])
        if process.poll() is not None:
            raise RuntimeError(f"serve ended:\n{text}")
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"serve was not ready within {READY_SECONDS:.0f} s:\n{text}")
