"""Serving a random cut forest: an anomaly score for each row."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.algorithms.random_cut_forest.forest import Forest
from sagebrush_server.algorithms.saved_arrays import SavedModel, SavedPredictor, read_saved

ALGORITHM: Final = "random-cut-forest"


class ForestPredictor(SavedPredictor):
    """A forest made ready to be asked (implements `Model`)."""

    algorithm = ALGORITHM

    def __init__(self, saved: SavedModel) -> None:
        super().__init__(saved)
        self._forest = _checked(saved, width=self.feature_dim)

    def predict(self, rows: NDArray[np.float64] | SparseRows) -> Predictions:
        """Return `score` for each row. Raises RowError."""
        if isinstance(rows, SparseRows):
            raise TypeError("sparse rows are made dense before they come here")
        scores = self._forest.scores(rows)
        finite = np.isfinite(scores)
        if not finite.all():
            raise RowError("the values are too large to be scored", row=int(np.flatnonzero(~finite)[0]))
        return Predictions({"score": scores}, root="scores")


def _checked(saved: SavedModel, *, width: int) -> Forest:
    """Raise ValueError for arrays that aren't trees: a damaged child could otherwise make scoring go in circles."""
    nodes, trees = saved.count("nodes"), saved.count("num_trees")
    forest = Forest(
        low=saved.array("low", nodes, width),
        high=saved.array("high", nodes, width),
        dimension=saved.integers("dimension", nodes, below=width),
        cut=saved.array("cut", nodes),
        left=saved.integers("left", nodes, below=nodes),
        mass=saved.integers("mass", nodes, below=1 << 62),
        sizes=saved.integers("sizes", trees, below=1 << 62),
    )
    inner = np.flatnonzero(forest.left)
    if (forest.left[inner] <= inner).any() or (forest.left[inner] + 1 >= nodes).any() or trees > nodes:
        raise ValueError("left holds a child that doesn't come after its parent")
    if (forest.mass < 1).any() or (forest.sizes < 1).any() or (forest.high < forest.low).any():
        raise ValueError("a node holds no point")
    return forest


def load(folder: Path) -> ForestPredictor:
    """Load the model in `folder`. Raises ValueError or KeyError for a file that isn't a random cut forest."""
    return ForestPredictor(read_saved(folder, algorithm=ALGORITHM))
