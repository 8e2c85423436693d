"""Unpacking an artifact nobody has to trust: nothing leaves the folder, and no more is written than allowed.

tarfile's own extraction filters (PEP 706) came with Python 3.11.4, and Debian 12 has 3.11.2; so members are written here,
each below a parent whose real path has been looked at, and never through a link.
"""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath


class ArtifactError(Exception):
    """The artifact can't be unpacked or must not be; the message names the member."""


def unpack(archive: Path, *, folder: Path, limit_bytes: int) -> int:
    """Unpack a `.tar.gz` into `folder` and return the number of files.

    Raises ArtifactError for what is no gzip'd tar, for absolute names, `..`, links that leave the folder, devices and
    pipes, and for more than `limit_bytes` in sum. Everything written is readable for any user.
    """
    files, size = 0, 0
    root = folder.resolve()
    try:
        with tarfile.open(archive, mode="r|gz") as members:
            for member in members:
                size += member.size
                if size > limit_bytes:
                    raise ArtifactError(f"unpacks to more than {limit_bytes} bytes (SAGEBRUSH_MAX_UNPACKED_BYTES)")
                _write(member, members=members, root=root)
                files += member.isfile()
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as problem:
        raise ArtifactError(f"is not a complete gzip-compressed tar archive: {problem}") from problem
    return files


def _write(member: tarfile.TarInfo, *, members: tarfile.TarFile, root: Path) -> None:
    """Write one member below `root`, or refuse it."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ArtifactError(f"refused: {member.name!r} leaves the model folder")
    target = root / name
    if target == root:
        return
    _check_inside(target.parent, member=member, root=root)
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        _check_inside(target, member=member, root=root)
        target.mkdir(exist_ok=True)
        return
    if target.is_symlink() or target.is_file():
        target.unlink()  # a later member of the same name wins, and is not written through a link
    if member.isfile():
        _write_file(member, members=members, target=target)
    elif member.issym() or member.islnk():
        _write_link(member, target=target, root=root)
    else:
        raise ArtifactError(f"refused: {member.name!r} is neither a file, a folder nor a link")


def _write_file(member: tarfile.TarInfo, *, members: tarfile.TarFile, target: Path) -> None:
    content = members.extractfile(member)
    if content is None:
        raise ArtifactError(f"refused: {member.name!r} has no content")
    with target.open("xb") as out:
        shutil.copyfileobj(content, out, 1024 * 1024)
    if out_size := member.size - target.stat().st_size:
        raise EOFError(f"{member.name!r} lacks {out_size} bytes")
    target.chmod((member.mode & 0o755) | 0o644)


def _write_link(member: tarfile.TarInfo, *, target: Path, root: Path) -> None:
    """A symbolic link is relative to its folder, a hard link to the archive's root; both must stay below it."""
    aim = PurePosixPath(member.linkname)
    if aim.is_absolute():
        raise ArtifactError(f"refused: {member.name!r} links to the absolute name {member.linkname!r}")
    destination = (target.parent if member.issym() else root) / aim
    _check_inside(destination, member=member, root=root)
    if member.issym():
        target.symlink_to(member.linkname)
    elif destination.is_file():
        target.hardlink_to(destination.resolve())
    else:
        raise ArtifactError(
            f"refused: {member.name!r} is a hard link to {member.linkname!r}, which is not in the archive"
        )


def _check_inside(path: Path, *, member: tarfile.TarInfo, root: Path) -> None:
    """Refuse a member whose path, links followed, is not below `root`."""
    real = Path(os.path.realpath(path))
    if real != root and root not in real.parents:
        raise ArtifactError(f"refused: {member.name!r} leads to {str(path)!r}, outside the model folder")
