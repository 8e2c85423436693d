"""`pvc://claim/path`: a claim that the operator has mounted at `/mnt/sagebrush/pvc/<claim>`."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sagebrush_server.storage.base import StorageError, StoredObject


class PvcStore:
    """Reads and writes below the mount folder (`SAGEBRUSH_PVC_DIR` moves it). Implements `Store`."""

    def __init__(self) -> None:
        self._root = Path(os.environ.get("SAGEBRUSH_PVC_DIR", "/mnt/sagebrush/pvc"))

    def list_objects(self, uri: str) -> list[StoredObject]:
        """Return the files at or below a path, sorted; a folder's names are relative to it."""
        path = self._path(uri)
        with _explained(uri):
            if path.is_file():
                return [StoredObject(uri, name=path.name, size=path.stat().st_size)]
            files = sorted(entry for entry in path.rglob("*") if entry.is_file())
            base = uri.rstrip("/")
            names = [entry.relative_to(path).as_posix() for entry in files]
            return [
                StoredObject(f"{base}/{name}", name=name, size=entry.stat().st_size)
                for entry, name in zip(files, names, strict=True)
            ]

    @contextlib.contextmanager
    def open_object(self, stored: StoredObject) -> Iterator[BinaryIO]:
        """Open a file of the claim."""
        with _explained(stored.uri), self._path(stored.uri).open("rb") as stream:
            yield stream

    def upload(self, path: Path, *, uri: str) -> None:
        """Copy beside the destination, then rename, so that a half-written file never has the final name."""
        target = self._path(uri)
        with _explained(uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.part")
            shutil.copyfile(path, partial)
            partial.replace(target)

    def _path(self, uri: str) -> Path:
        claim, _, path = uri.removeprefix("pvc://").partition("/")
        mount = self._root / claim
        if not claim or ".." in path.split("/"):
            raise StorageError(f"{uri}: expected pvc://claim/path without '..'", transient=False)
        if not mount.is_dir():
            raise StorageError(f"{uri}: the claim {claim!r} is not mounted at {mount}", transient=False)
        return mount / path.lstrip("/")


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise StorageError(f"{uri}: {problem.strerror or problem}", transient=False) from problem
