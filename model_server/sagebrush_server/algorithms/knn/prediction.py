"""Serving k-NN: the vote, or the mean, of the nearest points' labels."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.knn.hyperparameters import INDEXES, METRICS, PREDICTORS, REDUCTIONS
from sagebrush_server.algorithms.knn.index import FlatIndex, Index, ListIndex, Lists, Metric
from sagebrush_server.algorithms.knn.quantised import QuantisedIndex
from sagebrush_server.algorithms.knn.reduction import (
    HadamardProjection,
    Reduction,
    SignProjection,
    padded_width,
    unchanged,
)
from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.algorithms.saved_arrays import SavedModel, SavedPredictor, read_saved

ALGORITHM: Final = "knn"

Array = NDArray[np.float64]


class NeighboursPredictor(SavedPredictor):
    """A sample of labelled points made ready to be asked (implements `Model`)."""

    algorithm = ALGORITHM

    def __init__(self, saved: SavedModel) -> None:
        super().__init__(saved)
        points = saved.count("points")
        self._k = saved.count("k")
        if self._k > points:
            raise ValueError(f"k is {self._k}, but there are {points} points")
        self._labels = saved.array("labels", points)
        self._classes: Array | None = None
        if saved.word("predictor_type", among=PREDICTORS) == "classifier":
            self._classes, self._codes = np.unique(self._labels, return_inverse=True)
        self._reduce = reduction_of(saved)
        self._index = _index(saved, points=points)

    def predict(self, rows: Array | SparseRows) -> Predictions:
        """Return `predicted_label`; with verbose=true also `distances` and `labels`, nearest first. Raises RowError.

        A classifier's vote that is even goes to the smallest label.
        """
        if isinstance(rows, SparseRows):
            raise TypeError("sparse rows are made dense before they come here")
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._index.search(self._reduce(rows), k=self._k)
        finite = np.isfinite(found.distance).all(axis=1)
        if not finite.all():
            raise RowError("the values are too large for a distance", row=int(np.flatnonzero(~finite)[0]))
        labels = self._labels[found.index]
        predicted = labels.mean(axis=1) if self._classes is None else self._vote(found.index)
        return Predictions({"predicted_label": predicted}, more={"distances": found.distance, "labels": labels})

    def _vote(self, index: NDArray[np.int64]) -> Array:
        if self._classes is None:
            raise AssertionError("only a classifier votes")
        winners = [int(np.bincount(codes).argmax()) for codes in self._codes[index]]
        return np.asarray(self._classes[winners])


def reduction_of(saved: SavedModel) -> Reduction:
    """Return the projection that the model's rows go through first. Raises ValueError for arrays that don't fit."""
    kind = saved.word("dimension_reduction_type", among=("none", *REDUCTIONS))
    if kind == "none":
        return unchanged
    width, target = saved.count("feature_dim"), saved.count("dimension_reduction_target")
    if kind == "sign":
        return SignProjection(saved.array("signs", width, target))
    chosen = saved.integers("chosen", target, below=padded_width(width))
    return HadamardProjection(saved.array("signs", width), chosen=chosen)


def _index(saved: SavedModel, *, points: int) -> Index:
    kind = saved.word("index_type", among=INDEXES)
    width = saved.count("index_width")
    if kind == "faiss.Flat":
        return FlatIndex(_metric(saved, points=points, width=width))
    parts = saved.count("faiss_index_pq_m") if kind == "faiss.IVFPQ" else 1
    lists = _lists(saved, points=points, width=-(-width // parts) * parts)
    if kind == "faiss.IVFFlat":
        return ListIndex(_metric(saved, points=points, width=width), lists=lists)
    # Padded with zeros to a multiple of the number of parts.
    books = saved.array("codebooks", parts, None, -(-width // parts))
    codes = saved.codes("codes", points, parts)
    if int(codes.max()) >= books.shape[1]:
        raise ValueError("codes holds a number that the codebooks don't have")
    return QuantisedIndex(lists, books=books, codes=codes)


def _lists(saved: SavedModel, *, points: int, width: int) -> Lists:
    count = saved.count("lists")
    starts = saved.integers("starts", count + 1, below=points + 1)
    if starts[0] != 0 or starts[-1] != points or (np.diff(starts) < 0).any():
        raise ValueError("starts doesn't cut the points into lists")
    order = saved.integers("order", points, below=points)
    return Lists(saved.array("centres", count, width), order=order, starts=starts)


def _metric(saved: SavedModel, *, points: int, width: int) -> Metric:
    return Metric(saved.word("index_metric", among=METRICS), points=saved.array("index_points", points, width))


def load(folder: Path) -> NeighboursPredictor:
    """Load the model in `folder`. Raises ValueError or KeyError for a file that isn't a k-NN model."""
    return NeighboursPredictor(read_saved(folder, algorithm=ALGORITHM))
