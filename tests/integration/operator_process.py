"""The real operator as a process of its own, as the chart starts it."""

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.integration.kube import wait_for

START_SECONDS = 180.0  # importing everything takes seconds of a busy core
END_SECONDS = 60.0
ANSWER_SECONDS = 30.0
FIRST_PORT, PORTS_OF_A_WORKER = 15000, 500
"""Below the ports that the kernel hands out to connections, which may take one between its choice and its use."""
_ports = itertools.cycle(range(PORTS_OF_A_WORKER))


def free_port() -> int:
    """A port of this xdist worker's own range that nobody listens on; each is given out once in a round of the range."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % 20 * PORTS_OF_A_WORKER
    for _ in range(PORTS_OF_A_WORKER):
        port = first + (os.getpid() + next(_ports)) % PORTS_OF_A_WORKER
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an ended operator's connections don't count
            probe.bind(("0.0.0.0", port))
            return port
    raise AssertionError(f"no free port from {first} on")


class OperatorProcess:
    """`sagebrush run`, its HTTP address and its log."""

    def __init__(
        self,
        *,
        kubeconfig: Path,
        folder: Path,
        lease_namespace: str,
        name: str,
        flags: list[str],
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **environment,
            "KUBECONFIG": str(kubeconfig),
            "POD_NAME": name,
            "POD_NAMESPACE": lease_namespace,
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-m", "sagebrush", "run", f"--http-port={self.port}", "--log-format=text", *flags]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)

    def get(self, path: str) -> tuple[int, str]:
        """HTTP status and body; status 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=ANSWER_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_said(self, words: str) -> None:
        """Return once these words are in its log; fails with the log where the process has ended without them."""

        def look() -> bool:
            ended = self.process.poll() is not None
            said = words in self.text()
            assert said or not ended, f"ended with {self.process.returncode}:\n{self.text()[-3000:]}"
            return said

        wait_for(look, f"{words!r} of {self.name}", seconds=START_SECONDS, otherwise=lambda: self.text()[-3000:])

    def answer(self, path: str) -> tuple[int, str]:
        """HTTP status and body, as soon as it listens."""
        return wait_for(
            lambda: found if (found := self.get(path))[0] else None,
            f"an answer of {self.name}",
            seconds=START_SECONDS,
            otherwise=lambda: self.text()[-3000:],
        )

    def wait_ready(self) -> None:
        """Return once /readyz says yes; fails with the log where the process has ended."""

        def look() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()[-3000:]}"
            return self.get("/readyz")[0] == 200

        wait_for(look, f"readiness of {self.name}", seconds=START_SECONDS, otherwise=lambda: self.text()[-3000:])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of a metric that have these labels, as soon as the operator answers."""
        total = 0.0
        for line in self.answer("/metrics")[1].splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                total += float(match[2])
        return total

    def text(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        self.process.kill()
        self.process.wait(timeout=END_SECONDS)

    def stop(self, *, seconds: float = END_SECONDS) -> tuple[int, float]:
        """SIGTERM; exit code and the seconds it took."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds:g} s of SIGTERM") from None
        return code, time.monotonic() - begun


class Operators:
    """Starts operators for one test or module, and ends those that are left."""

    def __init__(self, *, kubeconfig: Path, folder: Path) -> None:
        self._kubeconfig, self._folder = kubeconfig, folder
        self._numbers = itertools.count(1)
        self.started: list[OperatorProcess] = []

    def start(
        self,
        *flags: str,
        lease_namespace: str,
        kubeconfig: Path | None = None,
        ready: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> OperatorProcess:
        """Start one; returns once it is ready, unless told not to wait."""
        operator = OperatorProcess(
            kubeconfig=kubeconfig or self._kubeconfig,
            folder=self._folder,
            lease_namespace=lease_namespace,
            name=f"operator-{next(self._numbers)}",
            flags=list(flags),
            environment=environment or {},
        )
        self.started.append(operator)
        if ready:
            operator.wait_ready()
        return operator

    def end(self) -> None:
        """Kill those that still run."""
        for operator in self.started:
            if operator.process.poll() is None:
                operator.kill()
