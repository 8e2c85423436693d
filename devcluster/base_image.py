"""The base image that the Dockerfile starts from: pulled where there is a registry, else made from Debian packages.

The substitute has the same Debian release and the same Python minor version as the public image, under the public
image's name, so that the Dockerfile needs no special case. It carries the machine's own certificate authorities,
because package indexes may be behind one that only this machine knows; nothing else of the machine gets in.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from devcluster import debian
from devcluster.container_engine import Engine
from devcluster.errors import DevclusterError
from devcluster.image_archives import full_tag
from devcluster.paths import cache_dir, locked, require_space
from devcluster.progress import say, step

PACKAGES = ("python3", "python3-venv", "ca-certificates")
BOOTSTRAP_NEEDS = {
    "debootstrap": "debootstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
# Only weight in an image that is exported and imported often.
SUPERFLUOUS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "var/log")
RECIPE = 1
BUNDLE_IN_IMAGE = "/etc/ssl/certs/ca-certificates.crt"
# Every tool has its own name for "trust this bundle"; set in the substitute only.
ENVIRONMENT = {
    **dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), BUNDLE_IN_IMAGE),
    "UV_SYSTEM_CERTS": "true",
    "UV_NATIVE_TLS": "true",
}


def base_name(dockerfile: Path, *, arguments: Mapping[str, str]) -> str:
    """Return the full name of the image that a Dockerfile starts from, which must be one for all of its stages.

    Reads `FROM name` and `FROM ${ARGUMENT}` with the defaults of the `ARG` lines before it.
    """
    stages: set[str] = set()
    found: list[str] = []
    defaults: dict[str, str] = {}
    for line in dockerfile.read_text().splitlines():
        words = line.split()
        if not words:
            continue
        if words[0].upper() == "ARG" and not found:
            name, _, value = words[1].partition("=")
            defaults[name] = arguments.get(name, value)
        if words[0].upper() == "FROM":
            source = re.sub(r"\$\{?(\w+)\}?", lambda match: defaults.get(match[1], ""), words[1])
            if source not in stages and source != "scratch":
                found.append(full_tag(source))
            stages.add(words[-1])
    if len(set(found)) != 1:
        raise DevclusterError(f"{dockerfile} must start from exactly one image, and names {sorted(set(found))}")
    return found[0]


def ensure(engine: Engine, *, base: str, local: bool) -> None:
    """See to it that the engine has the base image: there already, else pulled, else made here.

    `local` makes it here without asking a registry. A substitute made with other certificates is made again.
    """
    made = cache_dir() / "base" / f"substitutes-{engine.name}"
    known = made.read_text().split() if made.exists() else []
    present = engine.image_id(base)
    if present and f"{_key(base)}={present}" in known:
        return
    is_substitute = any(line.endswith(f"={present}") for line in known)
    if present and not local and not is_substitute:
        return
    if not local and not is_substitute:
        with step(f"asking the registry for {base}"):
            failure = engine.pull(base)
        if failure is None:
            return
        say(f"{base} can't be pulled ({failure}): making a substitute from Debian packages")
    root = _root_archive(base)
    with step(f"importing the substitute for {base} into {engine.name}"):
        engine.add_base(root, tag=base, environment=ENVIRONMENT)
    made.write_text("".join(f"{line}\n" for line in [*known, f"{_key(base)}={engine.image_id(base)}"]))


def _key(base: str) -> str:
    """Return what a substitute depends on: release, packages, certificates, and the recipe itself."""
    bundle = hashlib.sha256(_bundle().read_bytes()).hexdigest()
    parts = (base, _release(base), PACKAGES, SUPERFLUOUS, bundle, sorted(ENVIRONMENT.items()), RECIPE)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _release(base: str) -> str:
    """Return the Debian release that an image's tag ends in, such as bookworm."""
    tag = base.rpartition(":")[2]
    release = tag.rpartition("-")[2]
    if "python" not in base or not re.fullmatch(r"bullseye|bookworm|trixie", release):
        raise DevclusterError(
            f"{base} can't be pulled, and only images named like python:3.11-slim-bookworm can be made here"
        )
    return release


def _bundle() -> Path:
    """Return the machine's certificate bundle."""
    if found := debian.certificate_bundle():
        return found
    raise DevclusterError("this machine has no bundle of certificate authorities: install ca-certificates")


def _root_archive(base: str) -> Path:
    """Return the substitute's root file system as a tar in the cache, making it on first use (about a minute)."""
    release = _release(base)
    target = cache_dir() / "base" / f"{release}-{_key(base)}.tar"
    with locked(target.with_suffix(".lock")):
        if target.exists():
            return target
        require_space([target.parent], gigabytes=2, purpose="making the base image")
        debian.require(BOOTSTRAP_NEEDS)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            root = Path(scratch) / "root"
            log = target.with_suffix(".log")
            command = [str(debian.program("debootstrap")), "--variant=minbase", f"--include={','.join(PACKAGES)}"]
            with step(f"debootstrap {release} (log: {log})"), log.open("w") as output:
                done = subprocess.run(
                    [*command, release, str(root)],
                    stdout=output,
                    stderr=output,
                    check=False,
                    env={**os.environ, "PATH": debian.search_path()},
                )
            if done.returncode:
                raise DevclusterError(f"debootstrap failed: see {log}")
            _check_python(root, base=base)
            _trim(root)
            shutil.copyfile(_bundle(), root / BUNDLE_IN_IMAGE.lstrip("/"))
            fresh = Path(scratch) / "root.tar"
            with tarfile.open(fresh, "w") as archive:
                archive.add(root, "")
            fresh.rename(target)
    return target


def _check_python(root: Path, *, base: str) -> None:
    """Refuse a release whose Python isn't the one in the image's name."""
    wanted = re.search(r"python:(\d+\.\d+)", base)
    if wanted and not (root / "usr" / "bin" / f"python{wanted[1]}").exists():
        raise DevclusterError(f"Debian's python3 is not the Python {wanted[1]} that {base} promises")


def _trim(root: Path) -> None:
    """Empty folders that no program needs, and give `python` the name it has in the public image."""
    for name in SUPERFLUOUS:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    (root / "usr" / "local" / "bin" / "python").symlink_to("/usr/bin/python3")
