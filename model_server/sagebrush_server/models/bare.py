"""A model without code: rows in, the same columns out whatever the library.

Columns are named as SageMaker's XGBoost container names them (`SAGEMAKER_INFERENCE_OUTPUT` selects them, in its order):
a classifier answers `predicted_label` and `probabilities` (or `raw_scores` where it has none), a regressor `score`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.models.errors import ModelError

_LOG = logging.getLogger(__name__)
Rows = NDArray[np.float64] | SparseRows
Columns = Mapping[str, NDArray[np.generic]]
_EXACT: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Classes:
    """What a classifier says of n rows: the index of each row's class, and k probabilities or raw scores where it has them.

    `raw` is n×k, or n where one score decides between two classes.
    """

    index: NDArray[np.intp]
    probabilities: NDArray[np.floating] | None = None
    raw: NDArray[np.floating] | None = None


@dataclass(frozen=True, slots=True)
class BareModel:
    """A loaded model of a library (implements `Model`). `score` gives the columns for rows that are dense, or sparse too."""

    algorithm: str
    feature_dim: int | None
    score: Callable[[Rows], Columns]
    takes_sparse: bool = False
    fork_safe: bool = False
    examples: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    expected: Columns = field(default_factory=dict)

    def predict(self, rows: Rows) -> Predictions:
        """See `Model`. Raises RowError for the first row whose score isn't finite."""
        if isinstance(rows, SparseRows) and not self.takes_sparse:
            raise TypeError("sparse rows are made dense before they come here")
        with np.errstate(all="ignore"):  # what isn't finite is looked for below
            columns = self.score(rows)
        for column in columns.values():
            if column.dtype.kind == "f" and not np.isfinite(column).all():
                finite = np.isfinite(column).reshape(len(column), -1).all(axis=1)
                raise RowError("the model has no finite score for these values", row=int(np.argmin(finite)))
        return Predictions(columns)

    def self_test_rows(self) -> NDArray[np.float64]:
        """Return the row that was scored when the model was loaded; none where its width isn't known."""
        return self.examples

    def check_self_test(self, answer: Predictions) -> None:
        """Raise ValueError where the answer differs from the library's own, by more than 1e-6 of its size."""
        for name, expected in self.expected.items():
            got = answer.columns[name]
            same = (
                np.allclose(got, expected, rtol=_EXACT, atol=_EXACT)
                if expected.dtype.kind == "f"
                else np.array_equal(got, expected)
            )
            if not same:
                raise ValueError(f"{name} of the self-test row is {got.tolist()}, the library says {expected.tolist()}")


def bare_model(
    algorithm: str,
    *,
    feature_dim: int | None,
    score: Callable[[Rows], Columns],
    library: Callable[[Rows], Columns] | None = None,
    example: NDArray[np.float64] | None = None,
    takes_sparse: bool = False,
    fork_safe: bool = False,
) -> BareModel:
    """Make a model that has answered once: `example`, else a row of zeros, else of ones.

    `library` is the library's own way, where `score` is another; they must agree. Raises ModelError.
    """
    examples = [example] if example is not None else []
    if not examples and feature_dim is not None:
        examples = [np.zeros((1, feature_dim)), np.ones((1, feature_dim))]
    if not examples:
        _LOG.warning("the model says nothing of its width, so that it can't be tested before the first request")
        return BareModel(algorithm, None, score, takes_sparse=takes_sparse, fork_safe=fork_safe)
    failures = []
    for rows in examples:
        model = BareModel(algorithm, feature_dim, score, takes_sparse=takes_sparse, fork_safe=fork_safe, examples=rows)
        try:
            answer = model.predict(rows)
            expected = (library or score)(rows)
            finished = BareModel(
                algorithm,
                feature_dim,
                score,
                takes_sparse=takes_sparse,
                fork_safe=fork_safe,
                examples=rows,
                expected=expected,
            )
            finished.check_self_test(answer)
        except Exception as problem:  # noqa: BLE001 – whatever a model raises, it can't be served
            _LOG.debug("a self-test row failed", exc_info=True)
            failures.append(f"{type(problem).__name__}: {(str(problem).strip().splitlines() or [''])[0]}")
        else:
            return finished
    what = "the artifact's example" if example is not None else f"a row of {feature_dim} zeros"
    raise ModelError(f"the {algorithm} model can't score {what}: {failures[0]}")


class ClassColumns:
    """Names a classifier's answers. `labels` are the values of the classes, in the order of their index."""

    def __init__(self, labels: NDArray[np.generic], *, outputs: tuple[str, ...], has: frozenset[str]) -> None:
        """Raise ModelError where `outputs` (of `SAGEMAKER_INFERENCE_OUTPUT`) want what the model doesn't have.

        `has` is which of `probabilities` and `raw` the model gives.
        """
        self._labels = labels
        default = "probabilities" if "probabilities" in has else "raw_scores" if "raw" in has else None
        self.outputs = outputs or (("predicted_label", default) if default else ("predicted_label",))
        for name in self.outputs:
            kind = _NEEDS.get(name, name)
            if kind not in has and kind != "label":
                raise ModelError(f"SAGEMAKER_INFERENCE_OUTPUT: this classifier has no {name}")

    def wants(self, kind: str) -> bool:
        """Whether `probabilities` or `raw` is needed."""
        return any(_NEEDS.get(name) == kind for name in self.outputs)

    def columns(self, classes: Classes) -> Columns:
        """Return the columns wanted."""
        return {name: self._column(name, classes) for name in self.outputs}

    def _column(self, name: str, classes: Classes) -> NDArray[np.generic]:
        if name == "predicted_label":
            return self._labels.take(classes.index, axis=0)
        if name == "labels":
            return np.broadcast_to(self._labels, (len(classes.index), len(self._labels)))
        values = classes.probabilities if _NEEDS[name] == "probabilities" else classes.raw
        if values is None:
            raise RuntimeError(f"the model gave no {name}")
        if values.ndim == 1:
            # One raw score decides: `raw_scores` shows it too, there is nothing for the other class.
            return values if name == "raw_score" else values[:, None]
        if name in ("probability", "raw_score"):
            # As SageMaker's container: of two classes the second's, else the predicted one's.
            if values.shape[1] == 2:
                return values[:, 1]
            return values[np.arange(len(values)), classes.index]
        return values


_NEEDS: Final = {
    "predicted_label": "label",
    "labels": "label",
    "probability": "probabilities",
    "probabilities": "probabilities",
    "raw_score": "raw",
    "raw_scores": "raw",
}


def score_columns(*, outputs: tuple[str, ...], algorithm: str) -> str:
    """Return the name of a regressor's column. Raises ModelError where the outputs wanted are a classifier's."""
    wrong = [name for name in outputs if name != "predicted_score"]
    if wrong:
        raise ModelError(
            f"SAGEMAKER_INFERENCE_OUTPUT: this {algorithm} model is no classifier and has no {wrong[0]}; "
            "predicted_score is all it has"
        )
    return "predicted_score" if outputs else "score"
