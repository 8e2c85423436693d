"""The description at the end of a Parquet file, read apart from pyarrow, which aborts the process over some broken ones.

Source: "Thrift compact protocol" and `parquet.thrift` of the Apache projects. Only what bounds the cost of reading is taken.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

_MAGIC: Final = b"PAR1"
_TRAILER: Final = struct.Struct("<I4s")
_DEEPEST: Final = 16
_LONGEST_VARINT: Final = 10
_BOOLEANS: Final = {1: True, 2: False}
_BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(3, 13)
# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROWS, _ROW_GROUPS, _COLUMNS, _META_DATA, _CODEC = 3, 4, 1, 3, 4


class FooterError(ValueError):
    """Bytes that don't end as a Parquet file does."""


@dataclass(frozen=True, slots=True)
class Footer:
    """Rows of the file, and the number of the codec of each column of each row group (`CompressionCodec`)."""

    rows: int
    codecs: tuple[int, ...]


def read_footer(body: bytes) -> Footer:
    """Return what a file says of itself. Raises FooterError."""
    if len(body) < len(_MAGIC) + _TRAILER.size or body[:4] != _MAGIC:
        raise FooterError("it does not start as a Parquet file")
    size, magic = _TRAILER.unpack_from(body, len(body) - _TRAILER.size)
    end = len(body) - _TRAILER.size
    if magic != _MAGIC or size > end - len(_MAGIC):
        raise FooterError("it does not end as a Parquet file")
    footer = _Compact(body[end - size : end]).struct()
    try:
        groups = [group[_COLUMNS] for group in footer[_ROW_GROUPS]]
        codecs = [column[_META_DATA][_CODEC] for columns in groups for column in columns]
        rows = footer[_ROWS]
    except (KeyError, TypeError) as problem:
        raise FooterError(f"its description lacks {problem}") from None
    if not all(type(number) is int for number in (rows, *codecs)):
        raise FooterError("its description holds something else than numbers of rows and codecs")
    return Footer(rows=rows, codecs=tuple(codecs))


class _Compact:
    """Reads Thrift's compact protocol into dicts by field number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read fields up to the stop byte."""
        if depth > _DEEPEST:
            raise FooterError("its description is nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._signed()
            kind = header & 15
            fields[number] = _BOOLEANS[kind] if kind in _BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind in _BOOLEANS or kind == _BYTE:
            return self._byte()
        if kind in (_BINARY, _DOUBLE):
            return self._bytes(8 if kind == _DOUBLE else self._unsigned())
        if kind in (_LIST, _SET):
            header = self._byte()
            count = header >> 4 if header >> 4 < 15 else self._unsigned()
            return [self._value(header & 15, depth + 1) for _ in range(self._bounded(count))]
        if kind == _MAP:
            count = self._bounded(self._unsigned())
            kinds = self._byte() if count else 0
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise FooterError(f"its description has a value of the unknown kind {kind}")

    def _bounded(self, count: int) -> int:
        """Return a count of values, of which each takes a byte at least."""
        if count > len(self._data) - self._position:
            raise FooterError(f"its description says it has {count} values; it ends before")
        return count

    def _bytes(self, size: int) -> bytes:
        self._bounded(size)
        self._position += size
        return self._data[self._position - size : self._position]

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 7 * _LONGEST_VARINT, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise FooterError("its description has an integer of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
