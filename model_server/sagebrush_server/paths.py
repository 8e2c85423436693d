"""Where the container contract keeps its files, as SageMaker's documents name them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TERMINATION_MESSAGE_LIMIT: Final = 4096
"""Bytes of a termination message that the kubelet keeps (Kubernetes, "Determine the Reason for Pod Failure")."""


@dataclass(frozen=True)
class Paths:
    """The tree below `/opt/ml` (`SAGEMAKER_BASE_DIR` moves it) and the file the kubelet reads when a container ends."""

    base: Path
    termination_log: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Paths":
        """Read `SAGEMAKER_BASE_DIR` (default `/opt/ml`) and `SAGEBRUSH_TERMINATION_LOG` (`/dev/termination-log`)."""
        return cls(
            base=Path(environment.get("SAGEMAKER_BASE_DIR", "/opt/ml")),
            termination_log=Path(environment.get("SAGEBRUSH_TERMINATION_LOG", "/dev/termination-log")),
        )

    @property
    def input_config(self) -> Path:
        """Folder of `hyperparameters.json`, `inputdataconfig.json` and `resourceconfig.json`."""
        return self.base / "input" / "config"

    @property
    def input_data(self) -> Path:
        """Folder with one folder per channel."""
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        """What training leaves and serving loads."""
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        """Whatever else training wants to keep."""
        return self.base / "output" / "data"

    @property
    def failure(self) -> Path:
        """The file whose text becomes the failure reason."""
        return self.base / "output" / "failure"

    @property
    def host_env(self) -> Path:
        """Environment file that the kubelet reads for the pods of an Indexed Job."""
        return self.base / "env" / "host.env"

    def write_termination_message(self, text: str) -> None:
        """Leave `text` for the pod's status; what doesn't fit into 4 KiB ends in an ellipsis. Raises OSError."""
        data = text.encode()
        if len(data) > TERMINATION_MESSAGE_LIMIT:
            mark = "…".encode()
            data = data[: TERMINATION_MESSAGE_LIMIT - len(mark)].decode(errors="ignore").encode() + mark
        self.termination_log.write_bytes(data)
