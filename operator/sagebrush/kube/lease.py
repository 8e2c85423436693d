"""Leadership by a Lease: one operator acts, the others wait; one that loses it ends at once."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sagebrush.core.resource import Manifest, dig
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import LEASES

log = logging.getLogger(__name__)

DURATION = timedelta(seconds=15)
RENEW_EVERY = timedelta(seconds=4)
RENEW_DEADLINE = timedelta(seconds=10)  # of the holder itself: it ends before another may begin
_ANSWER_SECONDS = 3.0


class Step(StrEnum):
    """What to do about the Lease now."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A holder's last renewal as we saw it, by our own clock: clocks of two nodes need not agree."""

    holder: str
    renew_time: str
    seen_at: datetime


def step(lease: Manifest | None, *, me: str, last: Sighting | None, now: datetime) -> Step:
    """Decide. A holder that has not renewed for the Lease's duration since we first saw its last renewal is gone."""
    if lease is None:
        return Step.CREATE
    holder = dig(lease, "spec", "holderIdentity", default="")
    if holder == me:
        return Step.RENEW
    if not holder:
        return Step.TAKE
    renewed = dig(lease, "spec", "renewTime", default="")
    duration = timedelta(seconds=dig(lease, "spec", "leaseDurationSeconds", default=int(DURATION.total_seconds())))
    if last and last.holder == holder and last.renew_time == renewed and now - last.seen_at > duration:
        return Step.TAKE
    return Step.WAIT


class Leadership:
    """Holds the Lease *name* as *me*. Use :meth:`attempt` every :data:`RENEW_EVERY`."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        me: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace, self._name, self._me = namespace, name, me
        self._clock = clock
        self._last: Sighting | None = None
        self._held_until: datetime | None = None

    @property
    def holder(self) -> str:
        """Who held the Lease when last looked at."""
        return self._last.holder if self._last else ""

    def is_held(self) -> bool:
        """Whether it is ours right now."""
        return self._held_until is not None and self._clock() < self._held_until

    async def attempt(self) -> bool:
        """Take or renew; True if it is ours. Errors of the API server count as not renewed, and are logged."""
        now = self._clock()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                lease = await self._client.get(LEASES, namespace=self._namespace, name=self._name)
                chosen = step(lease, me=self._me, last=self._last, now=now)
                if chosen is Step.WAIT:
                    self._saw(lease, now)
                    self._held_until = None
                    return False
                await self._write(lease, chosen, now)
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("the Lease was not renewed: %s", error or "no answer in time")
            return self.is_held()
        self._held_until = now + RENEW_DEADLINE
        return True

    async def release(self) -> None:
        """Give it back, so that the next one need not wait."""
        lease = await self._client.get(LEASES, namespace=self._namespace, name=self._name)
        if lease is not None and dig(lease, "spec", "holderIdentity") == self._me:
            lease["spec"]["holderIdentity"] = ""
            await self._client.replace(LEASES, lease)
        self._held_until = None

    def _saw(self, lease: Manifest | None, now: datetime) -> None:
        holder = dig(lease, "spec", "holderIdentity", default="")
        renewed = dig(lease, "spec", "renewTime", default="")
        if self._last is None or (self._last.holder, self._last.renew_time) != (holder, renewed):
            self._last = Sighting(holder, renewed, now)

    async def _write(self, lease: Manifest | None, chosen: Step, now: datetime) -> None:
        stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": self._me, "leaseDurationSeconds": int(DURATION.total_seconds()), "renewTime": stamp}
        if chosen is Step.CREATE or lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            manifest = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
            await self._client.create(LEASES, {**manifest, "spec": {**spec, "acquireTime": stamp}})
            return
        if chosen is Step.TAKE:
            spec |= {"acquireTime": stamp, "leaseTransitions": dig(lease, "spec", "leaseTransitions", default=0) + 1}
        # The resourceVersion travels along: if somebody else was quicker, this is a 409.
        await self._client.replace(LEASES, {**lease, "spec": {**lease["spec"], **spec}})
