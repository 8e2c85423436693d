"""The models of a multi-model server by name: loaded when somebody first asks for them, and let go for others."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import shown
from sagebrush_server.http.messages import Answer, Ask, Request
from sagebrush_server.http.served import Served
from sagebrush_server.protocols.models_by_name import Build, ModelNotReadyError
from sagebrush_server.protocols.multi_model.cache import (
    AlreadyLoadedError,
    LoadedModel,
    LoadError,
    ModelCache,
    NoRoomError,
    NotLoadedError,
)
from sagebrush_server.protocols.multi_model.sources import ModelSource, source_for_target, source_for_url

if TYPE_CHECKING:
    from sagebrush_server.http.application import Application
    from sagebrush_server.protocols.multi_model.settings import MultiModelSettings

Outcome = Answer | Ask | Awaitable[Answer | Ask]
Loaded = LoadedModel[Served]

TARGET_MODEL: Final = b"x-amzn-sagemaker-target-model"


class ManyModels:
    """Implements `ModelsByName`. A request waits at most `wait_seconds` for its model to be loaded."""

    def __init__(self, application: "Application", *, settings: "MultiModelSettings", wait_seconds: float) -> None:
        self._application = application
        self._folder = settings.folder
        self._wait_seconds = wait_seconds
        self.cache: ModelCache[Served] = ModelCache(
            _load, limits=settings.limits, came=application.serve, went=lambda served: _drop(application, served)
        )

    def find(self, name: str) -> Served:
        """See `ModelsByName`."""
        return self.loaded(name).model

    def loaded(self, name: str) -> Loaded:
        """Return a loaded model. Raises RequestError (404)."""
        try:
            return self.cache.find(name)
        except NotLoadedError:
            raise _not_loaded(name) from None

    def ask(self, name: str, *, build: Build) -> Outcome:
        """See `ModelsByName`: a name that isn't loaded is one that was, or a path below the models' folder."""
        try:
            return self._ask_loaded(self.cache.begin(name), build=build)
        except NotLoadedError:
            return self._load_and_ask(name, source=self._source(name), build=build)

    def invoke(self, request: Request) -> Outcome:
        """Answer /invocations with the model that the header `X-Amzn-SageMaker-Target-Model` names."""
        target = request.header(TARGET_MODEL)
        if not target:
            raise RequestError(400, message="the header X-Amzn-SageMaker-Target-Model must name one of the models")
        return self.ask(target, build=functools.partial(self._application.invocation, request))

    def invoke_loaded(self, name: str, *, request: Request) -> Outcome:
        """Answer with a model that was loaded under this name, though it may have had to make room since."""
        try:
            self.cache.source_of(name)
        except NotLoadedError:
            raise _not_loaded(name) from None
        return self.ask(name, build=functools.partial(self._application.invocation, request))

    async def load(self, name: str, *, url: str) -> Loaded:
        """Load the model at `url`. Raises RequestError: 400, 404, 409 or 507."""
        source = source_for_url(url, base=self._folder)
        try:
            return await self.cache.load(name, source=source)
        except AlreadyLoadedError:
            raise RequestError(HTTPStatus.CONFLICT, message=f"model {shown(name)} is loaded already") from None
        except (NoRoomError, LoadError) as problem:
            raise _refusal(problem) from problem

    async def unload(self, name: str) -> None:
        """Let a model go. Raises RequestError (404)."""
        try:
            await self.cache.unload(name)
        except NotLoadedError:
            raise _not_loaded(name) from None

    def _source(self, name: str) -> ModelSource:
        try:
            return self.cache.source_of(name)
        except NotLoadedError:
            return source_for_target(name, base=self._folder)

    async def _load_and_ask(self, name: str, *, source: ModelSource, build: Build) -> Answer | Ask:
        acquired = asyncio.create_task(self.cache.acquire(name, source=source))
        try:
            await asyncio.wait((acquired,), timeout=self._wait_seconds)
        finally:
            if not acquired.done():
                # It goes on for those who ask next; this request's share in it ends when it is there.
                acquired.add_done_callback(self._give_back)
        if not acquired.done():
            raise ModelNotReadyError(
                f"model {shown(name)} is being loaded for over {self._wait_seconds:g} s; ask again"
            )
        try:
            entry = acquired.result()
        except (NoRoomError, LoadError) as problem:
            raise _refusal(problem) from problem
        return self._ask_loaded(entry, build=build)

    def _give_back(self, acquired: "asyncio.Task[Loaded]") -> None:
        if not acquired.cancelled() and acquired.exception() is None:
            self.cache.end(acquired.result())

    def _ask_loaded(self, entry: Loaded, *, build: Build) -> Answer | Ask:
        try:
            outcome = build(served=entry.model)
        except BaseException:
            self.cache.end(entry)
            raise
        if isinstance(outcome, Answer):
            self.cache.end(entry)
            return outcome
        return replace(outcome, then=self._ending(entry, outcome.then))

    def _ending(self, entry: Loaded, then: Callable[[Reply], Reply] | None) -> Callable[[Reply], Reply]:
        def end(reply: Reply) -> Reply:
            self.cache.end(entry)
            return reply if then is None else then(reply)

        return end


def _load(name: str, folder: Path) -> Served:
    # Here, so that the loader's imports happen in its thread.
    from sagebrush_server.models.loading import load_model

    served = Served(name, model=load_model(folder))
    served.self_test()
    return served


def _drop(application: "Application", served: Served) -> None:
    application.drop(served.name)


def _not_loaded(name: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, message=f"no model {shown(name)} is loaded")


def _refusal(problem: NoRoomError | LoadError) -> RequestError:
    status = HTTPStatus.INSUFFICIENT_STORAGE if isinstance(problem, NoRoomError) else HTTPStatus.BAD_REQUEST
    return RequestError(status, message=str(problem))
