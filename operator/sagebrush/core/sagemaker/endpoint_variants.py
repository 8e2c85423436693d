"""Counts and weights of the variants: who decides them, what is asked for, what status says. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import isclose
from typing import Any

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.sagemaker_hosting import VariantStatus
from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.core.sagemaker.cost import SERVERLESS
from sagebrush.core.sagemaker.endpoint_request import WantedVariant
from sagebrush.core.sagemaker.endpoint_state import FAILED, Seen, SeenVariant
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Fleet, Knowledge
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.report import status_of
from sagebrush.core.scaling.words import sentence
from sagebrush.core.variant_scaling import NO_FACTS, ScalingFacts, decided, resumed

OWN_ENGINE, AWS_ENGINE = "Sagebrush", "ApplicationAutoScaling"


def scaled_by(variants: Sequence[WantedVariant], engine: str) -> dict[str, Scaling]:
    """Variant → policy, of those that *engine* scales."""
    return {each.name: each.scaling for each in variants if each.scaling and each.scaling.engine == engine}


def scaling_before(status: ModelEndpointStatus, variant: str, *, only: bool) -> ScalingStatus | None:
    """What status says of a variant's scaling: beside the variant, or at its usual place where there is only one."""
    if only:
        return status.scaling
    told = status.sage_maker.variants if status.sage_maker else []
    return next((each.scaling for each in told if each.name == variant), None)


def decisions(
    variants: Sequence[WantedVariant],
    *,
    seen: Seen | None,
    status: ModelEndpointStatus,
    facts: Mapping[str, ScalingFacts],
    now: datetime,
) -> dict[str, Decision]:
    """What our own policy wants of each variant that it scales. Raises SpecError for a schedule that means nothing."""
    out: dict[str, Decision] = {}
    for name, scaling in scaled_by(variants, OWN_ENGINE).items():
        before = scaling_before(status, name, only=len(variants) == 1)
        found = seen.variant(name) if seen else None
        wanted = found.desired_instances if found else None
        ready = (found.current_instances or 0) if found else 0
        fleet = Fleet(
            # A failed endpoint shows none; it comes back as large as it was.
            replicas=wanted or (before.desired_replicas if before else scaling.min_replicas),
            ready=ready,
            starting=max((wanted or 0) - ready, 0),
        )
        out[name] = decided(scaling, facts.get(name) or NO_FACTS, fleet=fleet, before=before, now=now)
    return out


def held(decision: Decision, *, before: History, message: str) -> Decision:
    """
    The decision where its change can't be made now: the number stays, what was seen is kept, and the history says
    nothing of a change that nobody made.
    """
    if not decision.changed:
        return decision
    return replace(
        decision,
        replicas=decision.previous_replicas,
        reason=ScalingReason.ENDPOINT_BUSY,
        said=sentence("{0:said}; held: {1}", decision.said, message),
        history=replace(
            decision.history,
            last_scale_out=before.last_scale_out,
            last_scale_in=before.last_scale_in,
            changes=before.changes,
            stepped_at=before.stepped_at,
        ),
    )


def histories_before(
    variants: Sequence[WantedVariant], *, status: ModelEndpointStatus, histories: Mapping[str, History]
) -> dict[str, History]:
    """What each decision was made from."""
    only = len(variants) == 1
    names = scaled_by(variants, OWN_ENGINE)
    return {name: histories.get(name) or resumed(scaling_before(status, name, only=only)) for name in names}


def wanted_counts(variants: Sequence[WantedVariant], made: Mapping[str, Decision]) -> dict[str, int]:
    """The number of instances that is ours to say; not that of serverless variants, nor where AWS decides."""
    out: dict[str, int] = {}
    for variant in variants:
        if variant.serverless:
            continue
        if variant.scaling is None:
            out[variant.name] = variant.replicas
        elif variant.name in made:
            out[variant.name] = made[variant.name].replicas
    return out


def initial_counts(
    variants: Sequence[WantedVariant], *, seen: Seen | None, status: ModelEndpointStatus
) -> dict[str, int]:
    """InitialInstanceCount for each variant with instances: what is wanted at this moment; scaled ones keep what they have."""
    out: dict[str, int] = {}
    for variant in variants:
        policy = variant.scaling
        if variant.serverless:
            continue
        if policy is None:
            out[variant.name] = variant.replicas
            continue
        found = seen.variant(variant.name) if seen else None
        before = scaling_before(status, variant.name, only=len(variants) == 1)
        current = (found.desired_instances if found else None) or (before.desired_replicas if before else 0)
        within = max(policy.min_replicas, min(current, policy.max_replicas))
        # In the other modes the number is somebody else's to say.
        out[variant.name] = current if current and policy.mode != "Auto" else within
    return out


def changes(variants: Sequence[WantedVariant], seen: Seen, *, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """DesiredWeightsAndCapacities of all variants whose weight or count isn't yet asked for."""
    out: list[dict[str, Any]] = []
    for variant in variants:
        found = seen.variant(variant.name)
        if found is None:
            continue
        entry: dict[str, Any] = {}
        # AWS keeps weights as 32-bit floats. Of a single variant it means nothing.
        same = found.desired_weight is None or isclose(found.desired_weight, variant.weight, rel_tol=1e-5)
        if len(seen.variants) > 1 and not same:
            entry["DesiredWeight"] = variant.weight
        count = counts.get(variant.name)
        if count is not None and not found.serverless and found.desired_instances != count:
            entry["DesiredInstanceCount"] = count
        if entry:
            # Both, always: what is left out may be taken as unset.
            entry.setdefault("DesiredWeight", variant.weight)
            out.append({"VariantName": variant.name, **entry})
    return out


def is_growth(asked: Sequence[Mapping[str, Any]], seen: Seen) -> bool:
    """Whether AWS must find more instances for it."""
    found = {each.name: each.desired_instances or 0 for each in seen.variants}
    return any(entry.get("DesiredInstanceCount", 0) > found[entry["VariantName"]] for entry in asked)


def usage(seen: Seen | None, types: Mapping[str, str]) -> dict[str, int]:
    """Instances by type, of both fleets where there are two: what is paid for."""
    out: dict[str, int] = {}
    if seen is None or seen.status == FAILED:
        return out
    running = [(each, each.current_instances) for each in seen.variants]
    if seen.pending_config != seen.config:  # else it is the same fleet, such as that of a creation
        # The second one is paid for from its launch, before it counts as running.
        running += [(each, each.current_instances or each.desired_instances) for each in seen.pending_variants]
    for variant, count in running:
        kind = variant.instance_type or types.get(variant.name)
        if variant.serverless:
            out[SERVERLESS] = out.get(SERVERLESS, 0) + 1
        elif kind and count:
            out[kind] = out.get(kind, 0) + count
    return out


def variant_statuses(
    seen: Seen | None, *, types: Mapping[str, str], scaling: Mapping[str, ScalingStatus]
) -> list[VariantStatus]:
    """The variants as AWS describes them."""
    return [_status(each, types.get(each.name), scaling.get(each.name)) for each in (seen.variants if seen else ())]


def _status(found: SeenVariant, kind: str | None, scaling: ScalingStatus | None) -> VariantStatus:
    return VariantStatus(
        name=found.name,
        instance_type=None if found.serverless else (found.instance_type or kind),
        current_instances=found.current_instances,
        desired_instances=found.desired_instances,
        current_weight=found.current_weight,
        desired_weight=found.desired_weight,
        status=found.status,
        scaling=scaling,
    )


def scaling_statuses(
    variants: Sequence[WantedVariant],
    made: Mapping[str, Decision],
    *,
    status: ModelEndpointStatus,
    knowledge: Mapping[str, Knowledge],
    now: datetime,
) -> dict[str, ScalingStatus]:
    """What status says of each variant that our own policy scales."""
    only = len(variants) == 1
    policies = scaled_by(variants, OWN_ENGINE)
    return {
        name: status_of(
            decision,
            previous=scaling_before(status, name, only=only),
            policy=policies[name],
            knowledge=knowledge.get(name) or Knowledge(),
            now=now,
        )
        for name, decision in made.items()
    }


def leaving(current: Mapping[str, str | None], *, wanted: Mapping[str, str | None]) -> Collection[str]:
    """Variants that change their instance type or go, by what the configuration in force and the desired one say."""
    return sorted(name for name, kind in current.items() if name not in wanted or wanted[name] != kind)
