"""The registry of operations: a function for each, by service and name."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sagemaker_simulator.errors import invalid
from tests.sagemaker_simulator.world import Identity, Region, World


@dataclass
class Call:
    """One request as the operations see it."""

    world: World
    region: Region
    identity: Identity
    access_key: str
    service: str
    operation: str
    request: dict[str, Any]

    def caller(self) -> str:
        """The ARN that error texts name."""
        if ":assumed-role/" in self.identity.arn:
            return self.identity.arn
        return f"arn:aws:sts::{self.identity.account}:assumed-role/{self.access_key}/session"


Operation = Callable[[Call, dict[str, Any]], dict[str, Any] | None]
OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(service: str, name: str) -> Callable[[Operation], Operation]:
    """Register the function that answers this operation; None stands for an empty answer."""

    def register(function: Operation) -> Operation:
        OPERATIONS[service, name] = function
        return function

    return register


def tags_of(request: dict[str, Any]) -> dict[str, str]:
    """The tags in a Create request."""
    return {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}


def page(
    request: dict[str, Any], items: list[Any], *, default: int = 10, most: int = 100
) -> tuple[list[Any], str | None]:
    """The page that MaxResults and NextToken ask for, and the next one's token."""
    size = min(int(request.get("MaxResults", default)), most)
    start = 0
    if token := request.get("NextToken"):
        try:
            start = int(base64.b64decode(token, validate=True))
        except ValueError as error:
            raise invalid("Invalid NextToken") from error
    following = base64.b64encode(str(start + size).encode()).decode() if start + size < len(items) else None
    return items[start : start + size], following


def listed(request: dict[str, Any], things: list[Any], *, order: str, name: Callable[[Any], str]) -> list[Any]:
    """Filter by the times, the name and the order that every List operation of SageMaker knows."""
    kept = [
        thing
        for thing in things
        if request.get("NameContains", "").lower() in name(thing).lower()
        and thing.created > request.get("CreationTimeAfter", float("-inf"))
        and thing.created < request.get("CreationTimeBefore", float("inf"))
        and getattr(thing, "modified", thing.created) > request.get("LastModifiedTimeAfter", float("-inf"))
        and getattr(thing, "modified", thing.created) < request.get("LastModifiedTimeBefore", float("inf"))
    ]
    by_name = request.get("SortBy", "CreationTime") == "Name"
    kept.sort(key=(lambda thing: (name(thing), 0.0)) if by_name else (lambda thing: ("", thing.created)))
    if request.get("SortOrder", order) == "Descending":
        kept.reverse()
    return kept
