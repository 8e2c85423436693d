"""Where the dev cluster keeps things: caches that survive `down`, and state that doesn't.

Two roots, each movable by an environment variable:

- `SAGEBRUSH_CACHE` (default `$XDG_CACHE_HOME/sagebrush`, `~/.cache/sagebrush`): binaries, base images, image stores.
- `SAGEBRUSH_STATE` (default `/var/lib/sagebrush-devcluster`): everything of the one running cluster.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.progress import step

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent
DEFAULT_STATE = "/var/lib/sagebrush-devcluster"

# A unix socket's path holds 107 characters, and the longest one below the state folder takes about 45 of them.
LONGEST_STATE_PATH = 60


def cache_dir() -> Path:
    """Return the per-user cache folder (created on demand)."""
    chosen = os.environ.get("SAGEBRUSH_CACHE")
    if not chosen:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        chosen = str(Path(home) / "sagebrush")
    folder = Path(chosen).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def state_dir() -> Path:
    """Return the running cluster's state folder, which may not exist yet.

    Raises DevclusterError when the path is too long for the unix sockets that will lie in it.
    """
    folder = Path(os.environ.get("SAGEBRUSH_STATE") or DEFAULT_STATE).absolute()
    if len(str(folder)) > LONGEST_STATE_PATH:
        raise DevclusterError(
            f"SAGEBRUSH_STATE={folder} is longer than {LONGEST_STATE_PATH} characters, too long for unix sockets: "
            "choose a shorter folder"
        )
    return folder


def require_space(folders: Iterable[Path], *, gigabytes: float, purpose: str) -> None:
    """Raise DevclusterError where a folder's file system has fewer gigabytes free; the folder need not exist yet."""
    for folder in folders:
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(existing).free / 1e9
        if free < gigabytes:
            raise DevclusterError(
                f"{purpose} takes up to {gigabytes:.1f} GB where {folder} lies, and {free:.1f} GB are free there: "
                f"make room for {gigabytes - free:.1f} GB more, or move the caches (SAGEBRUSH_CACHE, GOMODCACHE, GOCACHE)"
            )


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes for the length of the block; says so while another one holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"waiting for another command to finish ({lock.stem})"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
