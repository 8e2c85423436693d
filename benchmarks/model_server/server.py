"""What every server of the comparison says of itself."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.model_server.payloads import Payload
from benchmarks.model_server.wires import Wire

APPS = Path(__file__).parent / "apps"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one start of a server happens. `folder` is its own, `artifact` the folder of the model that it serves."""

    port: int
    other_ports: tuple[int, int]
    folder: Path
    artifact: Path
    model: str
    """The name of that artifact in the workload."""
    programs: Path
    """The folder of `python` and of the programs of the server's environment."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One line of the table. `command` also writes what the server needs into the place's folder."""

    key: str
    title: str
    command: Callable[[Place], Sequence[str]]
    json: Wire
    csv: Wire | None = None
    environment: str = ""
    """The name of a file in peers/; empty: the repository's own environment."""
    versions: tuple[str, ...] = ()
    """The packages whose versions the report names."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Programs of the system, and the Debian packages that bring them."""
    models: Mapping[str, str] = field(default_factory=lambda: {"linear": "linear", "boosting": "boosting"})
    """For each model that payloads ask for: the artifact that answers, by its name in the workload."""
    ready_path: str = "/ping"
    variables: Callable[[Place], Mapping[str, str]] = lambda _: {}
    constant: bool = False
    """Answers without a model: the limit, not a peer."""
    ours: bool = False

    def wire(self, payload: Payload) -> Wire | None:
        """Return the form in which the payload is asked; None where this server does not take part in it."""
        if payload.model not in self.models:
            return None
        if payload.form == "csv" and self.csv is not None:
            return self.csv
        return None if payload.form == "csv" and payload.needs_csv else self.json

    def all_variables(self, place: Place) -> dict[str, str]:
        """The environment of the process: ours without what is meant for servers, one thread for libraries of numbers."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("SAGEMAKER_", "SAGEBRUSH_"))}
        ours |= {"PATH": f"{place.programs}:{ours.get('PATH', os.defpath)}:/usr/sbin", "PYTHONUNBUFFERED": "1"}
        for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
            ours.pop(name, None)
        return ours | dict.fromkeys(_THREADS, "1") | dict(self.variables(place))
