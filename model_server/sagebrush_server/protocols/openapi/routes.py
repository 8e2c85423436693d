"""`GET /openapi.json`. The description itself is imported when somebody asks for it."""

from typing import TYPE_CHECKING

import orjson

from sagebrush_server.http.messages import Answer, Request

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application


class OpenApi:
    """Describes the paths of `application`; `many` says that it serves many models."""

    def __init__(self, application: "Application", *, endpoint_name: str, many: bool) -> None:
        self._application = application
        self._endpoint_name = endpoint_name
        self._many = many

    def add_routes(self) -> None:
        """Put the document's path into the application's table."""
        self._application.routes.add("GET", "/openapi.json", function=self._answer)

    def _answer(self, request: Request) -> Answer:  # noqa: ARG002 – what it asks is all in its path
        from sagebrush_server.protocols.openapi.document import describe

        document = describe(self._application, endpoint_name=self._endpoint_name, many=self._many)
        return Answer(200, body=orjson.dumps(document))
