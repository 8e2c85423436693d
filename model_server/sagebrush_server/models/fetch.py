"""`fetch-model`: an artifact, its checksum verified, unpacked into `/opt/ml/model`."""

import logging
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from sagebrush_server.models.unpacking import ArtifactError, unpack
from sagebrush_server.storage.base import StorageError, StoredObject
from sagebrush_server.storage.stores import store_for
from sagebrush_server.storage.transfer import download, unpacked_limit_bytes

_LOG = logging.getLogger(__name__)
_ARCHIVE: Final = ".sagebrush-artifact.tar.gz"


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

    Raises StorageError naming the URI; nothing is unpacked from an artifact whose checksum is wrong.
    """
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    name = source.uri.rpartition("/")[2]
    archive = folder / _ARCHIVE
    stored = StoredObject(source.uri, name=name, size=None)
    try:
        sha256, size = download(store_for(source.uri), stored=stored, path=archive)
        if source.sha256 is not None and sha256 != source.sha256.lower():
            raise StorageError(
                f"{source.uri}: sha256 is {sha256}, expected {source.sha256}; the artifact has been replaced or damaged",
                transient=False,
            )
        files = unpack(archive, folder=folder, limit_bytes=unpacked_limit_bytes())
    except ArtifactError as problem:
        raise StorageError(f"model {source.uri}: {problem}", transient=False) from problem
    finally:
        archive.unlink(missing_ok=True)
    seconds = time.monotonic() - start
    _LOG.info("model: %d files from %s (%d bytes, sha256 %s) in %.2f s", files, source.uri, size, sha256, seconds)
