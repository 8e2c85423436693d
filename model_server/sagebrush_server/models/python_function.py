"""MLflow's flavour `python_function`: code of the model's own, where the manifest allows it."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Model
from sagebrush_server.models.bare import Columns, Rows, bare_model, score_columns
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.lean_imports import forget_lean_imports
from sagebrush_server.models.requirements import install_requirements
from sagebrush_server.models.settings import LoadingSettings


def load(
    flavour: Mapping[str, Any],
    *,
    folder: Path,
    settings: LoadingSettings,
    example: NDArray[np.float64] | None,
    columns: list[str] | None,
) -> Model:
    """Serve what the loader module makes: `predict` of a table of rows, as a column `score`. Raises ModelError."""
    name = flavour.get("loader_module")
    if not isinstance(name, str):
        raise ModelError(f"{folder / 'MLmodel'}: flavors.python_function names no loader_module")
    if not settings.unpickling:
        raise ModelError(
            f"{folder / 'MLmodel'} has only the flavor python_function ({name}), which runs code of the model's own. If "
            "you trust it, add `allow: [Unpickling]` to spec.model (SAGEBRUSH_MODEL_ALLOW=Unpickling)"
        )
    if settings.requirements:
        install_requirements(folder / "requirements.txt", settings=settings)
    if isinstance(flavour.get("code"), str):
        sys.path.insert(0, str(folder / flavour["code"]))
        importlib.invalidate_caches()
    forget_lean_imports()
    data = folder / flavour["data"] if isinstance(flavour.get("data"), str) else folder
    try:
        function = importlib.import_module(name)._load_pyfunc(str(data))  # noqa: SLF001 – the name MLflow gave it
    except ModuleNotFoundError as problem:
        raise ModelError(
            f"{folder / 'MLmodel'}: the loader {name} needs the module {problem.name!r}; add Requirements to "
            "spec.model.allow to install what the model's requirements.txt lists, or serve by an image that has it"
        ) from problem
    except Exception as problem:  # code of the model's own raises what it likes
        raise ModelError(
            f"{folder / 'MLmodel'}: the loader {name} failed: {type(problem).__name__}: {problem}"
        ) from problem
    column = score_columns(outputs=settings.outputs, algorithm="MLflow")
    table = _table_of(columns)

    def score(rows: Rows) -> Columns:
        answer = np.asarray(function.predict(table(rows)))
        return {column: answer[:, 0] if answer.ndim == 2 and answer.shape[1] == 1 else answer}

    return bare_model(f"MLflow {name}", feature_dim=len(columns) if columns else None, score=score, example=example)


def _table_of(columns: list[str] | None) -> Any:
    """Rows with the signature's column names, where pandas is there to hold them."""
    if columns is None or importlib.util.find_spec("pandas") is None:
        return lambda rows: rows
    import pandas as pd

    return lambda rows: pd.DataFrame(rows, columns=columns)
