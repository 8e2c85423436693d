"""Carries out a plan's actions in order; the first failure is classed and ends the run."""

import asyncio
import logging

from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.core.plan import Action, Apply, ErrorClass, Failed
from sagebrush.core.resource import Key, Manifest, dig
from sagebrush.core.sagemaker.calls import AwsError, Call, Problem
from sagebrush.kube.cache import Cache
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import BY_KIND

log = logging.getLogger(__name__)

SCALE_SECONDS = 5.0
"""
How long the API server may take to change a number of replicas. One that hangs, or is just starting, would carry the
change out when it comes to itself, whatever the load is by then: rather decide anew.
"""

_OF_PROBLEM = {
    # A name that is taken, or a thing that is not there: the next look tells whose, or finds it.
    Problem.INVALID: ErrorClass.INVALID,
    Problem.QUOTA: ErrorClass.QUOTA,
    Problem.BUSY: ErrorClass.BUSY,
    Problem.THROTTLED: ErrorClass.THROTTLED,
    Problem.DENIED: ErrorClass.DENIED,
}


def _of_status(status: int) -> ErrorClass:
    """Of an answer of the API server; 0: none."""
    if status in (400, 422):
        return ErrorClass.INVALID
    if status in (401, 403):
        return ErrorClass.DENIED
    if status in (404, 409, 410):
        return ErrorClass.TRANSIENT
    return ErrorClass.UNREACHABLE if status in (0, 429) or status >= 500 else ErrorClass.BUG


def error_class(error: Exception) -> ErrorClass:
    """What kind of error this is: the one table that decides how an error is answered."""
    if isinstance(error, ApiError):
        return _of_status(error.status)
    if isinstance(error, AwsError):
        return _OF_PROBLEM.get(error.problem, ErrorClass.TRANSIENT)
    if isinstance(error, OSError | TimeoutError):
        return ErrorClass.UNREACHABLE
    return ErrorClass.BUG


class Executor:
    """Acts through the client, and tells the cache what came of it; calls to AWS go through the gateway."""

    def __init__(self, client: Client, cache: Cache, gateway: Gateway | None = None) -> None:
        self._client, self._cache, self._gateway = client, cache, gateway

    async def run(self, actions: tuple[Action, ...], *, key: Key) -> Failed | None:
        """Carry out *actions*; the first failure, or None."""
        for action in actions:
            try:
                await self._act(action, key=key)
            except (ApiError, AwsError, OSError, TimeoutError) as error:
                what = (
                    f"{action.manifest['kind']} {action.manifest['metadata']['name']}"
                    if isinstance(action, Apply)
                    else str(action)
                )
                said = error.message if isinstance(error, ApiError | AwsError) else repr(error)
                if isinstance(error, TimeoutError):
                    said = "the API server did not answer in time"
                return Failed(error_class(error), f"{what}: {said}")
        return None

    async def _act(self, action: Action, *, key: Key) -> None:
        if isinstance(action, Apply):
            async with asyncio.timeout(SCALE_SECONDS if self._scales(action.manifest) else None):
                stored = await self._client.apply(action.manifest)
            self._cache.put(stored)
            metadata = action.manifest["metadata"]
            log.info("applied %s %s", action.manifest["kind"], metadata["name"], extra={"key": str(key)})
            return
        if isinstance(action, Call):
            await self._call(action, key=key)
            return
        await self._client.delete(BY_KIND[action.kind], namespace=action.namespace, name=action.name)
        log.info("deleted %s %s", action.kind, action.name, extra={"key": str(key)})

    def _scales(self, manifest: Manifest) -> bool:
        """Whether it changes the number of replicas of what is there."""
        metadata = manifest["metadata"]
        there = self._cache.get(Key(manifest["kind"], metadata["namespace"], metadata["name"]))
        replicas = dig(manifest, "spec", "replicas")
        return there is not None and replicas is not None and dig(there, "spec", "replicas") != replicas

    async def _call(self, call: Call, *, key: Key) -> None:
        if self._gateway is None:
            raise TypeError(f"this backend makes no calls to AWS: {call}")
        try:
            await self._gateway.act(call)
        except AwsError as error:
            if error.problem not in call.fine:
                raise
            log.info("%s: %s, which is as well", call, error.message, extra={"key": str(key)})
            return
        log.info("called %s", call, extra={"key": str(key)})
