"""Lists everything at start and now and then: fills the cache, and prunes what a blind watch has missed."""

import asyncio
import itertools
import logging
from collections.abc import Sequence

from sagebrush.core.naming import MANAGED_BY, MANAGER
from sagebrush.core.resource import Key
from sagebrush.kube.cache import Cache, owner_key
from sagebrush.kube.client import Client
from sagebrush.kube.resources import CHILDREN, OWN
from sagebrush.runtime.dispatch import Line

log = logging.getLogger(__name__)

_FIRST_SECONDS = 15.0


class Resync:
    """Level-triggering's second leg: whatever events were lost, the lists find."""

    def __init__(self, *, client: Client, cache: Cache, queue: Line, namespaces: Sequence[str]) -> None:
        self._client, self._cache, self._queue = client, cache, queue
        self._namespaces: Sequence[str | None] = namespaces or [None]

    async def once(self) -> int:
        """List all kinds, enqueue all objects; how many there are."""
        ghosts: set[Key] = set()
        for resource in (*OWN, *CHILDREN):
            labels = "" if resource in OWN else f"{MANAGED_BY}={MANAGER}"
            before = self._cache.snapshot(resource.kind)
            bodies = [
                body
                for namespace in self._namespaces
                for body in await self._client.list_all(resource, namespace=namespace, labels=labels)
            ]
            for key in self._cache.replace_kind(resource.kind, bodies, before=before):
                owner = owner_key(before[key])
                ghosts.add(owner if owner and resource not in OWN else key)
        wanted = {key for resource in OWN for key in self._cache.keys(resource.kind)}
        for key in sorted(wanted | {ghost for ghost in ghosts if ghost.kind in {r.kind for r in OWN}}):
            self._queue.add(key)
        return len(wanted)

    async def run(self, *, every_seconds: float) -> None:
        """Again and again, until cancelled. A failed list is logged; the next one may do better."""
        # The first one soon: what was deleted between our first list and kopf's is in no event.
        for pause in itertools.chain([min(_FIRST_SECONDS, every_seconds)], itertools.repeat(every_seconds)):
            await asyncio.sleep(pause)
            try:
                count = await self.once()
                log.info("resync: %d objects", count)
            except Exception:
                log.exception("resync failed; again in %.0f s", every_seconds)
