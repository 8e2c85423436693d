"""Pydantic models to structural OpenAPI v3 with CEL: what ``sagebrush crds`` writes.

Kubernetes wants less than JSON Schema offers: no ``$ref``, no ``null`` types, no numeric ``exclusiveMinimum``, no
``const``. Each is translated here, and what has no translation raises :class:`NotStructuralError` with the field's path,
so that a model can't say something that the API server would silently drop.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from typing import Any

from pydantic import BaseModel

from sagebrush.api.meta import BRIEF, GROUP, VERSION
from sagebrush.api.model_endpoint import ModelEndpoint
from sagebrush.api.training_job import TrainingJob

Schema = dict[str, Any]

_KEPT = (
    "default",
    "description",
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
)
_DROPPED = frozenset({"title", "additionalProperties", "properties", "items", "$ref", "anyOf", "const", "$defs"})
_TRANSLATED = frozenset({"exclusiveMinimum", "exclusiveMaximum"})


class NotStructuralError(TypeError):
    """A model says something that a structural schema can't."""


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of *model*, references resolved. Raises :class:`NotStructuralError` with the field's path."""
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}), path=model.__name__)


def _convert(node: Schema, definitions: dict[str, Schema], *, path: str, brief: bool = False) -> Schema:
    node = _resolve(node, definitions, path=path)
    unknown = node.keys() - set(_KEPT) - _DROPPED - _TRANSLATED - {BRIEF}
    if unknown:
        raise NotStructuralError(f"{path}: {', '.join(sorted(unknown))} has no structural form")
    out = _translated(node)
    if "type" not in out:
        raise NotStructuralError(f"{path}: has no type")
    if brief:
        out.pop("description", None)
    brief = brief or bool(node.get(BRIEF))
    if "items" in node:
        out["items"] = _convert(node["items"], definitions, path=f"{path}[]", brief=brief)
    if "properties" in node:
        out["properties"] = {
            name: _convert(child, definitions, path=f"{path}.{name}", brief=brief)
            for name, child in sorted(node["properties"].items())
        }
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _convert(node["additionalProperties"], definitions, path=f"{path}.*", brief=brief)
    return out


def _translated(node: Schema) -> Schema:
    """The keywords of *node* itself, in Kubernetes' dialect."""
    out: Schema = {key: node[key] for key in _KEPT if key in node}
    if out.get("default") in (None, [], {}):
        out.pop("default", None)  # absent says the same, and keeps stored objects as the user wrote them
    if isinstance(out.get("default"), dict):
        out["default"] = _without_nulls(out["default"])
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    if "const" in node:
        out["enum"] = [node["const"]]
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            out[inclusive] = node[exclusive]
            out[exclusive] = True
    return out


def _resolve(node: Schema, definitions: dict[str, Schema], *, path: str) -> Schema:
    """*node* with its reference inlined and ``X | None`` read as an optional X."""
    rest = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _resolve({**target, **rest}, definitions, path=path)
    if "anyOf" in node:
        some = [option for option in node["anyOf"] if option.get("type") != "null"]
        if len(some) != 1:
            raise NotStructuralError(f"{path}: a union of {len(some)} types; Kubernetes takes one")
        return _resolve({**some[0], **rest}, definitions, path=path)
    return node


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return value


def _column(name: str, json_path: str, *, kind: str = "string", wide: bool = False, description: str = "") -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": json_path}
    if description:
        column["description"] = description
    if wide:
        column["priority"] = 1
    return column


def _definition(
    model: type[BaseModel],
    *,
    plural: str,
    short: str,
    columns: list[Schema],
    scale: Schema | None = None,
) -> Schema:
    schema = structural(model)
    schema["properties"]["metadata"] = {"type": "object"}
    for builtin in ("apiVersion", "kind"):
        schema["properties"][builtin] = {"type": "string"}
    schema["required"] = ["spec"]
    subresources: Schema = {"status": {}}
    if scale:
        subresources["scale"] = scale
    kind = model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "sagebrush"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["all", "sagebrush"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": subresources,
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def definitions() -> dict[str, Schema]:
    """Both CustomResourceDefinitions by file name."""
    ready = '.status.conditions[?(@.type=="Ready")]'
    age = _column("Age", ".metadata.creationTimestamp", kind="date")
    jobs = _definition(
        TrainingJob,
        plural="trainingjobs",
        short="tj",
        columns=[
            _column("Phase", ".status.phase"),
            _column("Reason", f"{ready}.reason"),
            _column("Seconds", ".status.trainingSeconds", kind="integer", description="Seconds the algorithm ran"),
            _column("Backend", ".spec.backend", wide=True),
            _column("Artifact", ".status.modelArtifact.uri", wide=True),
            _column("Message", f"{ready}.message", wide=True),
            age,
        ],
    )
    endpoints = _definition(
        ModelEndpoint,
        plural="modelendpoints",
        short="mep",
        columns=[
            _column("Ready", f"{ready}.status"),
            _column("Reason", f"{ready}.reason"),
            _column("Replicas", ".status.replicas", kind="integer"),
            _column(
                "Serving",
                ".status.readyReplicas",
                kind="integer",
                description="Replicas of the desired revision that serve",
            ),
            _column("Req/min", ".status.scaling.observedRequestsPerMinute", kind="number"),
            _column("Scaling", ".status.scaling.reason"),
            _column("Why", ".status.scaling.message", wide=True),
            _column("Backend", ".spec.backend", wide=True),
            _column("URL", ".status.url", wide=True),
            age,
        ],
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    )
    return {f"{GROUP}_trainingjobs.yaml": jobs, f"{GROUP}_modelendpoints.yaml": endpoints}
