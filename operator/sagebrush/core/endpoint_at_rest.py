"""A ModelEndpoint at rest: where nothing is new but the request metrics, a decision is all that a pass needs. Pure.

A tick of the metrics comes every few seconds for every endpoint, and nearly always finds the same objects and comes to the
same number. What was rendered and compared for them the last time would only be found again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.core.plan import Plan
from sagebrush.core.render.deployment import VARIANT
from sagebrush.core.scaling.compiled import Policy
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Fleet
from sagebrush.core.scaling.report import status_of
from sagebrush.core.variant_scaling import ScalingFacts, decided_by, is_active, policy_of


@dataclass(frozen=True, slots=True)
class AtRest:
    """A whole pass that found nothing to do, to write or to tell."""

    spec: ModelEndpointSpec
    status: ModelEndpointStatus
    fleet: Fleet
    policy: Policy
    plan: Plan[ModelEndpointStatus]

    @classmethod
    def after(
        cls,
        plan: Plan[ModelEndpointStatus],
        *,
        spec: ModelEndpointSpec,
        status: ModelEndpointStatus,
        written: Any,
        fleet: Fleet,
    ) -> "AtRest | None":
        """What to keep of a pass that came to *plan*; None where it was not at rest. *written*: status as it is stored."""
        busy = plan.actions or plan.events or plan.requeue_after is not None or plan.decision is None
        if busy or spec.scaling is None or plan.status != status or status.to_dict() != written:
            return None
        return cls(spec, status, fleet, policy_of(spec.scaling), replace(plan, written=True))

    def tick(self, facts: ScalingFacts, *, now: datetime) -> Plan[ModelEndpointStatus] | None:
        """
        What :func:`sagebrush.core.model_endpoint.reconcile` would come to with new *facts* and nothing else new; None
        where the decision changes anything, so that a whole pass is due.
        """
        scaling, before = self.spec.scaling, self.plan.decision
        if scaling is None or before is None:
            return None
        decision = decided_by(self.policy, facts, fleet=self.fleet, before=self.status.scaling, now=now)
        if not _says_the_same(decision, before):
            return None
        told = status_of(decision, previous=self.status.scaling, policy=scaling, knowledge=facts.knowledge, now=now)
        return replace(self.plan, decisions={VARIANT: decision}) if told is self.status.scaling else None


def _says_the_same(decision: Decision, before: Decision) -> bool:
    """Whether the conditions made of *decision* are those made of *before*, as far as status.scaling doesn't tell."""
    return (
        decision.replicas == before.replicas
        and not decision.changed
        and decision.reason is before.reason
        and decision.reason is not ScalingReason.OTHER_SCALER
        and is_active(decision) == is_active(before)
        and decision.unattainable == before.unattainable
    )
