"""Training linear learner: read, normalise, descend until it stops paying, choose the threshold, save."""

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.algorithms.linear_learner import hyperparameters
from sagebrush_server.algorithms.linear_learner.evaluation import (
    ThresholdRule,
    binary_metrics,
    choose_threshold,
    cross_entropy,
    multiclass_metrics,
    regression_metrics,
)
from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.algorithms.linear_learner.optimiser import Optimiser, resolve_loss
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor
from sagebrush_server.algorithms.linear_learner.preparation import (
    Examples,
    Normalisation,
    fit_normalisation,
    normalise,
    read_channels,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_DIVERGED_FACTOR: Final = 10.0


@dataclass(frozen=True)
class Fit:
    """Weights (k×d) and biases (k) in the normalised space, and the validation (else training) loss they reach."""

    weights: Array
    bias: Array
    loss: float


def train(job: TrainingInput) -> None:
    """Train on `train`, stop and calibrate on `validation` where given, and save `model.json`.

    After SIGTERM the epoch under way is finished and the best model so far saved; `job.cut_short` says so. Raises
    ClientError for what the user can mend.
    """
    if len(job.hosts) > 1:
        raise ClientError(
            f"this version of linear-learner trains on one instance, the job has {len(job.hosts)}; set instanceCount to 1"
        )
    settings = hyperparameters.read(job.hyperparameters)
    tables = read_channels(job, settings=settings)
    normalisation = fit_normalisation(tables["train"], settings=settings)
    examples = {name: normalise(table, by=normalisation, settings=settings) for name, table in tables.items()}
    rows, width = examples["train"].features.shape
    _LOG.info("linear-learner: %d rows of %d features, channels %s", rows, width, ", ".join(examples))
    fit = _descend(job, examples=examples, settings=settings)
    model = _finish(fit, examples=examples, normalisation=normalisation, settings=settings, seed=job.seed)
    for channel, data in examples.items():
        job.report("objective_loss", channel=channel, value=_loss(fit.weights, fit.bias, data=data, settings=settings))
        outputs = _outputs(fit.weights, fit.bias, features=data.features)
        for metric, value in _metrics(outputs, data=data, model=model, settings=settings).items():
            job.report(metric, channel=channel, value=value)
    model.save(job.model_folder)
    _LOG.info("linear-learner: model saved, threshold %.6g", model.threshold)


def _descend(job: TrainingInput, *, examples: dict[str, Examples], settings: dict[str, Any]) -> Fit:
    """Run epochs until the judged loss stops improving, the epochs are used up, or SIGTERM came; return the best."""
    optimiser = Optimiser(settings, rows=len(examples["train"].targets), seed=job.seed)
    judge = "validation" if "validation" in examples else "train"
    best: Fit | None = None
    reference, waited = np.inf, 0
    for epoch in range(1, settings["epochs"] + 1):
        optimiser.run_epoch(examples["train"])
        weights, bias = optimiser.weights()
        losses = {
            name: _loss(weights, bias, data=examples[name], settings=settings)
            for name in dict.fromkeys(("train", judge))
        }
        _LOG.info("linear-learner: epoch %d of %d", epoch, settings["epochs"])
        for channel, value in losses.items():
            job.report("objective_loss", channel=channel, value=value)
        if not np.isfinite(losses[judge]):
            raise ClientError(
                "training diverged: the loss overflowed; lower learning_rate or leave normalize_data=true"
            )
        if best is None or losses[judge] < best.loss:
            best = Fit(weights, bias, losses[judge])
        # An improvement below the tolerance counts as none, but the better weights are kept all the same.
        improved = reference == np.inf or reference - losses[judge] > settings["early_stopping_tolerance"] * reference
        waited = 0 if improved else waited + 1
        reference = min(reference, losses[judge]) if improved else reference
        if waited >= settings["early_stopping_patience"]:
            _LOG.info("linear-learner: stopping early, no improvement of the %s loss in %d epochs", judge, waited)
            break
        if job.stop.is_set() and epoch < settings["epochs"]:
            _LOG.info("linear-learner: SIGTERM: stopping after epoch %d, saving the best model so far", epoch)
            job.cut_short.set()
            break
    if best is None:
        raise AssertionError("epochs is at least 1")
    _judge(best, data=examples[judge], settings=settings)
    return best


def _judge(best: Fit, *, data: Examples, settings: dict[str, Any]) -> None:
    """Refuse a model that is far worse than one of zero weights, say so where it is a little worse."""
    untrained = _loss(np.zeros_like(best.weights), np.zeros_like(best.bias), data=data, settings=settings)
    if best.loss > _DIVERGED_FACTOR * untrained:
        raise ClientError(
            f"training diverged: the best loss is {best.loss:.3g}, without training it is {untrained:.3g}; "
            "lower learning_rate or leave normalize_data=true"
        )
    if best.loss > untrained:
        _LOG.warning("linear-learner: the loss %.4g is no better than without training, %.4g", best.loss, untrained)


def _finish(
    fit: Fit, *, examples: dict[str, Examples], normalisation: Normalisation, settings: dict[str, Any], seed: int
) -> LinearModel:
    """Choose the threshold and describe the model; the self-test row is the mean of the training rows."""
    logistic = resolve_loss(settings) == "logistic"
    threshold = 0.5 if logistic else 0.0
    if settings["predictor_type"] == "binary_classifier":
        threshold = _calibrate(fit, data=examples.get("validation", examples["train"]), settings=settings, seed=seed)
    # In the normalised space the mean row of the training data.
    mean = examples["train"].features.mean(axis=0) * normalisation.scale + normalisation.offset
    draft = {
        "predictor_type": settings["predictor_type"],
        "feature_dim": len(normalisation.offset),
        "link": "logistic" if logistic else "identity",
        "weights": fit.weights.tolist(),
        "bias": fit.bias.tolist(),
        "offset": normalisation.offset.tolist(),
        "scale": normalisation.scale.tolist(),
        "threshold": threshold,
        "label_scale": normalisation.label_scale,
        "label_offset": normalisation.label_offset,
        "self_test_row": mean.tolist(),
    }
    untested = LinearModel(**draft, self_test_score=[0.0] * len(fit.bias))
    score = np.atleast_1d(LinearPredictor(untested).predict(mean[np.newaxis, :]).columns["score"][0])
    return LinearModel(**draft, self_test_score=score.tolist())


def _calibrate(fit: Fit, *, data: Examples, settings: dict[str, Any], seed: int) -> float:
    samples = settings["num_calibration_samples"]
    labels, features = data.labels, data.features
    if samples != AUTO and samples < len(labels):
        chosen = np.random.default_rng(seed).choice(len(labels), size=samples, replace=False)
        labels, features = labels[chosen], features[chosen]
    neutral = 0.5 if resolve_loss(settings) == "logistic" else 0.0
    if not 0 < labels.sum() < len(labels):
        _LOG.warning("linear-learner: the rows to calibrate on have one label only; the threshold stays %g", neutral)
        return neutral
    rule = ThresholdRule(
        criterion=settings["binary_classifier_model_selection_criteria"],
        f_beta=settings["f_beta"],
        target_recall=settings["target_recall"],
        target_precision=settings["target_precision"],
    )
    outputs = _outputs(fit.weights, fit.bias, features=features)[:, 0]
    scores = _sigmoid(outputs) if neutral else outputs
    return choose_threshold(scores, labels=labels, rule=rule, neutral=neutral)


def _metrics(outputs: Array, *, data: Examples, model: LinearModel, settings: dict[str, Any]) -> dict[str, float]:
    if model.predictor_type == "regressor":
        return regression_metrics(outputs[:, 0] * model.label_scale + model.label_offset, labels=data.labels)
    if model.predictor_type == "multiclass_classifier":
        return multiclass_metrics(outputs, labels=data.labels)
    scores = _sigmoid(outputs[:, 0]) if model.link == "logistic" else outputs[:, 0]
    return binary_metrics(scores, labels=data.labels, threshold=model.threshold, f_beta=settings["f_beta"])


def _loss(weights: Array, bias: Array, *, data: Examples, settings: dict[str, Any]) -> float:
    """Return the weighted mean of what training minimises, without the penalties; labels as normalised."""
    outputs, loss = _outputs(weights, bias, features=data.features), resolve_loss(settings)
    if loss == "logistic":
        classes = np.arange(1, 2) if outputs.shape[1] == 1 else np.arange(outputs.shape[1])
        targets = (data.labels[:, np.newaxis] == classes).astype(np.float64)
        return cross_entropy(_sigmoid(outputs), targets=targets, weights=data.weights)
    if loss == "hinge_loss":
        each = np.maximum(0.0, 1.0 - (2 * data.labels - 1) * outputs[:, 0])
    else:
        error = np.abs(outputs[:, 0] - data.targets)
        beyond = np.maximum(0.0, error - settings["loss_insensitivity"])
        delta = settings["huber_delta"]
        each = {
            "squared_loss": error**2,
            "absolute_loss": error,
            "eps_insensitive_absolute_loss": beyond,
            "eps_insensitive_squared_loss": beyond**2,
            "huber_loss": np.where(error <= delta, error**2 / 2, delta * (error - delta / 2)),
        }[loss]
    return float(np.average(each, weights=data.weights))


def _outputs(weights: Array, bias: Array, *, features: Array) -> Array:
    return np.asarray(features @ weights.T + bias)


def _sigmoid(outputs: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-outputs)))
