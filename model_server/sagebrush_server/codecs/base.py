"""What the server asks of a format. Requests that arrived together are decoded together and encoded together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from sagebrush_server.algorithms.model import Predictions, SparseRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Decoder(Protocol):
    """Reads the bodies of one media type."""

    @property
    def media_type(self) -> str:
        """Such as `text/csv`, without parameters."""
        ...

    def decode(self, body: bytes, *, feature_dim: int | None) -> "NDArray[np.float64] | SparseRows":
        """Return n×feature_dim finite values (n ≥ 1); None takes the width of the first row. Raises RequestError."""
        ...

    def decode_together(
        self, bodies: list[bytes], *, feature_dim: int
    ) -> "tuple[NDArray[np.float64], Sequence[int]] | None":
        """Return the rows of all bodies in one array, and how many each has.

        None where that can't be said without a doubt: then each body is decoded by itself. Never raises RequestError.
        """
        ...


class Encoder(Protocol):
    """Writes answers of one media type."""

    @property
    def media_type(self) -> str:
        """The answer's Content-Type."""
        ...

    def encode(self, predictions: Predictions, *, counts: Sequence[int]) -> list[bytes]:
        """Return one body for each of `counts`: the first has the first `counts[0]` rows, and so on."""
        ...


@dataclass(frozen=True, slots=True)
class OneByOne:
    """A `Decoder` for a format of which nothing is gained by reading several bodies at once."""

    media_type: str
    read: "Callable[..., NDArray[np.float64] | SparseRows]"

    def decode(self, body: bytes, *, feature_dim: int | None) -> "NDArray[np.float64] | SparseRows":
        """See `Decoder`."""
        return self.read(body, feature_dim=feature_dim)

    def decode_together(self, bodies: list[bytes], *, feature_dim: int) -> None:
        """See `Decoder`."""


def slices(predictions: Predictions, *, counts: Sequence[int]) -> list[Predictions]:
    """Cut predictions into those of each request."""
    ends = list(accumulate(counts))
    starts = [0, *ends[:-1]]
    return [
        Predictions(
            {name: column[start:end] for name, column in predictions.columns.items()},
            root=predictions.root,
            more={name: column[start:end] for name, column in predictions.more.items()},
        )
        for start, end in zip(starts, ends, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class EachByItself:
    """An `Encoder` that writes each answer from its own slice of the predictions."""

    media_type: str
    write: Callable[[Predictions], bytes]

    def encode(self, predictions: Predictions, *, counts: Sequence[int]) -> list[bytes]:
        """See `Encoder`."""
        return [self.write(part) for part in slices(predictions, counts=counts)]
