"""The choice of a binary classifier's threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ThresholdRule:
    """How a threshold is chosen (`binary_classifier_model_selection_criteria` and what belongs to it)."""

    criterion: str
    f_beta: float = 1.0
    target_recall: float = 0.8
    target_precision: float = 0.8


def choose_threshold(scores: Array, *, labels: Array, rule: ThresholdRule, neutral: float) -> tuple[float, float]:
    """Return the threshold (a score at or above it is label 1) that serves `rule` best on n scores with 0/1 labels.

    The second value is what the rule maximises, there; 0 for criteria that don't concern the threshold.

    Candidates lie half-way between neighbouring scores, so that no row sits on the edge. Where several are equally good
    the one nearest to `neutral` wins; criteria that don't concern the threshold leave it there. Raises nothing: where a
    target can't be met, the candidate that comes nearest to it is taken.
    """
    if rule.criterion in ("cross_entropy_loss", "loss_function"):
        return neutral, 0.0
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], labels[order]
    # Cutting after the first i rows makes those positive; only where the score changes can one cut.
    cuts = np.concatenate(([0], np.flatnonzero(np.diff(ordered)) + 1, [len(ordered)]))
    true_positives = np.concatenate(([0.0], np.cumsum(hits)))[cuts]
    value = _value(true_positives, positives=cuts.astype(np.float64), labels=labels, rule=rule)
    edges = _edges(ordered, cuts=cuts)
    best = np.flatnonzero(value >= value.max() - 1e-12)
    return float(edges[best[np.argmin(np.abs(edges[best] - neutral))]]), float(value.max())


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
