"""Training linear learner: read, normalise, descend with many models at once, choose the best and its threshold, save."""

import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.linear_learner import hyperparameters
from sagebrush_server.algorithms.linear_learner.candidates import choose_candidates
from sagebrush_server.algorithms.linear_learner.evaluation import BinaryTally, MulticlassTally, RegressionTally, Tally
from sagebrush_server.algorithms.linear_learner.losses import loss_and_gradient, resolve_loss
from sagebrush_server.algorithms.linear_learner.model_file import LinearModel
from sagebrush_server.algorithms.linear_learner.optimiser import Optimiser
from sagebrush_server.algorithms.linear_learner.prediction import LinearPredictor, link
from sagebrush_server.algorithms.linear_learner.preparation import Prepared, prepare
from sagebrush_server.algorithms.linear_learner.selection import Chosen, Snapshots, select
from sagebrush_server.errors import ClientError
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_DIVERGED_FACTOR: Final = 10.0


def train(job: TrainingInput) -> None:
    """Train on `train`, stop, choose and calibrate on `validation` where given, and save `model.json`.

    After SIGTERM the batch under way is finished and the best model so far saved; `job.cut_short` says so. With several
    hosts each descends on its own rows, and their weights are averaged after every epoch. Raises ClientError for what
    the user can mend.
    """
    settings = hyperparameters.read(job.hyperparameters)
    with together(job) as collective:
        data = prepare(job, settings=settings, collective=collective)
        rows = collective.sum(np.array([float(data.sources["train"].count)]))[0]
        _LOG.info("linear-learner: %d rows of %d features, channels %s", rows, data.width, ", ".join(data.sources))
        judge = "validation" if "validation" in data.sources else "train"
        best = _descend(job, data=data, settings=settings, judge=judge, collective=collective)
        chosen = select(best, data=data, settings=settings, judge=judge, seed=job.seed, collective=collective)
        model = _describe(chosen, data=data, settings=settings)
        # After SIGTERM time is short: no more passes than needed.
        for channel in (judge,) if job.cut_short.is_set() else data.sources:
            figures = _evaluate(chosen, channel=channel, data=data, settings=settings, collective=collective)
            for metric, value in figures.items():
                job.report(metric, channel=channel, value=value)
        if collective.leads:
            model.save(job.model_folder)
            _LOG.info("linear-learner: model saved, threshold %.6g, trained with %s", model.threshold, chosen.candidate)


def _descend(
    job: TrainingInput, *, data: Prepared, settings: dict[str, Any], judge: str, collective: Collective
) -> Snapshots:
    """Run epochs until no model's judged loss improves, the epochs are used up, or SIGTERM came."""
    outputs = int(settings["num_classes"]) if resolve_loss(settings) == "softmax_loss" else 1
    candidates = choose_candidates(settings, weights=data.width * outputs, balanced=data.balanced)
    optimiser = Optimiser(settings, candidates=candidates, width=data.width, outputs=outputs, seed=job.seed)
    best = Snapshots(optimiser, candidates=candidates)
    _LOG.info("linear-learner: %d models side by side", len(candidates))
    reference, waited = np.inf, 0
    for epoch in range(1, settings["epochs"] + 1):
        losses = {"train": _run_epoch(job, optimiser, data=data, settings=settings, epoch=epoch, collective=collective)}
        if judge != "train":
            losses[judge] = _losses(optimiser, channel=judge, data=data, settings=settings, collective=collective)
        best.note(optimiser, losses=losses[judge])
        _LOG.info("linear-learner: epoch %d of %d", epoch, settings["epochs"])
        for channel, each in losses.items():
            if np.isfinite(each).any():
                job.report("objective_loss", channel=channel, value=float(np.nanmin(each)))
        lowest = best.lowest
        if not np.isfinite(lowest):
            raise ClientError(_DIVERGED)
        # An improvement below the tolerance counts as none, but the better weights are kept all the same.
        improved = reference == np.inf or reference - lowest > settings["early_stopping_tolerance"] * abs(reference)
        waited = 0 if improved else waited + 1
        reference = lowest if improved else reference
        if waited >= settings["early_stopping_patience"]:
            _LOG.info("linear-learner: stopping early, no improvement of the %s loss in %d epochs", judge, waited)
            break
        if epoch < settings["epochs"] and collective.any(job.stop.is_set()):
            _LOG.info("linear-learner: SIGTERM: stopping in epoch %d, saving the best model so far", epoch)
            job.cut_short.set()
            break
    _check_descent(best, data=data, settings=settings, seed=job.seed, collective=collective)
    return best


def _run_epoch(
    job: TrainingInput,
    optimiser: Optimiser,
    *,
    data: Prepared,
    settings: dict[str, Any],
    epoch: int,
    collective: Collective,
) -> Array:
    """See this host's rows once, in a new order, then average over the hosts. Return each model's mean loss on the way."""
    sums, rows = np.zeros((2, optimiser.models)), 0
    for batch in data.examples("train", rows=settings["mini_batch_size"], seed=job.seed + epoch):
        sums += optimiser.step(batch)
        rows += len(batch)
        if job.stop.is_set():
            break
    optimiser.end_epoch()
    together_ = np.vstack((optimiser.weights, optimiser.bias))
    together_ = collective.mean(together_, weight=float(rows))
    optimiser.weights, optimiser.bias = together_[:-1], together_[-1]
    sums = collective.sum(sums)
    return np.asarray(sums[0] / sums[1])


def _losses(
    optimiser: Optimiser, *, channel: str, data: Prepared, settings: dict[str, Any], collective: Collective
) -> Array:
    """Return each model's weighted mean loss on a channel, without the penalties; labels as normalised."""
    sums = np.zeros((2, optimiser.models))
    with np.errstate(over="ignore", invalid="ignore"):
        for batch in data.examples(channel):
            outputs = batch.outputs(optimiser.weights, optimiser.bias).reshape(len(batch), optimiser.models, -1)
            losses, _ = loss_and_gradient(outputs, targets=batch.targets, settings=settings)
            importance = batch.importance(optimiser.positive_weights)
            sums += np.array([(losses * importance).sum(axis=0), importance.sum(axis=0)])
        sums = collective.sum(sums)
    return np.asarray(sums[0] / sums[1])


def _check_descent(
    best: Snapshots, *, data: Prepared, settings: dict[str, Any], seed: int, collective: Collective
) -> None:
    """Refuse a best model that is far worse than one of zero weights, say so where it is a little worse."""
    sample = data.normalise(data.sources["train"].sample(settings["num_point_for_scaler"], seed=seed))
    outputs = np.zeros((len(sample), 1, best.outputs))
    each, _ = loss_and_gradient(outputs, targets=sample.targets, settings=settings)
    untrained = float(collective.from_leader(np.array([each.mean()]))[0])
    if best.lowest > _DIVERGED_FACTOR * untrained:
        raise ClientError(f"{_DIVERGED} (the best loss is {best.lowest:.3g}, without training it is {untrained:.3g})")
    if best.lowest > untrained:
        _LOG.warning("linear-learner: the loss %.4g is no better than without training, %.4g", best.lowest, untrained)


def _describe(chosen: Chosen, *, data: Prepared, settings: dict[str, Any]) -> LinearModel:
    """Describe the model; the self-test row is the mean of the training rows."""
    by = data.normalisation
    draft = {
        "predictor_type": settings["predictor_type"],
        "feature_dim": data.width,
        "link": link(resolve_loss(settings)),
        "weights": chosen.weights.T.tolist(),
        "bias": chosen.bias.tolist(),
        "offset": by.offset.tolist(),
        "scale": by.scale.tolist(),
        "threshold": chosen.threshold,
        "label_scale": by.label_scale,
        "label_offset": by.label_offset,
        "self_test_row": data.mean_row.tolist(),
    }
    untested = LinearModel(**draft, self_test_score=[0.0] * len(chosen.bias))
    score = np.atleast_1d(LinearPredictor(untested).predict(data.mean_row[np.newaxis, :]).columns["score"][0])
    return LinearModel(**draft, self_test_score=score.tolist())


def _evaluate(
    chosen: Chosen, *, channel: str, data: Prepared, settings: dict[str, Any], collective: Collective
) -> dict[str, float]:
    """Return the chosen model's loss and quality on a channel, in one pass."""
    tally, sums, by = _tally(chosen, settings=settings), np.zeros(2), data.normalisation
    for batch in data.examples(channel):
        outputs = batch.outputs(chosen.weights, chosen.bias)
        losses, _ = loss_and_gradient(outputs[:, np.newaxis, :], targets=batch.targets, settings=settings)
        importance = batch.importance(np.array([chosen.candidate.positive_weight]))
        sums += np.array([(losses * importance).sum(), importance.sum()])
        scores = chosen.scores(outputs)
        tally.add(scores * by.label_scale + by.label_offset, labels=batch.labels)
    total, weight = (float(value) for value in collective.sum(sums))
    return {"objective_loss": total / weight, **tally.figures(collective)}


def _tally(chosen: Chosen, *, settings: dict[str, Any]) -> Tally:
    if settings["predictor_type"] == "regressor":
        return RegressionTally()
    if settings["predictor_type"] == "binary_classifier":
        return BinaryTally(chosen.threshold, settings["f_beta"])
    return MulticlassTally(len(chosen.bias), top_k=settings["accuracy_top_k"], f_beta=settings["f_beta"])


_DIVERGED: Final = "training diverged: the loss overflowed; lower learning_rate or leave normalize_data=true"
