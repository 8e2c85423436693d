"""What a format of training data has to do: cut a file into pieces of bounded size, and read one piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Features: TypeAlias = NDArray[np.float64] | csr_matrix
else:
    Features = Any

Array = NDArray[np.float64]

PIECE_BYTES: Final = 512 * 1024
"""How much of a file is read at once. Small, so that a shuffled pass mixes pieces from all over the data."""


@dataclass(frozen=True, slots=True)
class Block:
    """n rows: features (n×d, dense float64 or SciPy's CSR matrix), and n labels and n weights where the data have them."""

    features: Features
    labels: Array | None = None
    weights: Array | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.features.shape[0])

    @property
    def sparse(self) -> bool:
        """Whether `features` is a CSR matrix."""
        return not isinstance(self.features, np.ndarray)

    @property
    def size_bytes(self) -> int:
        """Return the memory that the rows take, about."""
        if isinstance(self.features, np.ndarray):
            return int(self.features.nbytes) + 16 * len(self)
        return int(self.features.data.nbytes * 2 + self.features.indptr.nbytes) + 16 * len(self)

    def take(self, rows: "slice | NDArray[np.intp]") -> "Block":
        """Return some of the rows: a view for a slice of dense rows, else a copy."""
        return Block(
            self.features[rows],
            None if self.labels is None else self.labels[rows],
            None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file, `start` to `end` in the format's own unit (bytes, rows or row groups)."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a row consists of: a label in front (`label_size` 1) or none (0), then a weight or none, then the features.

    `missing` lets a feature be absent (an empty cell, `nan`), which becomes NaN; else it is refused.
    """

    channel: str
    label_size: int = 1
    weights: bool = False
    missing: bool = False

    @property
    def columns_before_features(self) -> int:
        """Columns in front of the features."""
        return self.label_size + self.weights

    def split(self, table: Array) -> Block:
        """Make a block of a table with all columns."""
        return Block(
            table[:, self.columns_before_features :],
            table[:, 0] if self.label_size else None,
            table[:, self.label_size] if self.weights else None,
        )


class Format(Protocol):
    """Reads the files of one media type."""

    def pieces(self, path: Path) -> list[Piece]:
        """Cut a file into pieces, in order, without reading all of it into memory. Raises ClientError."""
        ...

    def read(self, piece: Piece) -> Block:
        """Read a piece. Sparse rows come as wide as their last column. Raises ClientError naming file, row and column."""
        ...

    def rows_before(self, piece: Piece) -> int:
        """Count the rows of the file that stand before the piece. May read the file: for messages only."""
        ...


def join(blocks: Sequence[Block]) -> Block:
    """Return the rows of all blocks, which have the same width and the same columns, in order."""
    if len(blocks) == 1:
        return blocks[0]
    if blocks[0].sparse:
        from scipy.sparse import vstack

        features = vstack([block.features for block in blocks], format="csr")
    else:
        features = np.concatenate([block.features for block in blocks])
    labels = [block.labels for block in blocks if block.labels is not None]
    weights = [block.weights for block in blocks if block.weights is not None]
    return Block(
        features,
        np.concatenate(labels) if labels else None,
        np.concatenate(weights) if weights else None,
    )
