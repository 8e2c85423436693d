"""What a decision consists of: actions to carry out, the status to report, what to tell, when to look again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from sagebrush.api.meta import ApiModel
from sagebrush.core.resource import Manifest
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.scaling.policy import Decision

StatusT = TypeVar("StatusT", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class Apply:
    """Create or correct a child by server-side apply."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a child with all that belongs to it."""

    api_version: str
    kind: str
    namespace: str
    name: str


Action = Apply | Delete | Call


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event on the object, posted once."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Plan(Generic[StatusT]):
    """The outcome of one decision. Carrying it out twice is the same as once."""

    status: StatusT | None
    actions: tuple[Action, ...] = ()
    events: tuple[Announcement, ...] = ()
    requeue_after: timedelta | None = None
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """By variant; their histories count once the plan is carried out."""
    written: bool = field(default=False, compare=False)
    """Whether the status is known to be the one that is stored already, to the letter."""

    @property
    def decision(self) -> Decision | None:
        """The decision where it is the only one."""
        return next(iter(self.decisions.values())) if len(self.decisions) == 1 else None


class ErrorClass(StrEnum):
    """What kind of error an action met, and so what follows."""

    INVALID = "Invalid"  # the user's to mend: Stalled, no retry until the spec changes
    DENIED = "Denied"  # permission: slow retry
    QUOTA = "Quota"  # the account has no room: a slow queue
    BUSY = "Busy"  # another change is under way: look again soon, nothing is wrong
    THROTTLED = "Throttled"  # too many calls: back off
    TRANSIENT = "Transient"  # back off and try again
    UNREACHABLE = "Unreachable"  # the API server does not answer: the same, but never for long
    BUG = "Bug"  # ours: logged with its traceback, back off


class SpecError(ValueError):
    """Something in the spec that the schema can't know to be wrong; the message names the field and what is legal."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The first action that failed, and why."""

    error_class: ErrorClass
    message: str
