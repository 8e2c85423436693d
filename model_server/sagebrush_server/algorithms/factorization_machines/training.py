"""Training factorization machines: mini-batches of sparse rows, in passes over the data in changing order."""

import logging
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sagebrush_server.algorithms.factorization_machines import hyperparameters
from sagebrush_server.algorithms.factorization_machines.machine import logistic
from sagebrush_server.algorithms.factorization_machines.optimiser import Optimiser
from sagebrush_server.algorithms.factorization_machines.prediction import ALGORITHM, MachinePredictor
from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest
from sagebrush_server.algorithms.training_rows import (
    dense,
    labels,
    open_channels,
    refuse_several_hosts,
    until_stopped,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, RowSource
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_CONTENT_TYPE: Final = "application/x-recordio-protobuf"
_SMALLEST: Final = 1e-15
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""


def train(job: TrainingInput) -> None:
    """Train on `train`, measure on `test` where given, and save the model.

    After SIGTERM the model as it is then is saved. Raises ClientError for what the user can mend.
    """
    refuse_several_hosts(job, algorithm=ALGORITHM)
    settings = hyperparameters.read(job.hyperparameters)
    _check_formats(job)
    sources = open_channels(
        job, algorithm=ALGORITHM, labelled={"train": True, "test": True}, feature_dim=settings["feature_dim"]
    )
    if settings["predictor_type"] == "binary_classifier":
        for name, source in sources.items():
            _check_labels(source, channel=name)
    optimiser = Optimiser(settings, rng=np.random.default_rng(job.seed))
    for epoch in range(1, settings["epochs"] + 1):
        _run_epoch(job, source=sources["train"], optimiser=optimiser, settings=settings, epoch=epoch)
        if job.cut_short.is_set() and epoch < settings["epochs"]:
            break
    model = _finish(optimiser, rows=_some_rows(sources["train"]), settings=settings)
    if "test" in sources:
        _report(job, source=sources["test"], model=model, settings=settings)
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("factorization-machines: model of %d factors saved", settings["num_factors"])


def _check_formats(job: TrainingInput) -> None:
    for name, channel in job.channels.items():
        media_type = channel.content_type.partition(";")[0].strip().lower()
        if media_type not in ("", _CONTENT_TYPE):
            raise ClientError(
                f"channel {name}: {ALGORITHM} can't be trained on {channel.content_type}; its data is sparse: use "
                f"{_CONTENT_TYPE}"
            )


def _check_labels(source: RowSource, *, channel: str) -> None:
    def wrong(block: Block) -> NDArray[np.bool_]:
        return ~np.isin(labels(block), (0.0, 1.0))

    place = source.find(wrong)
    if place is not None:
        raise ClientError(f"channel {channel}: {place}: for binary_classifier the label must be 0 or 1")


def _run_epoch(
    job: TrainingInput, *, source: RowSource, optimiser: Optimiser, settings: dict[str, Any], epoch: int
) -> None:
    outputs, truth = [], []
    seed = int(np.random.SeedSequence((job.seed, epoch)).generate_state(1)[0])
    blocks = until_stopped(job, source, rows=settings["mini_batch_size"], seed=seed)
    for batch, block in enumerate(blocks, start=1):
        outputs.append(optimiser.step(_sparse(block), labels=labels(block)))
        truth.append(labels(block))
        if not np.isfinite(outputs[-1]).all():
            raise ClientError(
                "training diverged: an output overflowed; lower factors_lr and linear_lr, or set clip_gradient"
            )
        if batch % settings["batch_metrics_publish_interval"] == 0:
            _LOG.info("factorization-machines: epoch %d, batch %d", epoch, batch)
            _report_quality(job, channel="train", outputs=outputs[-1:], truth=truth[-1:], settings=settings)
    _LOG.info("factorization-machines: epoch %d of %d", epoch, settings["epochs"])
    # As each row was seen before it was learned from.
    _report_quality(job, channel="train", outputs=outputs, truth=truth, settings=settings)


def _report(job: TrainingInput, *, source: RowSource, model: MachinePredictor, settings: dict[str, Any]) -> None:
    outputs, truth = [], []
    for block in source.blocks(settings["mini_batch_size"]):
        rows = _sparse(block)
        indptr, indices = rows.indptr.astype(np.int64), rows.indices.astype(np.int64)
        outputs.append(model.machine.outputs(SparseRows(indptr, indices, rows.data, rows.shape[1])))
        truth.append(labels(block))
    _report_quality(job, channel="test", outputs=outputs, truth=truth, settings=settings)


def _report_quality(
    job: TrainingInput, *, channel: str, outputs: Iterable[Array], truth: Iterable[Array], settings: dict[str, Any]
) -> None:
    values = quality(np.concatenate(list(outputs)), truth=np.concatenate(list(truth)), kind=settings["predictor_type"])
    for name, value in values.items():
        job.report(name, channel=channel, value=value)


def quality(outputs: Array, *, truth: Array, kind: str) -> dict[str, float]:
    """Return SageMaker's metrics: the root of the mean squared error, or accuracy, cross-entropy and F1."""
    if kind == "regressor":
        return {"rmse": float(np.sqrt(np.mean((outputs - truth) ** 2)))}
    scores = np.clip(logistic(outputs), _SMALLEST, 1 - _SMALLEST)
    called, positive = scores >= 0.5, truth == 1
    hits = float(np.sum(called & positive))
    entropy = -(truth * np.log(scores) + (1 - truth) * np.log1p(-scores))
    return {
        "binary_classification_accuracy": float(np.mean(called == positive)),
        "binary_classification_cross_entropy": float(np.mean(entropy)),
        "binary_f_beta": 2 * hits / max(float(called.sum() + positive.sum()), 1.0),
    }


def _finish(optimiser: Optimiser, *, rows: Array, settings: dict[str, Any]) -> MachinePredictor:
    facts = {
        "predictor_type": settings["predictor_type"],
        "feature_dim": settings["feature_dim"],
        "num_factors": settings["num_factors"],
        "bias": optimiser.bias,
    }
    arrays = {"linear": optimiser.linear, "factors": optimiser.factors}
    answer = MachinePredictor(SavedModel(facts, arrays, SelfTest(rows, {}))).predict(rows)
    return MachinePredictor(SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer)))


def _some_rows(source: RowSource) -> Array:
    # One row only: of millions of features a dense row is large.
    return dense(next(source.blocks(1)))


def _sparse(block: Block) -> csr_matrix:
    rows = csr_matrix(block.features)
    rows.sum_duplicates()
    return rows
