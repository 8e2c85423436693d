"""Serving PCA: a row's coordinates along the components."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.algorithms.saved_arrays import SavedModel, SavedPredictor, read_saved

ALGORITHM: Final = "pca"


class PcaPredictor(SavedPredictor):
    """Components made ready to be asked (implements `Model`).

    The weakest component comes first and the strongest last, as SageMaker's endpoint sends them and notebooks written
    for it expect.
    """

    algorithm = ALGORITHM

    def __init__(self, saved: SavedModel) -> None:
        super().__init__(saved)
        count = saved.count("num_components")
        vectors = saved.array("components", count, self.feature_dim)
        saved.array("singular_values", count)
        self._mean = saved.array("mean", self.feature_dim)
        # Column-wise, so that n×d @ d×k needs no transposition per request.
        self._directions = np.ascontiguousarray(vectors.T)

    def predict(self, rows: NDArray[np.float64] | SparseRows) -> Predictions:
        """Return `projection`, a list of num_components numbers for each row. Raises RowError."""
        if isinstance(rows, SparseRows):
            raise TypeError("sparse rows are made dense before they come here")
        with np.errstate(over="ignore", invalid="ignore"):
            projections = (rows - self._mean) @ self._directions
        finite = np.isfinite(projections).all(axis=1)
        if not finite.all():
            raise RowError("the values are too large to be projected", row=int(np.flatnonzero(~finite)[0]))
        return Predictions({"projection": projections}, root="projections")


def load(folder: Path) -> PcaPredictor:
    """Load the model in `folder`. Raises ValueError or KeyError for a file that isn't a PCA model."""
    return PcaPredictor(read_saved(folder, algorithm=ALGORITHM))
