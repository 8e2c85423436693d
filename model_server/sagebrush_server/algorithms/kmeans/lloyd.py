"""Lloyd's method on weighted points that fit into memory, with random or k-means++ starts.

Sources: S. Lloyd, "Least squares quantization in PCM" (1982); D. Arthur and S. Vassilvitskii, "k-means++: the
advantages of careful seeding" (2007).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.nearest import Points

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Clustering:
    """k centres (k×d) and the weighted sum of squared distances of the points to their nearest centre."""

    centres: Array
    loss: float


def initial_centres(points: Array, *, weights: Array, count: int, method: str, rng: np.random.Generator) -> Array:
    """Choose `count` of the n points (n ≥ count), no point twice.

    `random`: with equal chances. `kmeans++`: each next one with a chance that grows with its weight and its squared
    distance to the nearest one chosen before.
    """
    if method == "random":
        return points[rng.choice(len(points), size=count, replace=False)]
    chosen = [int(rng.choice(len(points), p=weights / weights.sum()))]
    nearest = _squared_to(points, points[chosen[0]])
    while len(chosen) < count:
        chances = nearest * weights
        chances[chosen] = 0.0
        if not chances.sum() > 0:
            # All that is left lies on chosen points: any of it will do.
            chances = np.ones(len(points))
            chances[chosen] = 0.0
        chosen.append(int(rng.choice(len(points), p=chances / chances.sum())))
        nearest = np.minimum(nearest, _squared_to(points, points[chosen[-1]]))
    return points[chosen]


def lloyd(points: Array, *, weights: Array, start: Array, max_iterations: int, tolerance: float) -> Clustering:
    """Move centres to the mean of their points until the loss falls by less than `tolerance` of itself.

    A centre that no point is nearest to moves to the point that is worst off.
    """
    centres, previous = start, np.inf
    for _ in range(max_iterations):
        index, squared = Points(centres).nearest(points)
        loss = float(squared @ weights)
        if previous - loss <= tolerance * previous and np.isfinite(previous):
            break
        previous = loss
        centres = _means(points, weights=weights, index=index, squared=squared, centres=centres)
    _, squared = Points(centres).nearest(points)
    return Clustering(centres, float(squared @ weights))


def best_of(
    points: Array,
    *,
    weights: Array,
    count: int,
    method: str,
    trials: int,
    max_iterations: int,
    tolerance: float,
    rng: np.random.Generator,
) -> Clustering:
    """Run `lloyd` from `trials` starts and return the clustering with the smallest loss."""
    runs = (
        lloyd(
            points,
            weights=weights,
            start=initial_centres(points, weights=weights, count=count, method=method, rng=rng),
            max_iterations=max_iterations,
            tolerance=tolerance,
        )
        for _ in range(trials)
    )
    return min(runs, key=lambda run: run.loss)


def sums_by_centre(rows: Array, *, index: NDArray[np.int64], count: int) -> Array:
    """Return count×d sums of the rows that `index` gives to each centre."""
    order = np.argsort(index, kind="stable")
    owners, starts = np.unique(index[order], return_index=True)
    sums = np.zeros((count, rows.shape[1]))
    if len(owners):
        sums[owners] = np.add.reduceat(rows[order], starts, axis=0)
    return sums


def _means(points: Array, *, weights: Array, index: NDArray[np.int64], squared: Array, centres: Array) -> Array:
    count = len(centres)
    mass = np.bincount(index, weights=weights, minlength=count)
    sums = sums_by_centre(points * weights[:, np.newaxis], index=index, count=count)
    moved = np.divide(sums, mass[:, np.newaxis], out=centres.copy(), where=mass[:, np.newaxis] > 0)
    for place, worst in zip(np.flatnonzero(mass == 0), np.argsort(-squared * weights, kind="stable"), strict=False):
        moved[place] = points[worst]
    return moved


def _squared_to(points: Array, point: Array) -> Array:
    apart = points - point
    return np.asarray(np.einsum("ij,ij->i", apart, apart))
