"""XGBoost models by the library itself, one thread a process; scikit-learn is not imported."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.models.bare import BareModel, ClassColumns, Classes, Columns, Rows, bare_model, score_columns
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.lean_imports import import_lean
from sagebrush_server.models.linear import both, softmax
from sagebrush_server.models.settings import LoadingSettings, threads

_LOG = logging.getLogger(__name__)
_BINARY = ("binary:logistic", "binary:logitraw", "binary:hinge")
_MULTICLASS = ("multi:softprob", "multi:softmax")


def load(path: Path, *, settings: LoadingSettings, example: NDArray[np.float64] | None = None) -> BareModel:
    """Load a model that XGBoost saved, as JSON or UBJSON. Raises ModelError."""
    return booster_model(read_booster(path), settings=settings, example=example)


def read_booster(path: Path) -> Any:
    """Read a Booster from JSON or UBJSON. Raises ModelError."""
    xgboost = import_lean("xgboost")
    booster = xgboost.Booster()
    try:
        booster.load_model(
            bytearray(path.read_bytes())
        )  # by content: the name of SageMaker's xgboost-model has no suffix
    except xgboost.core.XGBoostError as problem:
        said = str(problem).strip().splitlines()
        raise ModelError(
            f"{path.name} can't be read by XGBoost {xgboost.__version__}: {said[0] if said else problem}; a model of "
            "XGBoost before 1.6 must be saved again as JSON or UBJSON"
        ) from problem
    return booster


def booster_model(booster: Any, *, settings: LoadingSettings, example: NDArray[np.float64] | None = None) -> BareModel:
    """Serve a Booster. Sparse rows mean what they mean to XGBoost: a value that is absent is missing, not 0."""
    booster.set_param({"nthread": threads()})
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    width = booster.num_features()
    score = _Score(booster, objective=objective, settings=settings)
    return bare_model(
        f"XGBoost {objective}",
        feature_dim=width or None,
        score=score.columns,
        example=example,
        takes_sparse=True,
        fork_safe=False,  # OpenMP
    )


class _Score:
    """Answers with a Booster, all rounds or, where training stopped early, those up to the best."""

    def __init__(self, booster: Any, *, objective: str, settings: LoadingSettings) -> None:
        from xgboost import DMatrix

        self._booster = booster
        # gblinear can't predict without a matrix of the library's own, and keeps no rounds apart.
        linear = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == "gblinear"
        self._matrix = DMatrix if linear else None
        self._objective = objective
        best = booster.attr("best_iteration")
        self._rounds = (0, int(best) + 1) if best is not None else (0, 0)
        if objective in _BINARY:
            has = frozenset(("raw", "probabilities") if objective != "binary:hinge" else ("raw",))
            self._names = ClassColumns(np.arange(2), outputs=settings.outputs, has=has)
        elif objective in _MULTICLASS:
            count = int(json.loads(booster.save_config())["learner"]["learner_model_param"]["num_class"])
            self._names = ClassColumns(
                np.arange(count), outputs=settings.outputs, has=frozenset(("raw", "probabilities"))
            )
        else:
            self._score = score_columns(outputs=settings.outputs, algorithm=f"XGBoost {objective}")

    def columns(self, rows: Rows) -> Columns:
        """Return the columns for n rows."""
        if self._objective in _MULTICLASS:
            raw = self._predict(rows, margin=True)
            shares = softmax(raw) if self._names.wants("probabilities") else None
            return self._names.columns(Classes(raw.argmax(axis=1), raw=raw, probabilities=shares))
        if self._objective in _BINARY:
            return self._names.columns(self._of_two(rows))
        return {self._score: self._predict(rows, margin=False)}

    def _of_two(self, rows: Rows) -> Classes:
        wants_shares = self._names.wants("probabilities")
        raw = None
        if self._names.wants("raw") or not wants_shares or self._objective != "binary:logistic":
            raw = self._predict(rows, margin=True)
        if not wants_shares:
            return Classes((np.asarray(raw) > 0).astype(np.intp), raw=raw)
        if self._objective == "binary:logistic":
            second = self._predict(rows, margin=False)
        else:
            second = 1 / (1 + np.exp(-np.asarray(raw)))
        return Classes((second > 0.5).astype(np.intp), raw=raw, probabilities=both(second))

    def _predict(self, rows: Rows, *, margin: bool) -> NDArray[np.floating]:
        data = _compressed(rows) if isinstance(rows, SparseRows) else rows
        if self._matrix is not None:
            matrix = self._matrix(data, nthread=threads())
            return np.asarray(self._booster.predict(matrix, output_margin=margin, validate_features=False))
        return np.asarray(
            self._booster.inplace_predict(
                data,
                iteration_range=self._rounds,
                predict_type="margin" if margin else "value",
                validate_features=False,
            )
        )


def _compressed(rows: SparseRows) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.width))
