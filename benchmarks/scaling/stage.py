"""All that runs: the one-node cluster, Prometheus, the operator by its chart, and the endpoint under load."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from benchmarks.scaling.options import ROOT, Options
from devcluster import cluster as devcluster
from examples.demo.cluster import Cluster
from examples.demo.progress import DemoError, say, wait_for
from examples.demo.settings import parse as demo_settings
from examples.demo.shell import prepare_environment, run_long
from examples.demo.stack import Stack, install_stack, uninstall
from examples.demo.start import start_cluster

IMAGE = "sagebrush-bench/replica:1"
NAMESPACE = "sagebrush-bench"
_READY_SECONDS = 180.0


class Stage:
    """Brought up in `with`. What it brought up it takes down again, unless told to keep it."""

    cluster: Cluster
    stack: Stack

    def __init__(self, options: Options) -> None:
        self.options = options
        self._folder = options.out / "scaling"
        self._was_there = False

    def __enter__(self) -> Self:
        prepare_environment()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._was_there = not devcluster.problems()
        try:
            self.cluster = start_cluster(demo_settings(["--out", str(self._folder)]))
            self.stack = install_stack(self.cluster, out=self._folder)
            build = ("build-image", "--tag", IMAGE, "--context", str(ROOT / "benchmarks/scaling/image"), "--load")
            command = [sys.executable, "-m", "devcluster", *build]
            run_long(command, what=f"image {IMAGE}", log=self._folder / "image.log", timeout=1800)
            self.cluster.ensure_namespace(NAMESPACE)
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._down()

    def _down(self) -> None:
        if self.options.keep:
            say("everything still runs: `make cluster-down` removes it")
            return
        if not self._was_there:
            subprocess.run([sys.executable, "-m", "devcluster", "down"], cwd=ROOT, check=False)
            return
        try:
            uninstall(self.cluster, namespace=NAMESPACE)
        except (DemoError, AttributeError) as error:
            say(f"could not remove everything: {error}")

    @contextmanager
    def endpoint(self, name: str, scaling: dict[str, Any]) -> Iterator[str]:
        """A fresh endpoint with one replica Ready; yields its address on this machine, and removes it at the end."""
        self.cluster.apply(self.manifest(name, scaling), namespace=NAMESPACE)
        try:
            service = wait_for(
                "the Service", check=lambda: self.cluster.get("service", name, namespace=NAMESPACE), timeout=60
            )
            url = f"http://127.0.0.1:{service['spec']['ports'][0]['nodePort']}"
            wait_for(
                f"{name} to serve", check=lambda: True if _answers(f"{url}/ping") else None, timeout=_READY_SECONDS
            )
            yield f"{url}/invocations"
        finally:
            where = ("-n", NAMESPACE, "--wait", "--timeout=120s")
            self.cluster.ctl("delete", "modelendpoint", name, *where, check=False, timeout=150)

    def manifest(self, name: str, scaling: dict[str, Any]) -> dict[str, Any]:
        """The ModelEndpoint."""
        options = self.options
        environment = {"WORKERS": options.workers, "SERVICE_MS": options.service_ms}
        return {
            "apiVersion": "sagebrush.dev/v1alpha1",
            "kind": "ModelEndpoint",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "model": {
                    "container": {"image": IMAGE, "metricsPort": 9102},
                    "environment": [{"name": key, "value": f"{value:g}"} for key, value in environment.items()],
                },
                "scaling": scaling,
                "cluster": {
                    "service": {"type": "NodePort"},
                    "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
                },
            },
        }

    def logs(self) -> Path:
        """The operator's log, saved."""
        path = self._folder / "operator.log"
        text = self.cluster.ctl("logs", "-n", "sagebrush-system", "deploy/sagebrush", "--tail=5000", check=False)
        path.write_text(text)
        return path


def wait_policy_seen(stage: Stage, name: str, *, seconds: float = 90.0) -> None:
    """Wait until the operator has data of the endpoint and says so; the load may begin."""

    def look() -> bool | None:
        body = stage.cluster.get("modelendpoint", name, namespace=NAMESPACE) or {}
        conditions = (body.get("status") or {}).get("conditions") or []
        active = [condition for condition in conditions if condition["type"] == "ScalingActive"]
        return True if active and active[0]["status"] == "True" else None

    try:
        wait_for(f"metrics of {name}", check=look, timeout=seconds)
    except DemoError as error:
        say(f"{error}; the load begins all the same")


def pause_until(moment: float) -> None:
    """Sleep until a Unix time."""
    time.sleep(max(0.0, moment - time.time()))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
