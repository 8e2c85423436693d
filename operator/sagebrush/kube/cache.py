"""The last known state of what is watched: fed by watch events, lists and the answers to our own writes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sagebrush.core.naming import OWNER_LABELS
from sagebrush.core.resource import Key, Manifest, dig

_OWN = frozenset(OWNER_LABELS)
_REMEMBERED = 2048


def owner_key(body: Manifest) -> Key | None:
    """The object that a child belongs to, read off its labels."""
    labels = dig(body, "metadata", "labels", default={})
    for kind, label in OWNER_LABELS.items():
        if label in labels:
            return Key(kind, body["metadata"]["namespace"], labels[label])
    return None


def _version(body: Manifest | None) -> int:
    """The resourceVersion as a number: since Kubernetes 1.35 its order is part of the API, before it held in practice."""
    text = dig(body, "metadata", "resourceVersion", default="0")
    return int(text) if str(text).isdigit() else 0


class Cache:
    """Objects by key, children by owner. Never older than what it has seen."""

    def __init__(self) -> None:
        self._bodies: dict[Key, Manifest] = {}
        self._children: dict[Key, set[Key]] = defaultdict(set)
        self._referrers: dict[Key, set[Key]] = defaultdict(set)
        self._deleted: dict[
            str, None
        ] = {}  # uids lately seen deleted: a list or an answer under way may still show them

    def put(self, body: Manifest) -> bool:
        """
        Take in *body*; True if it says something new to a reconciler.

        For our own kinds only the user's part counts: a status that we wrote ourselves is no news.
        """
        key = Key(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"])
        old = self._bodies.get(key)
        same = old is not None and old["metadata"].get("uid") == body["metadata"].get("uid")
        if body["metadata"].get("uid") in self._deleted or (old is not None and _version(body) < _version(old)):
            return False
        if same and 0 < _version(body) == _version(old):
            return False  # the one that is there stays: what was found from it still holds
        self._forget_links(key, old)
        self._bodies[key] = body
        owner = owner_key(body)
        if owner:
            self._children[owner].add(key)
        for reference in _references(body):
            self._referrers[reference].add(key)
        if key.kind in _OWN and same and old is not None:
            return _wish(old) != _wish(body)
        return old is None or _version(old) != _version(body)

    def remove(self, body: Manifest) -> None:
        """Forget *body*, which was seen deleted, unless another object has taken its name since."""
        key = Key(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"])
        uid = body["metadata"].get("uid")
        if uid:
            self._deleted[uid] = None
            if len(self._deleted) > _REMEMBERED:
                del self._deleted[next(iter(self._deleted))]
        old = self._bodies.get(key)
        if old is not None and old["metadata"].get("uid") == uid:
            self._drop(key)

    def snapshot(self, kind: str) -> dict[Key, Manifest]:
        """All objects of this kind, by key, as they are now."""
        return {key: body for key, body in self._bodies.items() if key.kind == kind}

    def replace_kind(self, kind: str, bodies: Iterable[Manifest], *, before: Mapping[Key, Manifest]) -> set[Key]:
        """
        Take in a LIST: what was there *before* it was asked for, is not in it and has not changed since, is a ghost.

        Returns the ghosts' keys, which are forgotten. What a watch has brought meanwhile stays.
        """
        listed = list(bodies)
        present = {Key(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]) for body in listed}
        ghosts = {key for key, body in before.items() if key not in present and self._bodies.get(key) is body}
        for key in ghosts:
            self._drop(key)
        for body in listed:
            self.put(body)
        return ghosts

    def _drop(self, key: Key) -> None:
        self._forget_links(key, self._bodies.pop(key))

    def get(self, key: Key) -> Manifest | None:
        """The object, if known."""
        return self._bodies.get(key)

    def children(self, owner: Key, *, kind: str) -> tuple[Manifest, ...]:
        """Children of *owner* of this kind, by name."""
        return tuple(self._bodies[key] for key in sorted(self._children.get(owner, ())) if key.kind == kind)

    def referrers(self, key: Key) -> tuple[Key, ...]:
        """The endpoints that refer to this TrainingJob."""
        return tuple(sorted(self._referrers.get(key, ())))

    def keys(self, kind: str) -> list[Key]:
        """Keys of all objects of this kind."""
        return [key for key in self._bodies if key.kind == kind]

    def _forget_links(self, key: Key, old: Manifest | None) -> None:
        if old is None:
            return
        links = [(self._children, owner_key(old)), *((self._referrers, each) for each in _references(old))]
        for index, link in links:
            if link and link in index:
                index[link].discard(key)
                if not index[link]:
                    del index[link]


def _references(body: Manifest) -> set[Key]:
    """The TrainingJobs whose models an endpoint serves."""
    if body["kind"] != "ModelEndpoint":
        return set()
    models = [
        dig(body, "spec", "model"),
        *(dig(each, "model") for each in dig(body, "spec", "sageMaker", "variants", default=[])),
    ]
    names = {dig(model, "trainingJobRef", "name") for model in models} - {None}
    return {Key("TrainingJob", body["metadata"]["namespace"], name) for name in names}


def _wish(body: Manifest) -> tuple[Any, ...]:
    metadata = body["metadata"]
    return metadata.get("generation"), metadata.get("deletionTimestamp")
