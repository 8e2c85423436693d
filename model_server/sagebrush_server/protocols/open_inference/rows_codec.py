"""How tensors take part in batching: their rows as raw bytes, which any number of requests share, and answers of one's own."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.codecs.base import slices
from sagebrush_server.protocols.open_inference.messages import OutputParts, OutputPlan, write_answer

BINARY_TYPE = "application/octet-stream"
"""Content-Type of an answer with binary tensors; its JSON part comes first."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """A `Decoder` of rows that were checked before: float64 in the machine's order, row by row."""

    width: int
    media_type: str = "application/json"

    def decode(self, body: bytes, *, feature_dim: int | None) -> NDArray[np.float64]:  # noqa: ARG002 – checked before
        """See `Decoder`."""
        # A copy, because models may expect an array that they can write to.
        return np.frombuffer(body, dtype=np.float64).reshape(-1, self.width).copy()

    def decode_together(
        self, bodies: Sequence[bytes], *, feature_dim: int
    ) -> tuple[NDArray[np.float64], Sequence[int]]:
        """See `Decoder`."""
        row_bytes = 8 * self.width
        return self.decode(b"".join(bodies), feature_dim=feature_dim), [len(body) // row_bytes for body in bodies]


@functools.lru_cache(maxsize=64)
def raw_rows(width: int) -> RawRows:
    """Return the decoder for rows of this width: the same one every time, so that requests are predicted together."""
    return RawRows(width)


class TensorAnswer:
    """The `Encoder` of one request, and the headers that its answer needs (`Ask.then`)."""

    def __init__(self, plan: OutputPlan, *, model_name: str, model_version: str, identity: str | None) -> None:
        self._plan = plan
        self._model_name, self._model_version, self._identity = model_name, model_version, identity
        self._header_length: int | None = None

    @property
    def media_type(self) -> str:
        """See `Encoder`."""
        return BINARY_TYPE if any(output.binary for output in self._plan.wanted) else "application/json"

    def encode(self, predictions: Predictions, *, counts: Sequence[int]) -> list[bytes]:
        """See `Encoder`."""
        parts = [predictions] if len(counts) == 1 else slices(predictions, counts=counts)
        return [self._encode(part) for part in parts]

    def _encode(self, predictions: Predictions) -> bytes:
        parts = OutputParts()
        for output in self._plan.wanted:
            parts.add(output.name, predictions.columns[output.name], binary=output.binary)
        answer = write_answer(
            parts, model_name=self._model_name, model_version=self._model_version, identity=self._identity
        )
        self._header_length = answer.header_length
        return answer.body

    def finish(self, reply: Reply) -> Reply:
        """Say how long the JSON part is where binary tensors follow it."""
        return with_header_length(reply, length=self._header_length)


def with_header_length(reply: Reply, *, length: int | None) -> Reply:
    """Return the reply with `Inference-Header-Content-Length` where it succeeded and has binary tensors."""
    if length is None or reply.status != 200:
        return reply
    return replace(reply, headers={**reply.headers, "Inference-Header-Content-Length": str(length)})
