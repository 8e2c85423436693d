"""What PCA keeps of the rows it has seen: sums of a size that doesn't grow with the data, and can be added over hosts.

Source of both: "How PCA Works" in the SageMaker developer guide. The sums are taken around a reference point (the mean of
the first rows), which changes nothing in the result but keeps digits where the data lies far from 0.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """The `count` strongest directions, strongest first: `vectors` (count×d, orthonormal), and their singular values.

    `share` is the part of the rows' squared lengths (around the mean, where that is subtracted) that lies along them.
    """

    vectors: Array
    singular_values: Array
    share: float


class Summary(Protocol):
    """Takes rows in, gives components out."""

    def add(self, rows: Array) -> None:
        """Take n×d rows into account."""
        ...

    def sums(self) -> list[Array]:
        """Return arrays that may be replaced by their sums over all hosts."""
        ...

    def replace(self, sums: list[Array]) -> None:
        """Put the sums over all hosts in the place of this host's."""
        ...

    def mean(self) -> Array:
        """Return the mean of all rows (d values)."""
        ...

    def components(self, count: int, *, subtract_mean: bool) -> Components:
        """Return the `count` strongest directions."""
        ...


class Covariance:
    """Mode `regular`: Σx and Σxᵀx, d×d values; exact."""

    def __init__(self, width: int, *, reference: Array) -> None:
        self._reference = reference
        self._rows = np.zeros(1)
        self._sum = np.zeros(width)
        self._products = np.zeros((width, width))

    def add(self, rows: Array) -> None:
        """See `Summary`."""
        shifted = rows - self._reference
        self._rows += len(rows)
        self._sum += shifted.sum(axis=0)
        self._products += shifted.T @ shifted

    def sums(self) -> list[Array]:
        """See `Summary`."""
        return [self._rows, self._sum, self._products]

    def replace(self, sums: list[Array]) -> None:
        """See `Summary`."""
        self._rows, self._sum, self._products = sums

    def mean(self) -> Array:
        """See `Summary`."""
        return np.asarray(self._sum / self._rows + self._reference)

    def components(self, count: int, *, subtract_mean: bool) -> Components:
        """Take the eigenvectors of the scatter matrix (the covariance times n)."""
        centre = self._sum / self._rows
        scatter = self._products - self._rows * np.outer(centre, centre)
        if not subtract_mean:
            mean = self.mean()
            scatter += self._rows * np.outer(mean, mean)
        values, vectors = np.linalg.eigh(scatter)
        strongest = np.argsort(-values, kind="stable")[:count]
        squares = np.maximum(values[strongest], 0.0)
        return Components(_signed(vectors[:, strongest].T), np.sqrt(squares), _share(squares, of=np.trace(scatter)))


class Sketch:
    """Mode `randomized`: ΣHX with a random sign matrix H (l×n) for every mini-batch X, l×d values; an approximation."""

    def __init__(self, width: int, *, size: int, reference: Array, rng: np.random.Generator) -> None:
        self._reference, self._rng, self._size = reference, rng, size
        self._rows = np.zeros(1)
        self._sum = np.zeros(width)
        self._squares = np.zeros(1)
        self._signs = np.zeros(size)
        self._sketch = np.zeros((size, width))

    def add(self, rows: Array) -> None:
        """See `Summary`."""
        shifted = rows - self._reference
        signs = self._rng.integers(0, 2, size=(self._size, len(rows))) * 2.0 - 1.0
        self._rows += len(rows)
        self._sum += shifted.sum(axis=0)
        self._squares += np.einsum("ij,ij->", shifted, shifted)
        self._signs += signs.sum(axis=1)
        self._sketch += signs @ shifted

    def sums(self) -> list[Array]:
        """See `Summary`."""
        return [self._rows, self._sum, self._squares, self._signs, self._sketch]

    def replace(self, sums: list[Array]) -> None:
        """See `Summary`."""
        self._rows, self._sum, self._squares, self._signs, self._sketch = sums

    def mean(self) -> Array:
        """See `Summary`."""
        return np.asarray(self._sum / self._rows + self._reference)

    def components(self, count: int, *, subtract_mean: bool) -> Components:
        """Take the right singular vectors of the sketch. Its values are √l times as large as those of the rows."""
        offset = self._sum / self._rows if subtract_mean else -self._reference
        sketch = self._sketch - np.outer(self._signs, offset)
        _, values, vectors = np.linalg.svd(sketch, full_matrices=False)
        singular = values[:count] / np.sqrt(self._size)
        # Σ‖x - offset‖² from Σ‖x‖², Σx and n, all around the reference.
        total = self._squares - 2 * (self._sum @ offset) + self._rows * (offset @ offset)
        return Components(_signed(vectors[:count]), singular, _share(singular**2, of=total[0]))


def _share(squares: Array, *, of: float) -> float:
    return min(float(squares.sum() / of), 1.0) if of > 0 else 1.0


def _signed(vectors: Array) -> Array:
    """Turn each direction so that its entry of the largest size is positive: both ways are right, one is repeatable."""
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return np.asarray(vectors * np.where(signs == 0, 1.0, signs)[:, np.newaxis])
