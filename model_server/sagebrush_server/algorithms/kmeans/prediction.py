"""Serving k-means: the nearest centre and the distance to it."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.algorithms.nearest import Points
from sagebrush_server.algorithms.saved_arrays import SavedModel, SavedPredictor, read_saved

ALGORITHM: Final = "kmeans"


class KMeansPredictor(SavedPredictor):
    """k centres made ready to be asked (implements `Model`)."""

    algorithm = ALGORITHM

    def __init__(self, saved: SavedModel) -> None:
        super().__init__(saved)
        self._centres = Points(saved.array("centres", saved.count("k"), self.feature_dim))

    def predict(self, rows: NDArray[np.float64] | SparseRows) -> Predictions:
        """Return `closest_cluster` (as SageMaker, a float) and `distance_to_cluster` (Euclidean). Raises RowError."""
        if isinstance(rows, SparseRows):
            raise TypeError("sparse rows are made dense before they come here")
        index, squared = self._centres.nearest(rows)
        finite = np.isfinite(squared)
        if not finite.all():
            raise RowError("the values are too large for a distance", row=int(np.flatnonzero(~finite)[0]))
        return Predictions({"closest_cluster": index.astype(np.float64), "distance_to_cluster": np.sqrt(squared)})


def load(folder: Path) -> KMeansPredictor:
    """Load the model in `folder`. Raises ValueError or KeyError for a file that isn't a k-means model."""
    return KMeansPredictor(read_saved(folder, algorithm=ALGORITHM))
