"""Puts what was measured into status.scaling.capacity, where the operator finds it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sagebrush.api.scaling_status import CapacityStatus
from sagebrush.capacity_test.replica import CapacityTestError
from sagebrush.core.resource import Manifest, dig
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import MODEL_ENDPOINTS

_TRIES = 8
_WATCHED_SECONDS = 15.0
_LOOK_SECONDS = 1.0
NO_POLICY = "this endpoint has no spec.scaling (or the operator has not looked at it yet), so there is nowhere to put a capacity: add the policy first, or leave out --write"


def capacity_of(
    requests_per_second: float, *, concurrency: int, revision: str | None, measured_at: datetime
) -> CapacityStatus:
    """What status says of a capacity that was tested."""
    return CapacityStatus(
        requests_per_second=round(requests_per_second, 3),
        concurrency=concurrency,
        source="Tested",
        measured_at=measured_at.replace(microsecond=0),
        revision=revision,
    )


async def write_capacity(
    client: Client,
    *,
    namespace: str,
    name: str,
    capacity: CapacityStatus,
    watched_seconds: float = _WATCHED_SECONDS,
    pause: Callable[[float], Any] = asyncio.sleep,
) -> None:
    """
    Write it as the operator itself would: the whole status as it is, with this one field, refused if it has changed since.

    A part of status that another field manager owned would stay when the operator drops spec.scaling's part, and then the
    rest would no longer fit the schema. A pass of the operator that had already read the old status may write that once
    more; so the field is looked at for *watched_seconds*, and written again. Raises CapacityTestError where it doesn't stay.
    """
    wanted = capacity.to_dict()
    written = 0
    seconds = 0.0
    while seconds <= watched_seconds:
        body = await client.get(MODEL_ENDPOINTS, namespace=namespace, name=name)
        if body is None:
            raise CapacityTestError(f"ModelEndpoint {namespace}/{name} was deleted meanwhile")
        if not _stands(body, wanted):
            if written >= _TRIES:
                break
            written += await _write(client, body, wanted)
        await pause(_LOOK_SECONDS)
        seconds += _LOOK_SECONDS
    body = await client.get(MODEL_ENDPOINTS, namespace=namespace, name=name)
    if not _stands(body, wanted):
        raise CapacityTestError(
            f"status.scaling.capacity was written {written} times and did not stay: does spec.scaling.capacity state another "
            "one, or does an operator older than this command run? The line for spec.scaling.capacity above does the same"
        )


def _stands(body: Manifest | None, wanted: dict[str, Any]) -> bool:
    """Whether status has this measurement; the operator may say of it what spec.scaling.capacity states besides."""
    found = dig(body, "status", "scaling", "capacity", default={})
    return all(found.get(key) == wanted.get(key) for key in ("source", "measuredAt", "revision", "requestsPerSecond"))


async def _write(client: Client, body: Manifest, capacity: dict[str, Any]) -> bool:
    """One try; False where somebody else was faster."""
    status = body.get("status") or {}
    if not status.get("scaling"):
        raise CapacityTestError(NO_POLICY)
    metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    manifest = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "status": {**status, "scaling": {**status["scaling"], "capacity": capacity}},
    }
    try:
        await client.apply(manifest, subresource="status")
    except ApiError as error:
        if error.status == 409:
            return False
        if error.status == 403:
            raise CapacityTestError(f"--write: you may not patch modelendpoints/status: {error.message}") from error
        raise
    return True
