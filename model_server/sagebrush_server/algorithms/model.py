"""What serving knows of a model: rows in, named columns out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RowError(Exception):
    """A row that is well formed but can't be scored. `row` counts from 0; the message doesn't repeat it."""

    def __init__(self, message: str, *, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers for n rows: each column is an array of n values (or n×k for scores per class), in the order shown.

    `root` is the key around the list in JSON: `predictions` for most of SageMaker's algorithms.
    """

    columns: "Mapping[str, NDArray[np.generic]]"
    root: str = field(default="predictions")


class Model(Protocol):
    """A loaded model. Implementations are immutable and may be called from any thread."""

    @property
    def algorithm(self) -> str:
        """SageMaker's name of the algorithm."""
        ...

    @property
    def feature_dim(self) -> int:
        """Values per row."""
        ...

    def predict(self, rows: "NDArray[np.float64]") -> Predictions:
        """Score n×feature_dim finite values. Raises RowError for a row whose score isn't finite."""
        ...

    def self_test_rows(self) -> "NDArray[np.float64]":
        """Rows (at least one) that the server answers once before it says it is ready."""
        ...

    def check_self_test(self, answer: Predictions) -> None:
        """Compare the answer for `self_test_rows` with what training saw. Raises ValueError where they differ."""
        ...
