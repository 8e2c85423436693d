"""Ensembles of decision trees as flat arrays: all trees are walked at once, with numpy alone.

Two ways give the same leaves. Where no tree has more than 64 leaves (boosting): every node is compared at once, each
comparison rules out leaves of its tree by a mask of bits, and the first leaf left is the answer (the idea of QuickScorer,
Lucchese et al., SIGIR 2015). Else (forests): one step down all trees at a time. A library pays for each tree
by itself: scikit-learn 730 µs for a row and 100 trees, this 17 µs; for 32 rows 900 µs and 270 µs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import RowError

_MASK_LEAVES: Final = 64
_MASKS: Final = (np.uint8, np.uint16, np.uint32, np.uint64)
_CELLS: Final = 1 << 18
"""Comparisons made at once: rows are taken in pieces, so that the arrays between stay in the CPU's cache."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. Node i goes left where `row[feature[i]] <= threshold[i]`; a leaf has `left[i] == -1`, and `value[i]` (k)."""

    feature: NDArray[np.integer]
    threshold: NDArray[np.floating]
    left: NDArray[np.integer]
    right: NDArray[np.integer]
    value: NDArray[np.floating]


class Forest:
    """Trees over rows of one dtype (that in which the library compares)."""

    def __init__(self, trees: Sequence[Tree], *, dtype: type[np.floating]) -> None:
        self._dtype = dtype
        self._trees = len(trees)
        self.leaves: _Masks | _Steps = (
            _Masks(trees) if all((tree.left < 0).sum() <= _MASK_LEAVES for tree in trees) else _Steps(trees)
        )

    def values(self, rows: NDArray[np.float64]) -> NDArray[np.floating]:
        """Return n×trees×k: the value of the leaf where each row ends in each tree."""
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(rows, dtype=self._dtype)
        if data is not rows and not np.isfinite(data).all():
            row = int(np.argmin(np.isfinite(data).all(axis=1)))
            raise RowError(f"a value is too large for the model, which compares in {data.dtype}", row=row)
        piece = max(1, _CELLS // max(1, self.leaves.width))
        if len(data) <= piece:
            return self.leaves.values(data)
        parts = [self.leaves.values(data[start : start + piece]) for start in range(0, len(data), piece)]
        return np.concatenate(parts)


class _Masks:
    """At most 64 leaves a tree."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        feature: list[int] = []
        threshold: list[float] = []
        dead: list[int] = []
        starts: list[int] = []
        leaves = np.zeros((len(trees), _MASK_LEAVES, trees[0].value.shape[1]), dtype=trees[0].value.dtype)
        for number, tree in enumerate(trees):
            starts.append(len(feature))
            order: list[int] = []
            self._walk(tree, order=order, feature=feature, threshold=threshold, dead=dead)
            if len(order) == 1:  # no node: one that never rules anything out
                feature.append(0)
                threshold.append(np.inf)
                dead.append(0)
            leaves[number, : len(order)] = tree.value[order]
        self.width = len(feature)
        self._feature = np.array(feature, dtype=np.intp)
        self._threshold = np.array(threshold, dtype=trees[0].threshold.dtype)
        # The fewer bits the less memory is moved; the highest number of leaves says how many are needed.
        kind = next(kind for kind in _MASKS if max(dead).bit_length() < np.iinfo(kind).bits)
        self._dead = np.array(dead, dtype=kind)
        self._one = kind(1)
        self._starts = np.array(starts, dtype=np.intp)
        self._leaves = leaves.reshape(-1, leaves.shape[2])
        self._offsets = np.arange(len(trees)) * _MASK_LEAVES - 1  # frexp's exponent of a bit is its number plus 1

    @staticmethod
    def _walk(tree: Tree, *, order: list[int], feature: list[int], threshold: list[float], dead: list[int]) -> None:
        """Number the leaves from left to right; a node that goes right rules out the leaves on its left."""
        todo = [0]  # nodes to visit; -1 where the left side of the last pending node is done
        pending: list[tuple[int, int]] = []
        while todo:
            node = todo.pop()
            if node < 0:
                position, first = pending.pop()
                dead[position] = (1 << len(order)) - (1 << first)
            elif tree.left[node] < 0:
                order.append(node)
            else:
                pending.append((len(feature), len(order)))
                feature.append(int(tree.feature[node]))
                threshold.append(float(tree.threshold[node]))
                dead.append(0)
                todo += [int(tree.right[node]), -1, int(tree.left[node])]

    def values(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        right = rows.take(self._feature, axis=1) > self._threshold
        dead = np.bitwise_or.reduceat(right * self._dead, self._starts, axis=1)
        first_alive = ~dead & (dead + self._one)
        leaf = np.frexp(first_alive.astype(np.float64))[1] + self._offsets
        return np.asarray(self._leaves.take(leaf, axis=0))


class _Steps:
    """Any trees: as many steps as the deepest has levels."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        sizes = np.array([len(tree.feature) for tree in trees])
        self._roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        leaf = np.concatenate([tree.left < 0 for tree in trees])
        own = np.arange(len(leaf))
        base = np.repeat(self._roots, sizes)
        left = np.where(leaf, own, np.concatenate([tree.left for tree in trees]) + base)
        right = np.where(leaf, own, np.concatenate([tree.right for tree in trees]) + base)
        self._next = np.stack([left, right], axis=1).ravel()
        self._feature = np.where(leaf, 0, np.concatenate([tree.feature for tree in trees]))
        self._threshold = np.concatenate([tree.threshold for tree in trees])
        self._threshold[leaf] = np.inf
        self._values = np.concatenate([tree.value for tree in trees])
        self._depth = max(_depth(tree) for tree in trees)
        self.width = len(trees)

    def values(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        count, width = rows.shape
        cells = rows.ravel()
        row_starts = np.repeat(np.arange(count) * width, len(self._roots))
        node = np.tile(self._roots, count)
        for _ in range(self._depth):
            right = cells.take(self._feature.take(node) + row_starts) > self._threshold.take(node)
            node = self._next.take(2 * node + right)
        return self._values.take(node, axis=0).reshape(count, len(self._roots), -1)


def _depth(tree: Tree) -> int:
    """Levels below the root. Parents come before their children in none of the libraries for certain, so walk."""
    depth, level = 0, np.array([0])
    while True:
        level = level[tree.left[level] >= 0]
        if not len(level):
            return depth
        level = np.concatenate([tree.left[level], tree.right[level]])
        depth += 1
