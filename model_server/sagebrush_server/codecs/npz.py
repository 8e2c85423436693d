"""`application/x-npz` requests: sparse rows as `scipy.sparse.save_npz` writes them, or one dense array. SciPy isn't needed."""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.npy import read_array
from sagebrush_server.codecs.rows import check_array, compressed_rows, shown

UNPACKED_LIMIT: Final = 16 * 1024 * 1024
"""Bytes that an archive may always have once it is unpacked, and its values as float64."""
UNPACKED_RATIO: Final = 8
"""How many times its packed size it may have beyond that."""
_MOST_FILES: Final = 8
_MOST_EMPTY_ROWS: Final = 1000
_Arrays = Mapping[str, NDArray[np.generic]]


def decode_npz(body: bytes, *, feature_dim: int | None) -> NDArray[np.float64] | SparseRows:
    """Return the rows of an archive: CSR, CSC or COO, in any order of their values; or those of its only array.

    Raises RequestError: 413 where it unpacks to more than 16 MiB and 8 times its size, 400 for everything else.
    """
    limit = max(UNPACKED_LIMIT, UNPACKED_RATIO * len(body))
    files = _unpack(body, limit=limit)
    if "format" not in files:
        if len(files) != 1:
            raise bad_data(
                f"the archive holds {shown(', '.join(files))}; expected one array, or what scipy.sparse.save_npz writes"
            )
        ((name, content),) = files.items()
        array = read_array(content, where=name)
        _refuse_over(array.size, limit=limit)
        return check_array(array, feature_dim=feature_dim)
    layout = str(read_array(files.pop("format"), where="format", text=True).astype("U16").reshape(-1)[0])
    if layout not in _LAYOUTS:
        raise bad_data(f"the sparse format {shown(layout)} can't be read; use {', '.join(_LAYOUTS)}")
    # Newer versions of SciPy note whether it was a matrix or an array, which is the same here.
    files.pop("_is_array", None)
    names, to_rows = _LAYOUTS[layout]
    if files.keys() != {*names, "data", "shape"}:
        raise bad_data(
            f"the archive holds {shown(', '.join(files))}; {layout} needs {', '.join(names)}, data and shape"
        )
    arrays = {name: read_array(content, where=name) for name, content in files.items()}
    _refuse_over(arrays["data"].size, limit=limit)
    height, width = _shape(arrays, names=names)
    if width != (feature_dim or width):
        raise bad_data(f"the rows have {width} columns; the model expects {feature_dim}")
    return to_rows(arrays, height, width)


def _refuse_over(values: int, *, limit: int) -> None:
    """Integers of one byte, say, become float64 of eight."""
    if values * 8 > limit:
        raise RequestError(
            413, message=f"the archive holds {values} values; at most {limit // 8}: send fewer rows in a request"
        )


def _unpack(body: bytes, *, limit: int) -> dict[str, bytes]:
    """Return the archive's files by name, without `.npy`."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > limit:
                raise RequestError(
                    413, message=f"the archive unpacks to {size} bytes; at most {limit}: send fewer rows in a request"
                )
            if len(entries) > _MOST_FILES:
                raise bad_data(f"the archive holds {len(entries)} files; at most {_MOST_FILES}")
            files = {}
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in files:
                    raise bad_data(f"the archive holds {shown(name)} twice")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise bad_data(f"{shown(name)} is compressed by another method than deflate")
                with archive.open(entry) as packed:
                    # With a number of bytes: without one, all that the packed bytes hold is unpacked, whatever was declared.
                    files[name] = packed.read(entry.file_size)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
    ) as problem:
        raise bad_data(f"the body is no readable .npz archive: {problem}") from None
    return files


def _shape(arrays: _Arrays, *, names: tuple[str, ...]) -> tuple[int, int]:
    """Return rows and columns, once all arrays are known to be what their names say."""
    for name in (*names, "shape"):
        if arrays[name].dtype.kind not in "iu" or arrays[name].ndim != 1:
            raise bad_data(f"{name} must be a list of integers")
    if arrays["data"].ndim != 1:
        raise bad_data("data must be a list of numbers")
    if len(arrays["shape"]) != 2 or arrays["shape"].min() < 0:
        raise bad_data(f"shape must be rows and columns, got {shown(arrays['shape'].tolist())}")
    height, width = (int(size) for size in arrays["shape"])
    if not width:
        raise bad_data("the rows have no columns")
    return height, width


def _from_csr(arrays: _Arrays, height: int, width: int) -> SparseRows:
    sizes = _sizes(arrays, count=height, lists="rows")
    return _sorted(np.repeat(np.arange(height), sizes), arrays["indices"], arrays, height=height, width=width)


def _from_csc(arrays: _Arrays, height: int, width: int) -> SparseRows:
    sizes = _sizes(arrays, count=width, lists="columns")
    return _sorted(arrays["indices"], np.repeat(np.arange(width), sizes), arrays, height=height, width=width)


def _from_coo(arrays: _Arrays, height: int, width: int) -> SparseRows:
    return _sorted(arrays["row"], arrays["col"], arrays, height=height, width=width)


def _sizes(arrays: _Arrays, *, count: int, lists: str) -> NDArray[np.int64]:
    """Return how many values each row, or column, has."""
    if len(arrays["indptr"]) != count + 1:
        raise bad_data(f"indptr has {len(arrays['indptr'])} values; shape asks for {count} {lists} and one more")
    ends = arrays["indptr"].astype(np.int64)
    sizes = np.diff(ends)
    last = len(arrays["indices"])
    # The bounds of all come first in meaning: differences of numbers beyond them may wrap round.
    if ends.min() < 0 or ends.max() > last or ends[0] != 0 or ends[-1] != last or (sizes < 0).any():
        raise bad_data(f"indptr must rise from 0 to the number of indices, {last}")
    return sizes


def _sorted(
    rows: NDArray[np.generic], columns: NDArray[np.generic], arrays: _Arrays, *, height: int, width: int
) -> SparseRows:
    """Bring values into the order of rows and columns, which SciPy's formats leave open."""
    values = arrays["data"].astype(np.float64)
    if not len(rows) == len(columns) == len(values):
        raise bad_data(f"there are {len(values)} values for {len(rows)} rows and {len(columns)} columns")
    # A shape costs nothing to declare: rows without any value must not outnumber what the archive holds.
    if height > _MOST_EMPTY_ROWS + len(values) + len(arrays.get("indptr", ())):
        raise RequestError(
            413, message=f"shape has {height} rows, nearly all of them empty; send fewer rows in a request"
        )
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < height:
        raise bad_data(f"a value is in row {int(rows.max()) + 1}; shape has {height} rows")
    order = np.lexsort((columns, rows))
    sizes = np.bincount(rows.astype(np.int64), minlength=height).astype(np.int64)
    return compressed_rows(sizes=sizes, columns=columns[order].astype(np.int64), values=values[order], width=width)


_LAYOUTS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[_Arrays, int, int], SparseRows]]]] = {
    "csr": (("indices", "indptr"), _from_csr),
    "csc": (("indices", "indptr"), _from_csc),
    "coo": (("row", "col"), _from_coo),
}
