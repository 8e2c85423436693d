"""What an algorithm gets to train on, read from the files of SageMaker's training contract."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sagebrush_server.errors import AlgorithmError, ClientError
from sagebrush_server.paths import Paths
from sagebrush_server.settings import read_integer


@dataclass(frozen=True)
class Channel:
    """One input channel: its folder and what `inputdataconfig.json` says about it."""

    name: str
    folder: Path
    content_type: str = ""
    input_mode: str = "File"
    record_wrapper: str = "None"
    distribution: str = "FullyReplicated"

    def files(self) -> list[Path]:
        """Return the data files by name, hidden ones and markers (`_SUCCESS`) left out. Raises ClientError for none."""
        found = sorted(
            path
            for path in self.folder.rglob("*")
            if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(self.folder).parts)
        )
        if not found:
            raise ClientError(f"channel {self.name} holds no files")
        return found


@dataclass(frozen=True)
class TrainingInput:
    """A training run's input.

    `stop` is set once SIGTERM has come: the algorithm ends after the epoch it is in. It sets `cut_short` where it would
    have gone on without that.
    """

    model_folder: Path
    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, Channel]
    hosts: tuple[str, ...]
    current_host: str
    seed: int
    stop: threading.Event = field(default_factory=threading.Event)
    cut_short: threading.Event = field(default_factory=threading.Event)

    def channel(self, name: str) -> Channel:
        """Return a channel that must be there. Raises ClientError."""
        if name not in self.channels:
            given = ", ".join(sorted(self.channels)) or "none"
            raise ClientError(f"the channel {name!r} is required; channels given: {given}")
        return self.channels[name]

    def share_of(self, channel: Channel) -> tuple[int, int]:
        """Return (i, n) where this host takes each n-th row, from the i-th on: of files that every host has."""
        if channel.distribution == "ShardedByS3Key":
            return 0, 1
        return self.hosts.index(self.current_host), len(self.hosts)

    def report(self, metric: str, *, channel: str, value: float) -> None:
        """Write a metric to the log in the form SageMaker's algorithms use (docs/contract.md), at once.

        Figures are those of all hosts together, and the first host alone writes them.
        """
        host = self.current_host
        if host != self.hosts[0]:
            return
        print(f"#quality_metric: host={host}, {channel} {metric} <score>={value!r}", flush=True)


def read_training_input(paths: Paths, *, environment: Mapping[str, str] = os.environ) -> TrainingInput:
    """Read hyperparameters, channels and hosts. `SAGEBRUSH_SEED` (default 0) makes a run repeatable.

    Raises AlgorithmError where a file of the contract is missing or damaged, SettingError for the seed.
    """
    resources = _read(paths.input_config / "resourceconfig.json")
    channels = {
        name: Channel(
            name,
            folder=paths.input_data / name,
            content_type=about.get("ContentType") or "",
            input_mode=about.get("TrainingInputMode", "File"),
            record_wrapper=about.get("RecordWrapperType") or "None",
            distribution=about.get("S3DistributionType") or "FullyReplicated",
        )
        for name, about in _read(paths.input_config / "inputdataconfig.json").items()
    }
    return TrainingInput(
        model_folder=paths.model,
        hyperparameters=_read(paths.input_config / "hyperparameters.json"),
        channels=channels,
        hosts=tuple(resources["hosts"]),
        current_host=resources["current_host"],
        seed=read_integer(environment, name="SAGEBRUSH_SEED", default=0),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as problem:
        raise AlgorithmError(f"{path} can't be read: {problem}") from problem
    if not isinstance(document, dict):
        raise AlgorithmError(f"{path} must hold a JSON object")
    return document
