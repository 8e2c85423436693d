"""The cluster the demo runs on, whoever made it: kubectl, helm, the objects in it, and ways to its Services."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from examples.demo.progress import DemoError, say, wait_for
from examples.demo.shell import run

ClusterKind = Literal["devcluster", "current", "kind"]
KIND_NAME = "sagebrush"
MADE_BY_DEMO = "sagebrush.dev/made-by=demo"
"""Label on the nodes of a kind cluster that the demo made, and may delete."""
Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster and the two programs that speak to it."""

    kind: ClusterKind
    kubectl: str
    helm: str
    kubeconfig: Path | None = None
    """None: what kubectl itself would take (KUBECONFIG, ~/.kube/config)."""
    context: str | None = None
    """None: the kubeconfig's current context."""

    def kubectl_command(self, *arguments: str) -> list[str]:
        """Return the command line of a kubectl call."""
        selected = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        selected += ["--context", self.context] if self.context else []
        return [self.kubectl, *selected, *arguments]

    def helm_command(self, *arguments: str) -> list[str]:
        """Return the command line of a helm call."""
        selected = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        selected += ["--kube-context", self.context] if self.context else []
        return [self.helm, *arguments, *selected]

    def ctl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60) -> str:
        """Run kubectl and return what it printed; raises DemoError where it fails and `check` is set."""
        return run(self.kubectl_command(*arguments), stdin=stdin, check=check, timeout=timeout)

    def get(self, kind: str, name: str, *, namespace: str) -> Object | None:
        """Return one object, or None where there is none."""
        text = self.ctl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        found: Object | None = json.loads(text) if text.strip() else None
        return found

    def apply(self, manifest: Object | list[Object], *, namespace: str | None = None) -> None:
        """Apply objects given as data, server-side."""
        objects = manifest if isinstance(manifest, list) else [manifest]
        document = {"apiVersion": "v1", "kind": "List", "items": objects}
        where = ["-n", namespace] if namespace else []
        command = ("apply", "--server-side", "--force-conflicts", "--field-manager=sagebrush-demo", *where, "-f", "-")
        self.ctl(*command, stdin=json.dumps(document))

    def apply_files(self, paths: Sequence[Path], *, namespace: str) -> str:
        """Apply manifests as a user would, and return kubectl's words."""
        files = [argument for path in paths for argument in ("-f", str(path))]
        return self.ctl("apply", "-n", namespace, *files)

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace unless it is there; waits for an old one of that name to go."""
        wait_for(
            f"the old namespace {name} to go",
            check=lambda: None if self._terminating(name) else True,
            timeout=180,
            hint=f"See what holds it: kubectl get namespace {name} -o yaml",
        )
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def _terminating(self, namespace: str) -> bool:
        text = self.ctl("get", "namespace", namespace, "-o", "json", "--ignore-not-found")
        return bool(text.strip()) and json.loads(text)["status"].get("phase") == "Terminating"

    def node_addresses(self) -> list[str]:
        """Return addresses of the nodes, external ones first."""
        nodes = json.loads(self.ctl("get", "nodes", "-o", "json"))["items"]
        pairs = [(entry["type"], entry["address"]) for node in nodes for entry in node["status"].get("addresses", [])]
        return [a for t, a in pairs if t == "ExternalIP"] + [a for t, a in pairs if t == "InternalIP"]

    @contextmanager
    def reach(
        self, service: str, *, namespace: str, port: int, node_port: int, probe: Callable[[str], bool]
    ) -> Iterator[str]:
        """Yield a base URL of a Service: its NodePort where `probe` finds it there, else a port-forward.

        A port-forward goes to one pod of the Service, so load sent there doesn't spread.
        """
        hosts = ["127.0.0.1"] if self.kind == "devcluster" else self.node_addresses()
        for host in hosts:
            url = f"http://{host}:{node_port}"
            if _listens(host, node_port) and probe(url):
                yield url
                return
        with self.port_forward(service, namespace=namespace, port=port) as url:
            yield url

    @contextmanager
    def port_forward(self, service: str, *, namespace: str, port: int) -> Iterator[str]:
        """Yield a base URL that reaches one pod of a Service for as long as the block runs."""
        # kubectl picks the local port: one picked here could be taken by the time it binds it.
        command = self.kubectl_command("port-forward", "-n", namespace, f"service/{service}", f":{port}")
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as process,
        ):

            def forwarded() -> str | None:
                over = process.poll() is not None
                text = os.pread(said.fileno(), 65536, 0).decode(errors="replace")  # kubectl shares the file's position
                found = re.search(r"^Forwarding from 127\.0\.0\.1:(\d+) ", text, re.MULTILINE)
                if over:
                    raise DemoError(f"kubectl port-forward to {namespace}/{service} ended: {text.strip()}")
                return found[1] if found else None

            try:
                local = wait_for(f"the port-forward to {namespace}/{service}", check=forwarded, timeout=30)
                yield f"http://127.0.0.1:{local}"
            finally:
                process.terminate()


def on_path(program: str, *, why: str) -> str:
    """Return the path of a program; raises DemoError that says what it is for."""
    found = shutil.which(program)
    if not found:
        raise DemoError(f"{program} is not on PATH; it is needed {why}. Install it, or leave CLUSTER= out")
    return found


def current_cluster(*, kubeconfig: Path | None, context: str | None) -> Cluster:
    """Return the cluster that kubectl already speaks to. Raises DemoError where it doesn't answer."""
    why = "to use the current cluster"
    cluster = Cluster(
        kind="current",
        kubectl=on_path("kubectl", why=why),
        helm=on_path("helm", why=why),
        kubeconfig=kubeconfig,
        context=context,
    )
    cluster.ctl("get", "--raw", "/readyz", timeout=30)
    return cluster


def kind_cluster(*, kubeconfig: Path | None, existing: bool = False) -> Cluster:
    """Return the kind cluster `sagebrush`, making it where there is none; with `existing`, DemoError where there is none."""
    why = "for CLUSTER=kind"
    kind, kubectl, helm = (on_path(program, why=why) for program in ("kind", "kubectl", "helm"))
    on_path("docker", why=why)
    cluster = Cluster(kind="kind", kubectl=kubectl, helm=helm, kubeconfig=kubeconfig, context=f"kind-{KIND_NAME}")
    if KIND_NAME in run([kind, "get", "clusters"]).split():
        return cluster
    if existing:
        raise DemoError(f"there is no kind cluster {KIND_NAME}: nothing to remove")
    say(f"kind create cluster --name {KIND_NAME}")
    chosen = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    run([kind, "create", "cluster", "--name", KIND_NAME, "--wait", "180s", *chosen], timeout=600)
    cluster.ctl("label", "nodes", "--all", "--overwrite", MADE_BY_DEMO)
    return cluster


def delete_kind_cluster(cluster: Cluster) -> bool:
    """Delete a kind cluster that the demo made, and tell whether it was one."""
    if cluster.kind != "kind" or not cluster.ctl("get", "nodes", "-l", MADE_BY_DEMO, "-o", "name").strip():
        return False
    say(f"kind delete cluster --name {KIND_NAME}")
    chosen = ["--kubeconfig", str(cluster.kubeconfig)] if cluster.kubeconfig else []
    run(["kind", "delete", "cluster", "--name", KIND_NAME, *chosen], timeout=300)
    return True


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
