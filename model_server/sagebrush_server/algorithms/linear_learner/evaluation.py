"""Quality figures under SageMaker's names, added up block by block, so that no channel has to fit into memory."""

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.training.collective import Collective

Array = NDArray[np.float64]

MOST_RANKED: Final = 1_000_000
"""The area under the ROC curve needs scores side by side: of more rows than this, every second, fourth … counts."""


class Tally(Protocol):
    """Figures of one channel. `add` takes scores as served (n×k) and the labels as given."""

    def add(self, scores: Array, *, labels: Array) -> None:
        """Count more rows."""
        ...

    def figures(self, collective: Collective) -> dict[str, float]:
        """Return the figures over all hosts' rows; every host must call it."""
        ...


@dataclass
class BinaryTally:
    """Accuracy, precision, recall, F-beta, and the area under the ROC curve where both labels occur."""

    threshold: float
    f_beta: float
    _counts: Array = field(default_factory=lambda: np.zeros(4))
    _kept: list[tuple[Array, Array]] = field(default_factory=list)
    _stride: int = 1
    _rows: int = 0

    def add(self, scores: Array, *, labels: Array) -> None:
        """See `Tally`."""
        single, positive = scores[:, 0], labels == 1
        predicted = single >= self.threshold
        hits = np.sum(predicted & positive)
        self._counts += np.array([len(labels), hits, predicted.sum(), positive.sum()], dtype=np.float64)
        first = -self._rows % self._stride
        # Copies: a view would keep all rows of the block in memory.
        self._kept.append((single[first :: self._stride].copy(), positive[first :: self._stride].copy()))
        self._rows += len(labels)
        while sum(len(part) for part, _ in self._kept) > MOST_RANKED:
            joined, marks = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
            self._kept = [(joined[::2].copy(), marks[::2].copy())]
            self._stride *= 2

    def figures(self, collective: Collective) -> dict[str, float]:
        """See `Tally`. The area of several hosts is the mean of theirs, weighted by rows."""
        rows, hits, predicted, positives = (float(value) for value in collective.sum(self._counts))
        precision, recall = hits / max(predicted, 1.0), hits / max(positives, 1.0)
        weighted = self.f_beta**2 * precision + recall
        figures = {
            "binary_classification_accuracy": (rows - predicted - positives + 2 * hits) / rows,
            "precision": precision,
            "recall": recall,
            "binary_f_beta": (1 + self.f_beta**2) * precision * recall / weighted if weighted else 0.0,
        }
        area, weight = self._area()
        weighted_area, total = (float(value) for value in collective.sum(np.array([area * weight, weight])))
        if total:
            figures["roc_auc_score"] = weighted_area / total
        return figures

    def _area(self) -> tuple[float, float]:
        """Return the area and the rows behind it; 0 rows where only one label occurs."""
        if not self._kept:
            return 0.0, 0.0
        scores, positive = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        if positive.all() or not positive.any():
            return 0.0, 0.0
        return roc_auc(scores, positive=positive), float(len(scores))


def roc_auc(scores: Array, *, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by the rank-sum statistic (Mann and Whitney, 1947), ties counted half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = int(positive.sum())
    zeros = len(scores) - ones
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


class MulticlassTally:
    """Accuracy, top-k accuracy, and precision, recall and F-beta averaged over the classes that occur."""

    def __init__(self, classes: int, *, top_k: int, f_beta: float) -> None:
        self._top_k, self._f_beta = min(top_k, classes), f_beta
        self._rows = np.zeros(3)
        self._hits, self._predicted, self._actual = np.zeros((3, classes))

    def add(self, scores: Array, *, labels: Array) -> None:
        """See `Tally`."""
        classes, actual = len(self._hits), labels.astype(np.intp)
        predicted = scores.argmax(axis=1)
        right = predicted == actual
        own = scores[np.arange(len(actual)), actual]
        among_first = (scores > own[:, np.newaxis]).sum(axis=1) < self._top_k
        self._rows += np.array([len(labels), right.sum(), among_first.sum()], dtype=np.float64)
        self._hits += np.bincount(actual[right], minlength=classes)
        self._predicted += np.bincount(predicted, minlength=classes)
        self._actual += np.bincount(actual, minlength=classes)

    def figures(self, collective: Collective) -> dict[str, float]:
        """See `Tally`."""
        summed = collective.sum(np.concatenate((self._rows, self._hits, self._predicted, self._actual)))
        rows, right, among_first = (float(value) for value in summed[:3])
        hits, predicted, actual = summed[3:].reshape(3, -1)
        occurs = actual > 0
        precision = (hits / np.maximum(predicted, 1.0))[occurs]
        recall = hits[occurs] / actual[occurs]
        weighted = self._f_beta**2 * precision + recall
        f_scores = np.divide(
            (1 + self._f_beta**2) * precision * recall, weighted, out=np.zeros_like(weighted), where=weighted > 0
        )
        return {
            "multiclass_accuracy": right / rows,
            "multiclass_top_k_accuracy": among_first / rows,
            "macro_precision": float(precision.mean()),
            "macro_recall": float(recall.mean()),
            "macro_f_beta": float(f_scores.mean()),
        }


class RegressionTally:
    """Mean squared error, its root, mean absolute error (in the label's units), and the share of variance explained."""

    def __init__(self) -> None:
        self._sums = np.zeros(5)

    def add(self, scores: Array, *, labels: Array) -> None:
        """See `Tally`."""
        error = scores[:, 0] - labels
        self._sums += np.array(
            [len(labels), np.sum(error**2), np.abs(error).sum(), labels.sum(), np.sum(labels**2)], dtype=np.float64
        )

    def figures(self, collective: Collective) -> dict[str, float]:
        """See `Tally`."""
        rows, squared, absolute, labels, squares = (float(value) for value in collective.sum(self._sums))
        figures = {"mse": squared / rows, "rmse": (squared / rows) ** 0.5, "absolute_loss": absolute / rows}
        variance = squares / rows - (labels / rows) ** 2
        if variance > 0:
            figures["r2"] = 1 - squared / rows / variance
        return figures
