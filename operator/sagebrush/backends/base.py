"""What a backend does for the controller: look, decide with the pure core, name what to do."""

from datetime import datetime
from typing import Any, Protocol

from sagebrush.core.plan import Plan
from sagebrush.core.resource import Key, Manifest, Meta


class Kind(Protocol):
    """One kind of object on one backend."""

    async def plan(self, key: Key, body: Manifest, *, now: datetime) -> Plan[Any]:
        """Gather what the decision needs and decide. Raises ValidationError or SpecError for a spec that can't be read."""

    async def watch(self, key: Key, body: Manifest, *, now: datetime) -> Plan[Any] | None:
        """
        What to do for an object whose spec has been refused and waits for a change: only what doesn't need the new spec,
        such as the scaling of what goes on serving. None: nothing.
        """

    def acted(self, meta: Meta, plan: Plan[Any]) -> None:
        """The plan's actions have been carried out."""

    def forget(self, key: Key) -> None:
        """The object is gone: drop what is kept for it."""

    def stalled(
        self, meta: Meta, body: Manifest, *, reason: str, message: str, final: bool, now: datetime
    ) -> Plan[Any]:
        """The status to report where planning or acting failed: *final* ones wait for a change of the spec."""
