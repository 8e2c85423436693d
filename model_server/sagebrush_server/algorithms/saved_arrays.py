"""The model format of the algorithms whose model is arrays: `model.json` beside one `.npy` file for each array.

Nothing in it can run: the arrays are read without pickle, and their types, shapes and values are checked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.algorithms.registry import MODEL_FILE

FORMAT_VERSION: Final = 1
SELF_TEST_TOLERANCE: Final = 1e-6
"""How far, relative to its size (or to 1 where it is smaller), an answer may be from what training had."""

Array = NDArray[np.float64]
AnyArray = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.uint8]
_KINDS: Final = (np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.uint8))


@dataclass(frozen=True)
class SelfTest:
    """Rows (n×d) and, for each column of the answer, what training's own model said of them."""

    rows: Array
    answers: Mapping[str, Array]

    @classmethod
    def of(cls, rows: Array, *, predictions: Predictions) -> "SelfTest":
        """Remember what a model that was just made says of `rows`."""
        answers = {name: np.asarray(column, dtype=np.float64) for name, column in predictions.columns.items()}
        return cls(rows, answers)

    def check(self, answer: Predictions) -> None:
        """Raise ValueError naming the first column that differs from training's by more than the tolerance."""
        for name, expected in self.answers.items():
            got = np.asarray(answer.columns[name], dtype=np.float64)
            if got.shape != expected.shape or not np.allclose(
                got, expected, rtol=SELF_TEST_TOLERANCE, atol=SELF_TEST_TOLERANCE
            ):
                raise ValueError(f"the model answers its self-test rows with another {name} than training had")


@dataclass(frozen=True)
class SavedModel:
    """What a model folder holds: facts (plain values), arrays by name, and the self-test."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, AnyArray]
    self_test: SelfTest

    def save(self, folder: Path, *, algorithm: str) -> None:
        """Write the arrays, then `model.json`, which makes it a model. Raises OSError."""
        for name, array in (*self.arrays.items(), *_test_arrays(self.self_test).items()):
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        document = {
            "algorithm": algorithm,
            "format_version": FORMAT_VERSION,
            **self.facts,
            "arrays": {name: list(array.shape) for name, array in self.arrays.items()},
            "self_test_columns": list(self.self_test.answers),
        }
        data = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (folder / MODEL_FILE).write_bytes(data)

    def array(self, name: str, *shape: int | None) -> Array:
        """Return a float64 array that must be there and have this shape (None: any length). Raises ValueError."""
        return cast("Array", self._find(name, np.float64, shape))

    def integers(self, name: str, *shape: int | None, below: int) -> NDArray[np.int64]:
        """Return an int64 array of this shape, values from 0 and below `below`. Raises ValueError."""
        array = cast("NDArray[np.int64]", self._find(name, np.int64, shape))
        if array.size and not (int(array.min()) >= 0 and int(array.max()) < below):
            raise ValueError(f"{name} holds a value outside 0 to {below - 1}")
        return array

    def codes(self, name: str, *shape: int | None) -> NDArray[np.uint8]:
        """Return a uint8 array of this shape. Raises ValueError."""
        return cast("NDArray[np.uint8]", self._find(name, np.uint8, shape))

    def count(self, name: str, *, minimum: int = 1) -> int:
        """Return a fact that must be a whole number of at least `minimum`. Raises ValueError."""
        value = self.facts[name]
        if type(value) is not int or value < minimum:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {minimum}")
        return value

    def word(self, name: str, *, among: Sequence[str]) -> str:
        """Return a fact that must be one of these words. Raises ValueError."""
        value = self.facts[name]
        if value not in among:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(among)}")
        return str(value)

    def real(self, name: str) -> float:
        """Return a fact that must be a finite number. Raises ValueError."""
        value = self.facts[name]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}; it must be a finite number")
        return float(value)

    def _find(self, name: str, kind: type, shape: tuple[int | None, ...]) -> AnyArray:
        if name not in self.arrays:
            raise ValueError(f"the array {name} is missing")
        array = self.arrays[name]
        if array.dtype != np.dtype(kind):
            raise ValueError(f"{name} is {array.dtype}, expected {np.dtype(kind)}")
        fits = array.ndim == len(shape) and all(
            expected is None or found == expected for found, expected in zip(array.shape, shape, strict=True)
        )
        if not fits:
            wanted = "×".join("any" if length is None else str(length) for length in shape)
            raise ValueError(f"{name} has the shape {'×'.join(map(str, array.shape)) or 'of one value'}, not {wanted}")
        return array


def read_saved(folder: Path, *, algorithm: str) -> SavedModel:
    """Read the model in `folder`. Raises ValueError or KeyError naming what is missing, of another kind or not finite."""
    document = cast("dict[str, Any]", orjson.loads((folder / MODEL_FILE).read_bytes()))
    if document["algorithm"] != algorithm:
        raise ValueError(f"the model is of {document['algorithm']}, not of {algorithm}")
    if document["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format_version {document['format_version']}; this server reads {FORMAT_VERSION}")
    shapes = document["arrays"]
    arrays = {name: _read_array(folder, name) for name in shapes}
    for name, array in arrays.items():
        if list(array.shape) != shapes[name]:
            raise ValueError(f"{name} has the shape {list(array.shape)}; model.json says {shapes[name]}")
    rows = cast("Array", _read_array(folder, "self_test_rows"))
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError("there are no self-test rows")
    answers = {name: cast("Array", _read_array(folder, f"self_test_{name}")) for name in document["self_test_columns"]}
    return SavedModel(document, arrays, SelfTest(rows, answers))


def _test_arrays(test: SelfTest) -> dict[str, Array]:
    return {"self_test_rows": test.rows, **{f"self_test_{name}": answer for name, answer in test.answers.items()}}


def _read_array(folder: Path, name: str) -> AnyArray:
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name of an array")
    try:
        array = np.load(folder / f"{name}.npy", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{name}.npy is missing") from None
    except (EOFError, OSError, ValueError) as problem:
        # Without NumPy's advice, which is to unpickle.
        raise ValueError(f"{name}.npy is no file of plain numbers") from problem
    if not isinstance(array, np.ndarray) or array.dtype not in _KINDS:
        raise ValueError(f"{name}.npy holds no float64, int64 or uint8 values")
    if array.dtype == np.dtype(np.float64) and not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return cast("AnyArray", array)


class SavedPredictor:
    """What all models of this format have in common (the part of `Model` that isn't `predict`)."""

    algorithm: str

    def __init__(self, saved: SavedModel) -> None:
        self.saved = saved
        self._feature_dim = saved.count("feature_dim")
        if saved.self_test.rows.shape[1] != self._feature_dim:
            raise ValueError(f"the self-test rows have {saved.self_test.rows.shape[1]} values, not {self._feature_dim}")

    @property
    def feature_dim(self) -> int:
        """Values per row."""
        return self._feature_dim

    @property
    def takes_sparse(self) -> bool:
        """Dense rows only."""
        return False

    @property
    def fork_safe(self) -> bool:
        """Numpy alone, which forks."""
        return True

    def self_test_rows(self) -> Array:
        """Return the rows that training answered and kept."""
        return self.saved.self_test.rows

    def check_self_test(self, answer: Predictions) -> None:
        """Raise ValueError where an answer differs from training's."""
        self.saved.self_test.check(answer)
