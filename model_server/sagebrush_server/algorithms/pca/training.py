"""Training PCA: one pass that adds up a summary of fixed size, then its strongest directions."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.pca import hyperparameters
from sagebrush_server.algorithms.pca.prediction import ALGORITHM, PcaPredictor
from sagebrush_server.algorithms.pca.summaries import Covariance, Sketch, Summary
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest
from sagebrush_server.algorithms.training_rows import (
    SELF_TEST_ROWS,
    dense,
    open_channels,
    stopped_anywhere,
    until_stopped,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import RowSource
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]


def train(job: TrainingInput) -> None:
    """Train on `train`, measure what the projection loses on `test` where given, and save the model.

    Several hosts add up their summaries. After SIGTERM the components of the rows read so far are saved. Raises
    ClientError for what the user can mend.
    """
    settings = hyperparameters.read(job.hyperparameters)
    with together(job) as collective:
        sources = open_channels(
            job,
            algorithm=ALGORITHM,
            labelled={"train": False, "test": False},
            feature_dim=settings["feature_dim"],
            collective=collective,
        )
        summary, first = _pass(job, source=sources["train"], settings=settings, collective=collective)
        stopped_anywhere(job, collective=collective)
    if not collective.leads:
        return
    model, share = _finish(summary, rows=first, settings=settings)
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("pca: model of %d components saved", settings["num_components"])
    # SageMaker's algorithm reports no metric.
    job.report("explained_variance_ratio", channel="train", value=share)
    if "test" in sources and not job.stop.is_set():
        _report(job, source=sources["test"], model=model, settings=settings)


def _pass(
    job: TrainingInput, *, source: RowSource, settings: dict[str, Any], collective: Collective
) -> tuple[Summary, Array]:
    """Return the summary of the rows of all hosts, and the first rows of the first host."""
    blocks = until_stopped(job, source, rows=settings["mini_batch_size"])
    block = next(blocks, None)
    rows = np.zeros((0, settings["feature_dim"])) if block is None else dense(block)
    # The hosts must sum around the same point. The first host has rows, or nobody has.
    reference = collective.from_leader(rows.mean(axis=0) if len(rows) else np.zeros(settings["feature_dim"]))
    summary = _summary(reference, settings=settings, seed=[job.seed, collective.rank])
    first = rows[:SELF_TEST_ROWS].copy()
    with np.errstate(over="ignore", invalid="ignore"):
        summary.add(rows)
        for block in blocks:
            summary.add(dense(block))
        summary.replace([collective.sum(part) for part in summary.sums()])
    return summary, first


def _report(job: TrainingInput, *, source: RowSource, model: PcaPredictor, settings: dict[str, Any]) -> None:
    kept, total = 0.0, 0.0
    for block in source.blocks(settings["mini_batch_size"]):
        rows = dense(block)
        kept += float((model.predict(rows).columns["projection"].astype(np.float64) ** 2).sum())
        total += float(((rows - model.saved.arrays["mean"]) ** 2).sum())
    job.report("explained_variance_ratio", channel="test", value=kept / total if total else 1.0)


def _summary(reference: Array, *, settings: dict[str, Any], seed: list[int]) -> Summary:
    width = settings["feature_dim"]
    if settings["algorithm_mode"] == "regular":
        return Covariance(width, reference=reference)
    extra = settings["extra_components"]
    size = settings["num_components"] + (max(10, settings["num_components"]) if extra == -1 else extra)
    return Sketch(width, size=size, reference=reference, rng=np.random.default_rng(seed))


def _finish(summary: Summary, *, rows: Array, settings: dict[str, Any]) -> tuple[PcaPredictor, float]:
    """Return the model and the share of the spread of `train` that it keeps."""
    if not all(np.isfinite(part).all() for part in summary.sums()):
        raise ClientError(
            "channel train: values are too large for their squares in 64-bit floating point; scale them down"
        )
    found = summary.components(settings["num_components"], subtract_mean=settings["subtract_mean"])
    facts = {"feature_dim": settings["feature_dim"], "num_components": settings["num_components"]}
    arrays = {
        # Weakest first: see PcaPredictor.
        "components": found.vectors[::-1],
        "singular_values": found.singular_values[::-1],
        "mean": summary.mean() if settings["subtract_mean"] else np.zeros(settings["feature_dim"]),
    }
    answer = PcaPredictor(SavedModel(facts, arrays, SelfTest(rows, {}))).predict(rows)
    return PcaPredictor(SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer))), found.share
