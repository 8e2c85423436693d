"""Everything below the user's manifests: images, the S3 server and Prometheus, and the operator by its Helm chart.

`install_stack` does it all, and does nothing twice; the end-to-end tests use it too.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from examples.demo.addons import Addons, ensure_addons, remove_addons
from examples.demo.cluster import KIND_NAME, Cluster, on_path
from examples.demo.data import git_revision
from examples.demo.progress import DemoError, say, show
from examples.demo.shell import REPOSITORY, run, run_long

SYSTEM_NAMESPACE = "sagebrush-system"
RELEASE = "sagebrush"
CHART = REPOSITORY / "charts" / "sagebrush"
SCALING_INTERVAL_SECONDS = 2
BUILD_SECONDS = 1800

# What each image is made of: with what is in these its tag changes, so that a rebuilt image is really the one that runs.
SHARED = (
    *("Dockerfile", "pyproject.toml", "uv.lock", "operator/pyproject.toml"),
    *("model_server/pyproject.toml", "model_server/setup.py"),
)
TARGETS = {"operator": "operator/sagebrush", "model-server": "model_server/sagebrush_server"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of ours: the stage of the Dockerfile, and its name."""

    target: str
    repository: str
    tag: str

    @property
    def name(self) -> str:
        """Return repository:tag."""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What was installed, and how to reach it."""

    operator: Image
    server: Image
    addons: Addons


def install_stack(cluster: Cluster, *, out: Path, registry: str | None = None) -> Stack:
    """Bring images, addons and the operator into a cluster, and return how to reach them. Idempotent.

    Logs of long commands go below `out`. Raises DemoError that says what to do.
    """
    images = ensure_images(cluster, out=out, registry=registry)
    addons = ensure_addons(cluster, out=out)
    install_chart(cluster, images=images, addons=addons, out=out)
    return Stack(operator=images[0], server=images[1], addons=addons)


def image_of(target: str, *, registry: str | None = None, root: Path = REPOSITORY) -> Image:
    """Return the image of a Dockerfile stage, its tag a hash of all it is made of."""
    digest = hashlib.sha256()
    files = [root / name for name in SHARED]
    files += [
        path
        for path in (root / TARGETS[target]).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    ]
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_mode & 0o111:o}\0".encode())
        digest.update(path.read_bytes())
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return Image(target=target, repository=f"{prefix}sagebrush-{target}", tag=digest.hexdigest()[:12])


def ensure_images(cluster: Cluster, *, out: Path, registry: str | None = None) -> tuple[Image, Image]:
    """Build the images of operator and model server unless the cluster has them already, and bring them there."""
    operator, server = image_of("operator", registry=registry), image_of("model-server", registry=registry)
    for image in (operator, server):
        if cluster.kind != "current" and on_nodes(cluster, image=image.name):
            say(f"{image.name} is in the cluster already")
        elif cluster.kind == "devcluster":
            _devcluster_image(image, out=out)
        elif cluster.kind == "kind":
            _docker_build(image, out=out)
            _logged(
                "kind", "load", "docker-image", "--name", KIND_NAME, image.name, what=f"loading {image.name}", out=out
            )
        elif registry:
            _docker_build(image, out=out)
            _logged("docker", "push", image.name, what=f"pushing {image.name}", out=out)
        elif not on_nodes(cluster, image=image.name):
            raise DemoError(
                f"the cluster has no image {image.name}: say where to push it (--registry, make demo REGISTRY=…), or build it "
                f"(`docker build --target {image.target} -t {image.name} .`) and load it into the nodes yourself"
            )
    return operator, server


def on_nodes(cluster: Cluster, *, image: str) -> bool:
    """Tell whether every node reports an image. Kubelets report at most their 50 largest images, so False proves nothing."""
    nodes = json.loads(cluster.ctl("get", "nodes", "-o", "json"))["items"]
    endings = (image, f"/{image}")
    return bool(nodes) and all(
        any(name.endswith(endings) for entry in node["status"].get("images", []) for name in entry.get("names") or [])
        for node in nodes
    )


def install_chart(cluster: Cluster, *, images: tuple[Image, Image], addons: Addons, out: Path) -> None:
    """Install or upgrade the operator by its chart, and wait until it runs."""
    operator, server = images
    values = {
        "image.repository": operator.repository,
        "image.tag": operator.tag,
        "serverImage.repository": server.repository,
        "serverImage.tag": server.tag,
        "prometheus.url": addons.prometheus_url,
        "scaling.intervalSeconds": str(SCALING_INTERVAL_SECONDS),
    }
    # A tag made of hexadecimal digits may look like a number, so everything but the interval is given as a string.
    flags = ["--set" if key.startswith("scaling.") else "--set-string" for key in values]
    chosen = [
        part for flag, (key, value) in zip(flags, values.items(), strict=True) for part in (flag, f"{key}={value}")
    ]
    where = ["-n", SYSTEM_NAMESPACE, "--create-namespace"]
    command = cluster.helm_command(
        "upgrade", "--install", RELEASE, str(CHART), *where, "--wait", "--timeout", "180s", *chosen
    )
    shown = " ".join(["helm upgrade --install", RELEASE, str(CHART.relative_to(REPOSITORY)), *where, "--wait", *chosen])
    say(f"$ {shown}")
    run_long(command, what="helm install", log=out / "helm.log", timeout=240)
    show(cluster.ctl("get", "pods", "-n", SYSTEM_NAMESPACE))


def uninstall(cluster: Cluster, *, namespace: str) -> None:
    """Remove the demo's objects, the operator and the addons; the CRDs stay, since others may have objects of them."""
    kinds = "trainingjobs.sagebrush.dev,modelendpoints.sagebrush.dev"
    if cluster.ctl("get", "namespace", namespace, "-o", "name", "--ignore-not-found").strip():
        say(f"removing the objects in {namespace}, while the operator is there to clean up after them")
        said = cluster.ctl("delete", kinds, "--all", "-n", namespace, "--timeout=120s", check=False, timeout=150)
        show(said)
        cluster.ctl("delete", "namespace", namespace, "--wait", "--timeout=180s", timeout=200)
    say("removing the operator")
    show(
        run(
            cluster.helm_command("uninstall", RELEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait"),
            timeout=200,
        )
    )
    cluster.ctl("delete", "namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait", "--timeout=180s", timeout=200)
    remove_addons(cluster)
    say("removed; the CustomResourceDefinitions stay, and `make cluster-down` removes a dev cluster itself")


def versions(cluster: Cluster, *, images: tuple[Image, Image]) -> dict[str, str]:
    """Return the versions of what takes part, for the report."""
    server = json.loads(cluster.ctl("version", "-o", "json")).get("serverVersion", {})
    return {
        "sagebrush": git_revision(),
        "operatorImage": images[0].name,
        "serverImage": images[1].name,
        "kubernetes": str(server.get("gitVersion", "unknown")),
        "helm": run([cluster.helm, "version", "--short"], check=False).strip(),
        "python": sys.version.split()[0],
        "wrk": run(["wrk", "-v"], check=False).partition("Copyright")[0].strip() or "unknown",
    }


def _devcluster_image(image: Image, *, out: Path) -> None:
    command = (sys.executable, "-m", "devcluster")
    build = ("build-image", "--target", image.target, "--tag", image.name, "--load")
    _logged(*command, *build, what=f"building and loading {image.name}", out=out)


def _docker_build(image: Image, *, out: Path) -> None:
    docker = on_path("docker", why="to build the images")
    command = (docker, "build", "--target", image.target, "-t", image.name, str(REPOSITORY))
    _logged(*command, what=f"building {image.name}", out=out)


def _logged(*command: str, what: str, out: Path) -> None:
    name = what.replace("/", "-").replace(" ", "-").replace(":", "-")
    run_long(command, what=what, log=out / "logs" / f"{name}.log", timeout=BUILD_SECONDS)
