"""application/x-parquet: numeric columns, the label first. Needs pyarrow (the extra `parquet`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import PIECE_BYTES, Array, Block, Layout, Piece


@dataclass(frozen=True)
class ParquetFormat:
    """Reads Parquet files. A piece is one row group: the smallest part that Parquet can read by itself."""

    layout: Layout
    piece_bytes: int = PIECE_BYTES

    def pieces(self, path: Path) -> list[Piece]:
        """Return the row groups. Raises ClientError."""
        metadata = self._open(path).metadata
        groups = [index for index in range(metadata.num_row_groups) if metadata.row_group(index).num_rows]
        if not groups:
            raise ClientError(f"channel {self.layout.channel}: {path.name} is empty")
        return [Piece(path, index, index + 1) for index in groups]

    def read(self, piece: Piece) -> Block:
        """Read a row group. Raises ClientError naming column and row of what is no finite number."""
        file = self._open(piece.path)
        group = file.read_row_group(piece.start)
        columns = [self._column(group, index=index, piece=piece) for index in range(group.num_columns)]
        return self.layout.split(np.column_stack(columns))

    def rows_before(self, piece: Piece) -> int:
        """Count the rows of the groups before this one."""
        metadata = self._open(piece.path).metadata
        return sum(metadata.row_group(index).num_rows for index in range(piece.start))

    def _column(self, group: Any, *, index: int, piece: Piece) -> Array:
        name = group.column_names[index]
        where = f"channel {self.layout.channel}: {piece.path.name}, column {name!r}"
        import pyarrow as pa

        column = group.column(index)
        if not (
            pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
        ):
            raise ClientError(f"{where} has the type {column.type}; only numbers can be read")
        # Absent values come as NaN.
        values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
        may_be_absent = self.layout.missing and index >= self.layout.columns_before_features
        wrong = np.isinf(values) if may_be_absent else ~np.isfinite(values)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ClientError(
                f"{where}, row {self.rows_before(piece) + row + 1}: {float(values[row])} is not a finite number"
            )
        return values

    def _open(self, path: Path) -> Any:
        channel = self.layout.channel
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise ClientError(
                f"channel {channel}: application/x-parquet needs pyarrow, which this image lacks; "
                "use text/csv, or an image with the extra sagebrush-server[parquet]"
            ) from None
        try:
            return parquet.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as problem:
            raise ClientError(f"channel {channel}: {path.name} is no Parquet file: {problem}") from None
