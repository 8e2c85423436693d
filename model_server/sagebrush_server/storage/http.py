"""`http(s)://`: one file by GET, read only."""

import contextlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final, cast

from sagebrush_server.settings import read_number
from sagebrush_server.storage.base import StorageError, StoredObject

_TRANSIENT: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class HttpStore:
    """Fetches single files. Implements `Store`, except that nothing can be uploaded."""

    def __init__(self) -> None:
        self._timeout = read_number(os.environ, name="SAGEBRUSH_STORE_TIMEOUT_SECONDS", default=30.0)

    def list_objects(self, uri: str) -> list[StoredObject]:
        """Return the one file, named by the last part of the URL's path."""
        name = urllib.parse.unquote(urllib.parse.urlsplit(uri).path).rstrip("/").rpartition("/")[2]
        if not name:
            raise StorageError(f"{uri}: the URL names no file", transient=False)
        return [StoredObject(uri, name=name, size=None)]

    @contextlib.contextmanager
    def open_object(self, stored: StoredObject) -> Iterator[BinaryIO]:
        """GET the file as a stream; an answer that ends too soon is a transient StorageError."""
        uri = stored.uri
        try:
            with urllib.request.urlopen(uri, timeout=self._timeout) as response:  # noqa: S310 – http(s) only, see stores
                yield cast("BinaryIO", _WholeBody(response, uri=uri))
        except urllib.error.HTTPError as problem:
            transient = problem.code >= HTTPStatus.INTERNAL_SERVER_ERROR or problem.code in _TRANSIENT
            raise StorageError(
                f"{uri}: the server answered {problem.code} {problem.reason}", transient=transient
            ) from None
        except urllib.error.URLError as problem:
            raise StorageError(f"{uri}: the server can't be reached: {problem.reason}", transient=True) from problem
        except (TimeoutError, ConnectionError, http.client.HTTPException) as problem:
            raise StorageError(f"{uri}: the transfer broke off: {problem!r}", transient=True) from problem

    def upload(self, path: Path, *, uri: str) -> None:
        """Refuse: the contract has http(s) for reading only."""
        raise StorageError(f"{uri}: {path.name} can't be uploaded over HTTP; use s3:// or pvc://", transient=False)


class _WholeBody:
    """A body that says so when it ended before its Content-Length, which reading by pieces does not."""

    def __init__(self, response: http.client.HTTPResponse, *, uri: str) -> None:
        self._response, self._uri = response, uri
        length = response.headers.get("Content-Length", "")
        self._left = int(length) if length.isdecimal() else None

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._response.read(size) if size >= 0 else self._response.read()
        except OSError as problem:
            raise StorageError(f"{self._uri}: the transfer broke off: {problem}", transient=True) from problem
        if self._left is not None:
            self._left -= len(data)
            if not data and size != 0 and self._left > 0:
                raise http.client.IncompleteRead(b"", self._left)
        return data
