"""The whole of kopf's part: watch streams become keys in our queue. Nothing of kopf's is written on any object."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from sagebrush.api.meta import GROUP, VERSION
from sagebrush.core.naming import MANAGED_BY, MANAGER
from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.cache import Cache, owner_key
from sagebrush.kube.resources import CHILDREN, OWN, Resource
from sagebrush.runtime.dispatch import Line


def seen(body: Manifest, event: str | None, *, cache: Cache, queue: Line) -> None:
    """Take in one watch event: the object itself, its owner, and the endpoints that wait for it."""
    if event == "DELETED":
        cache.remove(body)
        news = True
    else:
        news = cache.put(body)
    key = Key(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
    if key.kind in {resource.kind for resource in OWN}:
        if news:
            queue.add(key)
        for referrer in cache.referrers(key):  # a status that changed is news to them
            queue.add(referrer)
        return
    owner = owner_key(body)
    if owner and news:
        queue.add(owner)


def build_registry(*, cache: Cache, queue: Line) -> kopf.OperatorRegistry:
    """Handlers that only pass on what they see. None returns a value: kopf would write it into the object."""
    registry = kopf.OperatorRegistry()

    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        # Service account tokens rotate; kopf would read the file again only after a 401.
        return dataclasses.replace(info, expiration=datetime.now(UTC) + timedelta(minutes=10)) if info else None

    async def event_seen(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        seen(dict(body), type, cache=cache, queue=queue)

    kopf.on.login(registry=registry)(login)
    for resource in OWN:
        kopf.on.event(GROUP, VERSION, resource.plural, registry=registry)(event_seen)
    for child in CHILDREN:
        group, version = _group_version(child)
        kopf.on.event(group, version, child.plural, registry=registry, labels={MANAGED_BY: MANAGER})(event_seen)
    return registry


def _group_version(resource: Resource) -> tuple[str, str]:
    group, _, version = resource.api_version.rpartition("/")
    return group, version


class _NoDiff(kopf.DiffBaseStorage):
    """Nobody here asks kopf what has changed in an object: to tell, it would copy each one that is seen five times over."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 - kopf's names
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is written on any object."""


class _Patience(Iterable[float]):
    """
    Seconds between kopf's tries of one request. They have no end: after the last one a watch would fail, and the operator
    with it, so that the length of an outage would decide when it is started anew.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13), itertools.repeat(21))


def build_settings(*, namespaced: bool) -> kopf.OperatorSettings:
    """Kopf without its opinions: no peering, no posting, no scanning in a namespaced install, streams that end in time."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiff()
    settings.scanning.disabled = namespaced
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Patience()
    settings.queueing.idle_timeout = 1
    for child in CHILDREN:
        settings.watching.label_selectors[child.plural] = f"{MANAGED_BY}={MANAGER}"
    return settings


async def run(*, cache: Cache, queue: Line, namespaces: Sequence[str], identity: str) -> None:
    """Watch until SIGTERM or cancellation."""
    name: Any = identity  # given, because kopf would look up the user's name, and a container's user need not have one
    await kopf.operator(
        identity=name,
        registry=build_registry(cache=cache, queue=queue),
        settings=build_settings(namespaced=bool(namespaces)),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )
