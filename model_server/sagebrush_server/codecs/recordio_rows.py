"""`application/x-recordio-protobuf` requests: SageMaker's binary records, dense or sparse; labels are ignored."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.recordio import VALUES, RecordError, Tensor, read_records
from sagebrush_server.codecs.rows import compressed_rows, refuse_unless_finite, shown, wrong_width

_LARGEST_KEY: Final = 2**63 - 1


def decode_recordio(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
    """Return the rows of a body: of each record the feature `values`. Raises RequestError (400) with row and column."""
    tensors = []
    try:
        for number, record in enumerate(read_records(io.BytesIO(body)), start=1):
            if record.features.keys() != {VALUES}:
                raise bad_data(
                    f"row {number} has the features {shown(', '.join(record.features))}; expected {VALUES!r}"
                )
            tensors.append(record.features[VALUES])
    except RecordError as problem:
        raise bad_data(f"record {problem.record}: {problem}") from None
    if not tensors:
        raise bad_data("the body holds no rows")
    for number, tensor in enumerate(tensors, start=1):
        if tensor.is_sparse != tensors[0].is_sparse:
            kinds = ("sparse", "dense") if tensor.is_sparse else ("dense", "sparse")
            raise bad_data(f"row {number} is {kinds[0]}, the rows before it are {kinds[1]}")
    return (_sparse if tensors[0].is_sparse else _dense)(tensors, feature_dim=feature_dim)


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
