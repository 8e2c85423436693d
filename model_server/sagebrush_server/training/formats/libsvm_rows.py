"""text/libsvm: `label[:weight] column:value …`, columns counted from 0 as XGBoost counts them, absent ones are 0."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import Block, Piece
from sagebrush_server.training.formats.lines import LineFormat, lines_of

LARGEST_COLUMN: Final = 2**31 - 2


@dataclass(frozen=True)
class LibsvmFormat(LineFormat):
    """Reads LIBSVM pieces. A weight may follow each label (`1:0.5`); comments start with `#`."""

    def read(self, piece: Piece) -> Block:
        """Read a piece. Raises ClientError naming file, row and the item that is wrong."""
        labels: list[float] = []
        weights: list[float] = []
        indptr = [0]
        columns: list[int] = []
        values: list[float] = []
        for line in lines_of(self.text(piece)):
            head, *items = line.partition(b"#")[0].split() or [b""]
            row = len(labels)
            label, colon, weight = head.partition(b":")
            labels.append(self._number(label, piece=piece, row=row, what="the label"))
            if colon:
                weights.append(self._number(weight, piece=piece, row=row, what="the weight"))
            last = -1
            for item in items:
                column, value = self._item(item, piece=piece, row=row)
                if column <= last:
                    raise self.fault(piece, row=row, about=f": column {column} stands after column {last}; sort them")
                last = column
                columns.append(column)
                values.append(value)
            indptr.append(len(columns))
        if weights and len(weights) != len(labels):
            raise ClientError(
                f"channel {self.layout.channel}: {piece.path.name}: some rows have a weight and others none"
            )
        from scipy.sparse import csr_matrix

        shape = (len(labels), max(columns, default=-1) + 1)
        features = csr_matrix((np.array(values, dtype=np.float64), np.array(columns, dtype=np.int64), indptr), shape)
        return Block(features, np.array(labels), np.array(weights) if weights else None)

    def _item(self, item: bytes, *, piece: Piece, row: int) -> tuple[int, float]:
        column, colon, value = item.partition(b":")
        if not colon or not column.isdigit() or int(column) > LARGEST_COLUMN:
            shown = item[:40].decode("utf-8", "replace")
            raise self.fault(piece, row=row, about=f": {shown!r} is not column:value with a column from 0")
        return int(column), self._number(value, piece=piece, row=row, what=f"column {int(column)}")

    def _number(self, text: bytes, *, piece: Piece, row: int, what: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or b"_" in text:
            shown = text[:40].decode("utf-8", "replace")
            raise self.fault(piece, row=row, about=f": {what} {shown!r} is not a finite number")
        return value
