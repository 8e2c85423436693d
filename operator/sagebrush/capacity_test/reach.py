"""Finds a way to the replica: its own address where that is certain to be the replica, else the API server's port-forward."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sagebrush.capacity_test.forward import Forward
from sagebrush.capacity_test.options import Via
from sagebrush.capacity_test.replica import CapacityTestError
from sagebrush.core.render.deployment import PORT
from sagebrush.core.resource import Manifest, dig
from sagebrush.kube.client import KubernetesClient

CHECKSUM = "x-sagebrush-model-sha256"
_PING_SECONDS = 3.0
_FORWARD_SECONDS = 15.0


@asynccontextmanager
async def reach(
    client: KubernetesClient, pod: Manifest, *, via: Via, sha256: str | None
) -> AsyncIterator[tuple[str, str]]:
    """
    The replica's base URL, and the way in words.

    The address of a pod may be somebody else's on a machine outside the cluster: it is taken only if what answers there
    names the model's checksum, if this process runs in a pod itself, or if the user says so. Raises CapacityTestError.
    """
    host = str(dig(pod, "status", "podIP", default=""))
    netloc = f"[{host}]" if ":" in host else host
    if via != "port-forward" and host:
        said = await ping(host, PORT)
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ
        if said is not None and (via == "pod" or in_cluster or (sha256 is not None and said.get(CHECKSUM) == sha256)):
            yield f"http://{netloc}:{PORT}", f"its own address, {netloc}:{PORT}"
            return
    if via == "pod":
        raise CapacityTestError(
            f"nothing answers GET /ping at the pod's address {netloc}:{PORT} from here: leave out --via, or run this inside the cluster"
        )
    metadata = pod["metadata"]
    forward = Forward(client, namespace=metadata["namespace"], pod=metadata["name"], port=PORT)
    async with forward.listening():
        if await ping("127.0.0.1", forward.port, seconds=_FORWARD_SECONDS) is None:
            said_against = f" ({forward.problem})" if forward.problem else ""
            raise CapacityTestError(
                f"no answer to GET /ping through the API server's port-forward{said_against}: may you get and create "
                "pods/portforward? (kubectl auth can-i create pods/portforward)"
            )
        yield f"http://127.0.0.1:{forward.port}", "the API server's port-forward"


async def ping(host: str, port: int, *, seconds: float = _PING_SECONDS) -> dict[str, str] | None:
    """Headers of a 200 to GET /ping, names in lower case; None for anything else."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /ping HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    status, *lines = head.split("\r\n")
    if not status.startswith("HTTP/1.") or status[9:12] != "200":
        return None
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if value}
