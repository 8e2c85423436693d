"""Names and ownership tags in AWS: the name is the idempotency token, the tags say whose a thing is. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from sagebrush.api.meta import GROUP
from sagebrush.core.naming import MANAGER, content_hash
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker.calls import Resource

FINALIZER = f"{GROUP}/sagemaker"
UID_TAG = f"{GROUP}/uid"
CLUSTER_TAG = f"{GROUP}/cluster-id"
REVISION_TAG = f"{GROUP}/revision"
MANAGED_TAG = f"{GROUP}/managed-by"
NAME_LIMIT = 63
_UID_LENGTH, _CONTENT_LENGTH = 8, 10


def own_name(meta: Meta) -> str:
    """
    Name of the one job or endpoint of an object: ``<namespace>-<name>-<hash of the uid>``, at most 63 characters, lower
    case (endpoint names are unique ignoring case), and another one for a namesake that comes later.
    """
    return _joined(meta, content_hash(meta.uid, length=_CONTENT_LENGTH))


def uid_mark(meta: Meta) -> str:
    """What the names of all revisions of an object have in common, for AWS' NameContains."""
    return f"-{content_hash(meta.uid, length=_UID_LENGTH)}-"


def revision_name(meta: Meta, content: Any) -> str:
    """Name of an immutable thing (model, endpoint configuration) with this content: the same content, the same name."""
    return name_of_revision(meta, revision_of(content))


def name_of_revision(meta: Meta, revision: str) -> str:
    """The same, from the content hash: what finds a revision that no status remembers."""
    return _joined(meta, f"{uid_mark(meta)[1:]}{revision}")


def revision_of(content: Any) -> str:
    """Content hash of a revision."""
    return content_hash(content, length=_CONTENT_LENGTH)


def _joined(meta: Meta, suffix: str) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", f"{meta.namespace}-{meta.name}".lower()).strip("-")
    return f"{readable[: NAME_LIMIT - 1 - len(suffix)].strip('-')}-{suffix}"


def tags(meta: Meta, *, cluster_id: str, users: Mapping[str, str], revision: str | None = None) -> list[dict[str, str]]:
    """The user's tags and ours, in AWS' form, by key; ours win."""
    ours = {
        UID_TAG: meta.uid,
        f"{GROUP}/namespace": meta.namespace,
        f"{GROUP}/name": meta.name,
        CLUSTER_TAG: cluster_id,
        MANAGED_TAG: MANAGER,
    }
    if revision:
        ours[REVISION_TAG] = revision
    return [{"Key": key, "Value": value} for key, value in sorted({**users, **ours}.items())]


def is_ours(resource: Resource, meta: Meta) -> bool:
    """Whether the thing carries this very object's mark."""
    return resource.tags.get(UID_TAG) == meta.uid


def owner_in_words(resource: Resource) -> str:
    """Whose a thing is that isn't ours."""
    uid = resource.tags.get(UID_TAG)
    if uid is None:
        return "it carries no mark of Sagebrush"
    where = f"{resource.tags.get(f'{GROUP}/namespace')}/{resource.tags.get(f'{GROUP}/name')}"
    return f"it belongs to {where} (uid {uid}) of cluster {resource.tags.get(CLUSTER_TAG)}"
