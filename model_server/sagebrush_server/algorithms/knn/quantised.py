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
    """Compares a row with the codes of the nearest lists: approximate Euclidean distances.

    `books` is parts×size×width, `codes` points×parts.
    """

    def __init__(self, lists: Lists, *, books: Array, codes: NDArray[np.uint8]) -> None:
        self._lists, self._books = lists, books
        self._codes = codes[lists.order]
        self._norms = np.einsum("ijk,ijk->ij", books, books)

    def search(self, rows: Array, *, k: int) -> Neighbours:
        """See `Index`."""
        parts, _, width = self._books.shape
        padded = np.zeros((len(rows), parts * width))
        padded[:, : rows.shape[1]] = rows
        starts = self._lists.starts.tolist()
        index, distance = np.zeros((len(rows), k), dtype=np.int64), np.full((len(rows), k), np.nan)
        for number, lists in enumerate(self._lists.near(padded, k=k)):
            spans = [slice(starts[one], starts[one + 1]) for one in lists.tolist()]
            among = np.concatenate([self._lists.order[span] for span in spans])
            squared = self._squared(padded[number], lists=lists, spans=spans)
            # By number where distances are equal.
            best = np.lexsort((among, squared))[:k]
            index[number], distance[number] = among[best], np.sqrt(np.maximum(squared[best], 0.0))
        return Neighbours(index, distance)

    def _squared(self, row: Array, *, lists: Integers, spans: list[slice]) -> Array:
        """Return the squared distances of one row to the coded points of some lists, one after the other."""
        parts, size, width = self._books.shape
        apart = (row - self._lists.centres[lists]).reshape(len(lists), parts, width).transpose(1, 0, 2)
        # parts×lists×size: ‖apart - book‖² for each part of each list's difference and each entry of the part's book.
        table = (-2.0 * apart) @ self._books.transpose(0, 2, 1)
        table += np.einsum("ijk,ijk->ij", apart, apart)[:, :, np.newaxis] + self._norms[:, np.newaxis, :]
        codes = np.concatenate([self._codes[span] for span in spans]).astype(np.int64)
        owner = np.repeat(np.arange(len(lists)), [span.stop - span.start for span in spans])
        codes += (owner * size)[:, np.newaxis] + np.arange(parts) * (len(lists) * size)
        return np.asarray(table.ravel()[codes].sum(axis=1))


def encode(rest: Array, *, books: Array) -> NDArray[np.uint8]:
    """Return n×parts codes of n×d differences from the lists' centres."""
    parts, _, width = books.shape
    codes = np.empty((len(rest), parts), dtype=np.uint8)
    for part in range(parts):
        nearest, _ = Points(books[part]).nearest(rest[:, part * width : (part + 1) * width])
        codes[:, part] = nearest
    return codes
