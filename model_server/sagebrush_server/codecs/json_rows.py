"""`application/json` and `application/jsonlines` requests in the shapes SageMaker's algorithms take.

Source: "Common data formats for inference" in the SageMaker developer guide.
"""

import json
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.rows import rows_to_array, shown

_SHAPES = (
    'expected {"instances": [{"features": […]}, …]}, {"features": […]}, {"data": {"features": {"values": […]}}}, '
    "or a list of rows"
)


def decode_json(body: bytes, *, feature_dim: int) -> NDArray[np.float64]:
    """Return the n×`feature_dim` values of a JSON body. Raises RequestError (400) with row and column."""
    document = _load(body, where="the body")
    if isinstance(document, dict) and "instances" in document:
        _refuse_other_keys(document, known="instances", where="the body")
        instances = document["instances"]
        if not isinstance(instances, list):
            raise bad_data(f'"instances" must be a list of rows, got {shown(instances)}')
        rows = [_row_of(instance, where=f"row {number}") for number, instance in enumerate(instances, start=1)]
    elif isinstance(document, dict):
        rows = [_row_of(document, where="row 1")]
    elif isinstance(document, list) and document and isinstance(document[0], (list, dict)):
        rows = [_row_of(row, where=f"row {number}") for number, row in enumerate(document, start=1)]
    elif isinstance(document, list) and document:
        rows = [document]
    elif isinstance(document, list):
        rows = []
    else:
        raise bad_data(f"{_SHAPES}; got {shown(document)}")
    return rows_to_array(rows, feature_dim=feature_dim)


def decode_jsonlines(body: bytes, *, feature_dim: int) -> NDArray[np.float64]:
    """Return the n×`feature_dim` values of a body with one JSON row per line. Raises RequestError (400)."""
    lines = body.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    rows = [
        _row_of(_load(line, where=f"row {number}"), where=f"row {number}") for number, line in enumerate(lines, start=1)
    ]
    return rows_to_array(rows, feature_dim=feature_dim)


def _load(text: bytes, *, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise _explain(text, where=where, problem=problem) from None


def _explain(text: bytes, *, where: str, problem: orjson.JSONDecodeError) -> RequestError:
    """Say what is wrong; NaN and Infinity, which Python's own encoder writes, are named as such."""
    for token in (b"NaN", b"Infinity"):
        if token in text:
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                break
            return bad_data(f"{where} holds {token.decode()}, which is neither JSON nor a finite number")
    return bad_data(f"{where} is not JSON: {problem}")


def _row_of(record: Any, *, where: str) -> Any:
    """Take the list of values out of one record, whichever of the known wrappings it has."""
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
    if features.get("keys"):
        raise bad_data(f'{where}: sparse features ("keys") are not supported; send every value in "values"')
    if "values" not in features:
        raise bad_data(f'{where}: "features" must be a list or hold "values"')
    values = features["values"]
    shape = features.get("shape")
    if shape and isinstance(values, list) and shape != [len(values)]:
        raise bad_data(f'{where}: "shape" is {shown(shape)} but "values" holds {len(values)} values')
    return values


def _refuse_other_keys(record: dict[str, Any], *, known: str, where: str) -> None:
    if len(record) > 1:
        others = ", ".join(sorted(str(key) for key in record if key != known))
        raise bad_data(f'{where}: nothing is known about {shown(others)} beside "{known}"')
