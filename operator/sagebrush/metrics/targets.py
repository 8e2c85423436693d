"""Which pods are read directly, and where: out of the objects that the operator has seen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sagebrush.core import pods
from sagebrush.core.render.deployment import KIND, VARIANT
from sagebrush.core.resource import Key, Manifest, dig
from sagebrush.metrics.answer import SeriesKey

_CONTAINER, _PORT = "serve", "metrics"


class PodAddress(NamedTuple):
    """Where a pod's metrics are."""

    pod: str
    """Its name."""
    ip: str
    port: int | None
    """None: it has no port named ``metrics``."""

    @property
    def url(self) -> str:
        """Of its metrics."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"http://{host}:{self.port}/metrics"


Targets = Mapping[SeriesKey, Sequence[PodAddress]]
"""The pods of each variant whose metrics are read directly."""

FindTargets = Callable[[], Targets]


class Objects(Protocol):
    """The part of the operator's cache that is needed."""

    def keys(self, kind: str) -> list[Key]:
        """Keys of all objects of this kind."""

    def get(self, key: Key) -> Manifest | None:
        """The object, if known."""

    def children(self, owner: Key, *, kind: str) -> tuple[Manifest, ...]:
        """Children of *owner* of this kind, by name."""


def find_targets(objects: Objects) -> Targets:
    """The pods of the endpoints with ``scaling.source: Pods``."""
    found: dict[SeriesKey, tuple[PodAddress, ...]] = {}
    for key in objects.keys(KIND):
        body = objects.get(key)
        if body is not None and reads_pods(body):
            addresses = (address_of(pod) for pod in objects.children(key, kind="Pod"))
            variant = SeriesKey(key.namespace, key.name, VARIANT)
            found[variant] = tuple(address for address in addresses if address is not None)
    return found


def reads_pods(endpoint: Mapping[str, Any]) -> bool:
    """Whether this endpoint's pods are to be read directly."""
    scaling = dig(endpoint, "spec", "scaling", default={}) or {}
    if scaling.get("source") != "Pods" or scaling.get("mode") == "Off":
        return False
    return "deletionTimestamp" not in endpoint["metadata"]


def address_of(pod: Mapping[str, Any]) -> PodAddress | None:
    """Where a pod's metrics are; None while it has no address, or has ended.

    A pod that is not Ready yet is read too, so that its counters are known from 0 on; and one on its way out, which
    still answers requests.
    """
    ip = dig(pod, "status", "podIP", default="")
    if not ip or pods.is_over(pod):
        return None
    serve = pods.containers(pod).get(_CONTAINER)
    if serve is not None and serve.state != "running":
        return None
    for container in dig(pod, "spec", "containers", default=[]):
        if container.get("name") == _CONTAINER:
            ports = {port.get("name"): port.get("containerPort") for port in container.get("ports") or []}
            return PodAddress(pod=pod["metadata"]["name"], ip=ip, port=ports.get(_PORT))
    return None
