"""`application/x-parquet` requests, where the optional extra `parquet` (pyarrow) is installed."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.rows import DENSE_LIMIT, check_array, shown

if TYPE_CHECKING:
    import pyarrow.parquet

_CODECS: Final = frozenset(("UNCOMPRESSED", "SNAPPY"))
"""Codecs that can't pack zeros much tighter than 20 to 1. Gzip, Zstandard, Brotli and LZ4 pack hundreds or thousands to 1, and how
much comes out of a page is known only when it has come out."""
_THRIFT_LIMIT: Final = 1_000_000


def decode_parquet(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64]:
    """Return the rows of a file whose columns are all numbers, in the file's order; their names don't matter.

    Raises RequestError: 415 where pyarrow isn't installed, 413 for more than 64 MiB of values, 400 for everything else.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise RequestError(
            415,
            message="application/x-parquet needs the extra 'parquet' in the server's image: pip install sagebrush-server[parquet]",
        ) from None
    try:
        file = pq.ParquetFile(
            pa.BufferReader(body),
            thrift_string_size_limit=_THRIFT_LIMIT,
            thrift_container_size_limit=_THRIFT_LIMIT,
        )
        _check_description(file)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as problem:
        raise bad_data(f"the body is no readable Parquet file: {shown(problem)}") from None
    return _rows(table, feature_dim=feature_dim)


def _check_description(file: "pyarrow.parquet.ParquetFile") -> None:
    """Refuse by the file's own description what must not be unpacked."""
    import pyarrow as pa

    for field in file.schema_arrow:
        # pandas keeps an index that is no plain range as a column of this name.
        if field.name.startswith("__index_level_"):
            raise bad_data(f"column {shown(field.name)} is pandas' index; write the file with index=False")
        if not pa.types.is_integer(field.type) and not pa.types.is_floating(field.type):
            raise bad_data(f"column {shown(field.name)} has the type {shown(field.type)}; expected numbers")
    metadata = file.metadata
    size = metadata.num_rows * metadata.num_columns * 8
    if size > DENSE_LIMIT:
        raise RequestError(
            413, message=f"the file holds {size} bytes of values; at most {DENSE_LIMIT}: send fewer rows in a request"
        )
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            codec = metadata.row_group(group).column(column).compression
            if codec not in _CODECS:
                raise bad_data(f"the file is compressed with {codec}; write it with snappy or none")


def _rows(table: Any, *, feature_dim: int | None) -> NDArray[np.float64]:
    for number, column in enumerate(table.columns, start=1):
        if column.null_count:
            row = column.is_null().index(value=True).as_py()
            raise bad_data(f"row {row + 1}, column {number}: it is null, not a finite number")
    if not table.num_columns:
        raise bad_data("the file has no columns")
    columns = [column.to_numpy().astype(np.float64) for column in table.columns]
    return check_array(np.column_stack(columns), feature_dim=feature_dim)
