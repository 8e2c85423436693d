"""The sum that a factorization machine is, of dense rows and of sparse ones.

Source: S. Rendle, "Factorization machines" (2010): y = bias + Σ linear_i x_i + Σ_{i<j} (factors_i · factors_j) x_i x_j,
where the last sum is ½ Σ_f ((Σ_i factors_if x_i)² - Σ_i factors_if² x_i²), linear in the number of values.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows

Array = NDArray[np.float64]

_CHUNK_VALUES: Final = 1 << 21
"""Products that are held at once (16 MiB of float64)."""


class Machine:
    """`bias`, `linear` (d values) and `factors` (d×k), made ready to be asked."""

    def __init__(self, *, bias: float, linear: Array, factors: Array) -> None:
        self._bias, self._linear, self._factors = bias, linear, factors
        self._norms = np.einsum("ij,ij->i", factors, factors)

    def outputs(self, rows: Array | SparseRows) -> Array:
        """Return y for n rows, infinite or NaN where values are too large."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._sparse(rows) if isinstance(rows, SparseRows) else self._dense(rows)

    def _dense(self, rows: Array) -> Array:
        sums = rows @ self._factors
        pairs = 0.5 * (np.einsum("ij,ij->i", sums, sums) - (rows * rows) @ self._norms)
        return np.asarray(self._bias + rows @ self._linear + pairs)

    def _sparse(self, rows: SparseRows) -> Array:
        count = len(rows)
        owner = np.repeat(np.arange(count), np.diff(rows.indptr))
        own = rows.values * self._linear[rows.indices] - 0.5 * rows.values**2 * self._norms[rows.indices]
        outputs = self._bias + np.bincount(owner, weights=own, minlength=count)
        # Rows in groups, so that few products are held at once; a row is never split.
        step = max(1, _CHUNK_VALUES // self._factors.shape[1])
        start = 0
        while start < count:
            end = max(start + 1, int(np.searchsorted(rows.indptr, rows.indptr[start] + step, side="right")) - 1)
            outputs[start:end] += 0.5 * self._squared_sums(rows, start=start, end=end)
            start = end
        return np.asarray(outputs)

    def _squared_sums(self, rows: SparseRows, *, start: int, end: int) -> Array:
        first, last = int(rows.indptr[start]), int(rows.indptr[end])
        squared = np.zeros(end - start)
        lengths = np.diff(rows.indptr[start : end + 1])
        filled = np.flatnonzero(lengths)
        if len(filled):
            products = self._factors[rows.indices[first:last]] * rows.values[first:last, np.newaxis]
            sums = np.add.reduceat(products, rows.indptr[start:end][filled] - first, axis=0)
            squared[filled] = np.einsum("ij,ij->i", sums, sums)
        return squared


def logistic(outputs: Array) -> Array:
    """Return 1 / (1 + exp(-y)), NaN and infinities left as they are."""
    with np.errstate(over="ignore"):
        # exp(-y) overflows to infinity for a very sure 0, which gives exactly 0.
        return np.where(np.isfinite(outputs), 1.0 / (1.0 + np.exp(-outputs)), outputs)
