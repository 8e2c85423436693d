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

_LIBRARY_CSV = replace(_CSV, numbers=wires.labels_and_both_classes)
_SCRIPT_CSV = replace(_CSV, numbers=wires.scores_only, anchor=b"")

LINEAR = Server(
    key="sagebrush",
    title="Sagebrush, linear-learner",
    command=lambda place: [str(place.programs / "serve"), "serve"],
    variables=_variables,
    json=_JSON,
    csv=_CSV,
    models={"linear": "linear-builtin"},
    ours=True,
)

SCIKIT_LEARN = replace(
    LINEAR,
    key="sagebrush-sklearn",
    title="Sagebrush, the peers' scikit-learn file",
    # A pickle runs what its author wrote into it: the manifest has to allow it.
    variables=lambda place: {**_variables(place), "SAGEBRUSH_MODEL_ALLOW": "Unpickling"},
    csv=_LIBRARY_CSV,
    json=replace(_JSON, numbers=wires.labels_and_both_classes),
    models={"linear": "linear", "boosting": "boosting"},
)

XGBOOST = replace(
    SCIKIT_LEARN,
    key="sagebrush-xgboost",
    title="Sagebrush, XGBoost",
    variables=_variables,
    models={"boosting": "boosting-xgboost"},
)

SCRIPT = replace(
    LINEAR,
    key="sagebrush-code",
    title="Sagebrush, SageMaker's inference.py",
    csv=_SCRIPT_CSV,
    json=replace(_SCRIPT_CSV, content_type="application/json", body=wires.json_rows),
    models={"linear": "linear-code", "boosting": "boosting-code", "code": "linear-own-code"},
)
