"""The one cgroup below which every pod of the dev cluster runs, on version 1, version 2 and mixtures."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from devcluster.errors import DevclusterError

NAME = "sagebrush-devcluster"
UNIFIED = Path("/sys/fs/cgroup")
# Those without which no kubelet starts.
NEEDED_CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}


def hierarchies() -> list[Path]:
    """Return where every mounted cgroup hierarchy lies (just one on pure version 2)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] in {"cgroup", "cgroup2"}:
            mounted = Path(left.split()[4])
            # Docker and others mount hierarchies again for their own use: only the system's ones count.
            if UNIFIED in {mounted, mounted.parent}:
                found.append(mounted)
    return found


def is_version_1() -> bool:
    """True where controllers live in version 1 hierarchies, alone or beside an empty version 2 one."""
    return not (UNIFIED / "cgroup.controllers").exists()


def create() -> None:
    """Make our cgroup in every hierarchy, ready for the kubelet to put pods below it."""
    if not hierarchies():
        raise DevclusterError("no cgroup file system is mounted under /sys/fs/cgroup: the kubelet can't run here")
    for root in hierarchies():
        if not is_version_1():
            _delegate_controllers(root)
        ours = root / NAME
        ours.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 gives a new group no processor and no memory node at all.
            own, parent = ours / name, root / name
            if own.exists() and parent.exists() and not own.read_text().strip():
                own.write_text(parent.read_text())
        if not is_version_1():
            _delegate_controllers(ours)


def members() -> list[int]:
    """Return the processes that run in our cgroup or below it."""
    return sorted({pid for folder in _folders() for pid in _processes(folder)})


def remove(*, patience_seconds: float = 10.0) -> None:
    """Kill what runs in our cgroup and remove it, deepest folders first. Harmless when there is none."""
    deadline = time.monotonic() + patience_seconds
    while True:
        for pid in members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for folder in _folders():
            try:
                folder.rmdir()
            except OSError:  # busy until the kernel has buried its last process
                continue
        if not leftovers():
            return
        if time.monotonic() > deadline:
            raise DevclusterError(f"could not remove the cgroups {', '.join(map(str, leftovers()))}")
        time.sleep(0.05)


def leftovers() -> list[Path]:
    """List our cgroup in every hierarchy that still has it."""
    return [root / NAME for root in hierarchies() if (root / NAME).exists()]


def _delegate_controllers(folder: Path) -> None:
    """Let children of a version 2 cgroup use every controller that it has."""
    control = folder / "cgroup.subtree_control"
    for controller in (folder / "cgroup.controllers").read_text().split():
        try:
            control.write_text(f"+{controller}")
        except OSError as error:
            if error.errno == errno.EBUSY and controller in NEEDED_CONTROLLERS:
                raise DevclusterError(
                    f"the kernel gives the {controller} controller to no child of {folder} while processes run in that "
                    "cgroup itself. In a privileged container with cgroup version 2, move them below it, and try again: "
                    f"`mkdir -p {folder}/init && xargs -rn1 < {folder}/cgroup.procs > {folder}/init/cgroup.procs`"
                ) from error
            continue  # one that can't be delegated here is one the kubelet will complain about by name


def _folders() -> Iterator[Path]:
    """Yield our cgroup's folders in every hierarchy, children before their parents."""
    for root in leftovers():
        for folder, _, _ in os.walk(root, topdown=False):
            yield Path(folder)


def _processes(folder: Path) -> list[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []
