"""What every kind reports where its plan could not be made or carried out."""

from datetime import datetime
from typing import TypeVar

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.training_job import TrainingJobStatus
from sagebrush.core.conditions import READY, Outlook, find, set_conditions, summary
from sagebrush.core.plan import Announcement, Plan
from sagebrush.core.resource import Meta

StatusT = TypeVar("StatusT", TrainingJobStatus, ModelEndpointStatus)


def stalled_plan(
    meta: Meta, status: StatusT, *, reason: str, message: str, final: bool, now: datetime
) -> Plan[StatusT]:
    """*status* with the reason in its conditions, and an Event where it is new. *final*: nothing changes by itself."""
    outlook = Outlook.STALLED if final else Outlook.PROGRESSING
    before = find(status.conditions, READY)
    conditions = set_conditions(
        status.conditions, summary(outlook, reason=reason, message=message), generation=meta.generation, now=now
    )
    new = status.model_copy(update={"observed_generation": meta.generation, "conditions": conditions})
    known = before is not None and (before.reason, before.message) == (reason, message)
    return Plan(status=new, events=() if known else (Announcement(reason, message, warning=True),))
