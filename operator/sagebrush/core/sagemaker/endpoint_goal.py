"""Which revision an endpoint should serve: the spec's, a pinned one, or the one before while the spec's model is awaited. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from sagebrush.api.model_endpoint import ModelEndpointSpec, ModelEndpointStatus, ServedModel
from sagebrush.api.sagemaker_hosting import Revision
from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.model_source import Finding, ResolvedModel, SourceJob, resolve
from sagebrush.core.plan import SpecError
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_refill import fillings, jobs_in_words
from sagebrush.core.sagemaker.endpoint_request import (
    Content,
    ServedBy,
    WantedVariant,
    account_for,
    content_of,
    hosting_of,
    served_by,
    served_model,
    variants_of,
)


@dataclass(frozen=True, slots=True)
class Goal:
    """The revision that should serve, and how."""

    revision: str
    config_name: str
    models: tuple[str, ...]
    variants: tuple[WantedVariant, ...]
    content: Content | None
    """What to create where it is absent; None for a revision that can't be made anew from the spec."""
    model: ServedModel | None
    waiting: Finding | None = None
    """What the spec's own revision waits for, while this one serves."""


def goal_of(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    jobs: Mapping[str, SourceJob],
    *,
    defaults: AwsDefaults,
) -> Goal | Finding:
    """
    The revision to serve, or what it waits for where there is none yet. *jobs*: the TrainingJobs referred to, by name.

    Raises SpecError for a spec that SageMaker can't serve.
    """
    pin = hosting_of(spec).revision
    if pin is not None:
        return _pinned(meta, spec, status, jobs, pin=pin, defaults=defaults)
    return _from_spec(meta, spec, status, jobs, defaults=defaults)


def _pinned(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    jobs: Mapping[str, SourceJob],
    *,
    pin: str,
    defaults: AwsDefaults,
) -> Goal:
    try:
        found: Goal | Finding | None = _from_spec(meta, spec, status, jobs, defaults=defaults)
    except SpecError:  # perhaps the very reason for going back
        found = None
    if isinstance(found, Goal) and found.revision == pin:
        return found
    kept = next((each for each in status.revisions if each.revision == pin), None)
    return _kept(meta, spec, status, pin=pin, kept=kept)


def _kept(meta: Meta, spec: ModelEndpointSpec, status: ModelEndpointStatus, *, pin: str, kept: Revision | None) -> Goal:
    name = kept.endpoint_config if kept else identity.name_of_revision(meta, pin)
    model = status.model if status.revision == pin else None
    if model is None and kept and kept.images:
        model = ServedModel(uri=next(iter(kept.artifacts), None), image=kept.images[0])
    return Goal(pin, name, tuple(kept.models) if kept else (), variants_of(spec), None, model)


def _from_spec(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    jobs: Mapping[str, SourceJob],
    *,
    defaults: AwsDefaults,
) -> Goal | Finding:
    region = account_for(meta, spec, status, defaults=defaults).region
    serving: dict[str, ServedBy] = {}
    waits: dict[str, Finding] = {}
    for variant in variants_of(spec):
        reference = variant.model.training_job_ref
        job = jobs.get(reference.name) if reference else None
        found = resolve(variant.model, job)
        if isinstance(found, ResolvedModel):
            serving[variant.name] = served_by(variant.model, found, job, region=region, defaults=defaults)
        else:
            waits[variant.name] = found
    if not waits:
        return _goal(meta, spec, status, serving, defaults=defaults)
    return _while_waiting(meta, spec, status, serving, waits=waits, defaults=defaults)


def _goal(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    serving: Mapping[str, ServedBy],
    *,
    defaults: AwsDefaults,
    waiting: Finding | None = None,
) -> Goal:
    content = content_of(meta, spec, serving, defaults=defaults)
    pinned = status.model if status.revision == content.revision else None
    return Goal(
        revision=content.revision,
        config_name=content.config_name,
        models=tuple(model.name for model in content.models),
        variants=variants_of(spec),
        content=content,
        model=pinned or served_model(spec, serving),
        waiting=waiting,
    )


def _while_waiting(
    meta: Meta,
    spec: ModelEndpointSpec,
    status: ModelEndpointStatus,
    serving: Mapping[str, ServedBy],
    *,
    waits: Mapping[str, Finding],
    defaults: AwsDefaults,
) -> Goal | Finding:
    """
    While the wanted model isn't there, what serves goes on serving. A TrainingJob that was deleted after its model was
    taken is no loss: jobs are cleaned up.
    """
    waiting = next(iter(waits.values()))
    kept = next((each for each in status.revisions if each.revision == status.revision), None)
    if all(each.reason is Reason.TRAINING_JOB_NOT_FOUND for each in waits.values()):
        more = fillings(meta, spec, kept, serving, defaults=defaults) if kept else ()
        for filled in chain(_as_told(spec, status, serving), more):
            goal = _goal(meta, spec, status, filled, defaults=defaults)
            if goal.revision == status.revision:
                text = f"{jobs_in_words(spec, waits)} gone, and what was trained goes on serving"
                return replace(goal, waiting=Finding(Reason.SERVING, text, Outlook.DONE))
    if kept is None:
        return waiting
    return replace(_kept(meta, spec, status, pin=kept.revision, kept=kept), waiting=waiting)


def _as_told(
    spec: ModelEndpointSpec, status: ModelEndpointStatus, serving: Mapping[str, ServedBy]
) -> Iterator[Mapping[str, ServedBy]]:
    """What serves with the model that status tells of, where that is all that is wanting."""
    told = status.model
    if told is None:
        return
    # The image stands in the revision's hash as it is, without its tag, or not at all.
    for mark in (told.image, told.image.rpartition(":")[0], None):
        filled = dict(serving)
        for variant in variants_of(spec):
            reference = variant.model.training_job_ref
            if reference and reference.name == told.training_job:
                filled.setdefault(variant.name, ServedBy(told.uri, told.image, mark))
        if len(filled) == len(variants_of(spec)):
            yield filled
