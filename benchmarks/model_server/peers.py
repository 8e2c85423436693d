"""The servers that people run today, each started as its makers recommend, with one worker on one CPU."""

import json
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.model_server import wires
from benchmarks.model_server.server import APPS, Place, Server
from benchmarks.model_server.wires import Wire

_CSV = Wire(path="/invocations", content_type="text/csv", body=wires.csv, numbers=wires.scores_only)
_JSON = replace(_CSV, content_type="application/json", body=wires.json_instances)
_V2 = replace(_JSON, path="/v2/models/model/infer", body=wires.json_v2, anchor=b'"data":')


def _model_folder(place: Place) -> Mapping[str, str]:
    return {"MODEL_FOLDER": str(place.artifact), "PYTHONPATH": str(APPS)}


# --- SageMaker's scikit-learn container: nginx, gunicorn with gevent, Flask ---


def _sagemaker_variables(place: Place) -> Mapping[str, str]:
    base = place.folder / "ml"
    base.mkdir(exist_ok=True)
    (base / "model").symlink_to(place.artifact)
    return {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(place.port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "PYTHONWARNINGS": "ignore",
    }


SAGEMAKER = Server(
    key="sagemaker",
    title="SageMaker's scikit-learn stack",
    environment="sagemaker",
    needs={"nginx": "nginx-light"},
    versions=("sagemaker-containers", "gunicorn", "flask"),
    command=lambda place: ["python", str(APPS / "sagemaker_serve.py"), str(place.folder)],
    variables=_sagemaker_variables,
    csv=_CSV,
    json=replace(_JSON, body=wires.json_rows),
    models={"linear": "linear-code", "boosting": "boosting-code", "code": "linear-own-code"},
)

FLASK = Server(
    key="flask",
    title="gunicorn + gevent + Flask",
    environment="flask",
    versions=("gunicorn", "gevent", "flask"),
    command=lambda place: ["gunicorn", "-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{place.port}", "flask_app:app"],
    variables=_model_folder,
    csv=_CSV,
    json=_JSON,
)

FASTAPI = Server(
    key="fastapi",
    title="FastAPI + uvicorn",
    environment="fastapi",
    versions=("fastapi", "uvicorn"),
    command=lambda place: ["uvicorn", "fastapi_app:app", "--port", str(place.port), "--no-access-log"],
    variables=_model_folder,
    csv=_CSV,
    json=_JSON,
)

KSERVE = Server(
    key="kserve",
    title="KServe, V1",
    environment="kserve",
    versions=("kserve",),
    command=lambda place: ["python", str(APPS / "kserve_app.py"), str(place.port)],
    variables=_model_folder,
    json=replace(_JSON, path="/v1/models/model:predict"),
    ready_path="/v1/models/model",
)

KSERVE_V2 = replace(KSERVE, key="kserve-v2", title="KServe, V2", json=_V2, ready_path="/v2/models/model/ready")


# --- MLServer: its scikit-learn runtime, in the server's own process, the quicker of its two modes ---


def _mlserver_command(place: Place) -> list[str]:
    http, (grpc, metrics) = place.port, place.other_ports
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    settings |= {"parallel_workers": 0, "debug": False}
    model = {
        "name": "model",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(place.artifact / "model.joblib"), "extra": {"predict_fn": "predict_proba"}},
    }
    (place.folder / "settings.json").write_text(json.dumps(settings))
    (place.folder / "model-settings.json").write_text(json.dumps(model))
    return ["mlserver", "start", str(place.folder)]


MLSERVER = Server(
    key="mlserver",
    title="MLServer, scikit-learn runtime",
    environment="mlserver",
    versions=("mlserver",),
    command=_mlserver_command,
    json=replace(_V2, numbers=wires.both_classes),
    ready_path="/v2/models/model/ready",
)

BENTOML = Server(
    key="bentoml",
    title="BentoML",
    environment="bentoml",
    versions=("bentoml",),
    command=lambda place: ["bentoml", "serve", "bentoml_app:Scores", "--host", "127.0.0.1", "-p", str(place.port)],
    variables=lambda place: {
        **_model_folder(place),
        "BENTOML_HOME": str(place.folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
    },
    json=replace(_JSON, path="/predict", body=wires.json_named),
    ready_path="/readyz",
)
