"""Brings images into the dev cluster's containerd, and knows which are already there."""

import hashlib
import json
import subprocess
from pathlib import Path

from devcluster import binaries, node
from devcluster.debian import program
from devcluster.errors import DevclusterError
from devcluster.image_archives import Image, archive_tag_and_id, full_tag, write_archive
from devcluster.paths import cache_dir, state_dir
from devcluster.progress import step

COREDNS_TAG = "sagebrush/coredns:dev"


def system_archives() -> list[Path]:
    """Return the archives of the images that every cluster needs, making them on first use."""
    coredns = binaries.ensure(["pause", "coredns"])
    return [
        program_archive(Image(tag=node.PAUSE_TAG, files={"/pause": coredns["pause"]}, entrypoint=["/pause"])),
        program_archive(Image(tag=COREDNS_TAG, files={"/coredns": coredns["coredns"]}, entrypoint=["/coredns"])),
    ]


def program_archive(image: Image) -> Path:
    """Return an image's archive from the cache; it is made again only when a file in it or its settings changed."""
    key = hashlib.sha256(repr((image.tag, image.entrypoint, image.user, image.environment, image.folders)).encode())
    for name, path in sorted(image.files.items()):
        facts = path.resolve().stat()
        key.update(f"{name} {path.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode())
    name = image.tag.rpartition("/")[2].replace(":", "-")
    target = cache_dir() / "images" / f"{name}-{key.hexdigest()[:12]}.tar"
    return target if target.exists() else write_archive(image, target=target)


def load_archive(archive: Path) -> bool:
    """Import a `docker save` archive unless the same image is there under the same tag; True if it was imported."""
    tag, image_id = archive_tag_and_id(archive)
    if present(tag=tag, image_id=image_id):
        return False
    with step(f"importing {tag}"):
        _ctr("images", "import", "--snapshotter", _snapshotter(), str(archive))
    return True


def present(*, tag: str, image_id: str) -> bool:
    """True where the cluster has an image under this tag with this id (the digest of its configuration)."""
    for line in _ctr("images", "list", f"name=={full_tag(tag)}").splitlines()[1:]:
        # The id that the kubelet's image service keeps as a second name is no help: it isn't renewed with the tag.
        return _configuration(line.split()[2]) == image_id
    return False


def answers() -> bool:
    """True once containerd answers; raises DevclusterError with its words until then."""
    _ctr("version")
    return True


def _configuration(digest: str) -> str | None:
    """Return the digest of an image's configuration, from its manifest or an index with one manifest per platform."""
    document = json.loads(_ctr("content", "get", digest))
    if "config" in document:
        return str(document["config"]["digest"])
    found = document.get("manifests", ())
    return _configuration(found[0]["digest"]) if found else None


def _snapshotter() -> str:
    text = (state_dir() / "containerd.toml").read_text()
    return "native" if 'snapshotter = "native"' in text else "overlayfs"


def _ctr(*arguments: str) -> str:
    """Run containerd's command-line client in the kubelet's namespace."""
    socket = node.socket_path(state_dir())
    if not socket.exists():
        raise DevclusterError("the dev cluster isn't running: `make cluster-up` first")
    done = subprocess.run(
        [str(program("ctr")), "--address", str(socket), "--namespace", "k8s.io", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DevclusterError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
