"""JSON documents of any legal shape to rows, dense or sparse, and the exact reason where one is none."""

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.rows import TOO_LARGE, compressed_rows, rows_to_array, shown

_SHAPES: Final = (
    'expected {"instances": [{"features": […]}, …]}, {"features": […]}, {"data": {"features": {"values": […]}}}, '
    "or a list of rows"
)
_MOST_CONTAINERS: Final = 250_000
"""Lists and objects of a body. Empty ones cost thirty times their two bytes in memory."""
_SPARSE_KEYS: Final = frozenset(("keys", "shape", "values"))


@dataclass(frozen=True, slots=True)
class _SparseRow:
    keys: list[int]
    values: list[float]
    width: int | None


def read_document(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
    """Return the rows of one JSON document. Raises RequestError (400) with row and column."""
    document, doubt = _load(body, where="the body")
    rows = _together(_rows_of(document), feature_dim=feature_dim)
    if doubt is not None:
        raise doubt
    return rows


def read_lines(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
    """Return the rows of a body with one JSON row per line. Raises RequestError (400) with row and column."""
    _refuse_many_containers(body)
    rows, doubts = [], []
    for number, line in enumerate(body.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n"), start=1):
        document, doubt = _load(line, where=f"row {number}")
        rows.append(_row_of(document, where=f"row {number}"))
        if doubt is not None:
            doubts.append(doubt)
    together = _together(rows, feature_dim=feature_dim)
    if doubts:
        raise doubts[0]
    return together


def _rows_of(document: Any) -> list[Any]:
    """Take the rows out of a document."""
    if isinstance(document, dict) and "instances" in document:
        _refuse_other_keys(document, known="instances", where="the body")
        instances = document["instances"]
        if not isinstance(instances, list):
            raise bad_data(f'"instances" must be a list of rows, got {shown(instances)}')
        return [_row_of(instance, where=f"row {number}") for number, instance in enumerate(instances, start=1)]
    if isinstance(document, dict):
        return [_row_of(document, where="row 1")]
    if isinstance(document, list) and document and isinstance(document[0], (list, dict)):
        return [_row_of(row, where=f"row {number}") for number, row in enumerate(document, start=1)]
    if isinstance(document, list):
        return [document] if document else []
    raise bad_data(f"{_SHAPES}; got {shown(document)}")


def _load(text: bytes, *, where: str) -> tuple[Any, RequestError | None]:
    """Parse JSON. What only Python's own parser takes (NaN, numbers too large) comes with the refusal that is due for it.

    So that a reader may first come upon the number itself, and name its row and column.
    """
    _refuse_many_containers(text)
    try:
        return orjson.loads(text), None
    except orjson.JSONDecodeError as problem:
        refusal = bad_data(f"{where} is not JSON: {problem}")
    try:
        return json.loads(text.decode()), refusal
    except (ValueError, RecursionError):
        raise refusal from None


def _refuse_many_containers(text: bytes) -> None:
    count = text.count(b"[") + text.count(b"{")
    if count > _MOST_CONTAINERS:
        raise RequestError(
            413,
            message=f"the body holds {count} lists and objects; at most {_MOST_CONTAINERS}: send fewer rows in a request",
        )


def _row_of(record: Any, *, where: str) -> Any:
    """Take the values out of one record, whichever of the known wrappings it has: a list, or a `_SparseRow`."""
    if not isinstance(record, dict):
        return record
    if "data" in record:
        _refuse_other_keys(record, known="data", where=where)
        record = record["data"]
        if not isinstance(record, dict):
            raise bad_data(f'{where}: "data" must be an object with "features", got {shown(record)}')
    if "features" not in record:
        raise bad_data(f"{where}: {_SHAPES}; got the keys {shown(', '.join(map(str, record)))}")
    _refuse_other_keys(record, known="features", where=where)
    features = record["features"]
    return _values_of(features, where=where) if isinstance(features, dict) else features


def _values_of(features: dict[str, Any], *, where: str) -> Any:
    strangers = features.keys() - _SPARSE_KEYS
    if strangers or "values" not in features:
        got = shown(", ".join(features))
        raise bad_data(
            f'{where}: "features" must be a list, or hold "values", and "keys" and "shape" if sparse; got {got}'
        )
    values, shape = features["values"], features.get("shape") or None
    if shape is not None and not _is_shape(shape):
        raise bad_data(f'{where}: "shape" must be a list with the number of columns, got {shown(shape)}')
    # Without keys a tensor is dense, as in a protobuf record; without values too, it is a sparse row of zeros.
    if features.get("keys") or (features.get("keys") == [] and values == []):
        width = None if shape is None else shape[0]
        return _sparse_row(keys=features["keys"], values=values, width=width, where=where)
    if shape is not None and isinstance(values, list) and shape != [len(values)]:
        raise bad_data(f'{where}: "shape" is {shown(shape)} but "values" holds {len(values)} values')
    return values


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and len(shape) == 1 and _is_index(shape[0])


def _is_index(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _sparse_row(*, keys: Any, values: Any, width: int | None, where: str) -> _SparseRow:
    if not isinstance(keys, list) or not isinstance(values, list) or len(keys) != len(values):
        raise bad_data(f'{where}: "keys" and "values" must be lists of the same length')
    numbers = []
    for place, (key, value) in enumerate(zip(keys, values, strict=True), start=1):
        if not _is_index(key):
            raise bad_data(f'{where}: number {place} of "keys" must be a column counted from 0, got {shown(key)}')
        if type(value) not in (int, float):
            raise bad_data(f"{where}, column {key + 1}: expected a number, got {type(value).__name__} {shown(value)}")
        try:
            numbers.append(float(value))
        except OverflowError:
            raise bad_data(f"{where}, column {key + 1}: {TOO_LARGE}") from None
    return _SparseRow(keys=keys, values=numbers, width=width)


def _together(rows: list[Any], *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
    """Make one array of all rows; all of them dense, or all of them sparse."""
    if not any(isinstance(row, _SparseRow) for row in rows):
        return rows_to_array(rows, feature_dim=feature_dim)
    width = feature_dim
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, _SparseRow):
            raise bad_data(f'row {number} has no "keys", others have; send all rows sparse, or none')
        if width is None:
            width = row.width
        if width is None:
            raise bad_data(f'row {number}: sparse features need a "shape" for this model')
        if row.width not in (None, width):
            expected = "the model expects" if feature_dim is not None else "row 1 has"
            raise bad_data(f'row {number}: "shape" is [{row.width}]; {expected} {width} columns')
    return compressed_rows(
        sizes=np.array([len(row.keys) for row in rows], dtype=np.int64),
        columns=np.array([key for row in rows for key in row.keys], dtype=np.int64),
        values=np.array([value for row in rows for value in row.values], dtype=np.float64),
        width=width or 0,
    )


def _refuse_other_keys(record: dict[str, Any], *, known: str, where: str) -> None:
    if len(record) > 1:
        others = ", ".join(sorted(str(key) for key in record if key != known))
        raise bad_data(f'{where}: nothing is known about {shown(others)} beside "{known}"')
