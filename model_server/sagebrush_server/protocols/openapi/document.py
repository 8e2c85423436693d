"""`GET /openapi.json`: the server's paths as an OpenAPI 3.1 document that is true of the loaded model."""

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from sagebrush_server import __version__
from sagebrush_server.http.messages import Answer, Request
from sagebrush_server.protocols.open_inference.routes import MODEL_VERSION
from sagebrush_server.protocols.open_inference.rows import Signature
from sagebrush_server.protocols.openapi.operations import OPERATIONS, Facts
from sagebrush_server.protocols.openapi.schemas import COMPONENTS

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application

_SEGMENT: Final = re.compile(r"{(\w+)}")


class OpenApi:
    """Describes the paths of `application`, whose model may still be loading; `many` says that it serves many."""

    def __init__(self, application: "Application", *, endpoint_name: str, many: bool) -> None:
        self._application = application
        self._endpoint_name = endpoint_name
        self._many = many

    def add_routes(self) -> None:
        """Put the document's path into the application's table."""
        self._application.routes.add("GET", "/openapi.json", function=self._answer)

    def _answer(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(200, body=orjson.dumps(self.document()))

    def document(self) -> dict[str, Any]:
        """Return the document. Raises KeyError for a path that nobody has described."""
        served = self._application.default
        rows = served.rows if served is not None else None
        facts = Facts(signature=None if rows is None else Signature.of(rows), many=self._many)
        paths: dict[str, dict[str, Any]] = {}
        for method, path in self._application.routes.known():
            name, about, describe = OPERATIONS[method, path]
            operation = describe(facts)
            parameters = [self._segment(segment) for segment in _SEGMENT.findall(path)]
            parameters += operation.pop("parameters", [])
            paths.setdefault(path, {})[method.lower()] = {
                "operationId": name,
                "summary": about,
                **({"parameters": parameters} if parameters else {}),
                **operation,
            }
        return {
            "openapi": "3.1.0",
            "info": {"title": "Sagebrush model server", "version": __version__, "description": self._about(facts)},
            "paths": paths,
            "components": {"schemas": COMPONENTS},
        }

    def _segment(self, name: str) -> dict[str, Any]:
        """Describe a part of a path, by its legal values where they are known."""
        schema: dict[str, Any] = {"type": "string"}
        default = self._application.default
        if name == "version":
            schema["enum"] = [MODEL_VERSION]
        elif name == "endpoint" and self._endpoint_name:
            schema["enum"] = [self._endpoint_name]
        elif name == "model" and default is not None:
            schema["enum"] = list(dict.fromkeys(filter(None, (self._endpoint_name, default.name))))
        return {"name": name, "in": "path", "required": True, "schema": schema}

    def _about(self, facts: Facts) -> str:
        default = self._application.default
        if default is None:
            return "Many models, loaded as they are asked for." if self._many else "The model is not loaded yet."
        if facts.signature is None:
            return f"A model of {default.algorithm}, which answers whole requests."
        width = "any number of" if facts.signature.feature_dim is None else str(facts.signature.feature_dim)
        return f"A model of {default.algorithm}, which scores rows of {width} features."
