"""A folder as `.tar.gz`: the same files always give the same bytes."""

import gzip
import hashlib
import tarfile
from pathlib import Path
from typing import BinaryIO, Final, cast

_COMPRESSION_LEVEL: Final = 6


class PackingError(Exception):
    """The folder holds something that doesn't belong into an artifact; the message names it."""


class _HashingWriter:
    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()


def is_empty(folder: Path) -> bool:
    """Whether a folder is missing or has nothing in it."""
    return not folder.is_dir() or next(folder.iterdir(), None) is None


def refuse_links(folder: Path, *, base: Path) -> None:
    """Raise PackingError where `folder`, below `base`, is a symbolic link or lies behind one.

    A training image may replace its folders, and a link would be followed in the file system of whoever packs.
    """
    found = folder.resolve()
    if found != base.resolve() / folder.relative_to(base):
        raise PackingError(f"{folder} is, or lies behind, a symbolic link to {found}; write into the folder itself")


def pack(folder: Path, *, target: Path) -> tuple[str, int]:
    """Write the contents of `folder` to `target` and return sha256 (hex) and size in bytes.

    Names are sorted and relative to the folder; owner, times and all permissions but "executable" are levelled, so that
    the same files give the same sha256 everywhere. Raises PackingError for a device, pipe or socket and for a link that
    leaves the folder, and OSError.
    """
    with target.open("wb") as raw:
        writer = _HashingWriter(raw)
        with (
            gzip.GzipFile(
                filename="", mode="wb", fileobj=cast("BinaryIO", writer), mtime=0, compresslevel=_COMPRESSION_LEVEL
            ) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
                _add(path, folder=folder, archive=archive)
    return writer.digest.hexdigest(), writer.size


def _add(path: Path, *, folder: Path, archive: tarfile.TarFile) -> None:
    name = path.relative_to(folder).as_posix()
    member = tarfile.TarInfo(name)
    if path.is_symlink():
        link = path.readlink()
        if link.is_absolute() or not (path.parent / link).resolve().is_relative_to(folder.resolve()):
            raise PackingError(f"{name} is a link to {link}, which leaves the folder; keep a copy of the file instead")
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, link.as_posix(), 0o777
        archive.addfile(member)
    elif path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    elif path.is_file():
        with path.open("rb") as content:
            status = path.stat()
            member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o111 else 0o644
            archive.addfile(member, content)
    else:
        raise PackingError(f"{name} is neither a file, a folder nor a link")
