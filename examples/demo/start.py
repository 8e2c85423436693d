"""Gets hold of the cluster that the command line asks for."""

import os
import sys

from devcluster import binaries
from devcluster import cluster as devcluster
from devcluster.errors import DevclusterError
from examples.demo.cluster import Cluster, current_cluster, kind_cluster
from examples.demo.progress import DemoError, say
from examples.demo.settings import Settings
from examples.demo.shell import run_long

BUILD_SECONDS = 3600


def start_cluster(settings: Settings, *, existing: bool = False) -> Cluster:
    """Return a cluster that answers; `existing` makes none. Raises DemoError that says what to do."""
    if settings.cluster == "devcluster":
        cluster = dev_cluster(settings, existing=existing)
    elif settings.cluster == "kind":
        cluster = kind_cluster(kubeconfig=settings.kubeconfig, existing=existing)
    else:
        cluster = current_cluster(kubeconfig=settings.kubeconfig, context=settings.context)
    context = cluster.ctl("config", "current-context", check=False).strip()
    say(f"cluster: {cluster.context or context}; kubectl: {cluster.kubectl}; helm: {cluster.helm}")
    if cluster.kubeconfig:
        say(f"look around in another terminal: export KUBECONFIG={cluster.kubeconfig}")
    return cluster


def dev_cluster(settings: Settings, *, existing: bool) -> Cluster:
    """Return the dev cluster, with its programs built and everything started (minutes when all is cold)."""
    if os.geteuid() != 0:
        raise DemoError(
            "the one-node cluster runs containers and belongs to root: run this as root (`sudo make demo`), or use a cluster "
            "that you have (`make demo CLUSTER=current REGISTRY=…`, or CLUSTER=kind)"
        )
    log = settings.out / "devcluster.log"
    if not existing:
        command = [sys.executable, "-m", "devcluster"]
        run_long([*command, "tools"], what="programs of the dev cluster", log=log, timeout=BUILD_SECONDS, through=True)
        run_long([*command, "up"], what="the dev cluster", log=log, timeout=BUILD_SECONDS, through=True)
    elif found := devcluster.problems():
        raise DemoError("; ".join(found))
    try:
        programs = binaries.ensure(["kubectl", "helm"])
    except DevclusterError as error:
        raise DemoError(str(error)) from error
    return Cluster(
        kind="devcluster",
        kubectl=str(programs["kubectl"]),
        helm=str(programs["helm"]),
        kubeconfig=devcluster.kubeconfig_path(),
    )
