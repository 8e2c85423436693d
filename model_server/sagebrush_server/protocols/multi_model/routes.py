"""The paths below `/models`: SageMaker's contract for containers with many models.

Source: "Custom Containers Contract for Multi-Model Endpoints" in the SageMaker developer guide.
"""

import base64
import binascii
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson

from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.rows import shown
from sagebrush_server.http.messages import Answer, Ask, Request

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.protocols.multi_model.many_models import Loaded, ManyModels

PAGE_SIZE: Final = 100
_LONGEST_NAME: Final = 1024
_MEMBERS: Final = ("model_name", "url")


class MultiModelApi:
    """Loads, lists, unloads and asks the models of `models`."""

    def __init__(self, application: "Application", *, models: "ManyModels") -> None:
        self._application = application
        self._models = models

    def add_routes(self) -> None:
        """Put the contract's paths into the application's table."""
        routes = self._application.routes
        routes.add("POST", "/models", function=self._load)
        routes.add("GET", "/models", function=self._list)
        routes.add("GET", "/models/{model}", function=self._describe)
        routes.add("DELETE", "/models/{model}", function=self._unload)
        routes.add("POST", "/models/{model}/invoke", function=self._invoke)

    async def _load(self, request: Request) -> Answer:
        name, url = _read_load(request.body)
        return _json(_described(await self._models.load(name, url=url)))

    def _list(self, request: Request) -> Answer:
        after = _read_token(request.query)
        names = [name for name in self._models.cache.names() if name > after]
        page = names[:PAGE_SIZE]
        document: dict[str, Any] = {"models": [_described(self._models.loaded(name)) for name in page]}
        if len(names) > PAGE_SIZE:
            document["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        return _json(document)

    def _describe(self, request: Request) -> Answer:
        return _json(_described(self._models.loaded(request.parameters["model"])))

    async def _unload(self, request: Request) -> Answer:
        name = request.parameters["model"]
        await self._models.unload(name)
        return _json({"modelName": name})

    def _invoke(self, request: Request) -> Answer | Ask | Awaitable[Answer | Ask]:
        return self._models.invoke_loaded(request.parameters["model"], request=request)


def _read_load(body: bytes) -> tuple[str, str]:
    """Return name and url of a load. Raises RequestError (400) naming the member."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise bad_data(f"the body is not JSON: {problem}") from None
    if not isinstance(document, dict) or set(document) != set(_MEMBERS):
        found = ", ".join(map(str, document)) if isinstance(document, dict) else document
        raise bad_data(f"the body must be an object with model_name and url, and nothing else; got {shown(found)}")
    for member in _MEMBERS:
        if not isinstance(document[member], str) or not 0 < len(document[member]) <= _LONGEST_NAME:
            raise bad_data(
                f"{member} must be a string of 1 to {_LONGEST_NAME} characters, got {shown(document[member])}"
            )
    return document["model_name"], document["url"]


def _read_token(query: bytes) -> str:
    """Return the name behind which the page begins, empty for the first. Raises RequestError (400)."""
    try:
        members = parse_qs(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query))
        if not members.keys() <= {"next_page_token"}:
            others = ", ".join(sorted(members.keys() - {"next_page_token"}))
            raise bad_data(f"the query has {shown(others)}; supported: next_page_token")
        token = members.get("next_page_token", [""])[-1]
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise RequestError(400, message="next_page_token is none that this server gave") from None


def _described(entry: "Loaded") -> dict[str, str]:
    return {"modelName": entry.name, "modelUrl": entry.source.url}


def _json(document: dict[str, Any]) -> Answer:
    return Answer(200, body=orjson.dumps(document))
