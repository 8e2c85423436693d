"""Which function answers which method and path. `/ping` and `/invocations` have a way of their own."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from sagebrush_server.http.messages import Answer, Ask, refusal

if TYPE_CHECKING:
    from sagebrush_server.http.messages import Request

_MOST_SEEN: Final = 1024

Function = Callable[["Request"], Answer | Ask | Awaitable[Answer | Ask]]
"""Answers a request, or says which model to ask. What takes long (loading a model) is awaited, and blocks nobody."""


@dataclass(frozen=True, slots=True)
class _Route:
    segments: tuple[str, ...]
    functions: dict[str, Function]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the values of the named segments, or None where the path is another."""
        if len(segments) != len(self.segments):
            return None
        parameters = {}
        for own, given in zip(self.segments, segments, strict=True):
            if own.startswith("{"):
                parameters[own[1:-1]] = unquote(given)
            elif own != given:
                return None
        return parameters


class Routes:
    """A table of paths such as `/v2/models/{name}/infer`; of two that match, the one added first counts."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._seen: dict[bytes, tuple[str, _Route, Mapping[str, str]]] = {}

    def add(self, method: str, path: str, *, function: Function) -> None:
        """Answer `method` at `path` by `function`; GET answers HEAD too. Raises ValueError where it is taken."""
        route = self._routes.setdefault(path, _Route(tuple(path.split("/")), {}))
        for name in (method, "HEAD") if method == "GET" else (method,):
            if name in route.functions:
                raise ValueError(f"{name} {path} has a function already")
            route.functions[name] = function
        self._seen.clear()

    def find(self, request: "Request") -> Function | Answer:
        """Return the function for a request, whose `parameters` are set, or the refusal: 404, or 405 with Allow."""
        found = self._seen.get(request.path) or self._look(request.path)
        if found is None:
            known = ", ".join(f"{name} {path}" for name, path in self.known())
            return refusal(404, message=f"there is no such path; there are {known}")
        path, route, request.parameters = found
        function = route.functions.get(request.method)
        if function is None:
            allowed = ", ".join(sorted(route.functions))
            return refusal(405, message=f"{path} takes {allowed}", headers=(("Allow", allowed),))
        return function

    def _look(self, path: bytes) -> tuple[str, _Route, Mapping[str, str]] | None:
        """Find the route of a path, and remember it: clients send the same few paths again and again."""
        segments = path.decode("latin-1").split("/")
        for known, route in self._routes.items():
            parameters = route.match(segments)
            if parameters is not None:
                if len(self._seen) >= _MOST_SEEN:
                    self._seen.clear()
                self._seen[path] = found = (known, route, parameters)
                return found
        return None

    def known(self) -> Iterator[tuple[str, str]]:
        """Yield method and path of everything there is, HEAD excepted."""
        return ((name, path) for path, route in self._routes.items() for name in route.functions if name != "HEAD")
