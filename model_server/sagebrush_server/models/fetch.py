"""`fetch-model`: an artifact, its checksum verified, in `/opt/ml/model`: an archive unpacked, a single file as it is."""

import logging
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from sagebrush_server.models.unpacking import ArtifactError, unpack
from sagebrush_server.storage.base import StorageError, StoredObject
from sagebrush_server.storage.stores import store_for
from sagebrush_server.storage.transfer import download, unpacked_limit_bytes

_LOG = logging.getLogger(__name__)
_DOWNLOADED: Final = ".sagebrush-artifact"
_GZIP: Final = b"\x1f\x8b"
_LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class ModelSource:
    """`SAGEBRUSH_MODEL`: where the artifact is and, where known, its sha256 (hex)."""

    uri: str
    sha256: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ModelSource":
        """Read `SAGEBRUSH_MODEL`. Raises ValueError naming the variable."""
        try:
            document = orjson.loads(environment["SAGEBRUSH_MODEL"])
            return cls(str(document["uri"]), sha256=document.get("sha256"))
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            raise ValueError(f"SAGEBRUSH_MODEL can't be read: {problem!r}") from problem


def fetch_model(source: ModelSource, *, folder: Path) -> None:
    """Download, verify and unpack into `folder`, which is emptied first, so that a second try starts afresh.

    What is neither called an archive nor begins like one is a model of one file, kept under its own name. Raises
    StorageError naming the URI; nothing is left of an artifact whose checksum is wrong.
    """
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    name = _file_name(source.uri)
    archive = folder / _DOWNLOADED
    stored = StoredObject(source.uri, name=name, size=None)
    try:
        sha256, size = download(store_for(source.uri), stored=stored, path=archive)
        if source.sha256 is not None and sha256 != source.sha256.lower():
            raise StorageError(
                f"{source.uri}: sha256 is {sha256}, expected {source.sha256}; the artifact has been replaced or damaged",
                transient=False,
            )
        if _is_archive(archive, name=name):
            files = unpack(archive, folder=folder, limit_bytes=unpacked_limit_bytes())
        else:
            files = _keep(archive, path=folder / name)
    except ArtifactError as problem:
        raise StorageError(f"model {source.uri}: {problem}", transient=False) from problem
    finally:
        archive.unlink(missing_ok=True)
    seconds = time.monotonic() - start
    _LOG.info("model: %d files from %s (%d bytes, sha256 %s) in %.2f s", files, source.uri, size, sha256, seconds)


def _file_name(uri: str) -> str:
    """The last part of a URI's path. Raises StorageError where it can't be a file's name."""
    path = urlsplit(uri).path if uri.startswith(("http://", "https://")) else uri
    name = path.rpartition("/")[2]
    if not name or name in (".", "..") or "\0" in name or len(name.encode()) > _LONGEST_NAME:
        raise StorageError(f"{uri}: expected the address of a file, such as …/model.tar.gz", transient=False)
    return name


def _is_archive(path: Path, *, name: str) -> bool:
    """Whether it is called an archive, or is one under a name that says nothing (joblib's files may be gzip'd, too)."""
    if name.endswith((".tar.gz", ".tgz")):
        return True
    with path.open("rb") as file:
        head = file.read(len(_GZIP))
    if head != _GZIP:
        return False
    try:
        with tarfile.open(path, mode="r|gz") as members:
            return members.next() is not None
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return False


def _keep(downloaded: Path, *, path: Path) -> int:
    """A model of one file, readable for any user like what is unpacked."""
    downloaded.replace(path)
    path.chmod(0o644)
    return 1
