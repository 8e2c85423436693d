"""Evaluation metrics that SageMaker's container has beside the library's own: of classes by counts, `mse` and `r2` by sums.

Sources: "XGBoost hyperparameters" (`eval_metric`); the definitions are scikit-learn's, without weights of rows. What is added up is
added up over all hosts, so that each of them has the same figure.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.training.collective import Collective

Array = NDArray[np.float64]

OF_CLASSES: Final = (
    *("accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "f1_micro", "precision", "precision_macro"),
    *("precision_micro", "recall", "recall_macro", "recall_micro"),
)
OF_TWO_CLASSES: Final = ("f1_binary", "precision", "recall")
OF_NUMBERS: Final = ("mse", "r2")
OURS: Final = (*OF_CLASSES, *OF_NUMBERS)


def custom_metric(
    names: Sequence[str], *, objective: str, classes: int, collective: Collective
) -> Callable[[NDArray[np.floating], Any], list[tuple[str, float]]]:
    """Return what XGBoost calls with predictions and a matrix after each round, for those of `names` that are ours."""

    def evaluate(predictions: NDArray[np.floating], matrix: Any) -> list[tuple[str, float]]:
        labels = np.asarray(matrix.get_label(), dtype=np.float64)
        found: dict[str, float] = {}
        if any(name in OF_CLASSES for name in names):
            chosen = _classes_of(predictions, objective=objective)
            found |= class_figures(chosen, labels=labels, classes=classes, collective=collective)
        if any(name in OF_NUMBERS for name in names):
            found |= number_figures(np.asarray(predictions, dtype=np.float64), labels=labels, collective=collective)
        return [(name, found[name]) for name in names]

    return evaluate


def _classes_of(predictions: NDArray[np.floating], *, objective: str) -> NDArray[np.intp]:
    if predictions.ndim == 2:
        return np.asarray(predictions.argmax(axis=1))
    if objective.startswith("multi:"):
        return predictions.astype(np.intp)
    return (predictions > (0.0 if objective == "binary:logitraw" else 0.5)).astype(np.intp)


def class_figures(
    predicted: NDArray[np.intp], *, labels: Array, classes: int, collective: Collective
) -> dict[str, float]:
    """Return the figures of n predicted classes. Macro averages are over the classes that occur, in labels or predictions."""
    actual = labels.astype(np.intp)
    counts = np.array(
        [np.bincount(part, minlength=classes) for part in (actual[actual == predicted], predicted, actual)],
        dtype=np.float64,
    )
    hits, guessed, occurring = collective.sum(counts)
    precision, recall = hits / np.maximum(guessed, 1.0), hits / np.maximum(occurring, 1.0)
    f1 = 2 * hits / np.maximum(guessed + occurring, 1.0)
    seen, accuracy = guessed + occurring > 0, float(hits.sum() / occurring.sum())
    figures = {
        "accuracy": accuracy,
        "balanced_accuracy": float(recall[occurring > 0].mean()),
        "f1": float(f1[seen].mean()),
    }
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        figures[f"{name}_macro"] = float(values[seen].mean())
        figures[f"{name}_micro"] = accuracy
        figures["f1_binary" if name == "f1" else name] = float(values[1])
    return figures


def number_figures(predictions: Array, *, labels: Array, collective: Collective) -> dict[str, float]:
    """Return the mean squared error, and the share of the labels' variance that is explained (0 where they have none)."""
    sums = np.array(
        [len(labels), np.sum((predictions - labels) ** 2), labels.sum(), np.sum(labels**2)], dtype=np.float64
    )
    rows, squared, total, squares = (float(value) for value in collective.sum(sums))
    variance = squares - total**2 / rows
    return {"mse": squared / rows, "r2": 1 - squared / variance if variance > 0 else 0.0}
