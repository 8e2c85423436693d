"""What variants serve whose TrainingJobs were deleted after their models were taken, by the revision that is kept. Pure."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice, product

from sagebrush.api.model_endpoint import ModelEndpointSpec
from sagebrush.api.sagemaker_hosting import Revision
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.endpoint_request import ServedBy, WantedVariant, hosting_of, model_for, variants_of

_MOST_TRIED = 2000
"""Ways to give the kept models to the variants; only variants that differ in nothing but their job have more than one each."""


def fillings(
    meta: Meta,
    spec: ModelEndpointSpec,
    kept: Revision,
    serving: Mapping[str, ServedBy],
    *,
    defaults: AwsDefaults,
) -> Iterator[Mapping[str, ServedBy]]:
    """
    *serving* with the models of *kept* for the variants that it lacks, in each way that their names allow.

    The caller compares the revision: one that serves the same is the one that is kept. None where the spec has changed.
    """
    variants = sorted(variants_of(spec), key=lambda each: each.name)
    options = [
        {model_for(meta, hosting_of(spec), each.model, serving[each.name], defaults=defaults).name: serving[each.name]}
        if each.name in serving
        else _options(meta, spec, each, kept, most=place + 1, defaults=defaults)
        for place, each in enumerate(variants)
    ]
    if not all(set(each) & set(kept.models) for each in options):
        return
    for names in islice(product(*options), _MOST_TRIED):
        # In the order of their first use, as content_of() lists them.
        if list(dict.fromkeys(names)) == kept.models:
            chosen = zip(variants, options, names, strict=True)
            yield {variant.name: option[name] for variant, option, name in chosen}


def _options(
    meta: Meta, spec: ModelEndpointSpec, variant: WantedVariant, kept: Revision, *, most: int, defaults: AwsDefaults
) -> dict[str, ServedBy]:
    """Models, of the first *most* kept ones, that this variant may have been served by; mostly each has one of its own."""
    out: dict[str, ServedBy] = {}
    for name, image in reversed([*zip(kept.models, kept.images, strict=False)][:most]):
        for uri in (*kept.artifacts, None):
            # The image stands in the name's hash as it is, without its tag, or not at all.
            for mark in (image, image.rpartition(":")[0], None):
                served = ServedBy(uri, image, mark)
                if model_for(meta, hosting_of(spec), variant.model, served, defaults=defaults).name == name:
                    out[name] = served
    return out


def jobs_in_words(spec: ModelEndpointSpec, variants: Collection[str]) -> str:
    """The TrainingJobs of these variants, as the beginning of a sentence."""
    references = (each.model.training_job_ref for each in variants_of(spec) if each.name in variants)
    names = sorted({reference.name for reference in references if reference})
    return f"TrainingJob {names[0]} is" if len(names) == 1 else f"TrainingJobs {', '.join(names)} are"
