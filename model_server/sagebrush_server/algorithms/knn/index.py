"""Which stored points are nearest to a row: all compared (Flat), or those of the nearest lists only (IVF).

Distances are what "smaller is nearer" asks for: L2 is the Euclidean distance, INNER_PRODUCT minus the inner product,
COSINE 1 minus the cosine. Equal distances are told apart by the order of the points, so that an answer is repeatable.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.nearest import CHUNK_VALUES, Points

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_SLACK: Final = 1e-9
"""How much (relative to the values' size) a matrix product may be wrong by, generously."""
_CENTRING_SLACK: Final = 1e-12
"""The same for a difference."""


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
    """One of SageMaker's `index_metric`s over m points: quick distances to many, exact ones to a few.

    A quick value is `bias + table · (x - middle)`: it orders points as the distances do. For L2 it is the squared distance
    but for ‖x - middle‖², taken around the points' mean so that data far from 0 loses no digits.
    """

    def __init__(self, name: str, *, points: Array) -> None:
        self.name = name
        self.points = _unit(points) if name == "COSINE" else points
        if name == "L2":
            self.middle = self.points.mean(axis=0)
            centred = self.points - self.middle
            self.table, self.bias = -2.0 * centred, np.einsum("ij,ij->i", centred, centred)
        else:
            self.middle = np.zeros(points.shape[1])
            self.table, self.bias = -self.points, np.zeros(len(points))
        self._largest = float(_lengths(self.points).max())
        self._farthest = float(_lengths(self.points - self.middle).max())

    def prepare(self, rows: Array) -> Array:
        """Bring rows to the form that the distances below take."""
        return _unit(rows) if self.name == "COSINE" else rows

    def slack(self, rows: Array) -> Array:
        """Return by how much a quick value of each row may be wrong: in the product, and by taking the middle away."""
        apart = _lengths(rows - self.middle) + self._farthest
        return np.asarray(apart * (_SLACK * apart + _CENTRING_SLACK * (_lengths(rows) + self._largest)))

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
        metric = self._metric
        rows = metric.prepare(rows)
        index, distance = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        step = max(1, CHUNK_VALUES // len(metric.points))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            quick = (part - metric.middle) @ metric.table.T + metric.bias
            bounds = np.partition(quick, k - 1, axis=1)[:, k - 1] + 2 * metric.slack(part)
            for number, values in enumerate(quick):
                among = np.flatnonzero(values <= bounds[number])
                index[start + number], distance[start + number] = _nearest(metric, part[number], among=among, k=k)
        return Neighbours(index, distance)


class Lists:
    """Points in lists around centres (an inverted file): the ones worth a look are in the nearest lists.

    `order` holds the points' numbers list by list; list i is `order[starts[i]:starts[i + 1]]`. The square root of the
    number of lists (rounded up) are looked at, and more until k points were found.
    """

    def __init__(self, centres: Array, *, order: Integers, starts: Integers) -> None:
        self.centres, self.order, self.starts = centres, order, starts
        self._points = Points(centres)
        self._lengths = np.diff(starts)
        self._probes = int(np.ceil(np.sqrt(len(centres))))

    def near(self, rows: Array, *, k: int) -> list[Integers]:
        """Return, for each of n rows, the numbers of the lists to look at."""
        nearest = np.argsort(self._points.squared_distances(rows), axis=1, kind="stable")
        found = np.cumsum(self._lengths[nearest], axis=1)
        needed = np.maximum(self._probes, (found < k).sum(axis=1) + 1)
        return [lists[:count] for lists, count in zip(nearest, needed, strict=True)]


class ListIndex:
    """Compares with the points of the nearest lists."""

    def __init__(self, metric: Metric, *, lists: Lists) -> None:
        self._metric, self._lists = metric, lists
        # List by list, so that each is looked through where it lies.
        self._table, self._bias = metric.table[lists.order], metric.bias[lists.order]

    def search(self, rows: Array, *, k: int) -> Neighbours:
        """See `Index`."""
        metric, order, starts = self._metric, self._lists.order, self._lists.starts.tolist()
        rows = metric.prepare(rows)
        centred, slack = rows - metric.middle, metric.slack(rows)
        index, distance = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        for number, lists in enumerate(self._lists.near(rows, k=k)):
            spans = [slice(starts[one], starts[one + 1]) for one in lists.tolist()]
            quick = np.concatenate([self._table[span] @ centred[number] for span in spans])
            quick += np.concatenate([self._bias[span] for span in spans])
            bound = np.partition(quick, k - 1)[k - 1] + 2 * slack[number]
            among = np.concatenate([order[span] for span in spans])[quick <= bound]
            index[number], distance[number] = _nearest(metric, rows[number], among=np.sort(among), k=k)
        return Neighbours(index, distance)


def _nearest(metric: Metric, row: Array, *, among: Integers, k: int) -> tuple[Integers, Array]:
    """Return the k nearest of the points `among` (in rising order), nearest first. NaN for all where one is NaN."""
    if len(among) < k:
        return np.zeros(k, dtype=np.int64), np.full(k, np.nan)
    distance = metric.exact(row, among=among)
    best = np.argsort(distance, kind="stable")[:k]
    return among[best], distance[best]


def _lengths(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def _unit(rows: Array) -> Array:
    """Scale rows to length 1; a row of zeros stays, at distance 1 from everything."""
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
