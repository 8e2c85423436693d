"""application/x-npy: one two-dimensional array of numbers a file, the label in the first column."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import PIECE_BYTES, Array, Block, Layout, Piece


@dataclass(frozen=True)
class NpyFormat:
    """Reads NumPy files, never pickled ones. Pieces are counted in rows."""

    layout: Layout
    piece_bytes: int = PIECE_BYTES

    def pieces(self, path: Path) -> list[Piece]:
        """Cut into equal numbers of rows. Raises ClientError."""
        rows, width = self._open(path).shape
        step = max(1, self.piece_bytes // (8 * width))
        return [Piece(path, start, min(start + step, rows)) for start in range(0, rows, step)]

    def read(self, piece: Piece) -> Block:
        """Read a piece. Raises ClientError naming row and column of what isn't finite."""
        table = np.array(self._open(piece.path)[piece.start : piece.end], dtype=np.float64)
        before = self.layout.columns_before_features
        legal = np.isfinite(table)
        if self.layout.missing:
            legal[:, before:] |= np.isnan(table[:, before:])
        if not legal.all():
            row, column = (int(index) for index in np.argwhere(~legal)[0])
            raise ClientError(
                f"channel {self.layout.channel}: {piece.path.name}, row {piece.start + row + 1}, column {column + 1}: "
                f"{float(table[row, column])} is not a finite number"
            )
        return self.layout.split(table)

    def rows_before(self, piece: Piece) -> int:
        """Return the number of rows before the piece."""
        return piece.start

    def _open(self, path: Path) -> Array:
        channel = self.layout.channel
        try:
            # Mapped, so that only the rows asked for are read.
            table = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as problem:
            raise ClientError(f"channel {channel}: {path.name} is no NumPy array of numbers: {problem}") from None
        if not isinstance(table, np.ndarray) or table.ndim != 2 or table.dtype.kind not in "fiub" or not table.size:
            about = f"{table.dtype} {table.shape}" if isinstance(table, np.ndarray) else "an archive"
            raise ClientError(f"channel {channel}: {path.name} must hold one array of numbers, n×d; it holds {about}")
        return table
