"""An API server in a dict: what the operator's Client promises, with faults on demand."""

import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.client import ApiError
from sagebrush.kube.resources import Resource


class FakeClient:
    """Keeps objects by key; *fault* is asked before every write and may raise."""

    def __init__(self) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.writes: list[str] = []
        self.fault: Callable[[str], None] = lambda _: None
        self.logs: list[str] = []
        self._version = 100

    def add(self, manifest: Manifest) -> Manifest:
        """Store *manifest* as somebody else would."""
        return self._store(copy.deepcopy(manifest))

    def refuse(self, write: str, status: int, message: str = "refused") -> None:
        """From now on answer this write with an error."""

        def fault(what: str) -> None:
            if what == write:
                raise ApiError(status, message)

        self.fault = fault

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Manifest | None:
        return copy.deepcopy(self.objects.get(Key(resource.kind, namespace, name)))

    async def list_all(self, resource: Resource, *, namespace: str | None, labels: str = "") -> list[Manifest]:
        wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
        return [
            copy.deepcopy(body)
            for key, body in self.objects.items()
            if key.kind == resource.kind
            and namespace in (None, key.namespace)
            and wanted.items() <= body["metadata"].get("labels", {}).items()
        ]

    async def apply(self, manifest: Manifest, *, subresource: str | None = None) -> Manifest:
        metadata = manifest["metadata"]
        key = Key(manifest["kind"], metadata["namespace"], metadata["name"])
        self._write(f"apply {key.kind}" + (f"/{subresource}" if subresource else ""))
        body = self.objects.get(key)
        if subresource:
            if body is None:
                raise ApiError(404, "not found")
            return self._store({**body, subresource: manifest[subresource]})
        merged = {**(body or {}), **manifest}
        merged["metadata"] = {**(body or {}).get("metadata", {"uid": f"uid-{key.kind.lower()}"}), **metadata}
        return self._store(merged)

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        self._write(f"create {resource.kind}")
        if Key(resource.kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"]) in self.objects:
            raise ApiError(409, "exists")
        return self._store(manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        self._write(f"replace {resource.kind}")
        metadata = manifest["metadata"]
        old = self.objects.get(Key(resource.kind, metadata["namespace"], metadata["name"]))
        if old is None or old["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ApiError(409, "changed since")
        return self._store(manifest)

    async def delete(self, resource: Resource, *, namespace: str, name: str) -> None:
        self._write(f"delete {resource.kind}")
        self.objects.pop(Key(resource.kind, namespace, name), None)

    async def log_lines(self, *, namespace: str, pod: str, container: str) -> AsyncIterator[str]:
        for line in self.logs:
            yield line

    def of_kind(self, kind: str) -> list[Manifest]:
        """All objects of this kind."""
        return [body for key, body in self.objects.items() if key.kind == kind]

    def _write(self, what: str) -> None:
        self.fault(what)
        self.writes.append(what)

    def _store(self, body: dict[str, Any]) -> Manifest:
        body = copy.deepcopy(body)
        self._version += 1
        body["metadata"] = {**body["metadata"], "resourceVersion": str(self._version)}
        self.objects[Key(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"])] = body
        return copy.deepcopy(body)
