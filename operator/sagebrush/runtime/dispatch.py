"""Which line an object waits in: each backend has its own queue and workers, so that AWS' budget delays no pod."""

from collections.abc import Mapping
from typing import Protocol

from sagebrush.api.meta import Backend
from sagebrush.core.resource import Key, Manifest, dig
from sagebrush.kube.cache import Cache
from sagebrush.runtime.workqueue import WorkQueue


class Line(Protocol):
    """Where news of objects go."""

    def add(self, key: Key) -> None:
        """There is news of *key*."""


def backend_of(body: Manifest) -> Backend:
    """The backend that an object asks for."""
    return Backend(dig(body, "spec", "backend", default=Backend.CLUSTER))


class Dispatch:
    """Hands keys to the queue of their backend; what is gone, or of a backend unknown here, to all of them."""

    def __init__(self, lines: Mapping[Backend, WorkQueue[Key]], cache: Cache) -> None:
        self._lines, self._cache = lines, cache

    def add(self, key: Key) -> None:
        """See :class:`Line`."""
        for line in self._lines_of(key):
            line.add(key)

    def nudge(self, key: Key) -> None:
        """There are new request metrics, as every few seconds: no reason to try again what has just failed."""
        for line in self._lines_of(key):
            line.nudge(key)

    def _lines_of(self, key: Key) -> list[WorkQueue[Key]]:
        body = self._cache.get(key)
        if body is None:
            return list(self._lines.values())
        line = self._lines.get(backend_of(body))
        return [] if line is None else [line]
