"""Starts the whole cluster, or what is missing of it, and says how it is.

`up` walks the components in the order in which they need each other and starts each one that doesn't run, so that the
same walk makes a fresh cluster, repairs one whose kubelet was killed, and does nothing on a healthy one.
"""

import json
import os
import string
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from devcluster import binaries, cgroups, debian, images, network, node, processes, teardown
from devcluster.components import (
    Addresses,
    Credentials,
    api_server_command,
    controller_manager_command,
    etcd_command,
    scheduler_command,
)
from devcluster.controlplane import run_kubectl, wait_for_api
from devcluster.errors import DevclusterError
from devcluster.image_archives import full_tag
from devcluster.paths import PACKAGE, cache_dir, locked, state_dir
from devcluster.progress import say, step, tail

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kubectl",
    "kube-controller-manager",
    "kubelet",
    "kube-scheduler",
    "kube-proxy",
    "pause",
    "coredns",
)
PORTS = {"api_port": 26443, "etcd_port": 22379, "etcd_peer_port": 22380}
PORTS |= {"controller_manager_port": 20257, "scheduler_port": 20259}
COMPONENTS = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
READY_SECONDS = 120.0


def lock_file() -> Path:
    """Return the file that one `up` or `down` at a time holds locked."""
    return cache_dir() / "devcluster.lock"


def kubeconfig_path() -> Path:
    """Return the administrator's kubeconfig of the running cluster."""
    return state_dir() / "kubeconfig"


def up() -> None:
    """Bring the cluster to where its node and its DNS are ready; returns at once if they already are.

    Raises DevclusterError with the tail of the log of what failed. What had been started stays, for a second try or
    for `down`.
    """
    with locked(lock_file()):
        if (other := _recorded_version()) != binaries.kubernetes_version():
            say(
                f"warning: the cluster here was made as Kubernetes {other}, and this checkout makes "
                f"{binaries.kubernetes_version()}: for a fresh one, `make cluster-down` first"
            )
        if (state_dir() / "ready").exists() and not problems():
            say(f"the cluster is already up: KUBECONFIG={kubeconfig_path()}")
            return
        if os.geteuid() != 0:
            raise DevclusterError("`up` starts containers and network links: run it as root")
        debian.require(debian.NODE_NEEDS)
        programs = binaries.ensure(PROGRAMS)
        archives = images.system_archives()
        _Start(programs, archives).run()
        (state_dir() / "ready").touch()
    say(f"the cluster is up: KUBECONFIG={kubeconfig_path()}")


def problems() -> list[str]:
    """Say what keeps the cluster from being healthy, one line each; empty means that all is well."""
    state = state_dir()
    if not (state / teardown.MARKER).exists():
        return ["there is no cluster: `make cluster-up` makes one"]
    running = processes.recorded(state)
    found = [f"{name} isn't running" for name in COMPONENTS if name not in running or not running[name].alive]
    if found:
        return found
    kubectl = binaries.find("kubectl")
    if kubectl is None:
        return ["kubectl is missing: `.venv/bin/python -m devcluster tools` builds it"]
    return _unready(kubectl)


def _recorded_version() -> str:
    """Return the version of Kubernetes that the cluster was made as; where nothing says, the one made here."""
    try:
        facts = json.loads((state_dir() / teardown.MARKER).read_text())
        return str(facts["kubernetes"])
    except (OSError, ValueError, KeyError, TypeError):
        return binaries.kubernetes_version()


class _Start:
    """One walk over the components; holds what the steps share."""

    def __init__(self, programs: dict[str, Path], archives: Sequence[Path]) -> None:
        """Take over an existing state folder of this boot, or make a fresh one."""
        self.state = state_dir()
        self.programs = programs
        self.archives = archives
        self.plan = self._open_state()
        addresses = Addresses(
            **PORTS,
            bind="0.0.0.0",
            advertise=self.plan.node,
            services=self.plan.services,
            first_service=self.plan.first_service,
        )
        self.credentials = Credentials(self.state / "pki", addresses=addresses)
        self.credentials.kubeconfig("admin", name="admin", groups=["system:masters"], target=kubeconfig_path())

    def run(self) -> None:
        """Start everything that doesn't run, in order, and wait until pods can run and names resolve."""
        cgroups.create()
        with step("starting the control plane and containerd"):
            self._start_containerd()
            self._start_control_plane()
        self._until("containerd answers", images.answers)
        for archive in self.archives:
            images.load_archive(archive)
        with step("starting the node"):
            self._start_node()
            self._apply_dns()
            self._until("the node and DNS are ready", lambda: not _unready(self.programs["kubectl"]))

    def _open_state(self) -> network.Plan:
        """Return the cluster's addresses from the state folder, after making that folder where there is none."""
        marker = self.state / teardown.MARKER
        if marker.exists():
            try:
                facts = json.loads(marker.read_text())
                if facts["boot"] == processes.boot_id():
                    return network.Plan(**facts["plan"])
                say("the machine was restarted since the last `up`: starting a fresh cluster")
            except (ValueError, KeyError, TypeError):  # what a power cut leaves of a file
                say(f"{marker} can't be read: starting a fresh cluster")
            teardown.down()
        elif self.state.exists() and any(self.state.iterdir()):
            raise DevclusterError(
                f"{self.state} is not empty and not a cluster of ours: choose another SAGEBRUSH_STATE"
            )
        foreign = [chain for chain in network.our_chains() if chain.endswith("/KUBE-SERVICES")]
        if foreign:
            raise DevclusterError(
                "this machine already has a kube-proxy's iptables rules: it is a node of another cluster (use that one "
                "through KUBECONFIG), or they belong to one of ours with another SAGEBRUSH_STATE, or are left of one whose "
                "state folder was deleted; the last `.venv/bin/python -m devcluster down --force` removes"
            )
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        plan = network.plan()
        facts = {
            "boot": processes.boot_id(),
            "kubernetes": binaries.kubernetes_version(),
            "plan": asdict(plan),
            "baseline": network.baseline(),
        }
        marker.write_text(json.dumps(facts, indent=2))
        return plan

    def _start_containerd(self) -> None:
        node.write_containerd_files(self.state, network=self.plan, snapshots=node.snapshotter(self.state))
        # It may have to pull images through a proxy.
        self._start(
            "containerd",
            node.containerd_command(self.state),
            environment={"PATH": debian.search_path()},
            keeps_proxy=True,
        )

    def _start_control_plane(self) -> None:
        programs, credentials = self.programs, self.credentials
        self._start("etcd", etcd_command(programs["etcd"], credentials=credentials, data=self.state / "etcd"))
        self._start("kube-apiserver", api_server_command(programs["kube-apiserver"], credentials=credentials))
        wait_for_api(credentials, watched=lambda: list(processes.recorded(self.state).values()))
        name = "kube-controller-manager"
        self._start(name, controller_manager_command(programs[name], credentials=credentials))
        self._start("kube-scheduler", scheduler_command(programs["kube-scheduler"], credentials=credentials))

    def _start_node(self) -> None:
        node.write_kubelet_files(self.state, credentials=self.credentials, network=self.plan)
        node.write_kube_proxy_files(self.state, credentials=self.credentials, network=self.plan)
        path = {"PATH": debian.search_path()}
        command = node.kubelet_command(
            self.programs["kubelet"], state=self.state, credentials=self.credentials, network=self.plan
        )
        self._start("kubelet", command, environment=path)
        command = node.kube_proxy_command(self.programs["kube-proxy"], state=self.state)
        self._start("kube-proxy", command, environment=path)

    def _apply_dns(self) -> None:
        upstream = "forward . /etc/resolv.conf" if node.has_name_servers(self.state) else ""
        template = string.Template((PACKAGE / "manifests" / "coredns.yaml").read_text())
        manifest = template.substitute(dns_address=self.plan.dns, image=full_tag(images.COREDNS_TAG), upstream=upstream)
        run_kubectl(self.programs["kubectl"], kubeconfig_path(), "apply", "--server-side", "-f", "-", stdin=manifest)

    def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: dict[str, str] | None = None,
        keeps_proxy: bool = False,
    ) -> None:
        """Start a component unless it runs."""
        before = processes.recorded(self.state).get(name)
        if before is None or not before.alive:
            processes.start(name, command, folder=self.state, environment=environment, keeps_proxy=keeps_proxy)

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for a condition; fails with the logs of what died, or of the node's parts when time is up."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                if holds():
                    return
                why = "; ".join(_unready(self.programs["kubectl"]))
            except DevclusterError as error:
                why = str(error)
            for process in processes.recorded(self.state).values():
                if not process.alive:
                    raise DevclusterError(f"{process.name} ended while starting\n{tail(Path(process.log))}")
            if time.monotonic() > deadline:
                logs = [tail(self.state / "logs" / f"{name}.log") for name in ("kubelet", "containerd")]
                raise DevclusterError("\n".join([f"waited {READY_SECONDS:.0f} s until {what}: {why}", *logs]))
            time.sleep(0.2)


def _unready(kubectl: Path) -> list[str]:
    """Say what of node and DNS is not ready, as the API reports it."""
    try:
        conditions = run_kubectl(
            kubectl,
            kubeconfig_path(),
            "get",
            f"node/{node.NODE_NAME}",
            "--output",
            "jsonpath={.status.conditions[?(@.type=='Ready')]}",
        )
        ready = run_kubectl(
            kubectl,
            kubeconfig_path(),
            "--namespace=kube-system",
            "get",
            "deployment/coredns",
            "--output",
            "jsonpath={.status.readyReplicas}",
        )
    except DevclusterError as error:
        return [str(error)]
    found = []
    condition = json.loads(conditions or "{}")
    if condition.get("status") != "True":
        found.append(f"the node isn't ready: {condition.get('message', 'it has not reported yet')}")
    if ready != "1":
        found.append("CoreDNS isn't ready")
    return found
