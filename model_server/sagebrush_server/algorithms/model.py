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
class SparseRows:
    """n×`width` values of which most are 0, as compressed rows (what SciPy calls CSR, without needing SciPy).

    Row i has `values[indptr[i]:indptr[i + 1]]` at the columns `indices[indptr[i]:indptr[i + 1]]`, each column at most
    once, columns below `width`, values finite float64.
    """

    indptr: "NDArray[np.int64]"
    indices: "NDArray[np.int64]"
    values: "NDArray[np.float64]"
    width: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers for n rows: each column is an array of n values (or n×k for several per row), in the order shown.

    `root` is the key around the list in JSON: `predictions` for most of SageMaker's algorithms. `more` are columns that
    only an Accept header with `verbose=true` shows.
    """

    columns: "Mapping[str, NDArray[np.generic]]"
    root: str = field(default="predictions")
    more: "Mapping[str, NDArray[np.generic]]" = field(default_factory=dict)


class Model(Protocol):
    """A loaded model. Implementations are immutable and may be called from any thread.

    The answer for a row doesn't depend on the rows beside it, but for rounding: requests are scored together.
    """

    @property
    def algorithm(self) -> str:
        """SageMaker's name of the algorithm, or the framework's."""
        ...

    @property
    def feature_dim(self) -> int | None:
        """Values per row; None where the model takes any number."""
        ...

    @property
    def takes_sparse(self) -> bool:
        """Whether `predict` takes `SparseRows` too. Where not, the server makes them dense first."""
        ...

    @property
    def fork_safe(self) -> bool:
        """Whether the loaded model may be used in a forked process (no threads, no OpenMP pool behind it)."""
        ...

    def predict(self, rows: "NDArray[np.float64] | SparseRows") -> Predictions:
        """Score n×feature_dim finite values. Raises RowError for a row whose score isn't finite."""
        ...

    def self_test_rows(self) -> "NDArray[np.float64]":
        """Rows (at least one) that the server answers once before it says it is ready."""
        ...

    def check_self_test(self, answer: Predictions) -> None:
        """Compare the answer for `self_test_rows` with what training saw. Raises ValueError where they differ."""
        ...
