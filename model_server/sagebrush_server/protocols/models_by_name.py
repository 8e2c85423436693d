"""Which model a request's name means. With one model that is a look; with many it may have to be loaded first."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import shown
from sagebrush_server.http.messages import Answer, Ask

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.http.served import Served


class Build(Protocol):
    """Makes the ask of a request once its model is there. May raise RequestError."""

    def __call__(self, *, served: "Served") -> Answer | Ask:
        """See above."""
        ...


class ModelNotReadyError(RequestError):
    """A model's loading takes longer than a request waits; it goes on, so the client may ask again (429)."""

    def __init__(self, message: str) -> None:
        super().__init__(429, message=message)


class ModelsByName(Protocol):
    """The models that requests may name."""

    def find(self, name: str) -> "Served":
        """Return a model that is loaded. Raises RequestError: 404 where there is none of this name."""
        ...

    def ask(self, name: str, *, build: Build) -> Answer | Ask | Awaitable[Answer | Ask]:
        """Ask a model, which is kept until its answer is there. Raises RequestError, or the awaited does."""
        ...


class OneModel:
    """The one model of a server, under its own name and the endpoint's."""

    def __init__(self, application: "Application", *, endpoint_name: str) -> None:
        self._application = application
        self._endpoint_name = endpoint_name

    def find(self, name: str) -> "Served":
        """See `ModelsByName`; 503 while it is being loaded."""
        served = self._application.default
        if served is None:
            raise RequestError(503, message=self._application.not_ready or "no model is loaded")
        names = [name for name in (self._endpoint_name, served.name) if name]
        if name not in names:
            raise RequestError(
                404, message=f"there is no model {shown(name)}; there is: {' or '.join(dict.fromkeys(names))}"
            )
        return served

    def ask(self, name: str, *, build: Build) -> Answer | Ask:
        """See `ModelsByName`."""
        return build(served=self.find(name))
