"""MLflow's model folders, read without MLflow: the library's own flavour is served where there is one known here.

Source: "MLflow Models" in MLflow's documentation (the MLmodel file, flavours, signature).
"""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Model
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.settings import LoadingSettings

_FLAVOURS: Final = ("onnx", "xgboost", "lightgbm", "sklearn", "python_function")
_NUMBERS: Final = frozenset(("double", "float", "long", "integer", "boolean"))


def load(folder: Path, *, settings: LoadingSettings) -> Model:
    """Load the model in an MLflow folder. Raises ModelError naming the flavour, file or column that is wrong."""
    path = folder / "MLmodel"
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ModelError(f"{path} can't be read: {problem}") from problem
    flavours = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavours, dict):
        raise ModelError(f"{path} names no flavors; is it an MLflow model?")
    columns = _columns(document, path=path)
    example = _example(folder, document=document, width=len(columns) if columns is not None else None)
    name = next((flavour for flavour in _FLAVOURS if flavour in flavours), None)
    if name is None:
        raise ModelError(f"{path} has the flavors {', '.join(sorted(flavours))}; served are {', '.join(_FLAVOURS)}")
    if not isinstance(flavours[name], dict):
        raise ModelError(f"{path}: flavors.{name} must be a mapping")
    model = _load_flavour(name, flavours[name], folder=folder, settings=settings, example=example, columns=columns)
    if columns is not None and model.feature_dim not in (None, len(columns)):
        raise ModelError(
            f"{path}: the signature has {len(columns)} columns ({', '.join(columns)}), the model takes {model.feature_dim}"
        )
    return model


def _load_flavour(
    name: str,
    flavour: Mapping[str, Any],
    *,
    folder: Path,
    settings: LoadingSettings,
    example: NDArray[np.float64] | None,
    columns: list[str] | None,
) -> Model:
    if name == "python_function":
        from sagebrush_server.models.python_function import load as load_function

        return load_function(flavour, folder=folder, settings=settings, example=example, columns=columns)
    data = _file(folder, flavour.get("pickled_model") or flavour.get("data"), flavour=name)
    if flavour.get("code"):
        _add_code(folder, flavour["code"], settings=settings)
    if name == "onnx":
        from sagebrush_server.models.onnx_graph import load as load_onnx

        return load_onnx(data, settings=settings, example=example)
    if name == "xgboost" and data.suffix not in (".pkl", ".skops"):
        from sagebrush_server.models.xgboost_booster import load as load_xgboost

        return load_xgboost(data, settings=settings, example=example)
    if name == "lightgbm" and data.suffix not in (".pkl", ".skops"):
        from sagebrush_server.models.lightgbm_booster import load as load_lightgbm

        return load_lightgbm(data, settings=settings, example=example)
    from sagebrush_server.models.scikit_learn import estimator_model
    from sagebrush_server.models.stored import load_stored

    return estimator_model(load_stored(data, settings=settings), settings=settings, example=example)


def _file(folder: Path, name: Any, *, flavour: str) -> Path:
    """A path that MLmodel names; it must lie in the folder."""
    if not isinstance(name, str):
        raise ModelError(f"{folder / 'MLmodel'}: flavors.{flavour} names no file")
    path = (folder / name).resolve()
    if folder.resolve() not in path.parents:
        raise ModelError(f"{folder / 'MLmodel'}: flavors.{flavour} names {name!r}, which is outside the folder")
    if not path.exists():
        raise ModelError(f"{folder / 'MLmodel'}: flavors.{flavour} names {name!r}, which isn't there")
    return path


def _add_code(folder: Path, name: Any, *, settings: LoadingSettings) -> None:
    """Modules of the model's own, which only unpickling needs."""
    if not settings.unpickling:
        raise ModelError(
            f"{folder / 'MLmodel'} brings code of its own ({name}). If you trust it, add `allow: [Unpickling]` to "
            "spec.model (SAGEBRUSH_MODEL_ALLOW=Unpickling)"
        )
    sys.path.insert(0, str(_file(folder, name, flavour="code")))
    importlib.invalidate_caches()


def _columns(document: Mapping[str, Any], *, path: Path) -> list[str] | None:
    """Names of the signature's columns; None where there is no signature, or one of tensors. Raises ModelError."""
    inputs = (document.get("signature") or {}).get("inputs")
    if not inputs:
        return None
    try:
        described = json.loads(inputs) if isinstance(inputs, str) else inputs
        if any(one.get("type") == "tensor" for one in described):
            return None
        for number, one in enumerate(described, start=1):
            if one["type"] not in _NUMBERS:
                raise ModelError(
                    f"{path}: column {one.get('name', number)!r} of the signature is of type {one['type']}; rows of "
                    "numbers are served, other columns need code/inference.py"
                )
        return [str(one.get("name", number)) for number, one in enumerate(described)]
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ModelError(f"{path}: the signature can't be read: {problem!r}") from problem


def _example(folder: Path, *, document: Mapping[str, Any], width: int | None) -> NDArray[np.float64] | None:
    """The stored example's first row, where it is one of numbers: the self-test asks for it."""
    information = document.get("saved_input_example_info")
    if not isinstance(information, dict) or "artifact_path" not in information:
        return None
    try:
        content = json.loads((folder / str(information["artifact_path"])).read_bytes())
        rows: Any = content.get("data", content.get("inputs")) if isinstance(content, dict) else content
        example = np.array(rows[:1], dtype=np.float64)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None  # an example of another kind; zeros are asked for then
    return example if example.ndim == 2 and width in (None, example.shape[1]) else None
