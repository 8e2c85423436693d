"""Points in lists of which only a short code is kept: product quantisation of what a point differs from its list's centre.

Source: H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search" (2011). A code has one byte for
each part of the vector: the number of the nearest of up to 256 stored parts (the part's codebook).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.knn.index import Integers, Lists, Neighbours
from sagebrush_server.algorithms.nearest import Points

Array = NDArray[np.float64]

BOOK_SIZE: Final = 256


class QuantisedIndex:
    """Compares a row with the codes of the nearest lists: approximate Euclidean distances."""

    def __init__(self, lists: Lists, *, books: Array, codes: NDArray[np.uint8]) -> None:
        self._lists, self._books, self._codes = lists, books, codes

    def search(self, rows: Array, *, k: int) -> Neighbours:
        """See `Index`."""
        width = self._books.shape[0] * self._books.shape[2]
        padded = np.zeros((len(rows), width))
        padded[:, : rows.shape[1]] = rows
        index, distance = np.zeros((len(rows), k), dtype=np.int64), np.full((len(rows), k), np.nan)
        for number, row in enumerate(padded):
            members = self._lists.near(row, k=k)
            among = np.concatenate([points for _, points in members])
            squared = np.concatenate([self._squared(row, centre=centre, among=points) for centre, points in members])
            # By number where distances are equal.
            best = np.lexsort((among, squared))[:k]
            index[number], distance[number] = among[best], np.sqrt(squared[best])
        return Neighbours(index, distance)

    def _squared(self, row: Array, *, centre: Array, among: Integers) -> Array:
        apart = (row - centre).reshape(self._books.shape[0], 1, -1) - self._books
        table = np.einsum("ijk,ijk->ij", apart, apart)
        return np.asarray(table[np.arange(len(table)), self._codes[among]].sum(axis=1))


def encode(rest: Array, *, books: Array) -> NDArray[np.uint8]:
    """Return n×parts codes of n×d differences from the lists' centres."""
    parts, _, width = books.shape
    codes = np.empty((len(rest), parts), dtype=np.uint8)
    for part in range(parts):
        nearest, _ = Points(books[part]).nearest(rest[:, part * width : (part + 1) * width])
        codes[:, part] = nearest
    return codes
