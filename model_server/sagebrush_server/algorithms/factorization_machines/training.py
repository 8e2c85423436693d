"""Training factorization machines: mini-batches of sparse rows, in passes over the data in changing order."""

import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sagebrush_server.algorithms.factorization_machines import hyperparameters
from sagebrush_server.algorithms.factorization_machines.machine import logistic
from sagebrush_server.algorithms.factorization_machines.optimiser import Optimiser
from sagebrush_server.algorithms.factorization_machines.prediction import ALGORITHM, THRESHOLD, MachinePredictor
from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest
from sagebrush_server.algorithms.training_rows import (
    dense,
    open_channels,
    stopped_anywhere,
    until_stopped,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, RowSource, labels_of
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_CONTENT_TYPE: Final = "application/x-recordio-protobuf"
_SMALLEST: Final = 1e-15
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""


def train(job: TrainingInput) -> None:
    """Train on `train`, measure on `test` where given, and save the model.

    Several hosts learn from their shares of the rows and take the mean of their models after every pass. After SIGTERM
    the model as it is then is saved. Raises ClientError for what the user can mend.
    """
    settings = hyperparameters.read(job.hyperparameters)
    _check_formats(job)
    with together(job) as collective:
        sources = open_channels(
            job,
            algorithm=ALGORITHM,
            labelled={"train": True, "test": True},
            feature_dim=settings["feature_dim"],
            collective=collective,
        )
        if settings["predictor_type"] == "binary_classifier":
            for name, source in sources.items():
                _check_labels(source, channel=name)
        # The same start on all hosts.
        optimiser = Optimiser(settings, rng=np.random.default_rng(job.seed))
        for epoch in range(1, settings["epochs"] + 1):
            _run_epoch(
                job,
                source=sources["train"],
                optimiser=optimiser,
                settings=settings,
                epoch=epoch,
                collective=collective,
            )
            if stopped_anywhere(job, collective=collective):
                break
    if not collective.leads:
        return
    model = _finish(optimiser, rows=_some_rows(sources["train"]), settings=settings)
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("factorization-machines: model of %d factors saved", settings["num_factors"])
    if "test" in sources and not job.stop.is_set():
        tally = Tally(settings["predictor_type"])
        for block in sources["test"].blocks(settings["mini_batch_size"]):
            tally.add(model.machine.outputs(_sparse_rows(block)), truth=labels_of(block))
        _report(job, channel="test", tally=tally)


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
        return ~np.isin(labels_of(block), (0.0, 1.0))

    place = source.find(wrong)
    if place is not None:
        raise ClientError(f"channel {channel}: {place}: for binary_classifier the label must be 0 or 1")


def _run_epoch(
    job: TrainingInput,
    *,
    source: RowSource,
    optimiser: Optimiser,
    settings: dict[str, Any],
    epoch: int,
    collective: Collective,
) -> None:
    """Pass over this host's rows, then take the mean of the hosts' models, and report how rows were seen before."""
    tally, since = Tally(settings["predictor_type"]), Tally(settings["predictor_type"])
    seed = int(np.random.SeedSequence((job.seed, epoch)).generate_state(1)[0])
    blocks = until_stopped(job, source, rows=settings["mini_batch_size"], seed=seed)
    for batch, block in enumerate(blocks, start=1):
        outputs = optimiser.step(csr_matrix(block.features), labels=labels_of(block))
        if not np.isfinite(outputs).all():
            raise ClientError(
                "training diverged: an output overflowed; lower factors_lr and linear_lr, or set clip_gradient"
            )
        tally.add(outputs, truth=labels_of(block))
        since.add(outputs, truth=labels_of(block))
        if batch % settings["batch_metrics_publish_interval"] == 0:
            _LOG.info("factorization-machines: epoch %d, batch %d", epoch, batch)
            _report(job, channel="train", tally=since)
            since = Tally(settings["predictor_type"])
    rows = tally.rows
    tally.sums = collective.sum(tally.sums)
    optimiser.agree(collective, rows=rows)
    _LOG.info("factorization-machines: epoch %d of %d", epoch, settings["epochs"])
    if collective.leads:
        _report(job, channel="train", tally=tally)


class Tally:
    """Sums from which SageMaker's metrics follow; they can be added over hosts."""

    def __init__(self, predictor_type: str) -> None:
        self._binary = predictor_type == "binary_classifier"
        self.sums = np.zeros(6)

    @property
    def rows(self) -> float:
        """The number of rows counted."""
        return float(self.sums[0])

    def add(self, outputs: Array, *, truth: Array) -> None:
        """Count n rows by the machine's outputs and the labels."""
        if not self._binary:
            self.sums[:2] += len(outputs), float(((outputs - truth) ** 2).sum())
            return
        scores = np.clip(logistic(outputs), _SMALLEST, 1 - _SMALLEST)
        called, positive = scores >= THRESHOLD, truth == 1
        entropy = -(truth * np.log(scores) + (1 - truth) * np.log1p(-scores))
        counts = (called == positive, called & positive, called, positive)
        self.sums += len(outputs), float(entropy.sum()), *(float(np.sum(count)) for count in counts)

    def values(self) -> dict[str, float]:
        """Return the root of the mean squared error, or accuracy, cross-entropy and F1."""
        rows, loss, right, hits, called, positive = self.sums.tolist()
        if not self._binary:
            return {"rmse": (loss / rows) ** 0.5}
        return {
            "binary_classification_accuracy": right / rows,
            "binary_classification_cross_entropy": loss / rows,
            "binary_f_beta": 2 * hits / max(called + positive, 1.0),
        }


def _report(job: TrainingInput, *, channel: str, tally: Tally) -> None:
    for name, value in tally.values().items():
        job.report(name, channel=channel, value=value)


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


def _sparse_rows(block: Block) -> SparseRows:
    rows = csr_matrix(block.features)
    return SparseRows(rows.indptr.astype(np.int64), rows.indices.astype(np.int64), rows.data, rows.shape[1])
