"""Fewer dimensions by a random projection that keeps distances and inner products, up to some noise.

Sources: D. Achlioptas, "Database-friendly random projections" (2003) for `sign`; N. Ailon and B. Chazelle, "The fast
Johnson-Lindenstrauss transform" (2009), here as the subsampled randomised Hadamard transform, for `fjlt`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Reduction(Protocol):
    """Turns n×d rows into n×target rows."""

    def __call__(self, rows: Array) -> Array:
        """Project."""
        ...


def unchanged(rows: Array) -> Array:
    """Leave the rows as they are."""
    return rows


class SignProjection:
    """x ↦ x·S / √target with the d×target matrix S of random signs."""

    def __init__(self, signs: Array) -> None:
        self.signs = signs
        self._scale = 1.0 / np.sqrt(signs.shape[1])

    def __call__(self, rows: Array) -> Array:
        """Project."""
        return np.asarray((rows @ self.signs) * self._scale)


class HadamardProjection:
    """x ↦ some coordinates of the Hadamard transform of x with random signs, in d log d steps.

    `signs` has d values, `chosen` the target coordinates among those of the next power of 2.
    """

    def __init__(self, signs: Array, *, chosen: NDArray[np.int64]) -> None:
        self.signs, self.chosen = signs, chosen
        self._padded = padded_width(len(signs))
        # The transform stretches a vector by √padded; choosing target of padded coordinates shrinks it again.
        self._scale = 1.0 / np.sqrt(len(chosen))

    def __call__(self, rows: Array) -> Array:
        """Project."""
        values = np.zeros((len(rows), self._padded))
        values[:, : len(self.signs)] = rows * self.signs
        half = 1
        while half < self._padded:
            pairs = values.reshape(len(rows), -1, 2, half)
            left, right = pairs[:, :, 0, :], pairs[:, :, 1, :]
            values = np.stack((left + right, left - right), axis=2).reshape(len(rows), self._padded)
            half *= 2
        return np.asarray(values[:, self.chosen] * self._scale)


def padded_width(width: int) -> int:
    """Return the smallest power of 2 that is at least `width`."""
    return 1 << (width - 1).bit_length()
