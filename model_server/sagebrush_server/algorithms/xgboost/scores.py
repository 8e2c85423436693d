"""What a Booster says of rows, exactly as the library says it."""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows

Rows = NDArray[np.float64] | SparseRows


def scorer(booster: Any, *, margin: bool = False) -> Callable[[Rows], NDArray[np.floating]]:
    """Return what gives the library's prediction for n rows (n, or n×k), by the best rounds where training stopped early.

    `margin`: the sum of the trees instead, before the objective makes a probability or a class of it. In sparse rows, what is absent is missing, as XGBoost takes it in training.
    """
    best = booster.attr("best_iteration")
    rounds = (0, 0) if best is None else (0, int(best) + 1)
    if json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == "gblinear":
        # It can't predict without a matrix of the library's own, and keeps no rounds apart.
        # The class is bound here, since the library's modules may be let go of after loading.
        matrix = import_module("xgboost").DMatrix
        return lambda rows: np.asarray(
            booster.predict(matrix(_compressed(rows), nthread=1), output_margin=margin, validate_features=False)
        )
    kind = "margin" if margin else "value"
    return lambda rows: np.asarray(
        booster.inplace_predict(_compressed(rows), iteration_range=rounds, predict_type=kind, validate_features=False)
    )


def _compressed(rows: Rows) -> Any:
    if not isinstance(rows, SparseRows):
        return rows
    from scipy.sparse import csr_matrix

    return csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.width))
