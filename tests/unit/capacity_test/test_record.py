"""--write: the capacity arrives in status, leaves the rest alone, and stays."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.capacity_test.record import capacity_of, write_capacity
from sagebrush.capacity_test.replica import CapacityTestError
from sagebrush.core.resource import Key
from sagebrush.kube.client import ApiError
from tests.fakes.kubernetes import FakeClient
from tests.unit.capacity_test.test_replica import endpoint_body

KEY = Key("ModelEndpoint", "ml", "kdd")
SCALING = {"desiredReplicas": 2, "reason": "WithinTarget", "message": "fine"}
CAPACITY = capacity_of(
    123.4567, concurrency=4, revision="0123456789", measured_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
)
TOLD = {
    "requestsPerSecond": 123.457,
    "concurrency": 4,
    "source": "Tested",
    "measuredAt": "2026-01-02T03:04:05Z",
    "revision": "0123456789",
}


def with_status(scaling: dict[str, Any] | None) -> FakeClient:
    client = FakeClient()
    body = endpoint_body()
    body["status"] = {"revision": "0123456789", "replicas": 2, **({"scaling": scaling} if scaling else {})}
    client.add(body)
    return client


async def write(client: FakeClient, pause: Any = None) -> None:
    async def at_once(seconds: float) -> None:
        if pause:
            pause()

    await write_capacity(client, namespace="ml", name="kdd", capacity=CAPACITY, watched_seconds=5, pause=at_once)


async def test_capacity_must_be_all_that_changes():
    """The rest of status stays as it was, and what is written is what the API's types read."""
    client = with_status(SCALING)
    await write(client)
    status = client.objects[KEY]["status"]
    assert status == {"revision": "0123456789", "replicas": 2, "scaling": {**SCALING, "capacity": TOLD}}
    scaling = ModelEndpointStatus.model_validate(status).scaling
    assert scaling is not None
    assert scaling.capacity == CAPACITY
    assert client.writes == ["apply ModelEndpoint/status"]


async def test_capacity_that_an_operator_overwrites_must_be_written_again():
    """A pass of the operator that had read the status before puts the old one back once; then it stays."""
    client = with_status(SCALING)
    passes = iter([True])

    def pause() -> None:
        if next(passes, False):
            client.objects[KEY]["status"]["scaling"] = dict(SCALING)

    await write(client, pause)
    assert client.objects[KEY]["status"]["scaling"]["capacity"] == TOLD
    assert len(client.writes) == 2


async def test_capacity_that_never_stays_must_be_told():
    """An operator that drops it each time wins, and the user hears of the line that does the same."""
    client = with_status(SCALING)

    def pause() -> None:
        client.objects[KEY]["status"]["scaling"] = dict(SCALING)

    with pytest.raises(CapacityTestError, match=r"did not stay.*spec.scaling.capacity"):
        await write(client, pause)


async def test_conflict_must_be_tried_again():
    """Somebody else wrote between reading and writing: read again, write again."""
    client = with_status(SCALING)
    faults = iter([409])

    def fault(what: str) -> None:
        status = next(faults, None)
        if status:
            raise ApiError(status, "changed since")

    client.fault = fault
    await write(client)
    assert client.objects[KEY]["status"]["scaling"]["capacity"] == TOLD


async def test_status_without_policy_must_be_refused():
    """Without spec.scaling there is no place for a capacity."""
    with pytest.raises(CapacityTestError, match=r"no spec\.scaling"):
        await write(with_status(None))


async def test_missing_permission_must_be_told():
    """The API server's words, and which option needs it."""
    client = with_status(SCALING)
    client.refuse("apply ModelEndpoint/status", 403, "forbidden")
    with pytest.raises(CapacityTestError, match="--write: you may not patch modelendpoints/status"):
        await write(client)
