"""Robust random cut trees: how they are grown from a sample, and how a row is scored without changing them.

Source: S. Guha, N. Mishra, G. Roy, O. Schrijvers, "Robust random cut forest based anomaly detection on streams"
(ICML 2016). A tree cuts the box around its points at a place drawn evenly from the sum of the box's side lengths, so
that a long side is cut more often, and goes on with the points on either side until equal points alone are left. That
makes the tree of a sample and one more point the same, in distribution, as that point put into the tree: at a node the
point is cut off from all others with the chance that a cut of the grown box falls outside the old one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.errors import ClientError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_NEGLIGIBLE: Final = 1e-16
"""A chance below which a branch no longer changes a score in float64."""
_CHUNK_VALUES: Final = 1 << 18
"""Values of boxes looked at together: about what stays in a processor's cache."""


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees in one set of arrays; tree i starts at node i.

    Node v has the box from `low[v]` to `high[v]` (d values each) around its points. An inner node sends rows with
    `row[dimension[v]] <= cut[v]` to node `left[v]`, the others to `left[v] + 1`. A leaf has `left[v]` = 0 and stands for
    `mass[v]` equal points. `sizes[i]` is the number of points of tree i.
    """

    low: Array
    high: Array
    dimension: Integers
    cut: Array
    left: Integers
    mass: Integers
    sizes: Integers

    @cached_property
    def spread(self) -> Array:
        """The sum of the side lengths of each node's box."""
        with np.errstate(over="ignore"):
            return np.asarray((self.high - self.low).sum(axis=1))

    def scores(self, rows: Array) -> Array:
        """Return the anomaly scores of n×d rows: about 1 and below for common rows, higher for strange ones.

        A tree's score is the expected value of 1 / depth of the leaf that the row would get if it were put in, times
        log2(points + 1) so that the size of the sample doesn't matter; the forest's is the mean over its trees. NaN
        or infinite where a row is too large for that.
        """
        step = max(1, _CHUNK_VALUES // (len(self.sizes) * rows.shape[1]))
        parts = [self._score(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts)

    def _score(self, rows: Array) -> Array:
        trees, count = len(self.sizes), len(rows)
        node = np.tile(np.arange(trees), count)
        row = np.repeat(np.arange(count), trees)
        place = np.arange(count * trees)
        chance = np.ones(count * trees)
        expected = np.zeros(count * trees)
        depth = 0
        with np.errstate(over="ignore", invalid="ignore"):
            while len(node):
                values = rows[row]
                outside = (np.maximum(self.low[node] - values, 0.0) + np.maximum(values - self.high[node], 0.0)).sum(
                    axis=1
                )
                apart = np.divide(outside, outside + self.spread[node], out=np.zeros(len(node)), where=outside > 0)
                expected[place] += chance * apart / (depth + 1)
                chance = chance * (1.0 - apart)
                child = self.left[node]
                leaf = child == 0
                # The row is equal to the leaf's points: they and it share a balanced subtree.
                expected[place[leaf]] += chance[leaf] / (depth + np.log2(self.mass[node[leaf]] + 1.0))
                going = ~leaf & (chance > _NEGLIGIBLE)
                dimension, cut = self.dimension[node[going]], self.cut[node[going]]
                row, place, chance = row[going], place[going], chance[going]
                node = child[going] + (rows[row, dimension] > cut)
                depth += 1
        scale = np.log2(self.sizes + 1.0)
        return np.asarray((expected.reshape(count, trees) * scale).mean(axis=1))


def grow(samples: list[Array], *, rng: np.random.Generator) -> Forest:
    """Grow one tree from each of the samples (each n_i×d with n_i ≥ 1), level by level, all trees at once.

    Raises ClientError where the values are too large for a sum of side lengths.
    """
    sizes = np.array([len(sample) for sample in samples], dtype=np.int64)
    # Points of one node lie side by side; `counts` says how many each node of the level has.
    points, counts = np.concatenate(samples), sizes
    levels: list[_Level] = []
    offset = 0
    while len(counts):
        level = _cut(points, counts=counts, rng=rng)
        offset += len(counts)
        levels.append(level)
        inner = level.inner
        children = offset + 2 * (np.cumsum(inner) - 1)
        level.left[inner] = children[inner]
        points, counts = _split(points, counts=counts, level=level)
    return Forest(
        low=np.concatenate([level.low for level in levels]),
        high=np.concatenate([level.high for level in levels]),
        dimension=np.concatenate([level.dimension for level in levels]),
        cut=np.concatenate([level.cut for level in levels]),
        left=np.concatenate([level.left for level in levels]),
        mass=np.concatenate([level.mass for level in levels]),
        sizes=sizes,
    )


@dataclass(frozen=True)
class _Level:
    """The nodes of one depth, over all trees."""

    low: Array
    high: Array
    dimension: Integers
    cut: Array
    left: Integers
    mass: Integers
    inner: NDArray[np.bool_]


def _cut(points: Array, *, counts: Integers, rng: np.random.Generator) -> _Level:
    """Box the points of each node and draw its cut."""
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    low = np.minimum.reduceat(points, starts, axis=0)
    high = np.maximum.reduceat(points, starts, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        edges = np.cumsum(high - low, axis=1)
    total = edges[:, -1]
    if not np.isfinite(total).all():
        raise ClientError(
            "channel train: values are too large for a distance in 64-bit floating point; scale them down"
        )
    inner = total > 0
    nodes = np.arange(len(counts))
    # Below the total even where rounding would reach it, so that a side of length 0 is never chosen.
    drawn = np.minimum(rng.random(len(counts)) * total, np.nextafter(total, 0.0))
    dimension = np.where(inner, (edges > drawn[:, np.newaxis]).argmax(axis=1), 0)
    before = np.where(dimension > 0, edges[nodes, np.maximum(dimension - 1, 0)], 0.0)
    lowest, highest = low[nodes, dimension], high[nodes, dimension]
    # At least one point on either side, whatever the rounding.
    cut = np.clip(lowest + (drawn - before), lowest, np.nextafter(highest, lowest))
    return _Level(
        low=low,
        high=high,
        dimension=dimension.astype(np.int64),
        cut=np.where(inner, cut, 0.0),
        left=np.zeros(len(counts), dtype=np.int64),
        mass=counts.astype(np.int64),
        inner=inner,
    )


def _split(points: Array, *, counts: Integers, level: _Level) -> tuple[Array, Integers]:
    """Return the points of the inner nodes, sorted by child, and how many each child has (left and right in turn)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    kept = level.inner[owner]
    points, owner = points[kept], owner[kept]
    right = points[np.arange(len(points)), level.dimension[owner]] > level.cut[owner]
    child = 2 * (np.cumsum(level.inner) - 1)[owner] + right
    order = np.argsort(child, kind="stable")
    return points[order], np.bincount(child, minlength=2 * int(level.inner.sum())).astype(np.int64)
