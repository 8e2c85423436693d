"""The revisions of an endpoint that are kept: recorded, rolled back to, and collected in two phases. Pure.

AWS deletes an endpoint configuration or a model that is in use without a word, and then can't patch the endpoint any
more; so nothing is deleted that the endpoint has, is getting, was last asked to get, or should have.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sagebrush.api.sagemaker_hosting import Revision, UpdateAttempt
from sagebrush.core.resource import Meta
from sagebrush.core.sagemaker.calls import Resource
from sagebrush.core.sagemaker.endpoint_request import Content
from sagebrush.core.sagemaker.endpoint_state import Seen
from sagebrush.core.sagemaker.identity import is_ours, revision_of

COLLECT_AFTER = timedelta(minutes=2)
"""Time for which a revision must have been out of use before it is removed."""
_LONGEST_CONFIGURATION = 16384
"""What status takes."""
_MOST_KEPT = 30
"""
As many as status has room for. At most four are in use and at most 20 are kept by the spec's limit: where status is full some
are always marked, and their collection finds those that had no room.
"""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What AWS has under our names: Describe's or List's entries with their tags, by name; None where there is no such thing."""

    configs: Mapping[str, Resource | None]
    models: Mapping[str, Resource | None]


def in_use(seen: Seen | None, *, desired: str, last: UpdateAttempt | None) -> frozenset[str]:
    """The endpoint configurations that must stay."""
    names = {desired}
    if seen:
        names |= {seen.config, seen.pending_config or ""}
    if last:
        names.add(last.endpoint_config)
    return frozenset(names - {""})


def recorded(before: Sequence[Revision], content: Content, *, now: datetime) -> list[Revision]:
    """With the revision of this content, newest last; one that is known keeps its place."""
    configuration = _written(content.said)
    if any(each.revision == content.revision for each in before):
        return [
            each.model_copy(update={"configuration": configuration})
            if each.revision == content.revision and each.configuration is None
            else each
            for each in before
        ]
    containers = [model.parameters["PrimaryContainer"] for model in content.models]
    return [
        *before,
        Revision(
            revision=content.revision,
            endpoint_config=content.config_name,
            models=[model.name for model in content.models],
            variants=[variant["VariantName"] for variant in content.variants],
            images=[container["Image"][:1024] for container in containers],
            artifacts=[container["ModelDataUrl"] for container in containers if "ModelDataUrl" in container],
            configuration=configuration,
            created=now.replace(microsecond=0),
        ),
    ]


def newest(revisions: Sequence[Revision], config: str) -> list[Revision]:
    """With that of this configuration at the end, since it serves: what served last is kept longest."""
    return sorted(revisions, key=lambda each: each.endpoint_config == config)


def recovered(revision: str, config: Resource) -> Revision:
    """A revision that no status remembers, from its endpoint configuration."""
    body: Mapping[str, Any] = config.body
    variants = body.get("ProductionVariants") or []
    said = {
        # Content.said's form: counts and weights are no part of a revision, and the variants stand by name.
        "variants": [
            {key: value for key, value in each.items() if key not in ("InitialInstanceCount", "InitialVariantWeight")}
            for each in sorted(variants, key=lambda each: str(each["VariantName"]))
        ],
        **{key: body[key] for key in ("KmsKeyId", "DataCaptureConfig") if body.get(key)},
    }
    return Revision(
        revision=revision,
        # What AWS added by itself would make another hash.
        configuration=_written(said) if revision_of(said) == revision else None,
        endpoint_config=body["EndpointConfigName"],
        models=sorted({variant["ModelName"] for variant in variants if variant.get("ModelName")}),
        variants=[variant["VariantName"] for variant in variants],
        created=body["CreationTime"],
    )


def _written(said: Mapping[str, Any]) -> str | None:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= _LONGEST_CONFIGURATION else None


def content_kept(kept: Revision) -> Content | None:
    """
    What a kept revision's configuration says, without what its models say; None where that isn't known: status was written
    by an older version, or by somebody else (its hash tells).
    """
    try:
        said: dict[str, Any] = json.loads(kept.configuration or "null")
    except ValueError:
        return None
    if not said or revision_of(said) != kept.revision:
        return None
    variants = said.pop("variants")
    models = {str(each["VariantName"]): str(each["ModelName"]) for each in variants}
    return Content(kept.revision, kept.endpoint_config, (), models, tuple(variants), said)


def marked(revisions: Sequence[Revision], *, protected: Collection[str], limit: int, now: datetime) -> list[Revision]:
    """
    First phase: those beyond *limit* that nobody uses get the time after which they may go; others lose it.

    Where there are more than status takes, the oldest of them are left out: what AWS has of them belongs to no revision
    then, and goes with the next collection (:func:`collected`).
    """
    spare = [each for each in revisions if each.endpoint_config not in protected]
    left_out = spare[: max(0, len(revisions) - _MOST_KEPT)]
    beyond = spare[: max(0, len(spare) - limit)]
    out = []
    for each in revisions:
        if each in left_out:
            continue
        after = (each.collect_after or now.replace(microsecond=0) + COLLECT_AFTER) if each in beyond else None
        out.append(each if each.collect_after == after else each.model_copy(update={"collect_after": after}))
    return out


def due(revisions: Sequence[Revision], *, now: datetime) -> list[Revision]:
    """Those whose time has come."""
    return [each for each in revisions if each.collect_after is not None and each.collect_after <= now]


@dataclass(frozen=True, slots=True)
class Collecting:
    """What the second phase removes, configurations before their models, and the revisions that stay."""

    configs: tuple[str, ...]
    models: tuple[str, ...]
    kept: tuple[Revision, ...]


def collected(
    revisions: Sequence[Revision], inventory: Inventory, *, protected: Collection[str], now: datetime
) -> Collecting:
    """
    Second phase: the configurations whose time has come, and what AWS has of ours that is in no revision (a crash between
    creating and telling), once it is old enough; then the models that no kept revision needs.

    *inventory* holds only what carries our mark. No model goes while there is a configuration whose models aren't known.
    """
    going = [each for each in due(revisions, now=now) if each.endpoint_config not in protected]
    kept = tuple(each for each in revisions if each not in going)
    known = {each.endpoint_config for each in kept}
    # What was marked is old enough by our own clock.
    told = {each.endpoint_config for each in going} | {model for each in going for model in each.models}
    strays = {name: found for name, found in inventory.configs.items() if found and name not in known | set(protected)}
    configs = sorted(name for name, found in strays.items() if name in told or _is_old(found, now=now))
    needed = {model for each in kept for model in each.models}
    spare = {name: found for name, found in inventory.models.items() if found and name not in needed}
    models = [name for name, found in spare.items() if name in told or _is_old(found, now=now)]
    unknown = set(protected) - known or len(configs) < len(strays)
    return Collecting(tuple(configs), () if unknown else tuple(sorted(models)), kept)


def _is_old(found: Resource, *, now: datetime) -> bool:
    created: datetime | None = found.body.get("CreationTime")
    return created is None or now - created >= COLLECT_AFTER


def ours(inventory: Inventory, meta: Meta) -> Inventory:
    """What of it carries our mark: the rest is never touched."""
    configs, models = (
        {name: found for name, found in things.items() if found is not None and is_ours(found, meta)}
        for things in (inventory.configs, inventory.models)
    )
    return Inventory(configs, models)
