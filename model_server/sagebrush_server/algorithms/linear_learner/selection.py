"""Which of the models that were trained side by side is kept, and with which threshold."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.algorithms.linear_learner.candidates import Candidate
from sagebrush_server.algorithms.linear_learner.losses import resolve_loss
from sagebrush_server.algorithms.linear_learner.optimiser import Optimiser
from sagebrush_server.algorithms.linear_learner.preparation import Examples, Prepared
from sagebrush_server.algorithms.linear_learner.threshold import ThresholdRule, choose_threshold
from sagebrush_server.training.collective import Collective

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

AUTO_CALIBRATION_SAMPLES: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The model that is kept: weights (d×k) and biases (k) in the normalised space, and the threshold of its score."""

    weights: Array
    bias: Array
    threshold: float
    candidate: Candidate
    logistic: bool

    def scores(self, outputs: Array) -> Array:
        """Return what the threshold is compared with: probabilities for the logistic loss, else the outputs."""
        return sigmoid(outputs) if self.logistic else outputs


class Snapshots:
    """Each model as it was after the epoch in which its judged loss was lowest."""

    def __init__(self, optimiser: Optimiser, *, candidates: Sequence[Candidate]) -> None:
        self.candidates = candidates
        self.outputs = optimiser.outputs
        self.losses = np.full(optimiser.models, np.inf)
        self._weights, self._bias = optimiser.weights.copy(), optimiser.bias.copy()

    @property
    def lowest(self) -> float:
        """The lowest loss of all models; infinite where none has had a finite one."""
        return float(self.losses.min())

    def note(self, optimiser: Optimiser, *, losses: Array) -> None:
        """Keep the weights of models whose loss is lower than ever."""
        better = losses < self.losses  # not true of NaN
        columns = np.repeat(better, self.outputs)
        self._weights[:, columns], self._bias[columns] = optimiser.weights[:, columns], optimiser.bias[columns]
        self.losses = np.where(better, losses, self.losses)

    def model(self, index: int) -> tuple[Array, Array]:
        """Return a model's weights (d×k) and biases (k)."""
        columns = slice(index * self.outputs, (index + 1) * self.outputs)
        return self._weights[:, columns].copy(), self._bias[columns].copy()


def select(
    best: Snapshots, *, data: Prepared, settings: dict[str, Any], judge: str, seed: int, collective: Collective
) -> Chosen:
    """Choose by the lowest loss, a binary classifier by `binary_classifier_model_selection_criteria`.

    The first host chooses, by its own rows; the others take its word.
    """
    logistic = resolve_loss(settings) == "logistic"
    index, threshold = int(np.argmin(best.losses)), 0.5 if logistic else 0.0
    if settings["predictor_type"] == "binary_classifier":
        index, threshold = _calibrate(
            best, data=data, settings=settings, judge=judge, seed=seed, start=(index, threshold)
        )
        index, threshold = collective.from_leader(np.array([float(index), threshold])).tolist()
    weights, bias = best.model(int(index))
    candidate = best.candidates[int(index)]
    return Chosen(weights=weights, bias=bias, threshold=float(threshold), candidate=candidate, logistic=logistic)


def _calibrate(
    best: Snapshots, *, data: Prepared, settings: dict[str, Any], judge: str, seed: int, start: tuple[int, float]
) -> tuple[int, float]:
    """Return the model and the threshold that serve the criterion best on a sample of rows; equals go by their loss."""
    neutral = start[1]
    sample = _calibration_rows(data, judge=judge, samples=settings["num_calibration_samples"], seed=seed)
    if not 0 < sample.labels.sum() < len(sample):
        _LOG.warning("linear-learner: the rows to calibrate on have one label only; the threshold stays %g", neutral)
        return start
    rule = ThresholdRule(
        criterion=settings["binary_classifier_model_selection_criteria"],
        f_beta=settings["f_beta"],
        target_recall=settings["target_recall"],
        target_precision=settings["target_precision"],
    )
    found = []
    for index, loss in enumerate(best.losses):
        if not np.isfinite(loss):
            continue
        outputs = sample.outputs(*best.model(index))[:, 0]
        scores = sigmoid(outputs) if neutral else outputs
        threshold, value = choose_threshold(scores, labels=sample.labels, rule=rule, neutral=neutral)
        found.append((-value, float(loss), index, threshold))
    _, _, index, threshold = min(found)
    return index, threshold


def _calibration_rows(data: Prepared, *, judge: str, samples: int | str, seed: int) -> Examples:
    wanted = AUTO_CALIBRATION_SAMPLES if samples == AUTO else int(samples)
    return data.normalise(data.sources[judge].sample(wanted, seed=seed))


def sigmoid(outputs: Array) -> Array:
    """Return 1 / (1 + exp(-output)); exactly 0 where the exponential overflows."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-outputs)))
