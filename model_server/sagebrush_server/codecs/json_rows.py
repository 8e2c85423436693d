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
from sagebrush_server.codecs.json_documents import read_document, read_lines
from sagebrush_server.codecs.number_rows import read_rows

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
    white: bytes
    """The white space that may stand in a row."""

    def decode(self, body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
        """Return the rows of a body. Raises RequestError (400) with row and column."""
        width = feature_dim or body[: body.find(b"]")].rpartition(b"[")[2].count(b",") + 1
        read = self.decode_together([body], feature_dim=width)
        return self.read(body, feature_dim=feature_dim) if read is None else read[0]

    def decode_together(
        self, bodies: list[bytes], *, feature_dim: int
    ) -> tuple[NDArray[np.float64], Sequence[int]] | None:
        """See `Decoder`. For bodies that all are in the same wrapping."""
        wrapping = _wrapping_of(bodies[0])
        if wrapping is None or not _holds_rows(wrapping, read=self.read):
            return None
        before, between, after = wrapping
        return read_rows(bodies, width=feature_dim, joint=between, before=before, after=after, white=self.white)


JSON: Final = JsonDecoder("application/json", read_document, white=b" \t\r\n")
JSON_LINES: Final = JsonDecoder("application/jsonlines", read_lines, white=b" \t\r")


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
