"""Streams from a store to files: sha256 on the way, bounded memory, progress in the log, nothing half-written left."""

import gzip
import hashlib
import logging
import os
import time
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

from sagebrush_server.settings import read_integer, read_number
from sagebrush_server.storage.base import StorageError, Store, StoredObject, with_retries

_LOG = logging.getLogger(__name__)
_PIECE_BYTES: Final = 1024 * 1024
_PROGRESS_SECONDS: Final = 10.0


def retry_seconds() -> float:
    """How long transient errors are retried (`SAGEBRUSH_RETRY_SECONDS`, default 60). Raises SettingError."""
    return read_number(os.environ, name="SAGEBRUSH_RETRY_SECONDS", default=60.0)


def unpacked_limit_bytes() -> int:
    """How much unpacking may write (`SAGEBRUSH_MAX_UNPACKED_BYTES`, default 50 GiB). Raises SettingError."""
    return read_integer(os.environ, name="SAGEBRUSH_MAX_UNPACKED_BYTES", default=50 * 2**30, minimum=1)


class HashingReader:
    """A stream that hashes and counts what is read through it, and logs its progress when that takes long."""

    def __init__(self, stream: BinaryIO, *, stored: StoredObject) -> None:
        self._stream, self._stored = stream, stored
        self._start = self._reported = time.monotonic()
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._stream.read(size)
        self.digest.update(data)
        self.size += len(data)
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_SECONDS:
            self._reported = now
            of = f" of {self._stored.size}" if self._stored.size is not None else ""
            _LOG.info("%s: %d%s bytes after %.0f s", self._stored.uri, self.size, of, now - self._start)
        return data


def download(store: Store, *, stored: StoredObject, path: Path, gunzip: bool = False) -> tuple[str, int]:
    """Copy an object to `path` and return the sha256 (hex) and size in bytes of what was transferred.

    With `gunzip` the file holds the unpacked data, at most `SAGEBRUSH_MAX_UNPACKED_BYTES`. Transient errors are retried
    from the start of the object, for `SAGEBRUSH_RETRY_SECONDS` since a try last got further than those before. Raises
    StorageError; `path` appears only when complete.
    """
    partial = path.with_name(f".{path.name}.part")
    furthest = 0

    def attempt() -> tuple[str, int]:
        nonlocal furthest
        with store.open_object(stored) as stream, partial.open("wb") as target:
            reader = HashingReader(stream, stored=stored)
            try:
                if gunzip:
                    _gunzip(reader, target=target, uri=stored.uri)
                else:
                    while data := reader.read(_PIECE_BYTES):
                        target.write(data)
            finally:
                furthest = max(furthest, reader.size)
        return reader.digest.hexdigest(), reader.size

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        result = with_retries(attempt, budget_seconds=retry_seconds(), progress=lambda: furthest)
        partial.replace(path)
    except OSError as problem:
        raise StorageError(
            f"{stored.uri}: can't be written to {path}: {problem.strerror}", transient=False
        ) from problem
    finally:
        partial.unlink(missing_ok=True)
    return result


def _gunzip(reader: HashingReader, *, target: BinaryIO, uri: str) -> None:
    limit, written = unpacked_limit_bytes(), 0
    try:
        with gzip.GzipFile(fileobj=cast("BinaryIO", reader)) as unpacked:
            while data := unpacked.read(_PIECE_BYTES):
                written += len(data)
                if written > limit:
                    raise StorageError(
                        f"{uri}: unpacks to more than {limit} bytes (SAGEBRUSH_MAX_UNPACKED_BYTES)", transient=False
                    )
                target.write(data)
    except (gzip.BadGzipFile, zlib.error, EOFError) as problem:
        raise StorageError(f"{uri}: compression is Gzip, but it is not: {problem}", transient=False) from problem
