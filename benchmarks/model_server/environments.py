"""Each peer in an environment of its own, with the exact versions of `peers/*.txt` from PyPI, kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import sagebrush_server
from devcluster.paths import cache_dir, locked
from devcluster.progress import step

PEERS = Path(__file__).parent / "peers"
_INSTALL_SECONDS = 900


class InstallError(Exception):
    """A peer can't be installed; the message says why."""


def environment(name: str) -> Path:
    """Return the folder of the environment of `peers/<name>.txt`, made where there is none yet. Raises InstallError."""
    versions = PEERS / f"{name}.txt"
    key = hashlib.sha256(b"compiled" + versions.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / "bench" / f"{name}-{key}"
    with locked(cache_dir() / f"bench-{name}.lock"):
        if not (folder / ".ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with step(f"installing {name} from PyPI"):
                _uv("venv", "--quiet", "--python", sys.executable, str(folder))
                _uv(
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    str(folder / "bin/python"),
                    "--no-deps",
                    "--compile-bytecode",
                    "-r",
                    str(versions),
                )
            (folder / ".ready").touch()
    return folder


def compile_ours() -> None:
    """Write the bytecode of our own environment and server, as images have it and the peers' environments do."""
    folders = [sysconfig.get_path("purelib"), str(Path(sagebrush_server.__file__).parent)]
    with step("compiling our own environment"):
        # What can't be compiled is a template or a test of another Python's syntax; nothing imports it.
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", "-j", "2", *folders], check=False, capture_output=True
        )


def installed_version(name: str, package: str) -> str:
    """Return the version of a package that `peers/<name>.txt` pins."""
    lines = (PEERS / f"{name}.txt").read_text().splitlines()
    return next(line.split("==")[1].split(";")[0].strip() for line in lines if line.startswith(f"{package}=="))


def _uv(*arguments: str) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or next(map(str, sorted(cache_dir().glob("uv-*/bin/uv"))), None)
    if uv is None:
        raise InstallError("uv is not here: `make env` installs it")
    command = [uv, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise InstallError(f"uv {arguments[0]} took longer than {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise InstallError(f"uv {' '.join(arguments[:2])}: {' '.join(done.stderr.split())[-600:]}")
