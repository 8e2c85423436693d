"""Answers as NumPy arrays and as RecordIO-protobuf."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.codecs import recordio
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.npy import write_array
from sagebrush_server.codecs.rows import shown
from sagebrush_server.codecs.text_answers import shown_columns

_LARGEST_FLOAT32: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class NpyEncoder:
    """Writes `application/x-npy` (implements `Encoder`): the only column as it is, or several side by side as float64."""

    media_type: str = "application/x-npy"
    verbose: bool = False

    def encode(self, predictions: Predictions, *, counts: Sequence[int]) -> list[bytes]:
        """See `Encoder`. Raises RequestError (406) for text."""
        columns = shown_columns(predictions, verbose=self.verbose)
        tables = [_numbers(column, name=name, media_type=self.media_type) for name, column in columns.items()]
        if len(tables) == 1:
            array = tables[0]
        else:
            array = np.concatenate([table.reshape(len(table), -1).astype(np.float64) for table in tables], axis=1)
        return [write_array(array[start:end]) for start, end in _ranges(counts)]


@dataclass(frozen=True, slots=True)
class RecordioEncoder:
    """Writes `application/x-recordio-protobuf` (implements `Encoder`): a Record per row, whose labels are the columns.

    Values are float32, as SageMaker's algorithms write them; float64 where float32 would change an integer or overflow.
    """

    media_type: str = "application/x-recordio-protobuf"
    verbose: bool = False

    def encode(self, predictions: Predictions, *, counts: Sequence[int]) -> list[bytes]:
        """See `Encoder`. Raises RequestError (406) for text."""
        columns = shown_columns(predictions, verbose=self.verbose)
        tables = {name: self._values(column, name=name) for name, column in columns.items()}
        record, places = _blank_record(tuple((name, table.shape[1], table.dtype.str) for name, table in tables.items()))
        # All records have the same bytes but for their values.
        written = np.tile(record, (sum(counts), 1))
        for table, place in zip(tables.values(), places, strict=True):
            values = table.view(np.uint8)
            written[:, place : place + values.shape[1]] = values
        data = written.tobytes()
        return [data[start * len(record) : end * len(record)] for start, end in _ranges(counts)]

    def _values(self, column: NDArray[np.generic], *, name: str) -> NDArray[np.floating]:
        """Return n×k values in the type they are written in."""
        exact = _numbers(column, name=name, media_type=self.media_type).astype("<f8").reshape(len(column), -1)
        too_large = (np.abs(exact) > _LARGEST_FLOAT32) & np.isfinite(exact)
        if too_large.any():
            return exact
        narrow = exact.astype("<f4")
        return narrow if column.dtype.kind == "f" or (narrow == exact).all() else exact


@functools.lru_cache(maxsize=64)
def _blank_record(columns: tuple[tuple[str, int, str], ...]) -> tuple["NDArray[np.uint8]", tuple[int, ...]]:
    """Return a record of zeros for columns of these names, widths and types, and where the values of each stand in it."""
    message, places = b"", []
    header = len(recordio.frame(b""))
    for name, width, dtype in columns:
        zeros = np.zeros(width, dtype=dtype)
        message += recordio.record_message(features={}, label={name: recordio.tensor_message(zeros)})
        # The values are the last of all that a label holds.
        places.append(header + len(message) - zeros.nbytes)
    return np.frombuffer(recordio.frame(message), dtype=np.uint8), tuple(places)


def _numbers(column: NDArray[np.generic], *, name: str, media_type: str) -> NDArray[np.generic]:
    if column.dtype.kind not in "biuf":
        raise RequestError(
            406, message=f"{shown(name)} is text, which {media_type} can't hold; accept application/json or text/csv"
        )
    return column


def _ranges(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first row of each request and the row after its last."""
    ends = list(accumulate(counts))
    return list(zip([0, *ends[:-1]], ends, strict=True))
