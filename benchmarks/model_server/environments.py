"""Each server in an environment of its own; peers with the exact versions of `peers/*.txt` from PyPI, kept in the user's cache."""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from devcluster.paths import cache_dir, locked
from devcluster.progress import step

PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).resolve().parents[2]
_INSTALL_SECONDS = 900
_NONE: Mapping[str, str] = MappingProxyType({})


class InstallError(Exception):
    """A peer can't be installed; the message says why."""


@functools.cache
def interpreter() -> str:
    """Return the Python of all servers: the distribution's, as in the images, where it is of this version; else this one.

    Distributions build it with profiles. One that was compiled by hand without them runs the same code a third slower.
    """
    ask = "import sys; print(*sys.version_info[:2])"
    here = f"{sys.version_info[0]} {sys.version_info[1]}"
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            done = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
            if done.stdout.strip() == here:
                return candidate
    return sys.executable


def python_version() -> str:
    """Return the version and the place of `interpreter`."""
    ask = "import sys; print(sys.version.split()[0])"
    done = subprocess.run([interpreter(), "-c", ask], capture_output=True, text=True, check=True)
    return (
        f"{done.stdout.strip()} of {Path(interpreter()).parent}"
        if interpreter() != sys.executable
        else done.stdout.strip()
    )


def environment(name: str) -> Path:
    """Return the folder of the environment of `peers/<name>.txt`, made where there is none yet. Raises InstallError."""
    versions = PEERS / f"{name}.txt"
    return _made(
        name,
        made_of=versions.read_bytes(),
        install=lambda folder: _uv(
            *("pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--no-deps", "--compile-bytecode"),
            *("-r", str(versions)),
        ),
    )


@functools.cache
def our_environment() -> Path:
    """Return the folder of an environment with the model server as its image has it. Raises InstallError."""
    lock = ROOT / "uv.lock"
    folder = _made(
        "sagebrush",
        made_of=lock.read_bytes(),
        install=lambda folder: _uv(
            *("sync", "--quiet", "--frozen", "--no-dev", "--package", "sagebrush-server", "--no-install-workspace"),
            *("--compile-bytecode", "--python", str(folder / "bin/python"), "--project", str(ROOT)),
            variables={"UV_PROJECT_ENVIRONMENT": str(folder)},
        ),
    )
    # In every run, since the source is that of today.
    _uv("pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--no-deps", "--compile-bytecode",
        "--reinstall", str(ROOT / "model_server"))  # fmt: skip
    return folder


def _made(name: str, *, made_of: bytes, install: Callable[[Path], None]) -> Path:
    key = hashlib.sha256(b"compiled" + made_of + interpreter().encode() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / "bench" / f"{name}-{key}"
    with locked(cache_dir() / f"bench-{name}.lock"):
        if not (folder / ".ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with step(f"installing {name} from PyPI"):
                _uv("venv", "--quiet", "--python", interpreter(), str(folder))
                install(folder)
            (folder / ".ready").touch()
    return folder


def installed_version(name: str, package: str) -> str:
    """Return the version of a package that `peers/<name>.txt` pins."""
    lines = (PEERS / f"{name}.txt").read_text().splitlines()
    return next(line.split("==")[1].split(";")[0].strip() for line in lines if line.startswith(f"{package}=="))


def _uv(*arguments: str, variables: Mapping[str, str] = _NONE) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or next(map(str, sorted(cache_dir().glob("uv-*/bin/uv"))), None)
    if uv is None:
        raise InstallError("uv is not here: `make env` installs it")
    command = [uv, *arguments]
    try:
        environment = {**os.environ, **variables}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"uv {arguments[0]} took longer than {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise InstallError(f"uv {' '.join(arguments[:2])}: {' '.join(done.stderr.split())[-600:]}")
