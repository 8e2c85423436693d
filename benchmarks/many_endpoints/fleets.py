"""Follows Deployments and their pods, as Prometheus' service discovery does: what is there, and what is ready."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import aiohttp
import yaml

from benchmarks.many_endpoints.population import NAMESPACE
from benchmarks.many_endpoints.traffic import Traffic
from sagebrush.core.naming import ENDPOINT
from sagebrush.core.pods import is_leaving, is_ready
from sagebrush.core.resource import Manifest

_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class _Seen(Protocol):
    def __call__(self, body: Manifest, *, deleted: bool) -> None: ...


class Fleet:
    """The pods of one Deployment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted = 0
        """``spec.replicas``."""
        self.pods: dict[str, bool] = {}
        """By name; whether it is ready."""
        self.asked_at = 0.0
        """When the present number was asked for, in Unix time."""

    @property
    def ready(self) -> int:
        """Pods that are Ready."""
        return sum(self.pods.values())

    @property
    def settled(self) -> bool:
        """Whether there is what is wanted."""
        return len(self.pods) == self.wanted and all(self.pods.values())


class Fleets:
    """All fleets of one namespace, by the endpoint's name. *clock* tells Unix time."""

    def __init__(self, kubeconfig: Path, traffic: Traffic, *, clock: Callable[[], float]) -> None:
        self._kubeconfig, self._traffic, self._clock = kubeconfig, traffic, clock
        self.fleets: dict[str, Fleet] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        server, context = _credentials(self._kubeconfig)
        connector = aiohttp.TCPConnector(ssl=context)
        patience = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(server, connector=connector, timeout=patience) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._follow(session, _DEPLOYMENTS, self.deployment_seen))
            group.create_task(self._follow(session, _PODS, self.pod_seen))

    async def _follow(self, session: aiohttp.ClientSession, path: str, seen: _Seen) -> None:
        """
        List, then watch from there. A watch that the server ends goes on where it was; one that it can't go on with would
        have to be listed anew, and what vanished meanwhile looked for: it is told as what it is, an error.
        """
        async with session.get(path, params={"labelSelector": ENDPOINT}) as response:
            response.raise_for_status()
            listed = await response.json()
        for body in listed["items"]:
            seen(body, deleted=False)
        version = listed["metadata"]["resourceVersion"]
        while True:
            async for event in self._events(session, path, version=version):
                body = event["object"]
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch of {path} broke: {body}")
                version = body["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    seen(body, deleted=event["type"] == "DELETED")

    async def _events(self, session: aiohttp.ClientSession, path: str, *, version: str) -> AsyncIterator[Manifest]:
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "labelSelector": ENDPOINT,
        }
        async with session.get(path, params=query) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    def deployment_seen(self, body: Manifest, deleted: bool) -> None:
        """A Deployment as it is now, or as it was last."""
        name = body["metadata"]["labels"][ENDPOINT]
        if deleted:
            self.fleets.pop(name, None)
            return
        fleet = self._fleet(name)
        wanted = int(body["spec"]["replicas"])
        if wanted != fleet.wanted:
            fleet.wanted, fleet.asked_at = wanted, self._clock()

    def pod_seen(self, body: Manifest, deleted: bool) -> None:
        """A pod as it is now, or as it was last."""
        name, fleet = body["metadata"]["name"], self._fleet(body["metadata"]["labels"][ENDPOINT])
        if deleted or is_leaving(body):
            if fleet.pods.pop(name, None) is not None:
                self._traffic.gone(fleet.name, name)
            return
        ready = is_ready(body)
        if fleet.pods.get(name) != ready:
            fleet.pods[name] = ready
            self._traffic.started(fleet.name, name, ready=ready)

    def _fleet(self, name: str) -> Fleet:
        return self.fleets.setdefault(name, Fleet(name))


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))  # fmt: skip
        file.flush()
        context.load_cert_chain(file.name)
    return cluster["server"], context
