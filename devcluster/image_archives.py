"""Container images of a few files, made without any container tool: a one-layer `docker save` archive.

For programs that need nothing around them: pause, CoreDNS, the S3 server, Prometheus. The same input always gives the
same bytes, so an image's id says whether anything changed.
"""

import hashlib
import io
import json
import platform
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.errors import DevclusterError

NOBODY = 65532


@dataclass(frozen=True, kw_only=True)
class Image:
    """What goes into an image: `files` maps a path inside it to the file whose content and mode it gets."""

    tag: str
    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    user: int = NOBODY
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ()
    """Empty folders owned by `user`."""


def full_tag(tag: str) -> str:
    """Return a tag as containerd and the kubelet spell it: `sagebrush/x` is `docker.io/sagebrush/x:latest`."""
    host, slash, _ = tag.partition("/")
    if not slash:
        tag = f"docker.io/library/{tag}"
    elif not re.search(r"[.:]|^localhost$", host):
        tag = f"docker.io/{tag}"
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def write_archive(image: Image, *, target: Path) -> Path:
    """Write an image as a tar that `ctr images import` and `docker load` read; the file appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    layer = fresh.with_suffix(".layer")
    _write_layer(image, target=layer)
    digest = _sha256(layer)
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": list(image.entrypoint),
                "User": f"{image.user}:{image.user}",
                "Env": [f"{key}={value}" for key, value in image.environment.items()],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "sagebrush devcluster"}],
        },
        sort_keys=True,
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": [full_tag(image.tag)], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(fresh, "w") as archive:
        _add_bytes(archive, f"{name}.json", config)
        archive.add(layer, f"{digest}.tar", filter=_anonymous)
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
    layer.unlink()
    fresh.rename(target)
    return target


def archive_tag_and_id(archive: Path) -> tuple[str, str]:
    """Return (full tag, image id such as sha256:…) of a `docker save` archive."""
    try:
        with tarfile.open(archive) as opened:
            entry = opened.extractfile("manifest.json")
            assert entry is not None
            manifest = json.load(entry)[0]
    except (KeyError, tarfile.TarError, ValueError) as error:
        raise DevclusterError(f"{archive} is no archive as `docker save` writes it: {error}") from error
    digest = Path(manifest["Config"]).name.removesuffix(".json")
    return full_tag(manifest["RepoTags"][0]), f"sha256:{digest}"


def _write_layer(image: Image, *, target: Path) -> None:
    with tarfile.open(target, "w") as layer:
        for folder in image.folders:
            entry = tarfile.TarInfo(folder.strip("/"))
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, image.user, image.user
            layer.addfile(entry)
        for name, path in sorted(image.files.items()):
            layer.add(path.resolve(), name.strip("/"), recursive=False, filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Drop from a tar entry what differs between machines and days."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _architecture() -> str:
    """Return this machine's architecture as container images spell it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
