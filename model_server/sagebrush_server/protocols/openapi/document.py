"""The server's paths as an OpenAPI 3.1 document that is true of the loaded model."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from sagebrush_server import __version__
from sagebrush_server.protocols.open_inference.routes import MODEL_VERSION
from sagebrush_server.protocols.open_inference.rows import Signature
from sagebrush_server.protocols.openapi.operations import OPERATIONS, Facts
from sagebrush_server.protocols.openapi.schemas import COMPONENTS

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application

_SEGMENT: Final = re.compile(r"{(\w+)}")


def describe(application: "Application", *, endpoint_name: str, many: bool) -> dict[str, Any]:
    """Return the document of an application, whose model may still be loading; `many` says that it serves many.

    Raises KeyError for a path that nobody has described.
    """
    default = application.default
    rows = default.rows if default is not None else None
    facts = Facts(signature=None if rows is None else Signature.of(rows), many=many)
    names = [] if default is None else [endpoint_name, default.name]
    legal = {"version": [MODEL_VERSION], "endpoint": [endpoint_name], "model": names}
    paths: dict[str, dict[str, Any]] = {}
    for method, path in application.routes.known():
        name, about, operation_of = OPERATIONS[method, path]
        operation = operation_of(facts)
        parameters = [_segment(segment, legal=legal[segment]) for segment in _SEGMENT.findall(path)]
        parameters += operation.pop("parameters", [])
        paths.setdefault(path, {})[method.lower()] = {
            "operationId": name,
            "summary": about,
            **({"parameters": parameters} if parameters else {}),
            **operation,
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sagebrush model server",
            "version": __version__,
            "description": _about(application, facts=facts),
        },
        "paths": paths,
        "components": {"schemas": COMPONENTS},
    }


def _segment(name: str, *, legal: Iterable[str]) -> dict[str, Any]:
    """Describe a part of a path, by its legal values where they are known."""
    schema: dict[str, Any] = {"type": "string"}
    if values := list(dict.fromkeys(filter(None, legal))):
        schema["enum"] = values
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _about(application: "Application", *, facts: Facts) -> str:
    default = application.default
    if default is None:
        return "Many models, loaded as they are asked for." if facts.many else "The model is not loaded yet."
    if facts.signature is None:
        return f"A model of {default.algorithm}, which answers whole requests."
    width = "any number of" if facts.signature.feature_dim is None else str(facts.signature.feature_dim)
    return f"A model of {default.algorithm}, which scores rows of {width} features."
