"""ONNX graphs by ONNX Runtime; neither scikit-learn nor any other library of models is imported."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.models.bare import BareModel, ClassColumns, Classes, Columns, Rows, bare_model, score_columns
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.settings import LoadingSettings, threads

_LOG = logging.getLogger(__name__)
_NUMBERS: Final[Mapping[str, type[np.number[Any]]]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float16)": np.float16,
}
_FLOATS: Final = ("tensor(float)", "tensor(double)", "tensor(float16)")
_LABELS: Final = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_MAPS: Final = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
Floats = NDArray[np.float64]
Feed = Callable[[Floats], dict[str, NDArray[Any]]]


def load(path: Path, *, settings: LoadingSettings, example: Floats | None = None) -> BareModel:
    """Load a graph whose inputs are numbers, n rows of them. Raises ModelError for one of another shape."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # ONNX Runtime's exceptions have no common base
        raise ModelError(f"{path.name} can't be read by ONNX Runtime {onnxruntime.__version__}: {problem}") from problem
    feed, width, fixed_rows = _feed_of(session.get_inputs(), name=path.name)
    run = _runner(session, feed=feed, fixed_rows=fixed_rows)
    score = _scorer(session.get_outputs(), run=run, name=path.name, settings=settings, probe=width)
    return bare_model("ONNX graph", feature_dim=width, score=score, example=example, fork_safe=False)


def _feed_of(inputs: Sequence[Any], *, name: str) -> tuple[Feed, int | None, int | None]:
    """Return what makes the graph's inputs from rows, values per row, and rows per call where the graph fixes them."""
    parts: list[tuple[str, type[np.number[Any]], tuple[int, ...] | None]] = []
    fixed_rows = None
    for one in inputs:
        kind = _NUMBERS.get(one.type)
        if kind is None:
            raise ModelError(
                f"{name}: input {one.name!r} is {one.type}; rows of numbers are served ({', '.join(_NUMBERS)}), other "
                "inputs need code/inference.py"
            )
        if not one.shape:
            raise ModelError(f"{name}: input {one.name!r} has the shape {one.shape}, where its first axis must be rows")
        fixed_rows = one.shape[0] if isinstance(one.shape[0], int) else fixed_rows
        rest = one.shape[1:]
        known = all(isinstance(size, int) and size > 0 for size in rest)
        parts.append((one.name, kind, tuple(rest) if known else None))
    if len(parts) == 1 and parts[0][2] is None:
        if len(inputs[0].shape) != 2:
            raise ModelError(
                f"{name}: input {inputs[0].name!r} has the shape {inputs[0].shape}; one size must be known"
            )
        only, takes, _ = parts[0]
        return (lambda rows: {only: _cast(rows, takes)}), None, fixed_rows
    shapes = [shape for _, _, shape in parts if shape is not None]
    if len(shapes) < len(parts):
        raise ModelError(f"{name}: of several inputs each must say how many values it takes")
    sizes = [int(np.prod(shape)) for shape in shapes]
    ends = np.cumsum(sizes).tolist()
    cuts = [
        (name_, kind, slice(end - size, end), shape)
        for (name_, kind, _), end, size, shape in zip(parts, ends, sizes, shapes, strict=True)
    ]
    if len(cuts) == 1:
        first, takes, _, shape = cuts[0]
        if len(shape) == 1:
            return (lambda rows: {first: _cast(rows, takes)}), ends[-1], fixed_rows
    return (
        (lambda rows: {one: _cast(rows[:, cut], kind).reshape(-1, *shape) for one, kind, cut, shape in cuts}),
        ends[-1],
        fixed_rows,
    )


def _cast(rows: Floats, kind: type[np.number[Any]]) -> NDArray[Any]:
    """Rows as the graph takes them. Raises RowError for what doesn't fit, rather than to round it to infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        data: NDArray[Any] = np.ascontiguousarray(rows, dtype=kind)
    if data.dtype.kind == "f":
        wrong = ~np.isfinite(data)
    else:
        wrong = data != rows
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        raise RowError(f"a value is no {data.dtype}, which the model takes", row=row)
    return data


Run = Callable[[Floats, list[str]], list[Any]]


def _runner(session: Any, *, feed: Feed, fixed_rows: int | None) -> Run:
    run = session.run

    def at_once(rows: Floats, wanted: list[str]) -> list[Any]:
        return list(run(wanted, feed(rows)))

    def in_pieces(rows: Floats, wanted: list[str]) -> list[Any]:
        size = int(fixed_rows or 1)
        if len(rows) % size:
            raise RowError(f"the model takes {size} rows at a time", row=len(rows) - 1)
        parts = [at_once(rows[start : start + size], wanted) for start in range(0, len(rows), size)]
        return [_joined(column) for column in zip(*parts, strict=True)]

    return in_pieces if fixed_rows else at_once


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], list):
        return list(chain.from_iterable(parts))
    return np.concatenate([np.atleast_1d(part) for part in parts])


def _scorer(
    outputs: Sequence[Any], *, run: Run, name: str, settings: LoadingSettings, probe: int | None
) -> Callable[[Rows], Columns]:
    """A classifier has a label and, mostly, probabilities; anything else answers its outputs by their names."""
    label = next((one for one in outputs if one.type in _LABELS), None)
    shares = next((one for one in outputs if one is not label and (one.type in _MAPS or one.type in _FLOATS)), None)
    if label is not None and shares is not None and len(outputs) == 2:
        return _Classifier(run, label=label, shares=shares, settings=settings, probe=probe).columns
    unknown = next((one for one in outputs if one.type not in _NUMBERS and one.type not in _LABELS), None)
    if unknown is not None:
        raise ModelError(f"{name}: output {unknown.name!r} is {unknown.type}; it needs code/inference.py")
    column = score_columns(outputs=settings.outputs, algorithm="ONNX")
    wanted = [one.name for one in outputs]
    titles = [column] if len(wanted) == 1 else wanted

    def columns(rows: Rows) -> Columns:
        values = run(_dense(rows), wanted)
        return {title: _per_row(value, count=len(rows)) for title, value in zip(titles, values, strict=True)}

    return columns


class _Classifier:
    """Label and probabilities, the latter as n×k or, as converters write them, a map for each row."""

    def __init__(self, run: Run, *, label: Any, shares: Any, settings: LoadingSettings, probe: int | None) -> None:
        self._run, self._label, self._shares = run, label.name, shares.name
        self._maps = shares.type in _MAPS
        self._labels: NDArray[Any] | None = None
        if probe is not None and self._maps:
            # The classes' values stand in the maps only.
            (first,) = run(np.zeros((1, probe)), [self._shares])
            self._labels = np.array(list(first[0]))
        elif probe is not None:
            (first,) = run(np.zeros((1, probe)), [self._shares])
            self._labels = np.arange(np.atleast_2d(first).shape[1])
        self._names = ClassColumns(
            self._labels if self._labels is not None else np.arange(0),
            outputs=settings.outputs,
            has=frozenset(("probabilities",)),
        )
        self._wanted = [self._label, self._shares] if self._names.wants("probabilities") else [self._label]

    def columns(self, rows: Rows) -> Columns:
        """Return the columns for n rows: the label is the graph's own."""
        values = self._run(_dense(rows), self._wanted)
        labels = np.asarray(values[0]).reshape(len(rows))
        shares = None
        if len(values) > 1:
            shares = np.array([list(row.values()) for row in values[1]]) if self._maps else np.asarray(values[1])
            shares = shares.reshape(len(rows), -1)
        index = shares.argmax(axis=1) if shares is not None else np.zeros(len(rows), np.intp)
        found = self._names.columns(Classes(index, probabilities=shares))
        return {**found, "predicted_label": labels} if "predicted_label" in found else found


def _per_row(value: Any, *, count: int) -> NDArray[np.generic]:
    """One value, or one list of values, for each row."""
    array = np.asarray(value)
    array = array.reshape(count, -1) if array.size != count or array.ndim != 1 else array
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _dense(rows: Rows) -> Floats:
    return rows  # type: ignore[return-value]  # BareModel refuses sparse rows before they come here
