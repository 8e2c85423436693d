"""The models and the configurations that an endpoint needs: what is missing, and what stands in the way. Pure.

That is the desired revision's, and the configuration that serves: AWS deletes one in use without a word, and then can
neither update the endpoint nor patch it. Both have names made of their content, so that what is made again is the same.
"""

from collections.abc import Mapping, Sequence

from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.model_source import Finding
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.calls import Call
from sagebrush.core.sagemaker.endpoint_case import Case, Observed, models_kept
from sagebrush.core.sagemaker.endpoint_goal import Goal
from sagebrush.core.sagemaker.endpoint_request import Content
from sagebrush.core.sagemaker.endpoint_revisions import content_kept
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
    gone = [f"model {name}" for name in goal.models if goal.content is None and inventory.models.get(name) is None]
    if inventory.configs.get(goal.config_name) is None and _content_of(case, goal, goal.config_name) is None:
        gone.append(f"endpoint configuration {goal.config_name}")
    return _no_more(case, goal, gone) if gone else _serving_is_lost(case, observed, goal)


def _no_more(case: Case, goal: Goal, gone: list[str]) -> Finding:
    """A revision that is only remembered, and of which AWS lacks what we can't make."""
    what = " and no ".join(gone)
    if case.hosting.revision is None:
        text = (
            f"revision {goal.revision} can't be made anew, since SageMaker has no {what} any more; "
            "give spec.model a model that is there"
        )
        return Finding(Reason.REVISION_NOT_FOUND, text, Outlook.STALLED)
    legal = ", ".join(each.revision for each in case.status.revisions if each.revision != goal.revision)
    text = (
        f"spec.sageMaker.revision: {goal.revision} can't be had, since SageMaker has no {what}, and what it said isn't "
        "known; "
        + (f"name one of {legal}, or remove it" if legal else "no other revision is kept: remove it")
        + " to serve what the spec says"
    )
    return Finding(Reason.REVISION_NOT_FOUND, text, Outlook.STALLED)


def _serving_is_lost(case: Case, observed: Observed, goal: Goal) -> Finding | None:
    """The configuration that serves was deleted, and can't be made again: AWS takes no update."""
    config = case.seen.config if case.seen else ""
    if not _is_absent(observed.inventory.configs, config):
        return None
    made = {model.name for model in goal.content.models} if goal.content else set()
    gone = [
        f"model {name}"
        for name in sorted(models_kept(case.status, config) - made)
        if _is_absent(observed.inventory.models, name)
    ]
    if not gone and _content_of(case, goal, config) is not None:
        return None
    why = f"SageMaker has no {' and no '.join(gone)} either" if gone else "what it said isn't known any more"
    lost = f"somebody deleted endpoint configuration {config}, which serves and without which SageMaker takes no update"
    mend = "apply the spec that serves and wait until it is Serving, or delete this ModelEndpoint and create it anew"
    return Finding(Reason.REVISION_NOT_FOUND, f"{lost}; {why}: {mend}", Outlook.STALLED)


def missing(case: Case, observed: Observed, goal: Goal) -> tuple[Call, ...]:
    """
    The calls that make what was looked for and isn't there. Only a later pass, which sees all of it, goes on:
    CreateEndpoint reads the configuration eventually consistently (API reference, CreateEndpoint).
    """
    inventory, caller = observed.inventory, case.caller()
    models = goal.content.models if goal.content else ()
    absent = [each for each in models if _is_absent(inventory.models, each.name)]
    calls = [caller.call("CreateModel", each.parameters) for each in absent]
    for name in dict.fromkeys((goal.config_name, case.seen.config if case.seen else "")):
        content = _content_of(case, goal, name) if _is_absent(inventory.configs, name) else None
        if content is not None:
            tags = identity.tags(
                case.meta, cluster_id=case.defaults.cluster_id, users=case.hosting.tags, revision=content.revision
            )
            counts, weights = _numbers(case, goal, content)
            calls.append(caller.create_config(content, counts=counts, weights=weights, tags=tags))
    return tuple(calls)


def named(calls: Sequence[Call]) -> str:
    """What these calls make, in words."""
    names = (call.parameters.get("ModelName") or call.parameters.get("EndpointConfigName") for call in calls)
    return ", ".join(map(str, names))


def _is_absent(things: Mapping[str, object], name: str) -> bool:
    """Whether it was looked for in vain."""
    return name in things and things[name] is None


def _content_of(case: Case, goal: Goal, config: str) -> Content | None:
    """What this configuration says: the spec tells, or status remembers; None where nobody does."""
    if goal.content and goal.content.config_name == config:
        return goal.content
    kept = next((each for each in case.status.revisions if each.endpoint_config == config), None)
    return content_kept(kept) if kept else None


def _numbers(case: Case, goal: Goal, content: Content) -> tuple[dict[str, int], dict[str, float]]:
    """Count and weight of each variant to begin with: the spec's, or what a variant has that the spec doesn't name."""
    counts = initial_counts(goal.variants, seen=case.seen, status=case.status)
    weights = {each.name: each.weight for each in goal.variants}
    for name in content.model_of:
        found = case.seen.variant(name) if case.seen else None
        counts.setdefault(name, (found.desired_instances if found else None) or 1)
        weights.setdefault(name, found.desired_weight if found and found.desired_weight is not None else 1.0)
    return counts, weights
