"""Distances from rows to points, by a matrix product: what k-means and k-NN share."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CHUNK_VALUES: Final = 1 << 21
"""Distances that are held at once (16 MiB of float64)."""


class Points:
    """m points of d values, made ready to be compared with rows.

    Squared distances come from ‖x‖² - 2x·p + ‖p‖² around the points' mean, so that data far from 0 loses no digits.
    """

    def __init__(self, points: Array) -> None:
        self.points = points
        self._middle = points.mean(axis=0)
        centred = points - self._middle
        self._centred = np.ascontiguousarray(centred.T)
        self._norms = np.einsum("ij,ij->i", centred, centred)

    def __len__(self) -> int:
        """Return m."""
        return len(self.points)

    def squared_distances(self, rows: Array) -> Array:
        """Return n×m squared distances, of which rounding alone may make a 0 slightly negative or positive."""
        centred = rows - self._middle
        distances = centred @ self._centred
        distances *= -2.0
        distances += np.einsum("ij,ij->i", centred, centred)[:, np.newaxis]
        distances += self._norms
        return np.asarray(distances)

    def nearest(self, rows: Array) -> tuple[NDArray[np.int64], Array]:
        """Return, for n rows, the index of the nearest point (the first of equals) and the squared distance to it.

        Infinite or NaN where a row is too large for that.
        """
        index = np.empty(len(rows), dtype=np.int64)
        squared = np.empty(len(rows))
        step = max(1, CHUNK_VALUES // max(len(self), rows.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                chosen = self.squared_distances(part).argmin(axis=1)
                index[start : start + step] = chosen
                # By difference: exact where a row is a point.
                apart = part - self.points[chosen]
                squared[start : start + step] = np.einsum("ij,ij->i", apart, apart)
        return index, squared
