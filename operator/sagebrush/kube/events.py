"""Events on our objects: posted once, repeats within ten minutes only counted in the log."""

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sagebrush.core.plan import Announcement
from sagebrush.core.resource import Manifest
from sagebrush.kube.client import ApiError, Client
from sagebrush.kube.resources import EVENTS

log = logging.getLogger(__name__)

_QUIET = timedelta(minutes=10)
_REMEMBERED = 4096


class EventRecorder:
    """Posts events.k8s.io/v1 Events. A failure to post is logged, and never fails a reconcile."""

    def __init__(
        self, client: Client, *, instance: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._posted: dict[str, datetime] = {}

    async def post(self, body: Manifest, announcement: Announcement) -> None:
        """Post *announcement* on the object *body*."""
        now = self._clock()
        metadata = body["metadata"]
        identity = f"{metadata['uid']} {announcement.reason} {announcement.message}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
        if digest in self._posted and now - self._posted[digest] < _QUIET:
            return
        if len(self._posted) >= _REMEMBERED:
            self._posted = {key: time for key, time in self._posted.items() if now - time < _QUIET}
        manifest = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{metadata['name']}.{digest}.{int(now.timestamp()):x}",
                "namespace": metadata["namespace"],
            },
            "regarding": {
                "apiVersion": body["apiVersion"],
                "kind": body["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "type": "Warning" if announcement.warning else "Normal",
            "reason": announcement.reason,
            "action": "Reconcile",
            "note": announcement.message.encode()[:1024].decode(errors="ignore"),  # the limit is in bytes
            "reportingController": "sagebrush.dev/operator",
            "reportingInstance": self._instance[:128] or "sagebrush",
        }
        try:
            await self._client.create(EVENTS, manifest)
        except (ApiError, OSError, TimeoutError) as error:
            if not isinstance(error, ApiError) or error.status != 409:
                key = f"{body['kind']} {metadata['namespace']}/{metadata['name']}"
                log.warning("event not posted: %s", error, extra={"key": key})
                return
        self._posted[digest] = now
