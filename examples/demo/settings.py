"""The demo's command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from examples.demo.cluster import ClusterKind
from examples.demo.shell import REPOSITORY


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to run the demo on, and how."""

    action: str
    cluster: ClusterKind
    kubeconfig: Path | None
    context: str | None
    registry: str | None
    namespace: str
    data: str
    out: Path
    load_seconds: int
    down: bool


def parse(arguments: list[str] | None = None) -> Settings:
    """Read the command line; empty values count as not given, so that a Makefile can pass its variables on."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="Trains a model, serves it, puts load on it and watches it scale, on a real Kubernetes cluster.",
    )
    parser.add_argument(
        "action", nargs="?", choices=["run", "down"], default="run", help="down removes what run installed"
    )
    parser.add_argument(
        "--cluster",
        default="devcluster",
        help="devcluster (default): a single node made here; kind: a kind cluster; current: where kubectl points",
    )
    parser.add_argument("--kubeconfig", help="kubeconfig for --cluster current or kind (default: kubectl's own)")
    parser.add_argument("--context", help="context of that kubeconfig, for --cluster current")
    parser.add_argument(
        "--registry", help="where images are pushed, for --cluster current, such as registry.example.com/me"
    )
    parser.add_argument("--namespace", default="sagebrush-demo", help="namespace of the objects (default: %(default)s)")
    parser.add_argument(
        "--data", default="auto", help="file or folder in KDD'99 format, auto, or generated (default: %(default)s)"
    )
    parser.add_argument("--out", default="build/demo", help="folder of the report (default: %(default)s)")
    parser.add_argument("--load-seconds", type=int, default=90, help="length of the load (default: %(default)s)")
    after = parser.add_mutually_exclusive_group()
    after.add_argument("--keep", action="store_true", help="leave everything running at the end (default)")
    after.add_argument("--down", action="store_true", help="remove everything at the end")
    chosen = parser.parse_args(arguments)
    if chosen.cluster not in {"", "devcluster", "kind", "current"}:
        parser.error(f"--cluster {chosen.cluster}: choose devcluster, kind or current")
    kind = chosen.cluster or "devcluster"
    given = [name for name in ("context", "registry", "kubeconfig") if getattr(chosen, name)]
    if kind == "devcluster" and given:
        parser.error(f"--{given[0]} is for a cluster of yours: add --cluster current (with make: CLUSTER=current)")
    if not 20 <= chosen.load_seconds <= 600:
        parser.error("--load-seconds: between 20 and 600")
    return Settings(
        action=chosen.action,
        cluster=cast("ClusterKind", kind),
        kubeconfig=Path(chosen.kubeconfig) if chosen.kubeconfig else None,
        context=chosen.context or None,
        registry=chosen.registry or None,
        namespace=chosen.namespace,
        data=chosen.data or "auto",
        out=REPOSITORY / chosen.out,
        load_seconds=chosen.load_seconds,
        down=chosen.down,
    )
