"""From a model folder to a model that can be served."""

import os
import threading
from pathlib import Path

import orjson

from sagebrush_server.algorithms.model import Model
from sagebrush_server.algorithms.registry import UnknownAlgorithmError, find_algorithm
from sagebrush_server.algorithms.responder import Responder
from sagebrush_server.models.detection import Format, Found, find_model
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.settings import LoadingSettings

_ONE_AT_A_TIME = threading.Lock()
"""Loading changes what the process imports and where from."""

__all__ = ["ModelError", "load_model"]


def load_model(folder: Path, *, settings: LoadingSettings | None = None) -> Model | Responder:
    """Load what `folder` holds: a built-in algorithm's model, code/inference.py, or a model of a library (docs/models.md).

    Without `settings` those of the environment hold. Raises ModelError, or SettingError naming a variable.
    """
    settings = settings or LoadingSettings.from_environment()
    with _ONE_AT_A_TIME:
        return _load(folder, settings=settings)


def _load(folder: Path, *, settings: LoadingSettings) -> Model | Responder:
    found = find_model(folder, settings=settings)
    if found.format is Format.BUILT_IN:
        return _load_built_in(found.path)
    # The server scales by processes. Libraries read this when they are imported, so before that.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        return _load_found(found, settings=settings)
    except OSError as problem:
        raise ModelError(f"{found.path} can't be read: {problem}") from problem


def _load_found(found: Found, *, settings: LoadingSettings) -> Model | Responder:
    path = found.path
    if found.format is Format.SCRIPT:
        from sagebrush_server.models.script import load_script

        return load_script(path, settings=settings)
    if found.format is Format.MLFLOW:
        from sagebrush_server.models import mlflow_folder

        return mlflow_folder.load(path, settings=settings)
    if found.format is Format.ONNX:
        from sagebrush_server.models import onnx_graph

        return onnx_graph.load(path, settings=settings)
    if found.format is Format.XGBOOST:
        from sagebrush_server.models import xgboost_booster

        return xgboost_booster.load(path, settings=settings)
    if found.format is Format.LIGHTGBM:
        from sagebrush_server.models import lightgbm_booster

        return lightgbm_booster.load(path, settings=settings)
    from sagebrush_server.models.scikit_learn import estimator_model
    from sagebrush_server.models.stored import load_stored

    return estimator_model(load_stored(path, settings=settings), settings=settings)


def _load_built_in(path: Path) -> Model:
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as problem:
        raise ModelError(f"{path} can't be read: {problem}") from problem
    name = document.get("algorithm") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise ModelError(f"{path} names no algorithm; is it the model of a built-in algorithm, or XGBoost's?")
    try:
        return find_algorithm(name).loader()(path.parent)
    except UnknownAlgorithmError as problem:
        raise ModelError(f"{path}: {problem}") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise ModelError(f"{path} is not a {name} model: {problem!r}") from problem
