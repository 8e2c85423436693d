"""The models and the configuration that a revision needs: what is missing, and what stands in the way. Pure."""

from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.model_source import Finding
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.endpoint_case import Case, Observed
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_variants import initial_counts


def problem_with(case: Case, observed: Observed, goal: Goal) -> Finding | None:
    """Why the revision can't be had: a name that is somebody else's, or a revision that is no more."""
    inventory = observed.inventory
    named = [("model", name, inventory.models.get(name)) for name in goal.models]
    named.append(("endpoint configuration", goal.config_name, inventory.configs.get(goal.config_name)))
    for what, name, found in named:
        if found is not None and not identity.is_ours(found, case.meta):
            text = f"SageMaker has a {what} {name}, and {identity.owner_in_words(found)}; delete it"
            return Finding(Reason.NAME_CONFLICT, text, Outlook.STALLED)
    if observed.missing_artifacts:
        text = f"nothing found at {', '.join(observed.missing_artifacts)}; put the model there, or correct spec.model"
        return Finding(Reason.DOWNLOAD_FAILED, text)
    gone = [f"{what} {name}" for what, name, found in named if found is None]
    if goal.content is not None or not gone:
        return None
    legal = ", ".join(each.revision for each in case.status.revisions if each.revision != goal.revision)
    text = (
        f"spec.sageMaker.revision: {goal.revision} can't be had, since SageMaker has no {' and no '.join(gone)}; "
        + (f"one of {legal}, or remove it" if legal else "no other revision is kept: remove it")
        + " to serve what the spec says"
    )
    return Finding(Reason.REVISION_NOT_FOUND, text, Outlook.STALLED)


def missing(case: Case, observed: Observed, goal: Goal) -> tuple[Call, ...]:
    """
    The calls that make what isn't there. Only a later pass, which sees all of it, goes on: CreateEndpoint reads the
    configuration eventually consistently (API reference, CreateEndpoint).
    """
    content, caller = goal.content, case.caller()
    if content is None:
        return ()
    absent = [each for each in content.models if observed.inventory.models.get(each.name) is None]
    calls = [caller.call("CreateModel", each.parameters) for each in absent]
    if observed.inventory.configs.get(content.config_name) is None:
        tags = identity.tags(
            case.meta, cluster_id=case.defaults.cluster_id, users=case.hosting.tags, revision=content.revision
        )
        counts = initial_counts(goal.variants, seen=case.seen, status=case.status)
        weights = {each.name: each.weight for each in goal.variants}
        calls.append(caller.create_config(content, counts=counts, weights=weights, tags=tags))
    return tuple(calls)
