"""Looks for autoscalers that are not ours on what we scale: seldom, since they come and go seldom."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from sagebrush.core.other_scalers import HPA, SCALED_OBJECT, Target, conflict_of, scalers_by_target
from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import Resource

log = logging.getLogger(__name__)

HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling/v2", HPA, "horizontalpodautoscalers")
SCALED_OBJECTS = Resource("keda.sh/v1alpha1", SCALED_OBJECT, "scaledobjects")
LOOK_SECONDS = 60.0
"""Most time until a new one is seen."""
_NOT_ALLOWED = (401, 403)


class OtherScalers:
    """Who else scales what, as of the last look. Before the first one nobody does."""

    def __init__(self, *, client: Client, namespaces: Sequence[str]) -> None:
        self._client = client
        self._namespaces: Sequence[str | None] = namespaces or [None]
        self._scalers: dict[Target, str] = {}
        self._listed: dict[str, list[Manifest]] = {}
        self._refused: set[str] = set()

    def conflict(self, namespace: str, *, name: str, scaled: bool) -> str:
        """See :func:`sagebrush.core.other_scalers.conflict_of`."""
        return conflict_of(self._scalers, namespace=namespace, name=name, scaled=scaled)

    async def look(self) -> set[Key]:
        """List them; the ModelEndpoints for which something has changed. What can't be listed stays as it was."""
        for resource in (HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS):
            try:
                self._listed[resource.kind] = [
                    body
                    for namespace in self._namespaces
                    for body in await self._client.list_all(resource, namespace=namespace)
                ]
            except ApiError as error:
                self._unlisted(resource, error)
            except (OSError, TimeoutError) as error:
                log.warning("others' autoscalers could not be listed: %r", error)
        before = self._scalers
        self._scalers = scalers_by_target(body for bodies in self._listed.values() for body in bodies)
        changed = {target for target, _ in before.items() ^ self._scalers.items()}
        # Deployments bear the names of their endpoints.
        return {Key("ModelEndpoint", target.namespace, target.name) for target in changed}

    async def run(self, changed: Callable[[Key], None], *, every_seconds: float) -> None:
        """Look again and again, until cancelled, and tell *changed* of each endpoint that has news."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                for key in sorted(await self.look()):
                    changed(key)
            except Exception:
                log.exception("the look for others' autoscalers failed; again in %.0f s", every_seconds)

    def _unlisted(self, resource: Resource, error: ApiError) -> None:
        if error.status == 404:  # KEDA isn't installed
            self._listed[resource.kind] = []
        elif error.status not in _NOT_ALLOWED:
            log.warning("%s could not be listed: %s", resource.plural, error)
        elif resource.kind not in self._refused:
            self._refused.add(resource.kind)
            log.warning(
                "%s.%s may not be listed, so that others on the same replicas stay unseen: grant list on them",
                resource.plural,
                resource.group,
            )
