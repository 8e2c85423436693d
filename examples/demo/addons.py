"""What a cluster is lent for the demo: an S3 server and Prometheus, and ways to reach both from here."""

import base64
import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster import addons as manifests
from examples.demo.cluster import Cluster
from examples.demo.data import Store
from examples.demo.progress import DemoError, say
from examples.demo.shell import run_long

ADDONS_NAMESPACE = manifests.NAMESPACE
S3_URL = f"http://s3.{ADDONS_NAMESPACE}.svc.cluster.local"
PROMETHEUS_URL = f"http://prometheus.{ADDONS_NAMESPACE}.svc.cluster.local:9090"
READY_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Addons:
    """The two servers, as pods see them, and how to reach them from here."""

    store: Store
    prometheus_url: str = PROMETHEUS_URL

    @contextmanager
    def reach_s3(self, cluster: Cluster) -> Iterator[str]:
        """Yield a URL of the S3 server that works on this machine."""
        with cluster.reach(
            "s3", namespace=ADDONS_NAMESPACE, port=80, node_port=30900, probe=lambda url: _answers(f"{url}/health")
        ) as url:
            yield url

    @contextmanager
    def reach_prometheus(self, cluster: Cluster) -> Iterator[str]:
        """Yield a URL of Prometheus that works on this machine."""
        with cluster.reach(
            "prometheus",
            namespace=ADDONS_NAMESPACE,
            port=9090,
            node_port=30990,
            probe=lambda url: _answers(f"{url}/-/ready"),
        ) as url:
            yield url


def ensure_addons(cluster: Cluster, *, out: Path) -> Addons:
    """Bring S3 server and Prometheus into the cluster, and wait until both are ready. Safe to repeat.

    The dev cluster gets images made here; any other cluster pulls the projects' own. Raises DemoError with what their
    pods say where they don't become ready.
    """
    text = _manifest()
    if cluster.kind == "devcluster":
        command = [sys.executable, "-m", "devcluster", "addon-images"]
        run_long(
            command, what="images of the S3 server and Prometheus", log=out / "logs" / "addon-images.log", timeout=1800
        )
    else:
        for ours, public in manifests.PUBLIC_IMAGES.items():
            text = text.replace(f"image: {ours}", f"image: {public}")
    cluster.ctl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    for name in ("s3", "prometheus"):
        _wait_for_rollout(cluster, name=name)
    say(f"in the cluster: S3 at {S3_URL}, Prometheus at {PROMETHEUS_URL}")
    return existing_addons(cluster)


def existing_addons(cluster: Cluster) -> Addons:
    """Return the addons of a cluster that has them. Raises DemoError where it has none."""
    secret = cluster.get("secret", "s3-credentials", namespace=ADDONS_NAMESPACE)
    if secret is None:
        raise DemoError("the cluster has no S3 server of ours: run `make demo` first")
    keys = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    return Addons(
        store=Store(
            in_cluster_url=S3_URL, access_key=keys["AWS_ACCESS_KEY_ID"], secret_key=keys["AWS_SECRET_ACCESS_KEY"]
        )
    )


def remove_addons(cluster: Cluster) -> None:
    """Delete both servers and all they stored; harmless where there are none."""
    say("removing the S3 server and Prometheus, with all they stored")
    cluster.ctl("delete", "--ignore-not-found", "--wait", "-f", "-", stdin=_manifest(), timeout=240)


def _manifest() -> str:
    return "---\n".join(path.read_text() for path in sorted(manifests.FOLDER.glob("*.yaml")))


def _wait_for_rollout(cluster: Cluster, *, name: str) -> None:
    where = ("-n", ADDONS_NAMESPACE)
    try:
        cluster.ctl(
            *("rollout", "status", f"deployment/{name}", *where, f"--timeout={READY_SECONDS}s"),
            timeout=READY_SECONDS + 10,
        )
    except DemoError as error:
        pods = cluster.ctl("get", "pods", *where, "-l", f"app={name}", "-o", "json", check=False)
        raise DemoError(f"{error}\n{_states(pods)}") from error


def _states(pods: str) -> str:
    """Return what the containers wait for, or ended with, a line each."""
    try:
        statuses = [entry for pod in json.loads(pods)["items"] for entry in pod["status"].get("containerStatuses", [])]
    except (ValueError, KeyError):
        return pods
    return "\n".join(f"{entry['image']}: {json.dumps(entry.get('state', {}))}" for entry in statuses)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
