"""Whose a child is: ours, our deleted namesake's, or somebody else's. Nobody else's is ever taken over."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.resource import Manifest, Meta, dig, owned_by


@dataclass(frozen=True, slots=True)
class Conflict:
    """A name that we need is taken: what to report, and when to look again (a foreign object is not watched)."""

    reason: Reason
    message: str
    outlook: Outlook
    look_again: timedelta


def conflict(kind: str, meta: Meta, children: Iterable[Manifest | None]) -> Conflict | None:
    """The first of *children* that the object *meta* of *kind* doesn't own; None where it may act."""
    for child in children:
        if child is None or owned_by(child, meta.uid):
            continue
        what = f"{child['kind']} {child['metadata']['name']}"
        owners = dig(child, "metadata", "ownerReferences", default=[])
        if any((owner.get("kind"), owner.get("name")) == (kind, meta.name) for owner in owners):
            text = f"waiting: {what} of the {kind} that had this name before is being removed"
            return Conflict(Reason.REPLACING, text, Outlook.PROGRESSING, timedelta(seconds=5))
        text = f"{what} exists and is not this {kind}'s; delete it, or give the {kind} another name"
        return Conflict(Reason.NAME_CONFLICT, text, Outlook.STALLED, timedelta(seconds=30))
    return None
