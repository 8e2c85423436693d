"""Outcomes of one pass over an endpoint: what every one has, and how it is reported. Pure."""

from dataclasses import replace
from datetime import timedelta

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.sagemaker_hosting import Revision, UpdateAttempt
from sagebrush.core.conditions import Outlook
from sagebrush.core.model_source import Finding
from sagebrush.core.plan import Action, Plan
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.endpoint_case import Case, Observed
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_report import Outcome, finalizer_action, report
from sagebrush.core.sagemaker.endpoint_revisions import in_use, marked, recorded, recovered


def with_recovered(case: Case, observed: Observed, goal: Goal) -> list[Revision]:
    """The revisions, with the goal's, though it be found in AWS only."""
    known = list(case.status.revisions)
    config = observed.inventory.configs.get(goal.config_name)
    if goal.content is not None:
        return recorded(known, goal.content, now=case.now)
    if config is None or any(each.endpoint_config == goal.config_name for each in known):
        return known
    return sorted([*known, recovered(goal.revision, config)], key=lambda each: each.created)


def outcome_of(
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


def awaited(goal: Goal, outcome: Outcome) -> Outcome:
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


def reported(case: Case, observed: Observed, outcome: Outcome) -> Plan[ModelEndpointStatus]:
    """The plan; the finalizer goes on before the first call that changes something, or once there is an endpoint."""
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
        knowledge=observed.knowledge,
        defaults=case.defaults,
        now=case.now,
    )
