"""Seven verbs over the Kubernetes API, as plain JSON: the only way the operator writes to the cluster."""

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.exceptions import ApiException

from sagebrush.core.naming import FIELD_MANAGER
from sagebrush.core.resource import Manifest
from sagebrush.kube.resources import BY_KIND, Resource

_PAGE = 500
_TIMEOUT_SECONDS = 30
_LOG_TIMEOUT_SECONDS = 60  # a worker waits for it
_LONGEST_LINE_BYTES = 64 * 1024  # of a line without end only the tail is kept: progress bars rewrite one line for hours


class ApiError(Exception):
    """The API server refused. *status* is the HTTP status (0: no answer), *message* its own sentence."""

    def __init__(self, status: int, message: str, *, reason: str = "") -> None:
        super().__init__(f"{status} {reason}: {message}".strip())
        self.status = status
        self.message = message
        self.reason = reason


class Client(Protocol):
    """What the rest of the operator needs of Kubernetes."""

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Manifest | None:
        """The object, or None where there is none."""

    async def list_all(self, resource: Resource, *, namespace: str | None, labels: str = "") -> list[Manifest]:
        """All objects, of one namespace or of all."""

    async def apply(self, manifest: Manifest, *, subresource: str | None = None) -> Manifest:
        """Server-side apply as the field manager sagebrush, taking over conflicting fields; the object as stored."""

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Create; raises :class:`ApiError` 409 where it exists."""

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace by resourceVersion; raises :class:`ApiError` 409 where it has changed since."""

    async def delete(self, resource: Resource, *, namespace: str, name: str) -> None:
        """Delete with all that belongs to it; fine where there is none."""

    def log_lines(self, *, namespace: str, pod: str, container: str) -> AsyncIterator[str]:
        """The lines of a container's log."""


class KubernetesClient:
    """The :class:`Client` over the official package's asyncio transport."""

    def __init__(self, api: kubernetes_client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "KubernetesClient":
        """With the pod's service account, else the kubeconfig. Raises ConfigException where there is neither."""
        configuration = kubernetes_client.Configuration()
        try:
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except kubernetes_config.ConfigException:
            await kubernetes_config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(kubernetes_client.ApiClient(configuration=configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def signed(
        self, method: str, path: str, *, query: list[tuple[str, str]]
    ) -> tuple[str, dict[str, str], ssl.SSLContext]:
        """URL, headers with the credentials, and TLS settings, for a request that is no JSON: a WebSocket."""
        request = await self._api.param_serialize(
            method, path, query_params=query, header_params={}, auth_settings=["BearerToken"]
        )
        return request[1], dict(request[2]), self._api.rest_client.ssl_context

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._json("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list_all(self, resource: Resource, *, namespace: str | None, labels: str = "") -> list[Manifest]:
        items: list[Manifest] = []
        query = [("limit", str(_PAGE))] + ([("labelSelector", labels)] if labels else [])
        token = ""
        while True:
            page = await self._json(
                "GET", resource.path(namespace), query=[*query, ("continue", token)] if token else query
            )
            # Items of a list come without kind and apiVersion.
            items += [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                return items

    async def apply(self, manifest: Manifest, *, subresource: str | None = None) -> Manifest:
        metadata = manifest["metadata"]
        path = BY_KIND[manifest["kind"]].path(metadata["namespace"], metadata["name"], subresource)
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._json("PATCH", path, query=query, body=manifest, content_type="application/apply-patch+yaml")

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        return await self._json("POST", resource.path(manifest["metadata"]["namespace"]), body=manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        return await self._json("PUT", resource.path(metadata["namespace"], metadata["name"]), body=manifest)

    async def delete(self, resource: Resource, *, namespace: str, name: str) -> None:
        try:
            body = {"propagationPolicy": "Background"}
            await self._json("DELETE", resource.path(namespace, name), body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def log_lines(self, *, namespace: str, pod: str, container: str) -> AsyncIterator[str]:
        path = BY_KIND["Pod"].path(namespace, pod, "log")
        rest = b""
        with _connection_errors_named():
            response = await self._send("GET", path, query=[("container", container)], timeout=_LOG_TIMEOUT_SECONDS)
            async for chunk in response.response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-_LONGEST_LINE_BYTES:]
                for line in lines:
                    yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        with _connection_errors_named():
            response = await self._send(method, path, query=query, body=body, content_type=content_type)
            document: Manifest = json.loads(await response.read())
        return document

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout: float = _TIMEOUT_SECONDS,
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._api.param_serialize(
            method, path, query_params=query or [], header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = await self._api.call_api(*request, _request_timeout=timeout)
        except ApiException as error:
            raise _refusal(error.status or 0, error.body) from error
        if not 200 <= response.status <= 299:
            raise _refusal(response.status, await response.response.read())
        return response


@contextmanager
def _connection_errors_named() -> Iterator[None]:
    """A broken connection as :class:`ApiError` 0: not all of aiohttp's errors are OSErrors."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise ApiError(0, f"the API server does not answer: {error!r}") from error


def _refusal(status: int, body: bytes | str | None) -> ApiError:
    try:
        document = json.loads(body or b"")
        return ApiError(status, str(document.get("message", "")), reason=str(document.get("reason", "")))
    except ValueError:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        return ApiError(status, text[:500])
