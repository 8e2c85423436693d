"""Plays Deployment controller, scheduler and kubelet for the operator's Deployments: pods that are Ready, and never run."""

import asyncio
import base64
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from benchmarks.many_endpoints.population import NAMESPACE
from benchmarks.many_endpoints.traffic import Traffic

Manifest = dict[str, Any]
_AT_ONCE = 16
_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_MERGE = {"Content-Type": "application/merge-patch+json"}

log = logging.getLogger(__name__)


class Fleet:
    """The pods of one Deployment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deployment: Manifest = {}
        self.pods: dict[str, bool] = {}
        """By name; whether it is ready."""
        self.made = 0
        self.busy = False
        self.asked_at = 0.0
        """When the present number was asked for, in Unix time."""

    @property
    def wanted(self) -> int:
        """``spec.replicas``."""
        return int(self.deployment["spec"]["replicas"])

    @property
    def ready(self) -> int:
        """Pods that are Ready."""
        return sum(self.pods.values())

    @property
    def settled(self) -> bool:
        """Whether there is what is wanted."""
        return len(self.pods) == self.wanted and all(self.pods.values())


class Pods:
    """Brings about what Deployments ask for, in one namespace. Runs until cancelled."""

    def __init__(self, kubeconfig: Path, traffic: Traffic, *, startup_seconds: float) -> None:
        self._server, self._ssl = _credentials(kubeconfig)
        self._traffic, self._startup = traffic, startup_seconds
        self.fleets: dict[str, Fleet] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the Deployments."""
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=2 * _AT_ONCE)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
            self._session = session
            listed = await self._call("GET", _DEPLOYMENTS)
            for deployment in listed["items"]:
                self._seen(deployment)
            version = listed["metadata"]["resourceVersion"]
            while True:
                async for event in self._events(version):
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"the watch of Deployments broke: {event['object']}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        self._seen(event["object"])

    async def _events(self, version: str) -> AsyncIterator[Manifest]:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(self._server + _DEPLOYMENTS, params=query) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    def _seen(self, deployment: Manifest) -> None:
        name = deployment["metadata"]["name"]
        fleet = self.fleets.setdefault(name, Fleet(name))
        before = fleet.deployment.get("spec", {}).get("replicas")
        fleet.deployment = deployment
        if fleet.wanted != before:
            fleet.asked_at = datetime.now(UTC).timestamp()
        if not fleet.busy and len(fleet.pods) != fleet.wanted:
            fleet.busy = True
            self._spawn(self._bring_about(fleet))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("a pod could not be made or removed", exc_info=task.exception())

    async def _bring_about(self, fleet: Fleet) -> None:
        try:
            while len(fleet.pods) != fleet.wanted:
                if len(fleet.pods) < fleet.wanted:
                    await self._make(fleet)
                else:
                    await self._remove(fleet, next(reversed(fleet.pods)))
            await self._tell(fleet)
        finally:
            fleet.busy = False

    async def _make(self, fleet: Fleet) -> None:
        fleet.made += 1
        name = f"{fleet.name}-{fleet.made:05d}"
        template, metadata = fleet.deployment["spec"]["template"], fleet.deployment["metadata"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": fleet.name, "uid": metadata["uid"], "controller": True}  # fmt: skip
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": name, "namespace": NAMESPACE, "ownerReferences": [owner]},
            "spec": {**template["spec"], "nodeName": "nowhere"},
        }
        stored = await self._call("POST", _PODS, pod)
        fleet.pods[name] = False
        self._traffic.started(fleet.name, name, ready=False)
        self._spawn(self._start(fleet, stored))

    async def _start(self, fleet: Fleet, pod: Manifest) -> None:
        await asyncio.sleep(self._startup)
        name = pod["metadata"]["name"]
        if name not in fleet.pods:
            return
        await self._call("PATCH", f"{_PODS}/{name}/status", {"status": _serving(pod)}, headers=_MERGE)
        if name in fleet.pods:
            fleet.pods[name] = True
            self._traffic.started(fleet.name, name, ready=True)
        if fleet.settled:
            await self._tell(fleet)

    async def _remove(self, fleet: Fleet, name: str) -> None:
        del fleet.pods[name]
        self._traffic.gone(fleet.name, name)
        await self._call("DELETE", f"{_PODS}/{name}", {"gracePeriodSeconds": 0})

    async def _tell(self, fleet: Fleet) -> None:
        """The Deployment's status."""
        status = {
            "observedGeneration": fleet.deployment["metadata"]["generation"],
            "replicas": len(fleet.pods),
            "updatedReplicas": len(fleet.pods),
            "readyReplicas": fleet.ready,
            "availableReplicas": fleet.ready,
        }
        await self._call("PATCH", f"{_DEPLOYMENTS}/{fleet.name}/status", {"status": status}, headers=_MERGE)

    async def _call(
        self, method: str, path: str, body: Manifest | None = None, *, headers: dict[str, str] | None = None
    ) -> Manifest:
        sent = {"Content-Type": "application/json", **(headers or {})}
        data = None if body is None else json.dumps(body)
        async with (
            self._slots,
            self._session.request(method, self._server + path, data=data, headers=sent) as response,
        ):
            document: Manifest = await response.json(content_type=None)
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status}: {document.get('message')}")
            return document


def _serving(pod: Manifest) -> Manifest:
    """What a kubelet reports of a pod whose model server answers."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    common = {"restartCount": 0, "image": "x", "imageID": ""}
    return {
        "phase": "Running",
        "startTime": pod["metadata"]["creationTimestamp"],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
        "initContainerStatuses": [
            {"name": each["name"], "state": ended, "ready": True, **common}
            for each in pod["spec"].get("initContainers", [])
        ],
        "containerStatuses": [
            {"name": each["name"], "state": {"running": {"startedAt": now}}, "ready": True, "started": True, **common}
            for each in pod["spec"]["containers"]
        ],
    }


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))  # fmt: skip
        file.flush()
        context.load_cert_chain(file.name)
    return cluster["server"], context
