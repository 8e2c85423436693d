"""Autoscalers that are not ours, and what they scale: of two that set one number, one must stand back. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sagebrush.api.meta import API_VERSION
from sagebrush.core.resource import Manifest, dig

HPA, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
_OUR_GROUP = API_VERSION.partition("/")[0]
_KINDS = {("apps", "Deployment"), (_OUR_GROUP, "ModelEndpoint")}


class Target(NamedTuple):
    """What an autoscaler scales."""

    namespace: str
    kind: str
    name: str


def scalers_by_target(bodies: Iterable[Manifest]) -> dict[Target, str]:
    """
    Who scales Deployments and ModelEndpoints, in words, of HorizontalPodAutoscalers and KEDA's ScaledObjects.

    A HorizontalPodAutoscaler that KEDA made for its ScaledObject is told as that. One that is being deleted scales on
    until it is gone.
    """
    found: dict[Target, set[str]] = {}
    for body in bodies:
        target = _target(body)
        if target is not None:
            found.setdefault(target, set()).add(_owner(body))
    return {target: " and ".join(sorted(words)) for target, words in found.items()}


def conflict_of(scalers: Mapping[Target, str], *, namespace: str, name: str, scaled: bool) -> str:
    """
    Who else sets the replicas of ModelEndpoint *name*, in words; empty for nobody.

    An autoscaler of the ModelEndpoint itself sets ``spec.replicas``: that is what the field is for, unless the endpoint
    is *scaled* by a policy of its own.
    """
    of_deployment = scalers.get(Target(namespace, "Deployment", name))
    of_endpoint = scalers.get(Target(namespace, "ModelEndpoint", name)) if scaled else None
    said = [f"{who} scales Deployment {name}" for who in (of_deployment,) if who]
    said += [f"{who} scales ModelEndpoint {name}" for who in (of_endpoint,) if who]
    return "; ".join(said)


def _target(body: Manifest) -> Target | None:
    reference = dig(body, "spec", "scaleTargetRef", default={})
    # KEDA's reference may leave both out, and means a Deployment.
    group = reference.get("apiVersion", "apps/v1").partition("/")[0]
    kind = reference.get("kind", "Deployment")
    if (group, kind) not in _KINDS or not reference.get("name"):
        return None
    return Target(body["metadata"].get("namespace", ""), kind, reference["name"])


def _owner(body: Manifest) -> str:
    for owner in dig(body, "metadata", "ownerReferences", default=[]):
        if owner.get("kind") == SCALED_OBJECT:
            return f"{SCALED_OBJECT} {owner.get('name', '')}"
    return f"{body['kind']} {body['metadata']['name']}"
