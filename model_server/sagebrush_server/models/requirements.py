"""`requirements.txt` of an artifact, installed into a folder of its own before the model is loaded."""

import ensurepip
import fcntl
import hashlib
import importlib
import importlib.metadata
import logging
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.settings import LoadingSettings

_LOG = logging.getLogger(__name__)
_DEBIAN = "/usr/share/python-wheels"
_DONE = ".sagebrush-installed"


def install_requirements(path: Path, *, settings: LoadingSettings) -> None:
    """Install what `path` lists, where there is such a file, and put it first on `sys.path`.

    What the server has already counts as installed. Several processes install once. Raises ModelError where the manifest
    doesn't allow it, where pip fails, and where a package that is in use already would have another version.
    """
    if not path.is_file():
        return
    if not settings.requirements:
        raise ModelError(
            f"{path.parent.name}/{path.name} asks for packages to be installed when a replica starts. If you trust them, "
            "add `allow: [Requirements]` to spec.model (SAGEBRUSH_MODEL_ALLOW=Requirements); better, serve by an image "
            "that has them"
        )
    content = path.read_bytes()
    folder = Path(tempfile.gettempdir()) / f"sagebrush-requirements-{hashlib.sha256(content).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ModelError(f"{folder} belongs to somebody else; what lies there isn't trusted")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _DONE).exists():
            _install(path, folder=folder)
            (folder / _DONE).touch()
    site = next((folder / "venv" / "lib").glob("python3*/site-packages"))
    _check_versions(site)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()


def _install(path: Path, *, folder: Path) -> None:
    """An environment of its own, which sees the server's packages: pip installs what they don't have."""
    start = time.monotonic()
    wheel = _pip_wheel()
    venv.create(folder / "venv", with_pip=wheel is None, symlinks=True, clear=True)
    site = next((folder / "venv" / "lib").glob("python3*/site-packages"))
    ours = [entry for entry in sys.path if entry.endswith("-packages") and Path(entry).is_dir()]
    (site / "sagebrush-server.pth").write_text("".join(f"{entry}\n" for entry in ours))
    pip = ["-m", "pip"] if wheel is None else [f"{wheel}/pip"]
    command = [str(folder / "venv" / "bin" / "python"), *pip, "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--requirement", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parent)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or [done.stderr.strip()]
        raise ModelError(f"{path.parent.name}/{path.name} can't be installed: {' '.join(errors)}")
    _LOG.info("%s installed in %.1f s", path, time.monotonic() - start)


def _pip_wheel() -> Path | None:
    """Python's own copy of pip, which runs as it is: the server's environment has no pip, and installing it takes long."""
    places = (Path(ensurepip.__file__).parent / "_bundled", Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or _DEBIAN))
    return next((wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))), None)


def _check_versions(site: Path) -> None:
    """A module that has been imported can't be replaced: half of it would be of one version, half of another."""
    for installed in importlib.metadata.distributions(path=[str(site)]):
        name = installed.metadata["Name"]
        modules = (installed.read_text("top_level.txt") or name.replace("-", "_")).split()
        in_use = next((module for module in modules if module in sys.modules), None)
        if in_use is None or in_use in ("pip", "setuptools", "pkg_resources", "_distutils_hack"):
            continue
        try:
            ours = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if ours != installed.version:
            raise ModelError(
                f"requirements.txt needs {name} {installed.version}, but the server works with {ours}, which can't be "
                "changed; ask for that version, or serve by an image of your own"
            )
