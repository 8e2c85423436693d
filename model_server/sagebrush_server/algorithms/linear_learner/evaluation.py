"""Quality figures under SageMaker's names, and the choice of a binary classifier's threshold."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_SMALLEST: Final = 1e-15
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class ThresholdRule:
    """How a threshold is chosen (`binary_classifier_model_selection_criteria` and what belongs to it)."""

    criterion: str
    f_beta: float = 1.0
    target_recall: float = 0.8
    target_precision: float = 0.8


def choose_threshold(scores: Array, *, labels: Array, rule: ThresholdRule, neutral: float) -> float:
    """Return the threshold (a score at or above it is label 1) that serves `rule` best on n scores with 0/1 labels.

    Candidates lie half-way between neighbouring scores, so that no row sits on the edge. Where several are equally good
    the one nearest to `neutral` wins; criteria that don't concern the threshold leave it there. Raises nothing: where a
    target can't be met, the candidate that comes nearest to it is taken.
    """
    if rule.criterion in ("cross_entropy_loss", "loss_function"):
        return neutral
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], labels[order]
    # Cutting after the first i rows makes those positive; only where the score changes can one cut.
    cuts = np.concatenate(([0], np.flatnonzero(np.diff(ordered)) + 1, [len(ordered)]))
    true_positives = np.concatenate(([0.0], np.cumsum(hits)))[cuts]
    value = _value(true_positives, positives=cuts.astype(np.float64), labels=labels, rule=rule)
    edges = _edges(ordered, cuts=cuts)
    best = np.flatnonzero(value >= value.max() - 1e-12)
    return float(edges[best[np.argmin(np.abs(edges[best] - neutral))]])


def _edges(ordered: Array, *, cuts: NDArray[np.int64]) -> Array:
    margin = 1e-6 + abs(float(ordered[0] - ordered[-1])) * 1e-6
    padded = np.concatenate(([ordered[0] + 2 * margin], ordered, [ordered[-1] - 2 * margin]))
    upper, lower = padded[cuts], padded[cuts + 1]
    # Written this way the middle can't overflow; it may round to the upper score, but never below the lower one.
    return np.asarray(np.maximum(lower + (upper - lower) / 2, np.nextafter(lower, np.inf)))


def _value(true_positives: Array, *, positives: Array, labels: Array, rule: ThresholdRule) -> Array:
    """Return what `rule` maximises, for every cut."""
    total, rows = float(labels.sum()), len(labels)
    precision = np.divide(true_positives, positives, out=np.ones_like(positives), where=positives > 0)
    recall = true_positives / total
    match rule.criterion:
        case "accuracy":
            return np.asarray((true_positives + (rows - total) - (positives - true_positives)) / rows)
        case "f1" | "f_beta":
            beta = 1.0 if rule.criterion == "f1" else rule.f_beta
            return np.asarray((1 + beta**2) * true_positives / (positives + beta**2 * total))
        case "precision_at_target_recall":
            return np.where(recall >= rule.target_recall, 1 + precision, recall)
        case "recall_at_target_precision":
            return np.where(precision >= rule.target_precision, 1 + recall, precision)
        case unknown:
            raise ValueError(unknown)


def binary_metrics(scores: Array, *, labels: Array, threshold: float, f_beta: float) -> dict[str, float]:
    """Return accuracy, precision, recall, F-beta and the area under the ROC curve (where both labels occur)."""
    predicted = scores >= threshold
    positive = labels == 1
    hits = float(np.sum(predicted & positive))
    precision = hits / max(float(predicted.sum()), 1.0)
    recall = hits / max(float(positive.sum()), 1.0)
    weighted = f_beta**2 * precision + recall
    metrics = {
        "binary_classification_accuracy": float(np.mean(predicted == positive)),
        "precision": precision,
        "recall": recall,
        "binary_f_beta": (1 + f_beta**2) * precision * recall / weighted if weighted else 0.0,
    }
    if positive.any() and not positive.all():
        metrics["roc_auc_score"] = _roc_auc(scores, positive=positive)
    return metrics


def _roc_auc(scores: Array, *, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by the rank-sum statistic (Mann and Whitney, 1947), ties counted half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = int(positive.sum())
    zeros = len(scores) - ones
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def multiclass_metrics(scores: Array, *, labels: Array) -> dict[str, float]:
    """Return accuracy, and precision, recall and F1 averaged over the classes that occur, from n×k scores."""
    predicted = scores.argmax(axis=1)
    precisions, recalls, f_scores = [], [], []
    for label in np.unique(labels):
        hits = float(np.sum((predicted == label) & (labels == label)))
        precision = hits / max(float(np.sum(predicted == label)), 1.0)
        recall = hits / float(np.sum(labels == label))
        precisions.append(precision)
        recalls.append(recall)
        f_scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return {
        "multiclass_accuracy": float(np.mean(predicted == labels)),
        "macro_precision": float(np.mean(precisions)),
        "macro_recall": float(np.mean(recalls)),
        "macro_f_beta": float(np.mean(f_scores)),
    }


def regression_metrics(scores: Array, *, labels: Array) -> dict[str, float]:
    """Return mean squared error, its root, and mean absolute error, in the label's units."""
    error = scores - labels
    mse = float(np.mean(error**2))
    return {"mse": mse, "rmse": mse**0.5, "absolute_loss": float(np.mean(np.abs(error)))}


def cross_entropy(scores: Array, *, targets: Array, weights: Array) -> float:
    """Return the weighted mean of the binary cross-entropy over n×k probabilities and 0/1 targets."""
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    losses = -(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped)).sum(axis=1)
    return float(np.average(losses, weights=weights))
