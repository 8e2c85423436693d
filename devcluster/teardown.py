"""Takes the cluster away without a trace, from whatever condition it is in, and looks for traces.

Nothing here trusts that `up` finished or that a component still answers: what belongs to us is known by the records
of processes, the one cgroup, the state folder's path, the pods' gateway address and the names of iptables chains.
"""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devcluster import cgroups, debian, network, processes
from devcluster.debian import program
from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, state_dir
from devcluster.progress import say

MARKER = "devcluster.json"
# Programs that we run and that name the state folder in their arguments; a `tail -f` of a log there is not ours.
OUR_PROGRAMS = re.compile(r"containerd|runc|etcd|kube")
STOP_ORDER = ("kube-proxy", "kubelet", "kube-scheduler", "kube-controller-manager", "containerd", "kube-apiserver")
CNI_RESULTS = Path("/var/lib/cni/results")
SHIM_SOCKETS = Path("/run/containerd/s")
POD_LOG_LINKS = Path("/var/log/containers")
CNI_LOCK = Path("/etc/cni/net.d/cni.lock")
# Folders that containerd and kubelet make outside of what they are configured to; removed only when empty.
SHARED_FOLDERS = (
    SHIM_SOCKETS,
    Path("/run/containerd"),
    CNI_RESULTS,
    Path("/var/lib/cni"),
    Path("/var/lib/kubelet/device-plugins"),
    Path("/var/lib/kubelet"),
    POD_LOG_LINKS,
    Path("/etc/cni/net.d"),
    Path("/etc/cni"),
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What `up` wrote down, since the machine's start, before it changed anything on it.

    Without one, nothing says which iptables chains or interfaces would be ours, so none of them is touched.
    """

    gateway: str
    sysctls: dict[str, str]
    chains: list[str]


def down(*, force: bool = False) -> list[str]:
    """Stop and remove everything of the cluster but the caches. Safe to repeat, and after any crash.

    Returns what is nevertheless left, one line each, measured against the machine as it was before `up`.
    `force` is for a state folder that was deleted by hand: without its record, the cgroup and all iptables chains of
    Kubernetes and CNI plug-ins count as ours. Without `force` they may be those of a cluster in another state folder.
    """
    state = state_dir()
    marked = (state / MARKER).exists()
    if state.exists() and any(state.iterdir()) and not marked:
        raise DevclusterError(f"{state} is not a cluster of ours: not touching it")
    if os.geteuid() != 0:
        raise DevclusterError("`down` removes containers and network links: run it as root")
    record = _record(state)
    _stop_processes(state)
    _remove_cgroup(state, ours=force or (marked and not _of_earlier_boot(state)))
    sockets = _shim_sockets(state)
    if record:
        network.remove_links(network.our_links(record.gateway))
    _unmount(state)
    if record or force:
        network.remove_chains(_our_chains(record))
    if record:
        network.restore_sysctls(record.sysctls)
    if marked or force:
        _remove_files(state, sockets)
    elif state.exists():
        state.rmdir()
    _clear_after_killed_builds()
    return _leftovers(state, record)


def leftovers() -> list[str]:
    """List what of a cluster is on the machine, one line each; empty after a good `down`."""
    return _leftovers(state_dir(), _record(state_dir()))


def _leftovers(state: Path, record: Record | None) -> list[str]:
    found = [f"process {pid}: {' '.join(arguments)[:120]}" for pid, arguments in _our_processes(state)]
    found += [f"process {pid} in cgroup {cgroups.NAME}" for pid in cgroups.members()]
    found += [f"mount {mount}" for mount in _mounts(state)]
    found += [f"cgroup {path}" for path in cgroups.leftovers()]
    found += [f"file {path}" for path in _cni_results()]
    found += [f"mount {mount}" for mount in _abandoned_mounts()]
    chains = _our_chains(record)
    if record:
        found += [f"network interface {name}" for name in network.our_links(record.gateway)]
        found += [f"kernel setting {line}" for line in _changed_sysctls(record.sysctls)]
    else:
        chains = [chain for chain in chains if "/KUBE-" in chain]
    found += [f"iptables chain {chain}" for chain in chains]
    if state.exists():
        found.append(f"state folder {state}")
    return found


def _record(state: Path) -> Record | None:
    """Return the record of the cluster in `state`, or None where there is none that can be read.

    One of an earlier boot is none: its chains, links and kernel settings went with that boot.
    """
    try:
        facts = json.loads((state / MARKER).read_text())
        if facts["boot"] != processes.boot_id():
            return None
        gateway = network.Plan(**facts["plan"]).gateway
        return Record(gateway=gateway, **facts["baseline"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _of_earlier_boot(state: Path) -> bool:
    """True where the marker names another boot than this one; a damaged marker says nothing."""
    try:
        return bool(json.loads((state / MARKER).read_text())["boot"] != processes.boot_id())
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _our_chains(record: Record | None) -> list[str]:
    """List the chains that `up` didn't find here; none while another cluster's kubelet uses chains of these names."""
    return [] if _runs("kubelet") else network.our_chains(besides=record.chains if record else None)


def _stop_processes(state: Path) -> None:
    """Stop components in order, then kill shims and whatever else of ours still runs and names the state folder."""
    running = processes.recorded(state)
    for name in [*STOP_ORDER, *sorted(set(running) - set(STOP_ORDER))]:
        if name in running:
            # The API server waits for open watches to end, and nobody is left to notice.
            processes.stop(running[name], grace_seconds=0.5 if name == "kube-apiserver" else 5.0)
    deadline = time.monotonic() + 10
    while remaining := list(_our_processes(state)):
        for pid, _ in remaining:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise DevclusterError(f"these processes can't be killed: {remaining}")
        time.sleep(0.05)


def _remove_cgroup(state: Path, *, ours: bool) -> None:
    """Kill the pods and remove their cgroup, unless they may belong to a cluster in another state folder."""
    if ours:
        cgroups.remove()
    elif cgroups.leftovers():
        say(f"{state} holds no running cluster, so the cgroup {cgroups.NAME} stays: only `down --force` removes it")


def _our_processes(state: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (pid, arguments) of running programs of the cluster that name its state folder."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:  # ended while we looked
            continue
        ours = any(f"{state}/" in argument or argument == str(state) for argument in arguments[1:])
        if ours and OUR_PROGRAMS.search(Path(arguments[0]).name):
            yield int(folder.name), arguments


def _mounts(state: Path) -> list[str]:
    """Return mount points in the state folder, those mounted last first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # The kernel writes spaces and the like as octal escapes.
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split()[4])
        if point == str(state) or point.startswith(f"{state}/"):
            found.append(point)
    return found[::-1]


def _unmount(state: Path) -> None:
    """Unmount everything in the state folder; a busy mount is detached and goes when its last user does."""
    for point in _mounts(state):
        _unmount_one(point)
    if left := _mounts(state):
        raise DevclusterError(f"could not unmount {', '.join(left)}: nothing was deleted")


def _unmount_one(point: str) -> None:
    if subprocess.run([str(program("umount")), point], capture_output=True, check=False).returncode:
        subprocess.run([str(program("umount")), "--lazy", point], capture_output=True, check=False)


def _abandoned_mounts() -> list[str]:
    """Return what a killed buildah left mounted in its folder of the cache; nothing while a buildah runs."""
    return [] if _runs("buildah") else _mounts((cache_dir() / "buildah").resolve())


def _clear_after_killed_builds() -> None:
    """Take away what killed runs of buildah and of apt left outside of the state folder."""
    for point in _abandoned_mounts():
        _unmount_one(point)
    debian.restore_policy()


def _shim_sockets(state: Path) -> list[Path]:
    """Return the sockets of our containers' shims, which containerd keeps in a folder that it shares with others."""
    found = []
    for address in (state / "containerd" / "run").glob("io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(address.read_text().strip().removeprefix("unix://"))
        if socket.parent == SHIM_SOCKETS:
            found.append(socket)
    return found


def _cni_results() -> list[Path]:
    """Return the records that CNI keeps of our pods' attachments, the loopback ones among them."""
    ours = {
        match[1]
        for path in CNI_RESULTS.glob(f"{network.NETWORK_NAME}-*")
        if (match := re.fullmatch(rf"{network.NETWORK_NAME}-([0-9a-f]+)-.*", path.name))
    }
    return [path for path in CNI_RESULTS.glob("*") if any(container in path.name for container in ours)]


def _remove_files(state: Path, sockets: list[Path]) -> None:
    """Delete the state folder and what containerd, CNI and kubelet keep outside of it."""
    links = [link for link in POD_LOG_LINKS.glob("*.log") if str(link.readlink()).startswith(f"{state}/")]
    for path in [*sockets, *links, *_cni_results()]:
        path.unlink(missing_ok=True)
    if CNI_LOCK.exists() and list(CNI_LOCK.parent.iterdir()) == [CNI_LOCK]:
        CNI_LOCK.unlink()
    if state.exists():
        shutil.rmtree(state)
    kubelet_socket = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
    if kubelet_socket.exists() and stat.S_ISSOCK(kubelet_socket.stat().st_mode) and not _runs("kubelet"):
        kubelet_socket.unlink()
    for folder in SHARED_FOLDERS:
        try:
            folder.rmdir()
        except OSError:  # absent, or in use by another container runtime
            continue


def _runs(name: str) -> bool:
    """True where a program of this name runs in our network namespace: one in kind's containers uses other chains."""
    ours = Path("/proc/self/ns/net").readlink()
    for folder in Path("/proc").iterdir():
        try:
            if (
                folder.name.isdigit()
                and (folder / "comm").read_text().strip() == name
                and processes.start_time(int(folder.name)) is not None  # a zombie has no start time
                and (folder / "ns" / "net").readlink() == ours
            ):
                return True
        except OSError:  # ended while we looked
            continue
    return False


def _changed_sysctls(settings: dict[str, str]) -> list[str]:
    changed = []
    for name, value in settings.items():
        path = Path("/proc/sys") / name
        now = path.read_text().strip() if path.exists() else value
        if now != value:
            changed.append(f"{name} is {now} and was {value}")
    return changed
