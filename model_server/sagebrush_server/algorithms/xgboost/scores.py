"""What a Booster says of rows, exactly as the library says it."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows

Rows = NDArray[np.float64] | SparseRows


def scorer(booster: Any) -> Callable[[Rows], NDArray[np.floating]]:
    """Return what gives the library's prediction for n rows (n, or n×k), by the best rounds where training stopped early.

    In sparse rows, what is absent is missing, as XGBoost takes it in training.
    """
    best = booster.attr("best_iteration")
    rounds = (0, 0) if best is None else (0, int(best) + 1)
    if json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == "gblinear":
        # It can't predict without a matrix of the library's own, and keeps no rounds apart.
        return lambda rows: np.asarray(booster.predict(_matrix(rows), validate_features=False))
    return lambda rows: np.asarray(
        booster.inplace_predict(_compressed(rows), iteration_range=rounds, validate_features=False)
    )


def _matrix(rows: Rows) -> Any:
    import xgboost

    return xgboost.DMatrix(_compressed(rows), nthread=1)


def _compressed(rows: Rows) -> Any:
    if not isinstance(rows, SparseRows):
        return rows
    from scipy.sparse import csr_matrix

    return csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.width))
