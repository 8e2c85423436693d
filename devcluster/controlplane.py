"""A real Kubernetes API without a node: etcd and kube-apiserver on loopback, ready in about three seconds.

What integration tests use:

    with ControlPlane(tmp_path) as cp:
        config.load_kube_config(str(cp.kubeconfig))

Objects are stored, validated and watched for real; nothing is scheduled and no pod ever runs. With
`start_controller_manager=True` the real controllers run too, so Deployments get their ReplicaSets and pods (Pending),
Jobs their pods, and owner references are garbage collected.
"""

import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from devcluster import binaries, processes
from devcluster.components import (
    LOOPBACK,
    Addresses,
    Credentials,
    api_server_command,
    controller_manager_command,
    etcd_command,
)
from devcluster.errors import DevclusterError
from devcluster.pki import Pair
from devcluster.progress import tail

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
START_ATTEMPTS = 3
# /readyz says yes a moment before the default namespace exists, and a test's first object usually goes there.
API_READY = ("/readyz", "/api/v1/namespaces/default")


class ControlPlane:
    """etcd and kube-apiserver in a folder of their own, stopped exactly when the `with` block ends.

    The processes also die with the thread that entered the block, so a killed test run leaves none behind; enter it
    in a thread that lives as long as the block (the main thread, in pytest).
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        start_controller_manager: bool = False,
        controller_flags: Sequence[str] = (),
        build_missing: bool = False,
    ) -> None:
        """Prepare, without starting anything.

        `build_missing` builds absent programs, which takes minutes; without it they are an error that says what to run.
        Without the controller manager nobody creates service accounts, so their admission plug-in is off, as in envtest.
        """
        self.directory = Path(directory).absolute()
        self._with_controllers = start_controller_manager
        self._controller_flags = controller_flags
        self._build_missing = build_missing
        self._running: list[processes.Process] = []
        self._credentials: Credentials | None = None
        self._programs: dict[str, Path] = {}

    def __enter__(self) -> Self:
        """Start, and return once the API answers and the default namespace exists."""
        self._programs = self._find_programs()
        self.directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._credentials = Credentials(self.directory / "pki", addresses=Addresses.free_ports())
                self.credentials.kubeconfig("admin", name="admin", groups=["system:masters"], target=self.kubeconfig)
                self.start_api_server()
            except BaseException as error:
                self.stop()
                # Between choosing a free port and binding it, another test's server may have taken it.
                if attempt == START_ATTEMPTS or "address already in use" not in str(error):
                    raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything; logs stay in `directory/logs`, the database does not."""
        self.stop()

    @property
    def credentials(self) -> Credentials:
        """The certificates of this control plane; only there once it has been entered."""
        if self._credentials is None:
            raise DevclusterError("the control plane has not been started: use it in a `with` block")
        return self._credentials

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of a cluster administrator."""
        return self.directory / "kubeconfig"

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return self.credentials.server

    def kubeconfig_for(self, user: str, *, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig for another user, to test what RBAC allows; service accounts can be named in full."""
        file = "user-" + "".join(letter if letter.isalnum() else "-" for letter in "-".join([user, *groups]))
        return self.credentials.kubeconfig(file, name=user, groups=groups)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator and return its output; raises DevclusterError with kubectl's own message."""
        return run_kubectl(self._programs["kubectl"], self.kubeconfig, *arguments, stdin=stdin)

    def start_api_server(self) -> None:
        """Start what is not running, and wait until the API is ready (and, with controllers, a pod could be made)."""
        credentials, programs = self.credentials, self._programs
        self._running = [each for each in self._running if each.alive]
        data = self.directory / "etcd"
        self._start_once("etcd", lambda: etcd_command(programs["etcd"], credentials=credentials, data=data))
        extra = [] if self._with_controllers else ["--disable-admission-plugins=ServiceAccount"]
        self._start_once(
            "kube-apiserver",
            lambda: api_server_command(programs["kube-apiserver"], credentials=credentials, extra=extra),
        )
        paths = [*API_READY]
        wait_for_api(credentials, paths=paths, watched=lambda: self._running)
        if self._with_controllers:
            name = "kube-controller-manager"
            self._start_once(name, lambda: self._controllers(programs[name]))
            paths.append("/api/v1/namespaces/default/serviceaccounts/default")
            wait_for_api(credentials, paths=paths, watched=lambda: self._running)

    def run_beside(self, name: str, command: Sequence[str]) -> None:
        """Start one more program, which ends with the control plane."""
        self._start_once(name, lambda: command)

    def stop_api_server(self) -> None:
        """Stop kube-apiserver only, as in an outage; `start_api_server` brings it back with all its objects."""
        for process in [each for each in self._running if each.name == "kube-apiserver"]:
            # Open watches would hold a polite stop for ten seconds.
            processes.stop(process, grace_seconds=1.0)
            self._running.remove(process)

    def stop(self) -> None:
        """Stop everything that runs and delete the database; harmless when repeated."""
        for process in reversed(self._running):
            # Nothing here is worth a slow farewell: the data goes with it.
            processes.stop(process, grace_seconds=0.0 if process.name == "kube-apiserver" else 2.0)
            processes.forget(process, folder=self.directory)
        self._running.clear()
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)

    def _controllers(self, program: Path) -> Sequence[str]:
        return controller_manager_command(program, credentials=self.credentials, extra=self._controller_flags)

    def _start_once(self, name: str, command: Callable[[], Sequence[str]]) -> None:
        if name not in {each.name for each in self._running}:
            self._running.append(processes.start(name, command(), folder=self.directory, dies_with_us=True))

    def _find_programs(self) -> dict[str, Path]:
        names = ["etcd", "kube-apiserver", "kubectl"]
        if self._with_controllers:
            names.append("kube-controller-manager")
        if self._build_missing:
            return binaries.ensure(names)
        found = {name: binaries.find(name) for name in names}
        if missing := [name for name, path in found.items() if path is None]:
            raise DevclusterError(
                f"{', '.join(missing)} not found: "
                f"run `.venv/bin/python -m devcluster tools --only {','.join(names)}` first"
            )
        return {name: path for name, path in found.items() if path is not None}


def wait_for_api(
    credentials: Credentials,
    *,
    watched: Callable[[], Sequence[processes.Process]],
    paths: Sequence[str] = API_READY,
) -> None:
    """Return once every path answers 200; raises DevclusterError with the log of a process that died, or after 60 s."""
    admin = credentials.client("admin", name="admin", groups=["system:masters"])
    deadline = time.monotonic() + READY_SECONDS
    while not all(_answers(credentials, client=admin, path=path) for path in paths):
        for process in watched():
            if not process.alive:
                raise DevclusterError(f"{process.name} ended while starting\n{tail(Path(process.log))}")
        if time.monotonic() > deadline:
            logs = "\n".join(tail(Path(process.log)) for process in watched())
            raise DevclusterError(f"the API was not ready after {READY_SECONDS:.0f} s\n{logs}")
        time.sleep(POLL_SECONDS)


def _answers(credentials: Credentials, *, client: Pair, path: str) -> bool:
    """True where the API answers 200 to a path."""
    try:
        # Asking the port first keeps the polling cheap while the server is still starting.
        socket.create_connection((LOOPBACK, credentials.addresses.api_port), timeout=1).close()
        context = ssl.create_default_context(cafile=str(credentials.ca))
        context.load_cert_chain(client.certificate, client.key)
        # No proxy from the environment: this is loopback.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(credentials.server + path, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def run_kubectl(program: Path, kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return its standard output; raises DevclusterError with its standard error."""
    done = subprocess.run(
        [
            str(program),
            f"--kubeconfig={kubeconfig}",
            # Beside the kubeconfig, and not in the user's home, where it would outlive the cluster.
            f"--cache-dir={kubeconfig.parent / 'kubectl-cache'}",
            *arguments,
        ],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DevclusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
