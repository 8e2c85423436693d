"""LightGBM models by the library itself, one thread a process; scikit-learn is not imported."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.models.bare import BareModel, ClassColumns, Classes, Columns, Rows, bare_model, score_columns
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.lean_imports import import_lean
from sagebrush_server.models.linear import both
from sagebrush_server.models.openmp import require_openmp
from sagebrush_server.models.settings import LoadingSettings, threads

_BINARY = ("binary", "cross_entropy")
_MULTICLASS = ("multiclass", "multiclassova")


def load(path: Path, *, settings: LoadingSettings, example: NDArray[np.float64] | None = None) -> BareModel:
    """Load a model that LightGBM saved as text. Raises ModelError."""
    require_openmp()
    lightgbm = import_lean("lightgbm")
    try:
        booster = lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as problem:
        raise ModelError(f"{path.name} can't be read by LightGBM {lightgbm.__version__}: {problem}") from problem
    return booster_model(booster, settings=settings, example=example)


def booster_model(booster: Any, *, settings: LoadingSettings, example: NDArray[np.float64] | None = None) -> BareModel:
    """Serve a Booster; the classes of a classifier are 0 to k-1, as LightGBM numbers them."""
    objective = _objective_of(booster)
    arguments = {"num_threads": threads(), "validate_features": False}
    count = booster.num_model_per_iteration()
    score = _scorer(booster, objective=objective, count=count, settings=settings, arguments=arguments)
    return bare_model(
        f"LightGBM {objective}",
        feature_dim=booster.num_feature(),
        score=score,
        example=example,
        fork_safe=False,  # OpenMP
    )


def _scorer(booster: Any, *, objective: str, count: int, settings: LoadingSettings, arguments: dict[str, Any]) -> Any:
    classes = 2 if objective == "binary" else count if objective in _MULTICLASS else 0
    if not classes:
        name = score_columns(outputs=settings.outputs, algorithm=f"LightGBM {objective}")
        return lambda rows: {name: np.asarray(booster.predict(rows, **arguments))}
    names = ClassColumns(np.arange(classes), outputs=settings.outputs, has=frozenset(("raw", "probabilities")))

    def columns(rows: Rows) -> Columns:
        raw = booster.predict(rows, raw_score=True, **arguments) if names.wants("raw") else None
        shares = booster.predict(rows, **arguments)
        if classes == 2 and shares.ndim == 1:
            shares = both(shares)
            return names.columns(Classes((shares[:, 1] > 0.5).astype(np.intp), raw=raw, probabilities=shares))
        return names.columns(Classes(shares.argmax(axis=1), raw=raw, probabilities=shares))

    return columns


def _objective_of(booster: Any) -> str:
    """Return the objective's name, such as `binary`; `custom` where the model names none."""
    for line in booster.model_to_string(num_iteration=1).splitlines():
        if line.startswith("objective="):
            return str(line.removeprefix("objective=").split()[0])
        if line.startswith("Tree="):
            break
    return "custom"
