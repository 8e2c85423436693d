"""ModelEndpoint on SageMaker: what is wanted and what AWS shows → what to call and what to report. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus
from sagebrush.api.sagemaker_hosting import Revision, UpdateAttempt
from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.model_source import Finding
from sagebrush.core.plan import Action
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.autoscaling import released
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_case import Case, Observed, case_of, types_in
from sagebrush.core.sagemaker.endpoint_deletion import reconcile_deletion
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_report import EndpointPlan, Outcome, finalizer_action, report
from sagebrush.core.sagemaker.endpoint_revisions import in_use, marked, recorded, recovered
from sagebrush.core.sagemaker.endpoint_service import scale_meanwhile, serve
from sagebrush.core.sagemaker.endpoint_state import IN_SERVICE, SERVING, Seen, Step, Verdict
from sagebrush.core.sagemaker.endpoint_things import missing, problem_with
from sagebrush.core.sagemaker.endpoint_variants import decisions, held, histories_before, leaving
from sagebrush.core.sagemaker.endpoint_words import failed, of_state, rolled_back
from sagebrush.core.scaling.policy import Decision

CONFLICT_LOOK_AGAIN = timedelta(seconds=30)


def reconcile(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    observed: Observed,
    *,
    defaults: AwsDefaults,
    now: datetime,
) -> EndpointPlan:
    """The next step of a ModelEndpoint on SageMaker. Raises SpecError for a spec that it can't serve."""
    if meta.deleting:
        return reconcile_deletion(meta, spec, status, observed, defaults=defaults, now=now)
    case = case_of(meta, spec, status, observed, defaults=defaults, now=now)
    if case.foreign is not None and not (case.was_just_created and identity.UID_TAG not in case.foreign.tags):
        name, owner = case.foreign.body["EndpointName"], identity.owner_in_words(case.foreign)
        text = f"SageMaker has an endpoint {name}, and {owner}; delete it, or give spec.sageMaker.name another value"
        return _report(case, observed, _conflict(case, text))
    goal = case.goal
    if isinstance(goal, Finding):
        kept = "; the previous model goes on serving" if case.seen and case.seen.status in SERVING else ""
        waiting = Finding(goal.reason, f"{goal.message}{kept}", goal.outlook)
        return _report(case, observed, _outcome(case, waiting, requeue=defaults.polling.steady))
    return _report(case, observed, _awaited(goal, _next(case, observed, goal)))


def _next(case: Case, observed: Observed, goal: Goal) -> Outcome:
    """What follows for a revision that is known."""
    made = decisions(
        goal.variants,
        seen=case.seen,
        status=case.status,
        readings=observed.readings,
        histories=observed.histories,
        now=case.now,
    )
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
            base=_outcome(
                case, Finding(Reason.SERVING, ""), goal=goal, revisions=_with_recovered(case, observed, goal)
            ),
        )
    else:
        outcome = _STEPS[found.step](case, observed, goal, seen, found)
        if found.step in (Step.UPDATE_LATER, Step.ROLLED_BACK) and seen.status == IN_SERVICE:
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
        return _outcome(case, Finding(Reason.CREATING, text), requeue=active, goal=goal, word="Creating")
    wrong = problem_with(case, observed, goal)
    if wrong:
        return _refused(case, wrong)
    calls = missing(case, observed, goal)
    soon = case.defaults.polling.after_change
    if calls:
        text = f"making {_named(calls)}; the endpoint follows"
        return _outcome(case, Finding(Reason.CREATING, text), requeue=soon, goal=goal, actions=calls)
    text = f"creating endpoint {case.name} with endpoint configuration {goal.config_name}"
    return _outcome(
        case,
        Finding(Reason.CREATING, text),
        requeue=soon,
        goal=goal,
        actions=(case.caller().create_endpoint(goal.config_name),),
        revisions=_with_recovered(case, observed, goal),
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
        text = f"making {_named(calls)}; the update of the endpoint follows"
        return _outcome(case, Finding(Reason.UPDATING, text), requeue=soon, goal=goal, actions=calls)
    text = f"updating endpoint {case.name} from endpoint configuration {seen.config} to {goal.config_name}"
    attempts = 1 if found.afresh or case.last is None else case.last.attempts + 1
    return _outcome(
        case,
        Finding(Reason.UPDATING, text),
        requeue=soon,
        goal=goal,
        actions=(*_released(case, observed, goal, seen), case.caller().update_endpoint(goal.config_name)),
        revisions=_with_recovered(case, observed, goal),
        last=case.attempt(goal.config_name, attempts=attempts),
    )


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
    return _outcome(
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
    return _outcome(case, finding, requeue=_until(case, found), goal=goal)


def _rolled_back(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:  # noqa: ARG001
    """The last update failed: tried again later, or not before the spec changes."""
    finding, last = rolled_back(case, seen, found)
    return _outcome(case, finding, requeue=_until(case, found), goal=goal, last=last)


def _wait(case: Case, observed: Observed, goal: Goal, seen: Seen, found: Verdict) -> Outcome:  # noqa: ARG001
    """AWS takes no change now: nothing is called."""
    return _outcome(case, of_state(case, goal, seen), requeue=case.defaults.polling.active, goal=goal)


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


def _named(calls: tuple[Call, ...]) -> str:
    names = (call.parameters.get("ModelName") or call.parameters.get("EndpointConfigName") for call in calls)
    return ", ".join(map(str, names))


def _conflict(case: Case, text: str) -> Outcome:
    return _outcome(case, Finding(Reason.NAME_CONFLICT, text, Outlook.STALLED), requeue=CONFLICT_LOOK_AGAIN)


def _refused(case: Case, finding: Finding) -> Outcome:
    steady = case.defaults.polling.steady
    return _outcome(case, finding, requeue=CONFLICT_LOOK_AGAIN if finding.reason is Reason.NAME_CONFLICT else steady)


def _with_recovered(case: Case, observed: Observed, goal: Goal) -> list[Revision]:
    """The revisions, with the goal's, though it be found in AWS only."""
    known = list(case.status.revisions)
    config = observed.inventory.configs.get(goal.config_name)
    if goal.content is not None:
        return recorded(known, goal.content, now=case.now)
    if config is None or any(each.endpoint_config == goal.config_name for each in known):
        return known
    return sorted([*known, recovered(goal.revision, config)], key=lambda each: each.created)


def _outcome(
    case: Case,
    finding: Finding,
    *,
    requeue: timedelta = timedelta(0),
    goal: Goal | None = None,
    actions: tuple[Action, ...] = (),
    revisions: list[Revision] | None = None,
    last: UpdateAttempt | None = None,
    recreations: int | None = None,
    word: str | None = None,
) -> Outcome:
    """The outcome with what every one has: the revisions in order, the facts that status remembers."""
    last = last or case.last
    makes = any(isinstance(each, Call) and each.operation == "CreateEndpointConfig" for each in actions)
    kept = list(case.status.revisions) if revisions is None else revisions
    if goal and goal.content and makes:
        kept = recorded(kept, goal.content, now=case.now)
    if goal:
        protected = in_use(case.seen, desired=goal.config_name, last=last)
        kept = marked(kept, protected=protected, limit=case.hosting.revision_history_limit, now=case.now)
    return Outcome(
        finding,
        requeue,
        actions,
        last=last,
        recreations=case.before.recreations if recreations is None else recreations,
        revisions=kept,
        aws_scales=case.aws_scaled,
        status_word=word,
    )


def _awaited(goal: Goal, outcome: Outcome) -> Outcome:
    """What to say while this revision serves because the spec's own isn't there."""
    waiting, finding = goal.waiting, outcome.finding
    if waiting is None:
        return outcome
    if finding.outlook is not Outlook.DONE:
        text = f"{waiting.message}; the previous model: {finding.message}"
        return replace(outcome, finding=Finding(finding.reason, text, finding.outlook))
    if waiting.outlook is Outlook.DONE:
        return replace(outcome, finding=Finding(finding.reason, f"{finding.message}; {waiting.message}", Outlook.DONE))
    text = f"{waiting.message}; the previous model goes on serving"
    return replace(outcome, finding=Finding(waiting.reason, text, waiting.outlook))


def _report(case: Case, observed: Observed, outcome: Outcome) -> EndpointPlan:
    calls = any(isinstance(each, Call) for each in outcome.actions)
    if (calls or case.seen is not None) and not observed.finalizer:
        outcome = replace(outcome, actions=(finalizer_action(case.meta, on=True), *outcome.actions))
    return report(
        case.meta,
        case.status,
        outcome,
        goal=None if isinstance(case.goal, Finding) else case.goal,
        seen=case.seen,
        endpoint=case.name,
        region=case.account.region,
        types=case.types(observed.inventory),
        defaults=case.defaults,
        now=case.now,
    )
