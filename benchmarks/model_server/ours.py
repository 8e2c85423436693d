"""Sagebrush's model server, with each kind of model that it is asked to serve."""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.model_server import wires
from benchmarks.model_server.server import Place, Server
from benchmarks.model_server.wires import Wire


def _variables(place: Place) -> Mapping[str, str]:
    base = place.folder / "ml"
    base.mkdir(exist_ok=True)
    (base / "model").symlink_to(place.artifact)
    return {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(place.port),
        "SAGEBRUSH_METRICS_PORT": str(place.other_ports[0]),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }


_CSV = Wire(
    path="/invocations",
    content_type="text/csv",
    body=wires.csv,
    numbers=wires.scores_and_labels,
    anchor=b'"predictions":',
)
_JSON = replace(_CSV, content_type="application/json", body=wires.json_features)

LINEAR = Server(
    key="sagebrush",
    title="Sagebrush, linear-learner",
    command=lambda place: [str(place.programs / "serve"), "serve"],
    variables=_variables,
    json=_JSON,
    csv=_CSV,
    models={"linear": "linear-builtin"},
)
