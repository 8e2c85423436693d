"""JSON, JSON lines and CSV answers.

The numbers of a column are written at once, and stand between text that is the same for every row.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sagebrush_server.algorithms.model import Predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CUT: Final = b"\xff"
"""Put where the answer to one request ends; UTF-8 has no such byte."""


class Frame(NamedTuple):
    """The text around cells: at an answer's start, before cells of each column but the first, between rows, at its end."""

    start: bytes
    before: Sequence[bytes]
    between: bytes
    end: bytes


class Layout(NamedTuple):
    """A text format: the frame for these column names and this root, and how a cell of text or a list is written."""

    frame: Callable[[tuple[str, ...], str], Frame]
    text: Callable[[Any], bytes]
    array: bytes
    finite_only: bool


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Writes answers of one text format (implements `Encoder`); `verbose` shows `Predictions.more` too."""

    media_type: str
    layout: Layout
    verbose: bool = False

    def encode(self, predictions: Predictions, *, counts: Sequence[int]) -> list[bytes]:
        """See `Encoder`."""
        columns = shown_columns(predictions, verbose=self.verbose)
        frame = self.layout.frame(tuple(columns), predictions.root)
        rows = sum(counts)
        step = 2 * len(columns)
        pieces = [frame.between] * (step * rows)
        for place, column in enumerate(columns.values()):
            if place:
                pieces[2 * place :: step] = [frame.before[place - 1]] * rows
            pieces[2 * place + 1 :: step] = _cells(column, layout=self.layout)
        start = frame.end + _CUT + frame.start
        if len(counts) == rows:
            pieces[::step] = [start] * rows
        else:
            for row in accumulate(counts[:-1]):
                pieces[row * step] = start
        pieces[0] = frame.start
        pieces.append(frame.end)
        return b"".join(pieces).split(_CUT)


def shown_columns(predictions: Predictions, *, verbose: bool) -> "Mapping[str, NDArray[np.generic]]":
    """Return the columns of an answer, in order."""
    return {**predictions.columns, **predictions.more} if verbose else predictions.columns


def _cells(column: "NDArray[np.generic]", *, layout: Layout) -> list[bytes]:
    """Write the cells of a column, one row each."""
    single = column.size == 1 and column.dtype.char in "dl" and column.ndim == 1
    if single:
        written = orjson.dumps(column.item())
    elif column.dtype.kind not in "biuf" or column.ndim > 2:
        return [layout.text(value) for value in column.tolist()]
    elif column.dtype.char in "dl" and column.dtype.isnative and column.flags.c_contiguous:
        # Numbers of 64 bits are the same written from the array; float32 would be written shorter than its value.
        written = orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)
    else:
        written = orjson.dumps(column.tolist())
    if layout.finite_only and b"null" in written:
        return [layout.text(value) for value in column.tolist()]
    if single:
        return [written]
    if column.ndim == 1:
        return written[1:-1].split(b",")
    return [layout.array % cell for cell in written[2:-2].split(b"],[")]


@functools.lru_cache(maxsize=64)
def _json_frame(names: tuple[str, ...], root: str) -> Frame:
    first, *others = (orjson.dumps(name) + b":" for name in names)
    return Frame(
        start=b"{" + orjson.dumps(root) + b":[{" + first,
        before=[b"," + name for name in others],
        between=b"},{" + first,
        end=b"}]}",
    )


@functools.lru_cache(maxsize=64)
def _json_lines_frame(names: tuple[str, ...], root: str) -> Frame:  # noqa: ARG001 – lines have no root
    first, *others = (orjson.dumps(name) + b":" for name in names)
    before = [b"," + name for name in others]
    return Frame(start=b"{" + first, before=before, between=b"}\n{" + first, end=b"}\n")


@functools.lru_cache(maxsize=64)
def _csv_frame(names: tuple[str, ...], root: str) -> Frame:  # noqa: ARG001 – lines have no root
    return Frame(start=b"", before=[b","] * (len(names) - 1), between=b"\n", end=b"\n")


def _csv_text(value: object) -> bytes:
    """Write a cell that is no finite number: lists side by side, text quoted where it has to be (RFC 4180)."""
    if isinstance(value, list):
        return b",".join(map(_csv_text, value))
    if not isinstance(value, str):
        return repr(value).encode() if isinstance(value, float) else orjson.dumps(value)
    quoted = '"' + value.replace('"', '""') + '"'
    return (quoted if any(character in value for character in ',"\r\n') else value).encode()


JSON_LAYOUT: Final = Layout(frame=_json_frame, text=orjson.dumps, array=b"[%b]", finite_only=False)
"""`{"predictions":[{"score":…,…},…]}`, as SageMaker's algorithms write it. JSON has no NaN: it is null."""
JSON_LINES_LAYOUT: Final = JSON_LAYOUT._replace(frame=_json_lines_frame)
"""One JSON object per row, each line ended by LF."""
CSV_LAYOUT: Final = Layout(frame=_csv_frame, text=_csv_text, array=b"%b", finite_only=True)
"""One line per row, the columns in the model's order (score, then label); scores per class side by side."""
