"""All that runs: a real Kubernetes API, the operator with its stopwatch, and the world around it, each a process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import urllib3

from benchmarks.many_endpoints import nodes
from benchmarks.many_endpoints.options import ROOT, Options
from benchmarks.many_endpoints.population import NAMESPACE, Subject
from benchmarks.sagemaker.usage import machine_busy_seconds, usage
from devcluster.controlplane import ControlPlane
from tests.integration.kube import Kube
from tests.integration.operator_process import free_port

_SUBMITTERS = 8
_START_SECONDS = 180.0
_LOOK_SECONDS = 1.0
_MORE_ADDRESSES = """\
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: many}
spec: {cidrs: [10.113.0.0/18]}
"""
"""For a Service of each endpoint: the control plane's own range has 254."""


class TooSlowError(RuntimeError):
    """Something did not come about in the time given."""


class Stage:
    """Everything started in `with`, and ended with it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder = options.out / "many-endpoints"
        self.rounds_file = self.folder / "rounds.jsonl"
        self.log = self.folder / "operator.log"
        self._running = contextlib.ExitStack()
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in (self.rounds_file, self.log, *self.folder.glob("*.pstats")):
            old.unlink(missing_ok=True)
        with contextlib.ExitStack() as starting:
            plane = starting.enter_context(
                ControlPlane(
                    self.folder / "control-plane",
                    start_controller_manager=True,
                    controller_flags=nodes.CONTROLLER_FLAGS,
                    build_missing=True,
                )
            )
            nodes.start(plane, folder=self.folder, startup_seconds=self.options.startup_seconds)
            plane.kubectl("apply", "-f", str(ROOT / "crds"))
            plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
            plane.kubectl("create", "namespace", NAMESPACE)
            plane.kubectl("apply", "-f", "-", stdin=_MORE_ADDRESSES)
            self._kube = Kube(plane.kubeconfig)
            self._world = self._start_world(starting, plane.kubeconfig)
            self._operator = self._start_operator(starting, plane.kubeconfig)
            self._submitters = starting.enter_context(ThreadPoolExecutor(_SUBMITTERS))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start_world(self, stack: contextlib.ExitStack, kubeconfig: Path) -> "subprocess.Popen[str]":
        options = self.options
        command = [sys.executable, "-m", "benchmarks.many_endpoints.world", "--kubeconfig", str(kubeconfig)]
        for name in ("endpoints", "scrape_seconds", "history_endpoints"):
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        log = stack.enter_context((self.folder / "world.log").open("w"))
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        stack.callback(_end, process)
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError(f"the pods' Prometheus did not start: see {self.folder / 'world.log'}")
        self._url = json.loads(line)["url"]
        return process

    def _start_operator(self, stack: contextlib.ExitStack, kubeconfig: Path) -> "subprocess.Popen[bytes]":
        port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "POD_NAME": "operator",
            "POD_NAMESPACE": NAMESPACE,
            "NO_PROXY": "127.0.0.1",
            "ROUNDS_FILE": str(self.rounds_file),
        }
        command = [sys.executable, "-m", "benchmarks.many_endpoints.probe", "run", f"--http-port={port}"]
        command += ["--log-format=text", *self.options.flags(prometheus=self._url)]
        with self.log.open("w") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(_end, process)

        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the operator has ended: see {self.log}")
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return self._http.request("GET", f"http://127.0.0.1:{port}/readyz").status == 200
            return False

        self.wait("the operator's readiness", is_ready, seconds=_START_SECONDS)
        return process

    def submit(self, subjects: Iterable[Subject]) -> None:
        """Create endpoints; returns when all are there."""
        list(self._submitters.map(lambda subject: self._kube.create(subject.manifest), subjects))

    def endpoints(self) -> list[dict[str, Any]]:
        """All ModelEndpoints as they are now."""
        return self._kube.find_all("ModelEndpoint", NAMESPACE)

    def state(self) -> dict[str, Any]:
        """What the world has seen: pods and queries."""
        found: dict[str, Any] = json.loads(self._http.request("GET", f"{self._url}/state").data)
        return found

    def load(self, **wanted: Any) -> None:
        """Change the traffic; see :meth:`benchmarks.many_endpoints.world.World._load`."""
        self._http.request("POST", f"{self._url}/load", body=json.dumps(wanted))

    def rounds(self, *, since: float, until: float | None = None) -> list[dict[str, Any]]:
        """The whole rounds of a span of Unix time."""
        lines = self.rounds_file.read_text().splitlines() if self.rounds_file.exists() else []
        found = [json.loads(line) for line in lines]
        end = time.time() if until is None else until
        return [each for each in found if each["began"] >= since and each["began"] + each["wallSeconds"] <= end]

    def used(self) -> dict[str, Any]:
        """What processes have used until now."""
        operator = usage(self._operator.pid)
        return {
            "operator": operator.cpu_seconds,
            "world": usage(self._world.pid).cpu_seconds,
            "machine": machine_busy_seconds(),
            "rssMib": operator.rss_mib,
            "peakMib": operator.peak_rss_mib,
        }

    def profile(self, *, on: bool) -> None:
        """Start or end the operator's profile, where one is wanted."""
        if self.options.profile:
            self._operator.send_signal(signal.SIGUSR1 if on else signal.SIGUSR2)

    def wait(self, what: str, is_true: Callable[[], bool], *, seconds: float) -> float:
        """Seconds until it was true. Raises :class:`TooSlowError`."""
        begun = time.monotonic()
        while not is_true():
            if time.monotonic() - begun > seconds:
                raise TooSlowError(f"{what}: not within {seconds:.0f} s")
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - begun


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
