"""Training k-NN: a sample in one pass, its dimensions reduced where asked, and an index over it."""

import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.hyperparameters import AUTO
from sagebrush_server.algorithms.kmeans.lloyd import initial_centres, lloyd
from sagebrush_server.algorithms.knn import hyperparameters
from sagebrush_server.algorithms.knn.index import Metric
from sagebrush_server.algorithms.knn.prediction import ALGORITHM, NeighboursPredictor, reduction_of
from sagebrush_server.algorithms.knn.quantised import BOOK_SIZE, encode
from sagebrush_server.algorithms.knn.reduction import padded_width
from sagebrush_server.algorithms.nearest import Points
from sagebrush_server.algorithms.saved_arrays import AnyArray, SavedModel, SelfTest
from sagebrush_server.algorithms.training_rows import (
    SELF_TEST_ROWS,
    dense,
    open_channels,
    sample_together,
    stopped_anywhere,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.blocks import RowSource, labels_of
from sagebrush_server.training.collective import together
from sagebrush_server.training.job import TrainingInput

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]

_LIST_ROUNDS: Final = 20
"""Iterations of Lloyd's method for centres of lists and codebooks: good places matter, the best ones don't."""


def train(job: TrainingInput) -> None:
    """Sample `train`, measure on `test` where given, and save the index.

    In memory is the sample alone: sample_size rows, on every host. After SIGTERM the index of the rows read so far is
    saved. Raises ClientError for what the user can mend.
    """
    settings = hyperparameters.read(job.hyperparameters)
    with together(job) as collective:
        sources = open_channels(
            job,
            algorithm=ALGORITHM,
            labelled={"train": True, "test": True},
            feature_dim=None if settings["feature_dim"] == AUTO else settings["feature_dim"],
            collective=collective,
        )
        sample, seen = sample_together(
            job,
            sources["train"],
            size=settings["sample_size"],
            rows=settings["mini_batch_size"],
            rng=np.random.default_rng([job.seed, collective.size, collective.rank]),
            collective=collective,
            with_labels=True,
        )
        stopped_anywhere(job, collective=collective)
    if not collective.leads:
        return
    if len(sample) < settings["k"]:
        raise ClientError(f"hyperparameter k={settings['k']}: channel train has only {seen} rows")
    _LOG.info("knn: %d of %d rows kept", len(sample), seen)
    points, targets = np.ascontiguousarray(sample[:, 1:]), sample[:, 0].copy()
    model = build(points, labels=targets, settings=settings, rng=np.random.default_rng(job.seed))
    model.saved.save(job.model_folder, algorithm=ALGORITHM)
    _LOG.info("knn: model of %d points saved", len(points))
    if "test" in sources and not job.stop.is_set():
        _report(job, source=sources["test"], model=model, settings=settings)


def build(points: Array, *, labels: Array, settings: dict[str, Any], rng: np.random.Generator) -> NeighboursPredictor:
    """Make a model of n labelled points. Raises ClientError."""
    if not np.isfinite(np.einsum("ij,ij->i", points, points)).all():
        raise ClientError(
            "channel train: values are too large for a distance in 64-bit floating point; scale them down"
        )
    facts: dict[str, Any] = {
        "feature_dim": points.shape[1],
        "points": len(points),
        "dimension_reduction_type": settings["dimension_reduction_type"] or "none",
        "dimension_reduction_target": settings["dimension_reduction_target"],
        **{name: settings[name] for name in ("k", "predictor_type", "index_type", "index_metric")},
    }
    arrays: dict[str, AnyArray] = {"labels": labels, **_projection(points.shape[1], settings=settings, rng=rng)}
    rows = points[:SELF_TEST_ROWS].copy()
    reduced = reduction_of(SavedModel(facts, arrays, SelfTest(rows, {})))(points)
    facts["index_width"] = reduced.shape[1]
    more_facts, more_arrays = _index(reduced, settings=settings, rng=rng)
    facts |= more_facts
    arrays |= more_arrays
    answer = NeighboursPredictor(SavedModel(facts, arrays, SelfTest(rows, {}))).predict(rows)
    return NeighboursPredictor(SavedModel(facts, arrays, SelfTest.of(rows, predictions=answer)))


def _projection(width: int, *, settings: dict[str, Any], rng: np.random.Generator) -> dict[str, AnyArray]:
    kind, target = settings["dimension_reduction_type"], settings["dimension_reduction_target"]
    if kind is None:
        return {}
    if target >= width:
        raise ClientError(f"hyperparameter dimension_reduction_target={target}: it must be below the {width} features")
    if kind == "sign":
        return {"signs": _signs((width, target), rng=rng)}
    chosen = rng.choice(padded_width(width), size=target, replace=False)
    return {"signs": _signs((width,), rng=rng), "chosen": np.sort(chosen).astype(np.int64)}


def _signs(shape: tuple[int, ...], *, rng: np.random.Generator) -> Array:
    return np.asarray(rng.integers(0, 2, size=shape) * 2.0 - 1.0)


def _index(
    points: Array, *, settings: dict[str, Any], rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Return the facts and arrays of the index that `index_type` asks for."""
    kind = settings["index_type"]
    if kind == "faiss.Flat":
        return {}, {"index_points": points}
    parts = settings["faiss_index_pq_m"] if kind == "faiss.IVFPQ" else 1
    places = np.pad(Metric(settings["index_metric"], points=points).points, ((0, 0), (0, -points.shape[1] % parts)))
    count = settings["faiss_index_ivf_nlists"]
    count = max(1, round(np.sqrt(len(points)))) if count == AUTO else count
    if count > len(points):
        raise ClientError(
            f"hyperparameter faiss_index_ivf_nlists={count}: it must not be above the {len(points)} points of the sample"
        )
    centres = _centres(places, count=count, rng=rng)
    owner, _ = Points(centres).nearest(places)
    facts: dict[str, Any] = {"lists": count}
    arrays: dict[str, AnyArray] = {
        "centres": centres,
        "order": np.argsort(owner, kind="stable").astype(np.int64),
        "starts": np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=count)))).astype(np.int64),
    }
    if kind == "faiss.IVFFlat":
        return facts, {**arrays, "index_points": points}
    rest = places - centres[owner]
    books = np.stack(
        [_centres(part, count=min(BOOK_SIZE, len(points)), rng=rng) for part in np.split(rest, parts, axis=1)]
    )
    return {**facts, "faiss_index_pq_m": parts}, {**arrays, "codebooks": books, "codes": encode(rest, books=books)}


def _centres(points: Array, *, count: int, rng: np.random.Generator) -> Array:
    weights = np.ones(len(points))
    start = initial_centres(points, weights=weights, count=count, method="random", rng=rng)
    return lloyd(points, weights=weights, start=start, max_iterations=_LIST_ROUNDS, tolerance=1e-4).centres


def _report(job: TrainingInput, *, source: RowSource, model: NeighboursPredictor, settings: dict[str, Any]) -> None:
    total, count = 0.0, 0
    classifier = settings["predictor_type"] == "classifier"
    for block in source.blocks(settings["mini_batch_size"]):
        predicted, truth = model.predict(dense(block)).columns["predicted_label"], labels_of(block)
        total += float(
            np.sum(predicted == truth) if classifier else np.sum((predicted.astype(np.float64) - truth) ** 2)
        )
        count += len(block)
    job.report("accuracy" if classifier else "mse", channel="test", value=total / count)
