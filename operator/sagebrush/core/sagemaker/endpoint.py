"""ModelEndpoint on SageMaker: what is wanted and what AWS shows → what to call and what to report. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.core.conditions import READY, Outlook, Reason, find
from sagebrush.core.model_source import Finding
from sagebrush.core.plan import Plan
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.autoscaling import released
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_case import Case, Observed, case_of, types_in
from sagebrush.core.sagemaker.endpoint_deletion import reconcile_deletion
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_outcome import awaited, outcome_of, reported, with_recovered
from sagebrush.core.sagemaker.endpoint_report import Outcome
from sagebrush.core.sagemaker.endpoint_service import scale_meanwhile, serve
from sagebrush.core.sagemaker.endpoint_state import IN_SERVICE, SERVING, Seen, Step, Verdict
from sagebrush.core.sagemaker.endpoint_things import missing, named, problem_with
from sagebrush.core.sagemaker.endpoint_variants import decisions, held, histories_before, leaving
from sagebrush.core.sagemaker.endpoint_words import failed, of_state, rolled_back
from sagebrush.core.scaling.decision import Decision

CONFLICT_LOOK_AGAIN = timedelta(seconds=30)


def reconcile(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    defaults: AwsDefaults,
    now: datetime,
) -> Plan[ModelEndpointStatus]:
    """The next step of a ModelEndpoint on SageMaker. Raises SpecError for a spec that it can't serve."""
    if meta.deleting:
        return reconcile_deletion(meta, spec, status, observed, defaults=defaults, now=now)
    case = case_of(meta, spec, status, observed, defaults=defaults, now=now)
    if case.foreign is not None and not (case.was_just_created and identity.UID_TAG not in case.foreign.tags):
        name, owner = case.foreign.body["EndpointName"], identity.owner_in_words(case.foreign)
        text = f"SageMaker has an endpoint {name}, and {owner}; delete it, or give spec.sageMaker.name another value"
        return reported(case, observed, _conflict(case, text))
    goal = case.goal
    if isinstance(goal, Finding):
        kept = "; the previous model goes on serving" if case.seen and case.seen.status in SERVING else ""
        waiting = Finding(goal.reason, f"{goal.message}{kept}", goal.outlook)
        return reported(case, observed, outcome_of(case, waiting, requeue=defaults.polling.steady))
    return reported(case, observed, awaited(goal, _next(case, observed, goal)))


def go_on(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    defaults: AwsDefaults,
    now: datetime,
) -> Plan[ModelEndpointStatus] | None:
    """
    The next step while the spec is refused: what serves is observed and scaled on; the refusal stays what is told.

    None where nothing serves. Raises SpecError for a spec that can't be read.
    """
    case = case_of(meta, spec, status, observed, defaults=defaults, now=now)
    goal, before = case.goal, find(status.conditions, READY)
    if isinstance(goal, Finding) or case.seen is None or before is None or case.seen.status not in SERVING:
        return None
    told = Finding(Reason.INVALID_SPEC, before.message, Outlook.STALLED)
    base = outcome_of(case, told, requeue=defaults.polling.active)
    made = _decided(case, observed, goal)
    if case.seen.status == IN_SERVICE:
        steady = replace(base, requeue=defaults.polling.steady)
        return reported(case, observed, scale_meanwhile(case, observed, goal, made, base=steady))
    busy = replace(base, decisions=_all_held(case, observed, goal, made, why=f"the endpoint is {case.seen.status}"))
    return reported(case, observed, busy)


def _decided(case: Case, observed: Observed, goal: Goal) -> dict[str, Decision]:
    return decisions(
        goal.variants,
        seen=case.seen,
        status=case.status,
        facts=observed.scaling,
        now=case.now,
    )


def _next(case: Case, observed: Observed, goal: Goal) -> Outcome:
    """What follows for a revision that is known."""
    made = _decided(case, observed, goal)
    seen, found = case.seen, case.verdict
    if seen is None or found is None:
        outcome = _create(case, observed, goal)
        why = "the endpoint is not there yet"
    elif found.step is Step.SERVE:
        return serve(
            case,
            observed,
            goal,
            made,
            base=outcome_of(
                case, Finding(Reason.SERVING, ""), goal=goal, revisions=with_recovered(case, observed, goal)
            ),
        )
    else:
        outcome = _STEPS[found.step](case, observed, goal, seen, found)
        waits = not any(isinstance(each, Call) for each in outcome.actions)
        if found.step in (Step.UPDATE, Step.UPDATE_LATER, Step.ROLLED_BACK) and seen.status == IN_SERVICE and waits:
            return scale_meanwhile(case, observed, goal, made, base=outcome)
        why = "another revision serves" if seen.status == IN_SERVICE else f"the endpoint is {seen.status}"
    return replace(outcome, decisions=_all_held(case, observed, goal, made, why=why))


def _all_held(
    case: Case, observed: Observed, goal: Goal, made: Mapping[str, Decision], *, why: str
) -> dict[str, Decision]:
    before = histories_before(goal.variants, status=case.status, histories=observed.histories)
    return {name: held(decision, before=before[name], message=why) for name, decision in made.items()}


def _create(case: Case, observed: Observed, goal: Goal) -> Outcome:
    """There is no endpoint: its models and configuration, and when those are seen, itself."""
    active = case.defaults.polling.active
    if case.was_just_created:
        text = f"endpoint {case.name} was asked for; SageMaker doesn't show it yet"
        return outcome_of(case, Finding(Reason.CREATING, text), requeue=active, goal=goal, word="Creating")
    wrong = problem_with(case, observed, goal)
    if wrong:
        return _refused(case, wrong)
    calls = missing(case, observed, goal)
    soon = case.defaults.polling.after_change
    if calls:
        text = f"making {named(calls)}; the endpoint follows"
        return outcome_of(case, Finding(Reason.CREATING, text), requeue=soon, goal=goal, actions=calls)
    text = f"creating endpoint {case.name} with endpoint configuration {goal.config_name}"
    return outcome_of(
        case,
        Finding(Reason.CREATING, text),
        requeue=soon,
        goal=goal,
        actions=(case.caller().create_endpoint(goal.config_name),),
        revisions=with_recovered(case, observed, goal),
        last=case.attempt(goal.config_name, attempts=1),
        word="Creating",
    )


def _update(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:
    """Another revision serves: what the desired one needs, and when that is seen, the update."""
    wrong = problem_with(case, observed, goal)
    if wrong:
        return _refused(case, wrong)
    soon = case.defaults.polling.after_change
    calls = missing(case, observed, goal)
    if calls:
        text = f"making {named(calls)}; the update of the endpoint follows"
        return outcome_of(case, Finding(Reason.UPDATING, text), requeue=soon, goal=goal, actions=calls)
    text = f"updating endpoint {case.name} from endpoint configuration {seen.config} to {goal.config_name}"
    attempts = 1 if found.afresh or case.last is None else case.last.attempts + 1
    released_first = _released(case, observed, goal, seen)
    outcome = outcome_of(
        case,
        Finding(Reason.UPDATING, text),
        requeue=soon,
        goal=goal,
        actions=(*released_first, case.caller().update_endpoint(goal.config_name)),
        revisions=with_recovered(case, observed, goal),
        last=case.attempt(goal.config_name, attempts=attempts),
    )
    return replace(outcome, registered=False) if released_first else outcome


def _released(case: Case, observed: Observed, goal: Goal, seen: Seen) -> tuple[Call, ...]:
    """
    AWS refuses an update that removes a variant that Application Auto Scaling knows, or changes its instance type: it is
    registered again when the endpoint is InService (developer guide, "Update or delete endpoints that use autoscaling").
    """
    if observed.registered is None:
        return ()
    current, desired = (observed.inventory.configs.get(name) for name in (seen.config, goal.config_name))
    variants = None
    if current and desired:
        before = types_in(current)
        names = {each.name: before.get(each.name) for each in seen.variants}
        variants = leaving(names, wanted=types_in(desired))
        if not variants:
            return ()
    return released(case.name, account=case.account, variants=variants, registered=observed.registered)


def _recreate(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:
    """It can only be deleted; the next pass that sees none makes it anew."""
    calls: tuple[Call, ...] = (case.caller().delete_endpoint(),)
    if observed.registered is not None:
        calls = (*released(case.name, account=case.account, variants=None, registered=observed.registered), *calls)
    return outcome_of(
        case,
        failed(case, seen, found, log_tail=observed.log_tail),
        requeue=case.defaults.polling.after_change,
        goal=goal,
        actions=calls,
        recreations=0 if found.afresh else case.before.recreations + 1,
        word="Deleting",
    )


def _failed(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:
    """Deleted later, or given up."""
    finding = failed(case, seen, found, log_tail=observed.log_tail)
    return outcome_of(case, finding, requeue=_until(case, found), goal=goal)


def _rolled_back(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:  # noqa: ARG001
    """The last update failed: tried again later, or not before the spec changes."""
    finding, last = rolled_back(case, seen, found)
    return outcome_of(case, finding, requeue=_until(case, found), goal=goal, last=last)


def _wait(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:  # noqa: ARG001
    """AWS takes no change now: nothing is called."""
    return outcome_of(case, of_state(case, goal, seen), requeue=case.defaults.polling.active, goal=goal)


_Act = Callable[[Case, Observed, Goal, Seen, Verdict], Outcome]
_STEPS: Mapping[Step, _Act] = {
    Step.WAIT: _wait,
    Step.UPDATE: _update,
    Step.UPDATE_LATER: _rolled_back,
    Step.ROLLED_BACK: _rolled_back,
    Step.RECREATE: _recreate,
    Step.RECREATE_LATER: _failed,
    Step.GIVEN_UP: _failed,
}


def _until(case: Case, found: Verdict) -> timedelta:
    polling = case.defaults.polling
    if found.until is None:
        return polling.steady
    return max(polling.after_change, min(found.until - case.now, polling.steady))


def _conflict(case: Case, text: str) -> Outcome:
    return outcome_of(case, Finding(Reason.NAME_CONFLICT, text, Outlook.STALLED), requeue=CONFLICT_LOOK_AGAIN)


def _refused(case: Case, finding: Finding) -> Outcome:
    steady = case.defaults.polling.steady
    return outcome_of(case, finding, requeue=CONFLICT_LOOK_AGAIN if finding.reason is Reason.NAME_CONFLICT else steady)
