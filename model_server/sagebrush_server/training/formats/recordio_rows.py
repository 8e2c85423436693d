"""application/x-recordio-protobuf: SageMaker's binary rows, dense or sparse, with their label inside.

Rows that all have the same length, as a writer makes them of dense float data, are read as one array.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.recordio import (
    MAGIC,
    VALUES,
    Record,
    RecordError,
    Tensor,
    frame,
    read_records,
    record_message,
    tensor_message,
)
from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import PIECE_BYTES, Array, Block, Layout, Piece

_HEADER: Final = struct.Struct("<II")
_LENGTH: Final = 0x1FFFFFFF
_STARTS: Final = (0, 1)
"""Flags of a record's first part; the parts after it have others."""
_FLOATS: Final[tuple[np.dtype[Any], ...]] = (np.dtype("<f4"), np.dtype("<f8"))


@dataclass(frozen=True)
class RecordioFormat:
    """Reads RecordIO files. Pieces are counted in bytes and hold whole records."""

    layout: Layout
    piece_bytes: int = PIECE_BYTES

    def pieces(self, path: Path) -> list[Piece]:
        """Cut between records. Reads the headers only. Raises ClientError."""
        cuts = [0]
        for start in self._starts(path):
            if start - cuts[-1] >= self.piece_bytes:
                cuts.append(start)
        size = path.stat().st_size
        if not size:
            raise ClientError(f"channel {self.layout.channel}: {path.name} is empty")
        return [Piece(path, start, end) for start, end in zip(cuts, [*cuts[1:], size], strict=True)]

    def read(self, piece: Piece) -> Block:
        """Read a piece. Raises ClientError naming file and record."""
        with piece.path.open("rb") as file:
            file.seek(piece.start)
            data = file.read(piece.end - piece.start)
        try:
            first = next(read_records(BytesIO(data)))
            block = _read_alike(data, first=first) or self._read_each(data, piece=piece)
        except RecordError as problem:
            raise self._fault(piece, row=problem.record - 1, about=str(problem)) from None
        return self._checked(block, piece=piece)

    def rows_before(self, piece: Piece) -> int:
        """Count the records before the piece."""
        return sum(start < piece.start for start in self._starts(piece.path))

    def _starts(self, path: Path) -> Iterator[int]:
        size = path.stat().st_size
        if not size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            position = number = 0
            while position + _HEADER.size <= size:
                magic, word = _HEADER.unpack_from(view, position)
                if magic != MAGIC:
                    raise ClientError(
                        f"channel {self.layout.channel}: {path.name}, record {number + 1} does not start with "
                        f"RecordIO's mark {MAGIC:#010x}"
                    )
                if word >> 29 in _STARTS:
                    number += 1
                    yield position
                length = word & _LENGTH
                position += _HEADER.size + length + -length % 4

    def _read_each(self, data: bytes, *, piece: Piece) -> Block:
        """Read record by record."""
        labels: list[float] = []
        rows: list[Tensor] = []
        for row, record in enumerate(read_records(BytesIO(data))):
            if set(record.features) != {VALUES}:
                named = ", ".join(sorted(record.features)) or "none"
                raise self._fault(piece, row=row, about=f"it must have the one feature {VALUES!r}, not {named}")
            rows.append(record.features[VALUES])
            label = record.label.get(VALUES)
            if label is not None:
                if len(label.values) != 1:
                    raise self._fault(piece, row=row, about=f"its label has {len(label.values)} values instead of one")
                labels.append(float(label.values[0]))
            if labels and len(labels) != len(rows):
                raise self._fault(piece, row=row, about="it has no label, the records before it have")
        known = np.array(labels) if labels else None
        if any(row.keys is not None for row in rows):
            return self._sparse(rows, labels=known, piece=piece)
        width = len(rows[0].values)
        for row, tensor in enumerate(rows):
            if len(tensor.values) != width:
                raise self._fault(
                    piece, row=row, about=f"it has {len(tensor.values)} values, the ones before it {width}"
                )
        return Block(np.array([row.values for row in rows]).reshape(len(rows), width), known)

    def _sparse(self, rows: list[Tensor], *, labels: Array | None, piece: Piece) -> Block:
        from scipy.sparse import csr_matrix

        indptr, columns, width = [0], [], 1
        for row, tensor in enumerate(rows):
            keys = np.arange(len(tensor.values), dtype=np.uint64) if tensor.keys is None else tensor.keys
            width = max(width, *tensor.shape[:1], int(keys.max(initial=0)) + 1)
            if len(keys) != len(tensor.values) or len(np.unique(keys)) != len(keys) or width > 2**31:
                raise self._fault(
                    piece, row=row, about="keys and values must be as many, and each key below 2^31 and once"
                )
            columns.append(keys.astype(np.int64))
            indptr.append(indptr[-1] + len(keys))
        values = np.concatenate([row.values for row in rows])
        features = csr_matrix((values, np.concatenate(columns), indptr), (len(rows), width))
        features.sort_indices()
        return Block(features, labels)

    def _checked(self, block: Block, *, piece: Piece) -> Block:
        matrix: Any = block.features
        values: Array = matrix.data if block.sparse else matrix
        legal = ~np.isinf(values) if self.layout.missing else np.isfinite(values)
        if not legal.all():
            row = int(np.argwhere(~legal)[0][0])
            if block.sparse:
                row = int(np.searchsorted(np.asarray(matrix.indptr), row, side="right")) - 1
            raise self._fault(piece, row=row, about="it has a value that is not a finite number")
        if block.labels is not None and not np.isfinite(block.labels).all():
            row = int(np.flatnonzero(~np.isfinite(block.labels))[0])
            raise self._fault(piece, row=row, about="its label is not a finite number")
        return block

    def _fault(self, piece: Piece, *, row: int, about: str) -> ClientError:
        number = self.rows_before(piece) + row + 1
        return ClientError(f"channel {self.layout.channel}: {piece.path.name}, record {number}: {about}")


def _read_alike(data: bytes, *, first: Record) -> Block | None:
    """Read records that differ in the bytes of their float values only, or return None where they don't."""
    if set(first.features) != {VALUES} or first.features[VALUES].keys is not None or not set(first.label) <= {VALUES}:
        return None
    width = len(first.features[VALUES].values)
    for feature_type, label_type in product(_FLOATS, _FLOATS if first.label else (None,)):
        low, high = (_template(width, fill, feature_type=feature_type, label_type=label_type) for fill in (0x00, 0xFF))
        if len(data) % len(low) or data[: _HEADER.size] != low[: _HEADER.size].tobytes():
            continue
        # Where the two templates differ is where values stand; everything else must be as in the template.
        varies = low != high
        table = np.frombuffer(data, dtype=np.uint8).reshape(-1, len(low))
        if not (table[:, ~varies] == low[~varies]).all():
            continue
        found = table[:, varies]
        split = width * feature_type.itemsize
        features = np.ascontiguousarray(found[:, :split]).view(feature_type).astype(np.float64)
        if label_type is None:
            return Block(features)
        return Block(features, np.ascontiguousarray(found[:, split:]).view(label_type)[:, 0].astype(np.float64))
    return None


def _template(
    width: int, fill: int, *, feature_type: "np.dtype[Any]", label_type: "np.dtype[Any] | None"
) -> NDArray[np.uint8]:
    def tensor(count: int, dtype: "np.dtype[Any]") -> bytes:
        return tensor_message(np.full(count * dtype.itemsize, fill, dtype=np.uint8).view(dtype))

    label = {} if label_type is None else {VALUES: tensor(1, label_type)}
    return np.frombuffer(
        frame(record_message(features={VALUES: tensor(width, feature_type)}, label=label)), dtype=np.uint8
    )
