"""Two programs that can build a Dockerfile, behind one small face: a Docker daemon, or buildah without any daemon."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from devcluster import debian
from devcluster.errors import DevclusterError
from devcluster.node import overlay_works
from devcluster.paths import cache_dir
from devcluster.processes import boot_id

PULL_SECONDS = 60
BUILDAH_NEEDS = {"buildah": "buildah", "runc": "runc"}


class Engine(Protocol):
    """What building an image takes. Tags are given and kept in full, such as docker.io/sagebrush/operator:dev."""

    name: str

    def image_id(self, tag: str) -> str | None:
        """Return an image's id (sha256:…), or None where the engine has no such image."""

    def pull(self, tag: str) -> str | None:
        """Try to fetch an image from its registry within a minute; returns None, or in a line why it can't be had."""

    def add_base(self, root: Path, *, tag: str, environment: Mapping[str, str]) -> None:
        """Make an image with one layer from a tar of a root file system."""

    def build(self, context: Path, *, dockerfile: Path, tag: str, target: str | None, arguments: Sequence[str]) -> None:
        """Build a Dockerfile, with cached layers and with the machine's network; output goes to the terminal."""

    def save(self, tag: str, *, archive: Path) -> None:
        """Write an image as `docker save` does."""


def choose() -> Engine:
    """Return Docker where its daemon answers, else buildah, installing that one if need be."""
    if shutil.which("docker") and _quietly(["docker", "version"], seconds=10).returncode == 0:
        return Docker()
    debian.require(BUILDAH_NEEDS)
    return Buildah()


class Docker:
    """The machine's own Docker, with its own image store."""

    name = "docker"

    def image_id(self, tag: str) -> str | None:
        """See Engine."""
        done = _quietly(["docker", "image", "inspect", "--format", "{{.Id}}", tag])
        return done.stdout.strip() if done.returncode == 0 else None

    def pull(self, tag: str) -> str | None:
        """See Engine."""
        return _failure(_quietly(["docker", "pull", "--quiet", tag], seconds=PULL_SECONDS))

    def add_base(self, root: Path, *, tag: str, environment: Mapping[str, str]) -> None:
        """See Engine."""
        changes = [f"--change=ENV {key}={value}" for key, value in environment.items()]
        _loudly(["docker", "import", *changes, str(root), tag])

    def build(self, context: Path, *, dockerfile: Path, tag: str, target: str | None, arguments: Sequence[str]) -> None:
        """See Engine."""
        chosen = ["--target", target] if target else []
        given = [f"--build-arg={argument}" for argument in arguments]
        _loudly(["docker", "build", "--network=host", *chosen, *given, "-f", str(dockerfile), "-t", tag, str(context)])

    def save(self, tag: str, *, archive: Path) -> None:
        """See Engine."""
        _loudly(["docker", "save", "--output", str(archive), tag])


class Buildah:
    """Buildah with an image store of its own in the cache; nothing of it runs between two commands."""

    name = "buildah"

    def __init__(self) -> None:
        """Choose the folders, and write the policy that buildah insists on."""
        folder = cache_dir() / "buildah"
        folder.mkdir(exist_ok=True)
        self._policy = folder / "policy.json"
        self._policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        self._store = folder / "store"
        # What buildah notes here about mounts is wrong after a restart of the machine, hence the boot in the name.
        run = folder / f"run-{boot_id()[:8]}"
        driver = "overlay" if overlay_works(folder) else "vfs"
        self._global = ["--root", str(self._store), "--runroot", str(run), "--storage-driver", driver]

    def image_id(self, tag: str) -> str | None:
        """See Engine."""
        done = self._quietly("images", "--quiet", "--no-trunc", tag)
        return done.stdout.split()[0] if done.returncode == 0 and done.stdout.strip() else None

    def pull(self, tag: str) -> str | None:
        """See Engine."""
        return _failure(self._quietly("pull", "--quiet", *self._signatures(), tag, seconds=PULL_SECONDS))

    def add_base(self, root: Path, *, tag: str, environment: Mapping[str, str]) -> None:
        """See Engine."""
        container = self._output("from", "scratch")
        try:
            self._output("add", "--quiet", container, str(root), "/")
            variables = [f"--env={key}={value}" for key, value in environment.items()]
            self._output("config", *variables, "--cmd", "python3", container)
            self._output("commit", "--quiet", "--format", "docker", *self._signatures(), container, tag)
        finally:
            self._quietly("rm", container)

    def build(self, context: Path, *, dockerfile: Path, tag: str, target: str | None, arguments: Sequence[str]) -> None:
        """See Engine."""
        chosen = ["--target", target] if target else []
        given = [f"--build-arg={argument}" for argument in arguments]
        command = ["bud", "--isolation", "chroot", "--layers", "--format", "docker", "--network", "host"]
        # The base is there by now; asking a registry for a newer one would fail where there is none.
        command += ["--pull-never", *self._signatures(), *chosen, *given, "-f", str(dockerfile), "-t", tag]
        _loudly(["buildah", *self._global, *command, str(context)])

    def save(self, tag: str, *, archive: Path) -> None:
        """See Engine."""
        archive.unlink(missing_ok=True)
        self._output("push", "--quiet", *self._signatures(), tag, f"docker-archive:{archive}:{tag}")

    def _signatures(self) -> list[str]:
        return ["--signature-policy", str(self._policy)]

    def _quietly(self, *arguments: str, seconds: float | None = None) -> "subprocess.CompletedProcess[str]":
        return _quietly(["buildah", *self._global, *arguments], seconds=seconds)

    def _output(self, *arguments: str) -> str:
        done = self._quietly(*arguments)
        if done.returncode:
            raise DevclusterError(f"buildah {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()


def _quietly(command: Sequence[str], *, seconds: float | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command and keep its output; one that takes too long has failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, env=_environment())
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(list(command), 1, "", f"took longer than {seconds:.0f} s")


def _failure(done: "subprocess.CompletedProcess[str]") -> str | None:
    """Return the last line that a failed command wrote to stderr; None where it succeeded."""
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _loudly(command: Sequence[str]) -> None:
    """Run a command with its output on the terminal, at low priority; raises DevclusterError if it fails."""
    nice = shutil.which("nice")
    done = subprocess.run([*([nice] if nice else []), *command], check=False, env=_environment(), stdout=2)
    if done.returncode:
        raise DevclusterError(f"`{' '.join(command[:2])} …` failed with exit status {done.returncode}: see above")


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": debian.search_path()}
