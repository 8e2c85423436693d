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
    refuse_several_hosts,
    until_stopped,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]


def train(job: TrainingInput) -> None:
    """Train on `train`, measure what the projection loses on `test` where given, and save the model.

    After SIGTERM the components of the rows read so far are saved. Raises ClientError for what the user can mend.
    """
    refuse_several_hosts(job, algorithm=ALGORITHM)
    settings = hyperparameters.read(job.hyperparameters)
    sources = open_channels(
        job, algorithm=ALGORITHM, labelled={"train": False, "test": False}, feature_dim=settings["feature_dim"]
    )
    summary: Summary | None = None
    first = np.zeros((0, settings["feature_dim"]))
    for block in until_stopped(job, sources["train"], rows=settings["mini_batch_size"]):
        rows = dense(block)
        if summary is None:
            first = rows[:SELF_TEST_ROWS].copy()
            summary = _summary(rows, settings=settings, seed=job.seed)
        with np.errstate(over="ignore", invalid="ignore"):
            summary.add(rows)
    if summary is None:
        raise AssertionError("a channel has at least one block")
    model = _finish(summary, rows=first, settings=settings)
    for channel, source in sources.items():
        # The share of the rows' spread that the components keep; SageMaker's algorithm reports none.
        kept, total = 0.0, 0.0
        for block in source.blocks(settings["mini_batch_size"]):
            rows = dense(block)
            kept += float((model.predict(rows).columns["projection"].astype(np.float64) ** 2).sum())
            total += float(((rows - model.saved.arrays["mean"]) ** 2).sum())
        job.report("explained_variance_ratio", channel=channel, value=kept / total if total else 1.0)
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("pca: model of %d components saved", settings["num_components"])


def _summary(rows: Array, *, settings: dict[str, Any], seed: int) -> Summary:
    width, reference = settings["feature_dim"], rows.mean(axis=0)
    if settings["algorithm_mode"] == "regular":
        return Covariance(width, reference=reference)
    extra = settings["extra_components"]
    size = settings["num_components"] + (max(10, settings["num_components"]) if extra == -1 else extra)
    return Sketch(width, size=size, reference=reference, rng=np.random.default_rng(seed))


def _finish(summary: Summary, *, rows: Array, settings: dict[str, Any]) -> PcaPredictor:
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
    return PcaPredictor(SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer)))
