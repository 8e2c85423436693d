"""Answers in the format that the request's Accept header names."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.codecs.base import EachByItself, Encoder


def _records(predictions: Predictions) -> list[dict[str, Any]]:
    names = tuple(predictions.columns)
    values = (column.tolist() for column in predictions.columns.values())
    return [dict(zip(names, cells, strict=True)) for cells in zip(*values, strict=True)]


def encode_json(predictions: Predictions) -> bytes:
    """Encode as `{"predictions": [{"score": …, …}, …]}`."""
    return orjson.dumps({predictions.root: _records(predictions)})


def encode_jsonlines(predictions: Predictions) -> bytes:
    """Encode one JSON object per row, each line ended by LF."""
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in _records(predictions))


def encode_csv(predictions: Predictions) -> bytes:
    """Encode one line per row, the columns in the model's order (score, then label); scores per class side by side."""
    lines = []
    for record in _records(predictions):
        cells: list[float] = []
        for value in record.values():
            cells.extend(value if isinstance(value, list) else [value])
        lines.append(b",".join(map(orjson.dumps, cells)) + b"\n")
    return b"".join(lines)


ENCODERS: Final[Mapping[str, Encoder]] = {
    encoder.media_type: encoder
    for encoder in (
        EachByItself("application/json", encode_json),
        EachByItself("application/jsonlines", encode_jsonlines),
        EachByItself("text/csv", encode_csv),
    )
}
