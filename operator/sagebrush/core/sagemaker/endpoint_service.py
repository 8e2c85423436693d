"""An endpoint that serves the desired revision: counts, weights, scaling, and old revisions. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.model_source import Finding
from sagebrush.core.sagemaker.autoscaling import in_step, released
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.endpoint_case import Case, Observed
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_report import Outcome, stamp
from sagebrush.core.sagemaker.endpoint_revisions import collected, due, in_use, marked, newest, ours
from sagebrush.core.sagemaker.endpoint_state import CAPACITY_WAIT, Seen, is_capacity
from sagebrush.core.sagemaker.endpoint_things import missing, named
from sagebrush.core.sagemaker.endpoint_variants import (
    AWS_ENGINE,
    changes,
    held,
    histories_before,
    is_growth,
    scaled_by,
    wanted_counts,
)
from sagebrush.core.scaling.policy import Decision


def serve(case: Case, observed: Observed, goal: Goal, made: Mapping[str, Decision], *, base: Outcome) -> Outcome:
    """*base* with what this state asks for. The attempt has succeeded, and failures are forgotten."""
    seen = case.seen
    if seen is None:
        raise ValueError("nothing serves")
    asked = changes(goal.variants, seen, counts=wanted_counts(goal.variants, made))
    stuck = _is_stuck(case, seen, asked)
    if stuck:
        asked = []
    remade, calls = missing(case, observed, goal), _registrations(case, observed, goal)
    known = any(seen.variant(name) for name in scaled_by(goal.variants, AWS_ENGINE))
    in_step_now = case.aws_scales and known and not calls
    calls = (*remade, *calls, *_resized(case, asked))
    outcome = replace(
        base,
        finding=_finding(case, goal, seen, asked=asked, stuck=stuck, remade=remade),
        decisions=_carried_out(case, observed, goal, made, asked=asked),
        last=None,
        recreations=0,
        revisions=newest(base.revisions, goal.config_name),
        aws_scales=case.aws_scales,
        registered=in_step_now,
    )
    outcome = _collected(case, observed, goal, outcome)
    polling = case.defaults.polling
    acts = (*calls, *outcome.actions)
    return replace(outcome, actions=acts, requeue=polling.after_change if acts else polling.steady)


def scale_meanwhile(
    case: Case, observed: Observed, goal: Goal, made: Mapping[str, Decision], *, base: Outcome
) -> Outcome:
    """
    *base* of an endpoint whose update was rolled back: its traffic goes on, and so does our own scaling of the variants
    that it has. Weights are not touched, and counts that only the spec gives wait for the desired revision.
    """
    seen = case.seen
    if seen is None:
        raise ValueError("nothing serves")
    asked: list[dict[str, Any]] = []
    for name, decision in made.items():
        found = seen.variant(name)
        if found and not found.serverless and found.desired_instances != decision.replicas:
            entry = {"VariantName": name, "DesiredInstanceCount": decision.replicas}
            asked.append(entry | ({"DesiredWeight": found.desired_weight} if found.desired_weight is not None else {}))
    # What is told of is the update's failure, unless something has happened since.
    failed = base.last.failed if base.last else None
    if (failed is None or seen.modified > failed) and _is_stuck(case, seen, asked):
        asked = []
    # What was deregistered for the update that failed is registered again.
    registrations = _registrations(case, observed, goal)
    calls = (*registrations, *_resized(case, asked))
    return replace(
        base,
        actions=(*base.actions, *calls),
        decisions=_carried_out(case, observed, goal, made, asked=asked),
        registered=case.aws_scales and not registrations,
        requeue=case.defaults.polling.after_change if calls else base.requeue,
    )


def _is_stuck(case: Case, seen: Seen, asked: Sequence[Mapping[str, Any]]) -> bool:
    """Whether more instances were refused a moment ago."""
    # Not where AWS' clock is ahead of ours: it would be for ever.
    recent = seen.modified <= case.now < seen.modified + CAPACITY_WAIT
    return recent and bool(seen.failure_reason) and is_growth(asked, seen)


def _resized(case: Case, asked: Sequence[Mapping[str, Any]]) -> tuple[Call, ...]:
    if not asked:
        return ()
    parameters = {"EndpointName": case.name, "DesiredWeightsAndCapacities": list(asked)}
    return (case.caller().call("UpdateEndpointWeightsAndCapacities", parameters),)


def _registrations(case: Case, observed: Observed, goal: Goal) -> tuple[Call, ...]:
    if observed.registered is None:
        return ()
    if case.aws_scales:
        wanted = scaled_by(goal.variants, AWS_ENGINE)
        there = {name: policy for name, policy in wanted.items() if case.seen and case.seen.variant(name)}
        return in_step(case.name, account=case.account, wanted=there, registered=observed.registered, now=case.now)
    return released(case.name, account=case.account, variants=None, registered=observed.registered)


def _carried_out(
    case: Case,
    observed: Observed,
    goal: Goal,
    made: Mapping[str, Decision],
    *,
    asked: Sequence[Mapping[str, Any]],
) -> dict[str, Decision]:
    """The decisions; held where their change isn't asked for in this pass."""
    before = histories_before(goal.variants, status=case.status, histories=observed.histories)
    named = {entry["VariantName"] for entry in asked if "DesiredInstanceCount" in entry}
    why = "SageMaker takes no other number of instances at present"
    return {
        name: decision if name in named else held(decision, before=before[name], message=why)
        for name, decision in made.items()
    }


def _finding(
    case: Case, goal: Goal, seen: Seen, *, asked: Sequence[Mapping[str, Any]], stuck: bool, remade: Sequence[Call]
) -> Finding:
    counts = [each.current_instances or 0 for each in seen.variants if not each.serverless]
    wanted = [each.desired_instances or 0 for each in seen.variants if not each.serverless]
    text = f"revision {goal.revision} serves"
    if counts:
        text = f"{sum(counts)} of {sum(wanted)} instances serve revision {goal.revision}"
    if case.hosting.revision:
        text = f"{text}, which spec.sageMaker.revision asks for"
    absent = [each.name for each in goal.variants if seen.variant(each.name) is None]
    if absent:
        text = f"{text}; it has no variant {' and no '.join(absent)}: the spec's replicas and scaling of it wait"
    if remade:
        text = f"{text}; {named(remade)} was deleted in SageMaker, and is made again"
    if stuck:
        text = f"{text}; more were refused: {seen.failure_reason} Asked again at {stamp(seen.modified + CAPACITY_WAIT)}"
        # What serves is what is wanted, if less of it: Ready, as a Deployment that can't start more pods is.
        reason = Reason.CAPACITY_ERROR if is_capacity(seen.failure_reason) else Reason.UPDATE_ROLLED_BACK
        return Finding(reason, text, Outlook.DONE)
    if asked:
        text = f"{text}; asked for {'; '.join(map(_in_words, asked))}"
    return Finding(Reason.SERVING, text, Outlook.DONE)


def _in_words(entry: Mapping[str, Any]) -> str:
    parts = [f"weight {entry['DesiredWeight']:g}"]
    if "DesiredInstanceCount" in entry:
        parts.insert(0, f"{entry['DesiredInstanceCount']} instances")
    return f"{' and '.join(parts)} of variant {entry['VariantName']}"


def _collected(case: Case, observed: Observed, goal: Goal, outcome: Outcome) -> Outcome:
    """Second phase of the collection. The attempt is over, so that its configuration protects nothing any more."""
    protected = in_use(case.seen, desired=goal.config_name, last=None)
    limit = case.hosting.revision_history_limit
    revisions = marked(outcome.revisions, protected=protected, limit=limit, now=case.now)
    if not due(case.status.revisions, now=case.now):  # else all of ours was listed for it
        return replace(outcome, revisions=revisions)
    found = collected(revisions, ours(observed.inventory, case.meta), protected=protected, now=case.now)
    caller = case.caller()
    calls = [caller.delete_config(name) for name in found.configs]
    calls += [caller.delete_model(name) for name in found.models]
    return replace(outcome, revisions=found.kept, actions=tuple(calls))
