"""What a Booster says of rows, exactly as the library says it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows


def plain_scores(booster: Any, rows: NDArray[np.float64] | SparseRows) -> NDArray[np.floating]:
    """Return the library's prediction for n rows (n, or n×k), by the best rounds where training stopped early.

    In sparse rows, what is absent is missing, as XGBoost takes it in training.
    """
    best = booster.attr("best_iteration")
    data: Any = rows
    if isinstance(rows, SparseRows):
        from scipy.sparse import csr_matrix

        data = csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.width))
    return np.asarray(
        booster.inplace_predict(
            data, iteration_range=(0, 0) if best is None else (0, int(best) + 1), validate_features=False
        )
    )
