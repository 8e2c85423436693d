"""Builds the repository's images from its Dockerfile and brings them into the cluster."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from devcluster import base_image, binaries, images
from devcluster.container_engine import choose
from devcluster.errors import DevclusterError
from devcluster.image_archives import Image, full_tag
from devcluster.paths import cache_dir, locked
from devcluster.progress import say, step

S3_TAG = "sagebrush/versitygw:dev"
PROMETHEUS_TAG = "sagebrush/prometheus:dev"


def build(
    *,
    tag: str,
    target: str | None,
    context: Path,
    dockerfile: Path,
    arguments: Sequence[str] = (),
    local_base: bool = False,
) -> None:
    """Build one target of a Dockerfile under a tag. Unchanged layers come from the engine's cache.

    `arguments` are `NAME=value` build arguments; `local_base` makes the base image here without asking a registry.
    """
    if not dockerfile.is_file():
        raise DevclusterError(f"there is no Dockerfile at {dockerfile}")
    with locked(cache_dir() / "build.lock"):
        engine = choose()
        given = dict(argument.partition("=")[::2] for argument in arguments)
        base_image.ensure(engine, base=base_image.base_name(dockerfile, arguments=given), local=local_base)
        with step(f"building {tag} with {engine.name}"):
            engine.build(context, dockerfile=dockerfile, tag=full_tag(tag), target=target, arguments=arguments)


def load(source: str) -> None:
    """Bring an image into the cluster: a `docker save` archive, or the tag of an image that `build` made.

    Does nothing when the cluster already has the same image under that tag.
    """
    if Path(source).is_file():
        _say_loaded(source, loaded=images.load_archive(Path(source)))
        return
    tag = full_tag(source)
    engine = choose()
    image_id = engine.image_id(tag)
    if image_id is None:
        raise DevclusterError(f"{source} is neither a file nor an image in {engine.name}: build it first")
    if images.present(tag=tag, image_id=image_id):
        _say_loaded(tag, loaded=False)
        return
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="save-") as scratch:
        archive = Path(scratch) / "image.tar"
        with step(f"exporting {tag} from {engine.name}"):
            engine.save(tag, archive=archive)
        say(f"{tag} has {archive.stat().st_size / 1e6:.0f} MB")
        _say_loaded(tag, loaded=images.load_archive(archive))


def load_addon_images() -> set[str]:
    """Make the add-ons' images and bring them into the cluster; returns the tags of those that were not there yet."""
    made = [s3_image(), prometheus_image()]
    return {image.tag for image in made if images.load_archive(images.program_archive(image))}


def s3_image() -> Image:
    """Describe the S3 server's image: one static program."""
    program = binaries.ensure(["versitygw"])["versitygw"]
    return Image(tag=S3_TAG, files={"/versitygw": program}, entrypoint=["/versitygw"])


def prometheus_image() -> Image:
    """Describe Prometheus's image: one static program (Debian's own knows no discovery of pods)."""
    program = binaries.ensure(["prometheus"])["prometheus"]
    return Image(tag=PROMETHEUS_TAG, files={"/bin/prometheus": program}, entrypoint=["/bin/prometheus"])


def _say_loaded(name: str, *, loaded: bool) -> None:
    say(f"{name} is now in the cluster" if loaded else f"{name} is already in the cluster")
