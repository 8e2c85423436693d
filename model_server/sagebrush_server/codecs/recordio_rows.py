"""`application/x-recordio-protobuf` requests: SageMaker's binary records, dense or sparse; labels are ignored."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.recordio import (
    VALUES,
    RecordError,
    Tensor,
    parse_record,
    read_payloads,
    record_message,
    tensor_message,
)
from sagebrush_server.codecs.rows import check_array, compressed_rows, refuse_unless_finite, shown, wrong_width
from sagebrush_server.codecs.wire import WireError

_LARGEST_KEY: Final = 2**63 - 1


def decode_recordio(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
    """Return the rows of a body: of each record the feature `values`. Raises RequestError (400) with row and column."""
    try:
        payloads = list(read_payloads(io.BytesIO(body)))
    except RecordError as problem:
        raise bad_data(f"record {problem.record}: {problem}") from None
    if not payloads:
        raise bad_data("the body holds no rows")
    tensors = [_parse(payloads[0], number=1)]
    rows = _alike(payloads, first=tensors[0])
    if rows is not None:
        return check_array(rows, feature_dim=feature_dim)
    tensors += [_parse(payload, number=number) for number, payload in enumerate(payloads[1:], start=2)]
    for number, tensor in enumerate(tensors, start=1):
        if tensor.is_sparse != tensors[0].is_sparse:
            kinds = ("sparse", "dense") if tensor.is_sparse else ("dense", "sparse")
            raise bad_data(f"row {number} is {kinds[0]}, the rows before it are {kinds[1]}")
    return (_sparse if tensors[0].is_sparse else _dense)(tensors, feature_dim=feature_dim)


def _parse(payload: bytes, *, number: int) -> Tensor:
    try:
        record = parse_record(payload)
    except WireError as problem:
        raise bad_data(f"record {number}: it is not an aialgs.data.Record: {problem}") from None
    if record.features.keys() != {VALUES}:
        raise bad_data(f"row {number} has the features {shown(', '.join(record.features))}; expected {VALUES!r}")
    return record.features[VALUES]


def _alike(payloads: list[bytes], *, first: Tensor) -> NDArray[np.generic] | None:
    """Return the values of records that are the same but for them, as a writer makes them of dense rows; None for others."""
    for dtype in (np.dtype("<f4"), np.dtype("<f8")):
        with np.errstate(over="ignore"):
            values = first.values.astype(dtype)
        head = record_message(features={VALUES: tensor_message(values)}, label={})[: -values.nbytes or None]
        size = len(head) + values.nbytes
        if values.nbytes and all(len(payload) == size and payload.startswith(head) for payload in payloads):
            return np.frombuffer(b"".join([payload[len(head) :] for payload in payloads]), dtype).reshape(
                len(payloads), -1
            )
    return None


def _dense(tensors: list[Tensor], *, feature_dim: int | None) -> NDArray[np.float64]:
    width = feature_dim or len(tensors[0].values)
    for number, tensor in enumerate(tensors, start=1):
        size = len(tensor.values)
        if size != width or not size:
            raise wrong_width(size, row=number, expected=width or 1, feature_dim=feature_dim)
        if tensor.shape and tensor.shape != (size,):
            raise bad_data(f"row {number} has {size} values, its shape says {shown(list(tensor.shape))}")
    rows = np.array([tensor.values for tensor in tensors])
    refuse_unless_finite(rows)
    return rows


def _sparse(tensors: list[Tensor], *, feature_dim: int | None) -> SparseRows:
    width = feature_dim
    for number, tensor in enumerate(tensors, start=1):
        if width is None:
            if not tensor.shape:
                raise bad_data(f"row {number}: a sparse record needs its shape for this model")
            width = min(tensor.shape[0], _LARGEST_KEY)
        if tensor.shape not in ((), (width,)):
            expected = "the model expects" if feature_dim is not None else "row 1 has"
            raise bad_data(f"row {number} has the shape {shown(list(tensor.shape))}; {expected} {width} columns")
        keys = 0 if tensor.keys is None else len(tensor.keys)
        if keys != len(tensor.values):
            raise bad_data(f"row {number} has {len(tensor.values)} values and {keys} keys")
    return compressed_rows(
        sizes=np.array([len(tensor.values) for tensor in tensors], dtype=np.int64),
        columns=np.concatenate([np.zeros(0, np.uint64) if tensor.keys is None else tensor.keys for tensor in tensors]),
        values=np.concatenate([tensor.values for tensor in tensors]),
        width=width or 0,
    )
