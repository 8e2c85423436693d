"""An S3 server and a Prometheus inside the cluster, for the demo and the end-to-end tests."""

from pathlib import Path

from devcluster import binaries, image_builds
from devcluster.controlplane import run_kubectl
from devcluster.errors import DevclusterError
from devcluster.paths import PACKAGE
from devcluster.progress import step

NAMESPACE = "sagebrush-addons"
FOLDER = PACKAGE / "addons"
DEPLOYMENTS = {"s3": image_builds.S3_TAG, "prometheus": image_builds.PROMETHEUS_TAG}
# Untested.
PUBLIC_IMAGES = {
    image_builds.S3_TAG: "docker.io/versity/versitygw:v1.8.0",
    image_builds.PROMETHEUS_TAG: "docker.io/prom/prometheus:v3.13.5",
}
ENDPOINTS = {
    "S3": (f"http://s3.{NAMESPACE}.svc.cluster.local", "http://127.0.0.1:30900"),
    "Prometheus": (f"http://prometheus.{NAMESPACE}.svc.cluster.local:9090", "http://127.0.0.1:30990"),
}
READY_SECONDS = 120


def up(kubeconfig: Path, *, public_images: bool) -> None:
    """Apply the add-ons' manifests, wait until both are ready, and print where they answer. Safe to repeat.

    Without `public_images` the images are made here and loaded into the dev cluster first.
    """
    kubectl = binaries.ensure(["kubectl"])["kubectl"]
    renewed = set() if public_images else image_builds.load_addon_images()
    with step("applying the add-ons"):
        manifest = "---\n".join(path.read_text() for path in sorted(FOLDER.glob("*.yaml")))
        if public_images:
            for ours, public in PUBLIC_IMAGES.items():
                manifest = manifest.replace(f"image: {ours}", f"image: {public}")
        run_kubectl(kubectl, kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
        for name, tag in DEPLOYMENTS.items():
            if tag in renewed:  # same tag, other content: a pod of before would keep the old one
                _run(kubectl, kubeconfig, "delete", "pods", f"--selector=app={name}", "--wait=false")
    with step("waiting for the add-ons"):
        _wait(kubectl, kubeconfig)
    for name, (inside, outside) in ENDPOINTS.items():
        print(f"{name:11} {outside:26} in the cluster: {inside}")


def down(kubeconfig: Path) -> None:
    """Delete the add-ons and all they stored; harmless when there are none."""
    kubectl = binaries.ensure(["kubectl"])["kubectl"]
    with step("deleting the add-ons"):
        for path in sorted(FOLDER.glob("*.yaml"), reverse=True):
            run_kubectl(kubectl, kubeconfig, "delete", "--ignore-not-found", "-f", str(path))


def _wait(kubectl: Path, kubeconfig: Path) -> None:
    """Wait for every Deployment's roll-out; the error carries what its pods and their events say."""
    for name in DEPLOYMENTS:
        try:
            _run(kubectl, kubeconfig, "rollout", "status", f"deployment/{name}", f"--timeout={READY_SECONDS}s")
        except DevclusterError as error:
            raise DevclusterError("\n".join([str(error), *_symptoms(kubectl, kubeconfig, name=name)])) from error


def _symptoms(kubectl: Path, kubeconfig: Path, *, name: str) -> list[str]:
    """Ask what keeps a Deployment from being ready; a question without an answer is answered by its error."""
    told = []
    for question in (["get", "pods"], ["events", "--types=Warning"], ["logs", f"deployment/{name}", "--tail=10"]):
        try:
            told.append(_run(kubectl, kubeconfig, *question))
        except DevclusterError as error:
            told.append(str(error))
    return told


def _run(kubectl: Path, kubeconfig: Path, *arguments: str) -> str:
    return run_kubectl(kubectl, kubeconfig, f"--namespace={NAMESPACE}", *arguments)
