"""The programs a cluster is made of: found where the machine has them, else built from the Go module proxy.

Every family of programs has a Go module of its own under `tools/`, with versions pinned and `go.sum` committed. What
is built goes into the per-user cache, under a key made of those two files and the build flags, so that a second clone
on the same machine builds nothing.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import debian
from devcluster.errors import DevclusterError
from devcluster.go_toolchain import find_go
from devcluster.paths import PACKAGE, cache_dir, locked, require_space
from devcluster.progress import say, step, tail

TOOLS = PACKAGE / "tools"
# All of the cluster take 15 GB, nearly all of it in Go's caches.
GIGABYTES_PER_PROGRAM = 1.25


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: the Go package it is built from, how to ask for its version, and which versions will do."""

    family: str
    package: str
    version_arguments: tuple[str, ...] = ("--version",)
    accepts: str = ""
    """Regular expression that the version's output must match; empty means only our own build will do."""
    tags: tuple[str, ...] = ()
    """Go build tags, to leave out what would only take time to compile."""
    on_demand: bool = False
    """Built only where it is asked for by name: no cluster and no test needs it."""


def _kubernetes(name: str) -> Program:
    return Program(family="kubernetes", package=f"k8s.io/kubernetes/cmd/{name}", accepts=r"v1\.36\.\d+")


# In the order in which they are built: the integration tests need only the first three.
PROGRAMS: dict[str, Program] = {
    "etcd": Program(family="etcd", package="go.etcd.io/etcd/server/v3", accepts=r"Version: 3\.6\."),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kubectl": Program(
        family="kubernetes",
        package="k8s.io/kubernetes/cmd/kubectl",
        version_arguments=("version", "--client"),
        accepts=r"v1\.36\.\d+",
    ),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kubelet": _kubernetes("kubelet"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "pause": Program(family="pause", package="."),
    # These run inside scratch images, so only a static build of our own will do.
    "coredns": Program(family="coredns", package="."),
    "versitygw": Program(family="versitygw", package="github.com/versity/versitygw/cmd/versitygw"),
    "prometheus": Program(
        family="prometheus",
        package="github.com/prometheus/prometheus/cmd/prometheus",
        tags=("remove_all_sd", "enable_kubernetes_sd"),
    ),
    "kwok": Program(family="kwok", package="sigs.k8s.io/kwok/cmd/kwok", on_demand=True),
    "helm": Program(
        family="helm",
        package="helm.sh/helm/v3/cmd/helm",
        version_arguments=("version", "--short"),
        accepts=r"v3\.(1[7-9]|[2-9]\d)\.",
    ),
}


def usual() -> list[str]:
    """Return the names of all programs but those that only a benchmark runs."""
    return [name for name, program in PROGRAMS.items() if not program.on_demand]


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Return where each named program is, building the missing ones in a fixed order (minutes each when cold)."""
    wanted = set(names)
    if unknown := wanted - set(PROGRAMS):
        raise DevclusterError(f"unknown tool {', '.join(sorted(unknown))}: choose from {', '.join(PROGRAMS)}")
    found = {name: find(name) for name in PROGRAMS if name in wanted}
    if missing := [name for name, path in found.items() if path is None]:
        debian.require_certificates()
        _require_space(missing)
    return {name: path or build(name) for name, path in found.items()}


def find(name: str) -> Path | None:
    """Return a program of the right version without building: KUBEBUILDER_ASSETS, then PATH, then the cache."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for folder in [*([assets] if assets else []), *os.get_exec_path()]:
        candidate = Path(folder) / name
        if PROGRAMS[name].accepts and candidate.is_file() and _acceptable(candidate, program=PROGRAMS[name]):
            return candidate.absolute()
    built = built_path(name)
    return built if built.is_file() else None


def built_path(name: str) -> Path:
    """Return where our own build of a program lies, or would lie."""
    program = PROGRAMS[name]
    module = TOOLS / program.family
    parts = [path.read_bytes() for path in sorted(module.iterdir()) if path.suffix in {".mod", ".sum", ".go"}]
    parts.append(" ".join([*_linker_flags(program.family), *program.tags]).encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
    return cache_dir() / "tools" / f"{program.family}-{key}" / name


def build(name: str) -> Path:
    """Build one program into the cache and return its path; waits if another process is building the same family."""
    program, target = PROGRAMS[name], built_path(name)
    with locked(target.parent.with_name(target.parent.name + ".lock")):
        if target.is_file():
            return target
        go = find_go()
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.parent / f".{name}.{os.getpid()}"
        log = target.parent / f"{name}.build.log"
        flags = " ".join(_linker_flags(program.family))
        command = [str(go), "build", "-trimpath", "-buildvcs=false", "-ldflags", flags]
        command += ["-tags", ",".join(program.tags)] if program.tags else []
        say(f"building {name} from the Go module proxy (log: {log})")
        try:
            with step(f"building {name}"):
                _run_build([*command, "-o", str(fresh), program.package], module=TOOLS / program.family, log=log)
            # Renaming is atomic: a program is in the cache whole, or not at all.
            fresh.rename(target)
        finally:
            fresh.unlink(missing_ok=True)
    return target


def _linker_flags(family: str) -> Sequence[str]:
    """Return the linker's flags: no debug data, the version that Kubernetes reports and that helm takes for granted."""
    flags = ["-s", "-w"]
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    if family == "helm":  # what `helm template` and `helm lint` assume where no cluster is asked
        prefix = "-X helm.sh/helm/v3/pkg/chartutil.k8sVersion"
        flags += [f"{prefix}Major={major}", f"{prefix}Minor={minor}"]
    if family == "kubernetes":
        prefix = "-X k8s.io/component-base/version"
        flags += [f"{prefix}.gitVersion={version}", f"{prefix}.gitMajor={major}", f"{prefix}.gitMinor={minor}"]
    return flags


def kubernetes_version() -> str:
    """Return the pinned version of Kubernetes, such as v1.36.3, as its module file has it."""
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (TOOLS / "kubernetes" / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise DevclusterError("tools/kubernetes/go.mod names no version of k8s.io/kubernetes")
    return match[1]


def _require_space(names: Sequence[str]) -> None:
    """Refuse to begin a build that the disk has no room for; Go's caches may lie on another disk than ours."""
    done = subprocess.run([str(find_go()), "env", "GOMODCACHE", "GOCACHE"], capture_output=True, text=True, check=False)
    folders = [cache_dir(), *(Path(line) for line in done.stdout.splitlines() if line.startswith("/"))]
    require_space(folders, gigabytes=len(names) * GIGABYTES_PER_PROGRAM, purpose=f"building {', '.join(names)}")


def _run_build(command: Sequence[str], *, module: Path, log: Path) -> None:
    """Run `go build` at low priority with its output in `log`, whose tail is the error's message."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    nice = shutil.which("nice")
    with log.open("w") as output:
        done = subprocess.run(
            [*([nice] if nice else []), *command],
            cwd=module,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise DevclusterError(f"go build failed in {module}\n{tail(log)}")


def _acceptable(candidate: Path, *, program: Program) -> bool:
    """True where a program that the machine already has runs and reports an acceptable version."""
    try:
        done = subprocess.run(
            [str(candidate), *program.version_arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(program.accepts, done.stdout) is not None
