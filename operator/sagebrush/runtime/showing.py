"""From a plan to what the scaler's metrics show of it. Pure."""

from datetime import datetime, timedelta
from typing import Any

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core.plan import Plan
from sagebrush.core.scaling.decision import Decision
from sagebrush.metrics.scaler import Price, Shown


def shown_of(plan: Plan[Any], *, now: datetime) -> dict[str, Shown]:
    """What is shown of each variant that was decided on."""
    return {
        variant: _shown(decision, variant, plan.status, now=now) for variant, decision in plan.decisions.items()
    }  # fmt: skip


def price_of(plan: Plan[Any]) -> Price | None:
    """What the endpoint costs, where that is known."""
    cost = plan.status.cost if plan.status else None
    return Price(cost.hourly, cost.currency) if cost and cost.hourly is not None else None


def _shown(decision: Decision, variant: str, status: ModelEndpointStatus | None, *, now: datetime) -> Shown:
    told, ready = _told(status, variant) if status else (None, None)
    startup = told.startup if told else None
    return Shown(
        decision,
        ready_replicas=ready,
        target_requests_per_minute=told.target_requests_per_minute if told else None,
        metrics_age=max(now - decision.observed_at, timedelta(0)) if decision.observed_at else None,
        startup_seconds={"0.5": startup.p50_seconds, "0.9": startup.p90_seconds} if startup else {},
    )


def _told(status: ModelEndpointStatus, variant: str) -> tuple[ScalingStatus | None, int | None]:
    """What status says of a variant: its scaling, and the replicas of it that serve."""
    variants = status.sage_maker.variants if status.sage_maker else []
    found = next((each for each in variants if each.name == variant), None)
    if found is None or len(variants) == 1:
        return status.scaling, status.ready_replicas
    return found.scaling or status.scaling, (found.current_instances if status.ready_replicas else 0)
