"""Training a random cut forest: a sample in one pass, dealt out to the trees."""

import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.random_cut_forest import hyperparameters
from sagebrush_server.algorithms.random_cut_forest.forest import Forest, grow
from sagebrush_server.algorithms.random_cut_forest.prediction import ALGORITHM, ForestPredictor
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest
from sagebrush_server.algorithms.training_rows import (
    SELF_TEST_ROWS,
    dense,
    open_channels,
    sample_together,
    stopped_anywhere,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import Block, RowSource, labels_of
from sagebrush_server.training.collective import together
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_DEVIATIONS: Final = 3.0
"""A score that is so many standard deviations above the mean is called an anomaly ("Random Cut Forest Algorithm")."""


def train(job: TrainingInput) -> None:
    """Train on `train`, measure on the labelled `test` where given, and save the model.

    In memory is the sample alone: num_trees × num_samples_per_tree rows, on every host. After SIGTERM the forest of the
    rows read so far is saved. Raises ClientError for what the user can mend.
    """
    settings = hyperparameters.read(job.hyperparameters)
    with together(job) as collective:
        sources = open_channels(
            job,
            algorithm=ALGORITHM,
            labelled={"train": False, "test": True},
            feature_dim=settings["feature_dim"],
            collective=collective,
        )
        if "test" in sources:
            _check_labels(sources["test"])
        sample, seen = sample_together(
            job,
            sources["train"],
            size=settings["num_trees"] * settings["num_samples_per_tree"],
            rows=settings["mini_batch_size"],
            rng=np.random.default_rng([job.seed, collective.size, collective.rank]),
            collective=collective,
        )
        stopped_anywhere(job, collective=collective)
    if not collective.leads:
        return
    rng = np.random.default_rng(job.seed)
    samples = deal(sample, trees=settings["num_trees"], size=settings["num_samples_per_tree"], rng=rng)
    _LOG.info("random-cut-forest: %d trees of %d of %d rows", len(samples), len(samples[0]), seen)
    model = _finish(grow(samples, rng=rng), rows=sample[:SELF_TEST_ROWS])
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("random-cut-forest: model of %d nodes saved", model.saved.facts["nodes"])
    if "test" in sources and not job.stop.is_set():
        _report(job, source=sources["test"], model=model, settings=settings)


def deal(rows: Array, *, trees: int, size: int, rng: np.random.Generator) -> list[Array]:
    """Give each tree `size` rows: no row to two trees where there are enough, else as many as there are, at random."""
    if len(rows) >= trees * size:
        order = rng.permutation(len(rows))[: trees * size].reshape(trees, size)
        return [rows[part] for part in order]
    count = min(size, len(rows))
    return [rows[rng.choice(len(rows), size=count, replace=False)] for _ in range(trees)]


def _finish(forest: Forest, *, rows: Array) -> ForestPredictor:
    facts = {"feature_dim": rows.shape[1], "num_trees": len(forest.sizes), "nodes": len(forest.left)}
    names = ("low", "high", "dimension", "cut", "left", "mass", "sizes")
    arrays = {name: getattr(forest, name) for name in names}
    answer = ForestPredictor(SavedModel(facts, arrays, SelfTest(rows, {}))).predict(rows)
    return ForestPredictor(SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer)))


def _check_labels(source: RowSource) -> None:
    def wrong(block: Block) -> NDArray[np.bool_]:
        return ~np.isin(labels_of(block), (0.0, 1.0))

    place = source.find(wrong)
    if place is not None:
        raise ClientError(f"channel test: {place}: the label must be 1 for an anomaly or 0 for a normal row")


def _report(job: TrainingInput, *, source: RowSource, model: ForestPredictor, settings: dict[str, Any]) -> None:
    """Call anomalous what scores 3 standard deviations above the mean of `test`, and compare with the labels.

    A score and a label for each row of `test` are held in memory.
    """
    scores, truth = [], []
    for block in source.blocks(settings["mini_batch_size"]):
        scores.append(model.predict(dense(block)).columns["score"].astype(np.float64))
        truth.append(labels_of(block) == 1)
    score, anomalous = np.concatenate(scores), np.concatenate(truth)
    called = score > score.mean() + _DEVIATIONS * score.std()
    if "accuracy" in settings["eval_metrics"]:
        job.report("accuracy", channel="test", value=float(np.mean(called == anomalous)))
    if "precision_recall_fscore" in settings["eval_metrics"]:
        for name, value in quality(called, truth=anomalous).items():
            job.report(name, channel="test", value=value)


def quality(called: NDArray[np.bool_], *, truth: NDArray[np.bool_]) -> dict[str, float]:
    """Return precision, recall and F1 of the anomalies, and with `negative_` of the normal rows."""
    values = {}
    for prefix, said, true in (("", called, truth), ("negative_", ~called, ~truth)):
        hits = float(np.sum(said & true))
        precision = hits / max(float(said.sum()), 1.0)
        recall = hits / max(float(true.sum()), 1.0)
        values[f"{prefix}precision"] = precision
        values[f"{prefix}recall"] = recall
        values[f"{prefix}f1"] = 2 * precision * recall / (precision + recall) if hits else 0.0
    return values
