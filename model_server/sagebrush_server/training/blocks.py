"""A channel's rows in blocks: as many passes as an algorithm needs, and never more than a part of them in memory.

source = open_rows(job.channel("train"), label=True)
for block in source.blocks(1000, seed=epoch):
    … block.features (n×source.width), block.labels, block.weights
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import Array, Block, Features, Format, Piece, join
from sagebrush_server.training.formats.choice import format_of
from sagebrush_server.training.job import Channel

__all__ = ["Block", "Features", "RowSource", "open_rows"]

KEPT_BYTES: Final = 128 * 1024 * 1024
"""Rows that take no more than this stay in memory after the first pass; more are read anew in every pass."""

_DROPPED: Final = " (the first column was taken for a label: if it is none, the content type must say label_size=0)"
_SHUFFLED_PIECES: Final = 16
"""Pieces that are mixed with each other in a shuffled pass."""


def open_rows(
    channel: Channel,
    *,
    label: bool,
    feature_dim: int | None = None,
    default_label_size: int = 1,
    weights: bool = False,
    missing: bool = False,
    share: tuple[int, int] = (0, 1),
    keep_bytes: int = KEPT_BYTES,
) -> "RowSource":
    """Open a channel. Its content type, or else how its first file begins, says the format.

    `label`: every row must have one. Otherwise `default_label_size` says whether the first column is one where the content
    type has no `label_size`. `weights`: a column of weights follows the label. `missing`: features may be absent (NaN).
    `feature_dim` is what the user says of the width; None takes it from the data. `share` (i, n) takes every n-th row of
    each piece, from the i-th on: for host i of n that all have the same files.

    Raises ClientError, here or during a pass, naming channel, file, row and column.
    """
    reader = format_of(channel, label=label, default_label_size=default_label_size, weights=weights, missing=missing)
    pieces = [piece for path in channel.files() for piece in reader.pieces(path)]
    return RowSource(
        channel.name,
        reader=reader,
        pieces=pieces,
        label=label,
        feature_dim=feature_dim,
        share=share,
        keep_bytes=keep_bytes,
    )


class RowSource:
    """The rows of one channel. Use `open_rows` to make one. Passes may not run at the same time."""

    def __init__(
        self,
        channel: str,
        *,
        reader: Format,
        pieces: list[Piece],
        label: bool,
        feature_dim: int | None,
        share: tuple[int, int],
        keep_bytes: int,
    ) -> None:
        self.channel = channel
        self._reader, self._pieces, self._label, self._share = reader, pieces, label, share
        self._keep_bytes = keep_bytes
        self._may_be_kept = sum(path.stat().st_size for path in {piece.path for piece in pieces}) <= keep_bytes
        self._kept: Block | None = None
        self._count: int | None = None
        # A piece of blank lines has no rows, and no width.
        first = next(block for block in map(reader.read, pieces) if len(block))
        self.sparse = first.sparse
        self.has_labels = first.labels is not None
        self.width = self._measure(first, feature_dim=feature_dim)

    def _measure(self, first: Block, *, feature_dim: int | None) -> int:
        """Return the number of features: for sparse rows without a word from the user this takes a pass."""
        found = first.features.shape[1]
        if self.sparse:
            if feature_dim is None:
                found = max(self._reader.read(piece).features.shape[1] for piece in self._pieces)
            feature_dim = max(feature_dim or found, 1)
        elif found < 1:
            raise ClientError(f"channel {self.channel}: expected a label and at least one feature, got 1 column")
        elif feature_dim not in (None, found):
            dropped = "" if self._label or not self.has_labels else _DROPPED
            raise ClientError(
                f"channel {self.channel}: rows have {found} features; feature_dim says {feature_dim}{dropped}"
            )
        return feature_dim or found

    @property
    def count(self) -> int:
        """The number of rows (of this host's share). Takes a pass where there was none yet."""
        if self._count is None:
            for _ in self.blocks():
                pass
        return self._count or 0

    def in_memory(self) -> Block | None:
        """Return all rows (of this host's share) where they stay in memory, else None. Takes a pass where there was none."""
        if self._may_be_kept and self._kept is None:
            for _ in self._in_order():
                pass
        return self._kept

    def blocks(self, rows: int | None = None, *, seed: int | None = None) -> Iterator[Block]:
        """Pass over all rows, in blocks of `rows` (the last one has fewer), or as the data come where None.

        With `seed` in an order that depends on it alone: pieces of the files in random order, and rows at random within
        every few pieces; data that fit into memory are shuffled as a whole. Without, in the order of the files.
        Don't change a block: it may be a view of rows that a later pass shows again.
        """
        if self._kept is not None:
            return _from_memory(self._kept, rows=rows, seed=seed)
        stream = self._in_order() if seed is None else self._shuffled(np.random.default_rng(seed))
        return stream if rows is None else _regroup(stream, rows=rows)

    def sample(self, rows: int, *, seed: int) -> Block:
        """Return up to `rows` rows from pieces all over the data."""
        return next(self.blocks(rows, seed=seed))

    def find(self, wrong: Callable[[Block], NDArray[np.bool_]]) -> str | None:
        """Name the first row for which `wrong` is true, as `file, row n`; None where there is none. Takes a pass."""
        for piece in self._pieces:
            block = self._read(piece, share=(0, 1))
            hits = np.flatnonzero([] if block is None else wrong(block))
            if len(hits):
                return f"{piece.path.name}, row {self._reader.rows_before(piece) + int(hits[0]) + 1}"
        return None

    def _in_order(self) -> Iterator[Block]:
        kept: list[Block] | None = [] if self._may_be_kept else None
        size = count = 0
        for piece in self._pieces:
            block = self._read(piece, share=self._share)
            if block is None:
                continue
            count += len(block)
            size += block.size_bytes
            if kept is not None:
                kept = [*kept, block] if size <= self._keep_bytes else None
            yield block
        self._count = count
        if kept:
            self._kept = join(kept)
        self._may_be_kept = bool(kept)

    def _shuffled(self, random: np.random.Generator) -> Iterator[Block]:
        if (kept := self.in_memory()) is not None:
            yield from _from_memory(kept, rows=None, seed=int(random.integers(2**63)))
            return
        order = random.permutation(len(self._pieces))
        read = (self._read(self._pieces[index], share=self._share) for index in order)
        stream = (block for block in read if block is not None)
        while pool := list(itertools.islice(stream, _SHUFFLED_PIECES)):
            mixed = join(pool)
            yield mixed.take(random.permutation(len(mixed)))

    def _read(self, piece: Piece, *, share: tuple[int, int]) -> Block | None:
        block = self._reader.read(piece)
        if not len(block):
            return None
        block = Block(self._fit(block, piece=piece), block.labels, block.weights)
        if self._label and block.labels is None:
            raise ClientError(f"channel {self.channel}: {piece.path.name}: the rows have no label")
        mine = block if share == (0, 1) else block.take(slice(share[0], None, share[1]))
        return mine if len(mine) else None

    def _fit(self, block: Block, *, piece: Piece) -> Features:
        """Make sparse rows as wide as all others, and refuse what is wider, or dense and of another width."""
        width = block.features.shape[1]
        if width == self.width and block.sparse == self.sparse:
            return block.features
        where = f"channel {self.channel}: {piece.path.name}, row {self._reader.rows_before(piece) + 1}"
        if block.sparse != self.sparse:
            raise ClientError(f"{where}: sparse and dense rows can't be mixed in a channel")
        if not block.sparse:
            raise ClientError(f"{where} has {width} features, the rows before it {self.width}")
        if width > self.width:
            raise ClientError(f"{where} or a row after it has the column {width - 1}; feature_dim says {self.width}")
        block.features.resize(len(block), self.width)
        return block.features


def _from_memory(kept: Block, *, rows: int | None, seed: int | None) -> Iterator[Block]:
    step = rows or len(kept)
    order = None if seed is None else np.random.default_rng(seed).permutation(len(kept))
    for start in range(0, len(kept), step):
        chosen = slice(start, start + step)
        yield kept.take(chosen if order is None else order[chosen])


def _regroup(stream: Iterable[Block], *, rows: int) -> Iterator[Block]:
    """Make blocks of `rows` rows of blocks of any size."""
    rest: list[Block] = []
    for block in stream:
        rest.append(block)
        if sum(map(len, rest)) < rows:
            continue
        joined = join(rest)
        whole = len(joined) - len(joined) % rows
        for start in range(0, whole, rows):
            yield joined.take(slice(start, start + rows))
        rest = [joined.take(slice(whole, None))] if whole < len(joined) else []
    if rest:
        yield join(rest)


def labels_of(block: Block) -> Array:
    """Return the labels of a block of a source that was opened with `label`."""
    if block.labels is None:
        raise AssertionError("the source was opened without label")
    return block.labels
