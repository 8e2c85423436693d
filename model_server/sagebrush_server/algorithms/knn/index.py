"""Which stored points are nearest to a row: all compared (Flat), or those of the nearest lists only (IVF).

Distances are what "smaller is nearer" asks for: L2 is the Euclidean distance, INNER_PRODUCT minus the inner product,
COSINE 1 minus the cosine. Equal distances are told apart by the order of the points, so that an answer is repeatable.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.nearest import CHUNK_VALUES, Points

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_SLACK: Final = 1e-9
"""How much of a distance (relative to the values' size) a matrix product may be wrong by, generously."""


@dataclass(frozen=True)
class Neighbours:
    """For n rows the k nearest points (their numbers) and the distances to them, nearest first."""

    index: Integers
    distance: Array


class Index(Protocol):
    """Finds neighbours."""

    def search(self, rows: Array, *, k: int) -> Neighbours:
        """Return the k nearest points of n×d rows."""
        ...


class Metric:
    """One of SageMaker's `index_metric`s over m points: quick distances to all, exact ones to a few."""

    def __init__(self, name: str, *, points: Array) -> None:
        self.name = name
        self.points = _unit(points) if name == "COSINE" else points
        self._largest = float(np.sqrt(np.einsum("ij,ij->i", self.points, self.points).max()))

    def prepare(self, rows: Array) -> Array:
        """Bring rows to the form that the distances below take."""
        return _unit(rows) if self.name == "COSINE" else rows

    def quick(self, rows: Array) -> Array:
        """Return n×m values that order points as the distances do, but for rounding."""
        if self.name == "L2":
            return self._around.squared_distances(rows)
        return np.asarray(-(rows @ self.points.T))

    @cached_property
    def _around(self) -> Points:
        return Points(self.points)

    def slack(self, rows: Array) -> Array:
        """Return by how much a quick value of each row may be wrong."""
        size = np.sqrt(np.einsum("ij,ij->i", rows, rows)) + self._largest
        return np.asarray(_SLACK * (size**2))

    def exact(self, row: Array, *, among: Integers) -> Array:
        """Return the exact distances of one row to the points `among`."""
        points = self.points[among]
        if self.name == "L2":
            apart = points - row
            return np.asarray(np.sqrt((apart * apart).sum(axis=1)))
        products = (points * row).sum(axis=1)
        return np.asarray(1.0 - products if self.name == "COSINE" else -products)


class FlatIndex:
    """Compares with every point: exact."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def search(self, rows: Array, *, k: int) -> Neighbours:
        """See `Index`."""
        rows = self._metric.prepare(rows)
        index, distance = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        step = max(1, CHUNK_VALUES // len(self._metric.points))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            quick, slack = self._metric.quick(part), self._metric.slack(part)
            # NaN would sort last and make the row's distances finite by accident.
            bound = np.partition(quick, k - 1, axis=1)[:, k - 1] + 2 * slack
            for row, values in enumerate(quick):
                among = np.flatnonzero(values <= bound[row])
                index[start + row], distance[start + row] = _nearest(self._metric, part[row], among=among, k=k)
        return Neighbours(index, distance)


class Lists:
    """Points in lists around centres (an inverted file): the ones worth a look are in the nearest lists.

    `order` holds the points' numbers list by list; list i is `order[starts[i]:starts[i + 1]]`. The square root of the
    number of lists (rounded up) are looked at, and more until k points were found.
    """

    def __init__(self, centres: Array, *, order: Integers, starts: Integers) -> None:
        self._centres, self._order, self._starts = Points(centres), order, starts
        self._probes = int(np.ceil(np.sqrt(len(centres))))

    def near(self, row: Array, *, k: int) -> list[tuple[Array, Integers]]:
        """Return the centre and the points of each list to look at for a row of d values."""
        nearest = np.argsort(self._centres.squared_distances(row[np.newaxis])[0], kind="stable")
        found = np.cumsum(self._starts[nearest + 1] - self._starts[nearest])
        needed = max(self._probes, int(np.searchsorted(found, k)) + 1)
        return [
            (self._centres.points[one], self._order[self._starts[one] : self._starts[one + 1]])
            for one in nearest[:needed]
        ]


class ListIndex:
    """Compares with the points of the nearest lists."""

    def __init__(self, metric: Metric, *, lists: Lists) -> None:
        self._metric, self._lists = metric, lists

    def search(self, rows: Array, *, k: int) -> Neighbours:
        """See `Index`."""
        rows = self._metric.prepare(rows)
        index, distance = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        for number, row in enumerate(rows):
            among = np.sort(np.concatenate([points for _, points in self._lists.near(row, k=k)]))
            index[number], distance[number] = _nearest(self._metric, row, among=among, k=k)
        return Neighbours(index, distance)


def _nearest(metric: Metric, row: Array, *, among: Integers, k: int) -> tuple[Integers, Array]:
    """Return the k nearest of the points `among` (in rising order), nearest first. NaN for all where one is NaN."""
    if len(among) < k:
        return np.zeros(k, dtype=np.int64), np.full(k, np.nan)
    distance = metric.exact(row, among=among)
    best = np.argsort(distance, kind="stable")[:k]
    return among[best], distance[best]


def _unit(rows: Array) -> Array:
    """Scale rows to length 1; a row of zeros stays, at distance 1 from everything."""
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
