"""After a failure: everything in the cluster that says why, in the order in which a person would look."""

from collections.abc import Sequence

from examples.demo.cluster import Cluster
from examples.demo.progress import DemoError

LOG_LINES = "40"


def explain(cluster: Cluster, *, namespace: str, system_namespace: str, addons_namespace: str) -> str:
    """Return objects, events, pods and logs as text. Never raises: what can't be had is said instead."""
    looks: list[tuple[str, Sequence[str]]] = [
        (
            "the objects",
            ("get", "trainingjobs,modelendpoints", "-n", namespace, "-o", "yaml", "--show-managed-fields=false"),
        ),
        ("jobs, deployments, pods", ("get", "jobs,deployments,services,pods", "-n", namespace, "-o", "wide")),
        ("events", ("get", "events", "-n", namespace, "--sort-by=.lastTimestamp")),
        ("the operator's pods", ("get", "pods", "-n", system_namespace, "-o", "wide")),
        ("the operator's events", ("get", "events", "-n", system_namespace, "--sort-by=.lastTimestamp")),
        ("addons", ("get", "pods", "-n", addons_namespace, "-o", "wide")),
    ]
    parts = [look(cluster, title=title, arguments=arguments) for title, arguments in looks]
    for where in (system_namespace, namespace, addons_namespace):
        for pod in _names(cluster, namespace=where):
            arguments = ("logs", "-n", where, pod, "--all-containers", "--prefix", f"--tail={LOG_LINES}")
            parts.append(look(cluster, title=f"logs of {where}/{pod}", arguments=arguments))
    return "\n".join(parts)


def look(cluster: Cluster, *, title: str, arguments: Sequence[str]) -> str:
    """Return one look with kubectl under its title. Never raises."""
    try:
        text = cluster.ctl(*arguments, check=False, timeout=30)
    except DemoError as error:
        text = str(error)
    return f"--- {title}: kubectl {' '.join(arguments)}\n{text.rstrip() or '(nothing)'}"


def _names(cluster: Cluster, *, namespace: str) -> list[str]:
    try:
        return cluster.ctl("get", "pods", "-n", namespace, "-o", "name", check=False, timeout=30).split()
    except DemoError:
        return []
