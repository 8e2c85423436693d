"""Serving a linear model: one matrix product, with the normalisation folded into weights and bias."""

import math
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.linear_learner.model_file import ALGORITHM, LinearModel, Link
from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows

_SELF_TEST_TOLERANCE: Final = 1e-6


class LinearPredictor:
    """A `LinearModel` made ready to be asked (implements `Model`)."""

    def __init__(self, model: LinearModel) -> None:
        model.check()
        self._description = model
        self._link = model.link
        self.feature_dim: int | None = model.feature_dim
        """Values per row."""
        weights = np.array(model.weights) / np.array(model.scale)
        bias = np.array(model.bias) - weights @ np.array(model.offset)
        # Column-wise, so that n×d @ d×k needs no transposition per request.
        self._weights = np.ascontiguousarray(weights.T) * model.label_scale
        # Of two dimensions, and of none: what NumPy need not stretch costs less for one row.
        self._bias = (bias * model.label_scale + model.label_offset).reshape(1, -1)
        self._threshold = np.array(model.threshold)

    @property
    def algorithm(self) -> str:
        """SageMaker's name of the algorithm."""
        return ALGORITHM

    @property
    def takes_sparse(self) -> bool:
        """Sparse rows are multiplied as they are."""
        return True

    @property
    def fork_safe(self) -> bool:
        """Numpy alone, which forks."""
        return True

    def scores(self, rows: NDArray[np.float64] | SparseRows) -> NDArray[np.float64]:
        """Return n×k scores of n×d rows, which may be infinite or NaN where values are too large."""
        return self._score(rows)[0]

    def _score(self, rows: NDArray[np.float64] | SparseRows) -> tuple[NDArray[np.float64], bool]:
        """Return the scores, and whether they are known to be finite without a look at each."""
        with np.errstate(over="ignore", invalid="ignore"):
            # ndarray.dot is the same product as @, and takes a quarter of its time for one row.
            outputs = _multiply(rows, self._weights) if isinstance(rows, SparseRows) else rows.dot(self._weights)
            outputs = outputs + self._bias  # for few rows quicker than in place
            # Where one is not finite, the sum is not either.
            finite = math.isfinite(outputs.item() if outputs.size == 1 else np.add.reduce(outputs, axis=None))
            if self._link == "logistic":
                # exp(-output) overflows to infinity for a very sure 0, which gives exactly 0.
                likely = 1.0 / (1.0 + np.exp(-outputs))
                outputs = likely if finite else np.where(np.isfinite(outputs), likely, outputs)
            elif self._link == "softmax":
                outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
                outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs, finite

    def predict(self, rows: NDArray[np.float64] | SparseRows) -> Predictions:
        """Score n×feature_dim values: `score`, and `predicted_label` for classifiers. Raises RowError."""
        scores, finite = self._score(rows)
        if not finite and not (each := np.isfinite(scores)).all():
            row = int(np.argwhere(~each)[0][0])
            raise RowError("the values are too large for the model to score", row=row)
        if self._description.predictor_type == "regressor":
            return Predictions({"score": scores[:, 0]})
        if self._description.predictor_type == "multiclass_classifier":
            # SageMaker's scores of a row sum to 1; models of link logistic give each class a probability of its own.
            total = scores.sum(axis=1, keepdims=True)
            shares = np.divide(scores, total, out=np.full_like(scores, 1 / scores.shape[1]), where=total > 0)
            return Predictions({"score": shares, "predicted_label": scores.argmax(axis=1)})
        single = scores[:, 0]
        labels = (single >= self._threshold).astype(np.int64)
        return Predictions({"score": single, "predicted_label": labels})

    def self_test_rows(self) -> NDArray[np.float64]:
        """Return the one row that training scored and wrote into the model."""
        return np.array([self._description.self_test_row], dtype=np.float64)

    def check_self_test(self, answer: Predictions) -> None:
        """Raise ValueError where the score differs from training's by more than 1e-6 of its size."""
        expected = np.array(self._description.self_test_score)
        got = np.atleast_1d(answer.columns["score"][0])
        if not np.allclose(got, expected, rtol=_SELF_TEST_TOLERANCE, atol=_SELF_TEST_TOLERANCE):
            raise ValueError(f"the model scores its self-test row {got.tolist()}, training had {expected.tolist()}")


def link(loss: str) -> Link:
    """Return how a model that was trained with `loss` makes scores of its outputs."""
    links: dict[str, Link] = {"logistic": "logistic", "softmax_loss": "softmax"}
    return links.get(loss, "identity")


def _multiply(rows: SparseRows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply n×d sparse rows by d×k weights."""
    owner = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    columns = [
        np.bincount(owner, weights=rows.values * weights[rows.indices, index], minlength=len(rows))
        for index in range(weights.shape[1])
    ]
    return np.column_stack(columns)


def load(folder: Path) -> LinearPredictor:
    """Load the model in `folder`. Raises ValueError or KeyError for a file that isn't a linear model."""
    return LinearPredictor(LinearModel.read(folder))
