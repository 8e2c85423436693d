"""Carries out a plan's actions in order; the first failure is classed and ends the run."""

import logging

from sagebrush.core.plan import Action, Apply, ErrorClass, Failed
from sagebrush.core.resource import Key
from sagebrush.core.sagemaker.calls import Call
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import BY_KIND

log = logging.getLogger(__name__)


def error_class(error: Exception) -> ErrorClass:
    """What kind of error this is: the one table that decides how an error is answered."""
    if isinstance(error, ApiError):
        if error.status in (400, 422):
            return ErrorClass.INVALID
        if error.status in (401, 403):
            return ErrorClass.DENIED
        if error.status in (404, 409, 410, 429) or error.status >= 500 or error.status == 0:
            return ErrorClass.TRANSIENT
    if isinstance(error, OSError | TimeoutError):
        return ErrorClass.TRANSIENT
    return ErrorClass.BUG


class Executor:
    """Acts through the client, and tells the cache what came of it."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client, self._cache = client, cache

    async def run(self, actions: tuple[Action, ...], *, key: Key) -> Failed | None:
        """Carry out *actions*; the first failure, or None."""
        for action in actions:
            try:
                await self._act(action, key=key)
            except (ApiError, OSError, TimeoutError) as error:
                what = (
                    f"{action.manifest['kind']} {action.manifest['metadata']['name']}"
                    if isinstance(action, Apply)
                    else str(action)
                )
                said = error.message if isinstance(error, ApiError) else repr(error)
                return Failed(error_class(error), f"{what}: {said}")
        return None

    async def _act(self, action: Action, *, key: Key) -> None:
        if isinstance(action, Apply):
            stored = await self._client.apply(action.manifest)
            self._cache.put(stored)
            metadata = action.manifest["metadata"]
            log.info("applied %s %s", action.manifest["kind"], metadata["name"], extra={"key": str(key)})
            return
        if isinstance(action, Call):
            raise TypeError(f"nobody here can call {action}")
        await self._client.delete(BY_KIND[action.kind], namespace=action.namespace, name=action.name)
        log.info("deleted %s %s", action.kind, action.name, extra={"key": str(key)})
