"""Training k-means: centres from a sample, mini-batches that move them, Lloyd's method to bring them down to k.

Sources: "How K-Means Clustering Works" in the SageMaker developer guide; D. Sculley, "Web-scale k-means clustering" (2010).
"""

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.algorithms.kmeans import hyperparameters
from sagebrush_server.algorithms.kmeans.lloyd import best_of, initial_centres, sums_by_centre
from sagebrush_server.algorithms.kmeans.prediction import ALGORITHM, KMeansPredictor
from sagebrush_server.algorithms.nearest import Points
from sagebrush_server.algorithms.saved_arrays import SavedModel, SelfTest
from sagebrush_server.algorithms.training_rows import (
    SELF_TEST_ROWS,
    dense,
    in_step,
    open_channels,
    sample_together,
    stopped_anywhere,
    until_stopped,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import RowSource
from sagebrush_server.training.collective import Collective, together
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_AUTO_FACTOR: Final = 10
_AUTO_TRIALS: Final = 10


@dataclass
class Centres:
    """K centres that mini-batches move, each with the weight of the rows it has had."""

    places: Array
    weights: Array

    def move(self, rows: Array, *, half_life: int, collective: Collective) -> Array:
        """Take this host's n×d rows (n may be 0) and the other hosts' into account.

        A centre becomes the weighted mean of itself and its new rows. With a half-life the weights of all earlier rows
        halve for every `half_life` rows that come. Returned are the number of rows of all hosts and the sum of their
        squared distances to the nearest centres before that.
        """
        count = len(self.places)
        index, squared = Points(self.places).nearest(rows)
        if not np.isfinite(squared).all():
            raise ClientError(
                "channel train: values are too large for a distance in 64-bit floating point; scale them down"
            )
        counts = np.bincount(index, minlength=count).astype(np.float64)
        sums = sums_by_centre(rows, index=index, count=count)
        seen = collective.sum(np.array([float(len(rows)), float(squared.sum())]))
        counts, sums = collective.sum(counts), collective.sum(sums)
        if half_life:
            self.weights *= 0.5 ** (seen[0] / half_life)
        total = self.weights + counts
        moved = counts > 0
        self.places[moved] += (sums[moved] - counts[moved, np.newaxis] * self.places[moved]) / total[moved, np.newaxis]
        self.weights = total
        return seen


def train(job: TrainingInput) -> None:
    """Train on `train`, measure on `test` where given, and save the model.

    Several hosts add up what each mini-batch says of the centres, so that all have the same ones. After SIGTERM what is
    learned from the rows read so far is saved. Raises ClientError for what the user can mend.
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
        rng = np.random.default_rng([job.seed, collective.size])
        sample = _sample(job, source=sources["train"], settings=settings, rng=rng, collective=collective)
        centres = _start(sample, settings=settings, rng=rng, collective=collective)
        for epoch in range(1, settings["epochs"] + 1):
            if stopped_anywhere(job, collective=collective):
                break
            _run_epoch(
                job, source=sources["train"], centres=centres, settings=settings, epoch=epoch, collective=collective
            )
        stopped_anywhere(job, collective=collective)
    if not collective.leads:
        return
    model = _finish(_reduce(centres, settings=settings, rng=rng), rows=sample[:SELF_TEST_ROWS])
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("kmeans: model of %d centres saved", settings["k"])
    if "test" in sources and not job.stop.is_set():
        _report(job, channel="test", source=sources["test"], model=model, settings=settings)


def _sample(
    job: TrainingInput, *, source: RowSource, settings: dict[str, Any], rng: np.random.Generator, collective: Collective
) -> Array:
    """Draw the rows that the first centres are chosen from: a mini-batch's worth, more where K needs it."""
    count = settings["k"] * (1 if settings["extra_center_factor"] == AUTO else settings["extra_center_factor"])
    rows, seen = sample_together(
        job,
        source,
        size=max(settings["mini_batch_size"], count),
        rows=settings["mini_batch_size"],
        rng=np.random.default_rng([job.seed, collective.size, collective.rank]),
        collective=collective,
    )
    if len(rows) < count:
        factor = "" if count == settings["k"] else f" times extra_center_factor={settings['extra_center_factor']}"
        raise ClientError(
            f"hyperparameter k={settings['k']}{factor}: channel train has {seen} rows, fewer than centres"
        )
    return rows[rng.permutation(len(rows))]


def _start(sample: Array, *, settings: dict[str, Any], rng: np.random.Generator, collective: Collective) -> Centres:
    factor = settings["extra_center_factor"]
    if factor == AUTO:
        factor = max(1, min(_AUTO_FACTOR, len(sample) // settings["k"]))
    count = settings["k"] * factor
    _LOG.info("kmeans: %d centres, to be reduced to %d", count, settings["k"])
    places = initial_centres(sample, weights=np.ones(len(sample)), count=count, method=settings["init_method"], rng=rng)
    return Centres(collective.from_leader(places.copy()), np.zeros(count))


def _run_epoch(
    job: TrainingInput,
    *,
    source: RowSource,
    centres: Centres,
    settings: dict[str, Any],
    epoch: int,
    collective: Collective,
) -> None:
    seen = np.zeros(2)
    seed = int(np.random.SeedSequence((job.seed, epoch)).generate_state(1)[0])
    blocks = until_stopped(job, source, rows=settings["mini_batch_size"], seed=seed)
    nothing = np.zeros((0, settings["feature_dim"]))
    for block in in_step(blocks, collective=collective):
        rows = nothing if block is None else dense(block)
        seen = seen + centres.move(rows, half_life=settings["half_life_time_size"], collective=collective)
    _LOG.info("kmeans: epoch %d of %d, %d rows", epoch, settings["epochs"], seen[0])
    if collective.leads:
        job.report("msd", channel="train", value=float(seen[1] / seen[0]))
        job.report("ssd", channel="train", value=float(seen[1]))


def _reduce(centres: Centres, *, settings: dict[str, Any], rng: np.random.Generator) -> Array:
    """Bring K centres down to k by Lloyd's method on the centres, weighted by their rows."""
    count = settings["k"]
    if len(centres.places) == count:
        return centres.places
    trials = settings["local_lloyd_num_trials"]
    used = centres.weights > 0
    if used.sum() < count:
        used[:] = True
    best = best_of(
        centres.places[used],
        weights=np.maximum(centres.weights[used], np.finfo(np.float64).tiny),
        count=count,
        method=settings["local_lloyd_init_method"],
        trials=_AUTO_TRIALS if trials == AUTO else trials,
        max_iterations=settings["local_lloyd_max_iter"],
        tolerance=settings["local_lloyd_tol"],
        rng=rng,
    )
    return best.centres


def _finish(centres: Array, *, rows: Array) -> KMeansPredictor:
    facts = {"k": len(centres), "feature_dim": centres.shape[1]}
    arrays = {"centres": centres}
    nothing = SelfTest(rows, {})
    answer = KMeansPredictor(SavedModel(facts, arrays, nothing)).predict(rows)
    return KMeansPredictor(SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer)))


def _report(
    job: TrainingInput, *, channel: str, source: RowSource, model: KMeansPredictor, settings: dict[str, Any]
) -> None:
    total, count = 0.0, 0
    for block in source.blocks(settings["mini_batch_size"]):
        distances = model.predict(dense(block)).columns["distance_to_cluster"]
        total, count = total + float((distances.astype(np.float64) ** 2).sum()), count + len(block)
    values = {"msd": total / count, "ssd": total}
    for metric in settings["eval_metrics"]:
        job.report(metric, channel=channel, value=values[metric])
