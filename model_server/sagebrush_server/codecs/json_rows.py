"""`application/json` and `application/jsonlines` requests in the shapes SageMaker's algorithms take.

Source: "Common data formats for inference" in the SageMaker developer guide.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.fast_rows import gains_together, read_rows
from sagebrush_server.codecs.json_documents import read_document, read_lines

_Read = Callable[..., NDArray[np.float64] | SparseRows]
_LONGEST_WRAPPING: Final = 256
"""Bytes around the numbers up to which it is worth knowing a wrapping by heart; the shapes of the guide have under 70."""
_ONE_ROW: Final = b"]"
"""Stands for what is between rows where there is one, in whose numbers it can't occur."""


class _Wrapping(NamedTuple):
    """What stands around the numbers of a body: before the first row, between rows, after the last."""

    before: bytes
    between: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class JsonDecoder:
    """Reads JSON of one media type (implements `Decoder`).

    `read` is the slow and exact reader. A body of dense rows is the same text over and over with numbers in it: that
    text is shown to `read` once, and the numbers then go to the compiled reader.
    """

    media_type: str
    read: _Read
    without: bytes
    """White space that JSON has and this format hasn't within a row."""

    def decode(self, body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
        """Return the rows of a body. Raises RequestError (400) with row and column."""
        wrapping = _wrapping_of(body)
        if wrapping is not None and _holds_rows(wrapping, read=self.read):
            text = body[len(wrapping.before) : len(body) - len(wrapping.after)]
            width = feature_dim or text.partition(wrapping.between)[0].count(b",") + 1
            rows = read_rows(text, joint=wrapping.between, width=width, without=self.without)
            if rows is not None:
                return rows
        return self.read(body, feature_dim=feature_dim)

    def decode_together(
        self, bodies: Sequence[bytes], *, feature_dim: int
    ) -> tuple[NDArray[np.float64], Sequence[int]] | None:
        """See `Decoder`. Bodies of one row each, all in the same wrapping."""
        wrapping = _wrapping_of(bodies[0])
        if wrapping is None or not _holds_rows(wrapping, read=self.read):
            return None
        # JSON has no zero byte outside of strings, so that no body can pretend to end where it doesn't.
        text = b"\0".join(bodies)
        before, after = wrapping.before, wrapping.after
        if not gains_together(len(text), bodies=len(bodies)) or not text.startswith(before) or not text.endswith(after):
            return None
        text = text[len(before) : len(text) - len(after)]
        rows = read_rows(text, joint=after + b"\0" + before, width=feature_dim, without=self.without)
        if rows is None or len(rows) != len(bodies):
            return None
        return rows, [1] * len(rows)


JSON: Final = JsonDecoder("application/json", read_document, without=b"[")
JSON_LINES: Final = JsonDecoder("application/jsonlines", read_lines, without=b"\n")


def _wrapping_of(body: bytes) -> _Wrapping | None:
    """Split a body at its innermost lists. Only a guess of what may be: `_holds_rows` has to agree."""
    first_end = body.find(b"]")
    before = body[: body.rfind(b"[", 0, first_end) + 1]
    last = body.rfind(b"[")
    if not before or first_end < 0:
        return None
    last_end = body.find(b"]", last)
    if last_end < 0:
        return None
    between = _ONE_ROW if last < first_end else body[first_end : body.find(b"[", first_end) + 1]
    after = body[last_end:]
    if len(before) + len(between) + len(after) > _LONGEST_WRAPPING:
        return None
    return _Wrapping(before, between, after)


@functools.lru_cache(maxsize=256)
def _holds_rows(wrapping: _Wrapping, *, read: _Read) -> bool:
    """Whether numbers in this wrapping are read as the dense rows they look like, whatever numbers, and how many."""
    shortest, longest = ([[1.0]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    if wrapping.between == _ONE_ROW:
        longest = longest[:1]
    return all(_reads_as(wrapping, rows=rows, read=read) for rows in (shortest, longest))


def _reads_as(wrapping: _Wrapping, *, rows: list[list[float]], read: _Read) -> bool:
    text = wrapping.between.join(b",".join(b"%d" % cell for cell in row) for row in rows)
    try:
        found = read(wrapping.before + text + wrapping.after, feature_dim=len(rows[0]))
    except RequestError:
        return False
    return not isinstance(found, SparseRows) and found.tolist() == rows
