"""Where the models of a multi-model server lie: folders and archives below one folder, and never outside of it."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import shown
from sagebrush_server.models.unpacking import ArtifactError, unpack

_ARCHIVES: Final = (".tar.gz", ".tgz")
_LONGEST_NAME: Final = 4096
_SAGEMAKERS_FOLDER: Final = "model"
"""SageMaker leaves a model in the folder `model` of a folder that bears its name."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model folder or an archive, as it was asked for (`url`) and as it was found (`path`)."""

    url: str
    path: Path

    def file_bytes(self) -> int:
        """Return the size of the archive or of all files in the folder."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(entry.lstat().st_size for entry in self.path.rglob("*") if not entry.is_dir())


def source_for_url(url: str, *, base: Path) -> ModelSource:
    """Return the model at `url`, an absolute path below `base`, a `file://` or not.

    Raises RequestError: 400 for a path that leaves `base` or is neither folder nor archive, 404 where nothing is.
    """
    name = url.removeprefix("file://")
    if not name.startswith("/"):
        raise RequestError(400, message=f"url must be an absolute path below {base}, got {shown(url)}")
    return ModelSource(url, path=_existing(Path(name), base=base, asked=f"url {shown(url)}"))


def source_for_target(target: str, *, base: Path) -> ModelSource:
    """Return the model that the header `X-Amzn-SageMaker-Target-Model` names, relative to `base`.

    Raises RequestError as `source_for_url` does.
    """
    path = _existing(base / target.lstrip("/"), base=base, asked=f"target model {shown(target)}")
    return ModelSource(str(path), path=path)


def _existing(path: Path, *, base: Path, asked: str) -> Path:
    if "\0" in str(path) or len(str(path)) > _LONGEST_NAME:
        raise RequestError(400, message=f"{asked} is not a path")
    root = base.resolve()
    try:
        # The real path counts: neither `..` nor a link may lead outside. What lies outside isn't even looked for.
        if not Path(os.path.normpath(path)).is_relative_to(base) and not path.resolve().is_relative_to(root):
            raise RequestError(400, message=f"{asked} leaves {base}, below which the models are")
        real = path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        raise RequestError(404, message=f"{asked}: there is no such model below {base}") from None
    except (OSError, RuntimeError) as problem:
        raise RequestError(400, message=f"{asked} can't be read: {problem}") from None
    if not real.is_relative_to(root) or real == root:
        raise RequestError(400, message=f"{asked} leaves {base}, below which the models are")
    if real.is_dir():
        nested = real / _SAGEMAKERS_FOLDER
        return nested if nested.is_dir() and not nested.is_symlink() else real
    if real.is_file() and real.name.endswith(_ARCHIVES):
        return real
    raise RequestError(400, message=f"{asked} is neither a folder nor an archive ({', '.join(_ARCHIVES)})")


class OpenedSource:
    """A model's folder, ready to be loaded; of an archive a temporary one, removed by `close`."""

    def __init__(self, source: ModelSource, *, limit_bytes: int) -> None:
        """Unpack an archive of at most `limit_bytes` when unpacked. Raises ArtifactError and OSError."""
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        self.folder = source.path
        if source.path.is_file():
            self._unpacked = tempfile.TemporaryDirectory(prefix="sagebrush-model-")
            self.folder = Path(self._unpacked.name)
            try:
                unpack(source.path, folder=self.folder, limit_bytes=limit_bytes)
            except (ArtifactError, OSError):
                self.close()
                raise

    def close(self) -> None:
        """Forget the code that came with the model, and remove what was unpacked."""
        _forget_code(self.folder)
        if self._unpacked is not None:
            self._unpacked.cleanup()


def _forget_code(folder: Path) -> None:
    """Take a model's modules out of the interpreter's table, so that they are read anew when the model comes back."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(folder):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if not Path(entry).is_relative_to(folder)]
