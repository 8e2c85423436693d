"""The loaded models of a multi-model server, and which of them must go when there is no room.

What a model takes is the growth of the process's resident memory while it was loaded, but at least the size of its
files: memory that a model left behind is used again by the next one, whose growth then says too little. Models are
loaded one after the other, so that no load is taken for another.
"""

import asyncio
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from sagebrush_server.protocols.multi_model.settings import CacheLimits
from sagebrush_server.protocols.multi_model.sources import ModelSource, OpenedSource

M = TypeVar("M")


class AlreadyLoadedError(Exception):
    """A model of this name is loaded, or being loaded."""


class NotLoadedError(Exception):
    """No model of this name is loaded."""


class NoRoomError(Exception):
    """The model doesn't fit beside those that are at work; the message has the figures."""


class LoadError(Exception):
    """The model can't be loaded; the message says why. The next try starts afresh."""


@dataclass(slots=True)
class LoadedModel(Generic[M]):
    """One model in memory. `in_flight` is the number of requests that use it."""

    name: str
    source: ModelSource
    model: M
    opened: OpenedSource
    size_bytes: int
    in_flight: int = 0
    leaving: bool = False
    number: int = field(default_factory=itertools.count().__next__)


def resident_bytes() -> int:
    """Return the process's resident memory (Linux, proc(5): the second field of statm, in pages)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class ModelCache(Generic[M]):
    """Models by name, the one used longest ago first. Lives on the event loop; `load` runs in a thread.

    `load` is called with a name and a folder; `came` and `went` are told of each model that is loaded and let go.
    """

    def __init__(
        self,
        load: Callable[[str, Path], M],
        *,
        limits: CacheLimits,
        came: Callable[[M], None] = lambda _: None,
        went: Callable[[M], None] = lambda _: None,
        measure: Callable[[], int] = resident_bytes,
    ) -> None:
        self._load = load
        self._limits = limits
        self._came, self._went = came, went
        self._measure = measure
        self._loaded: dict[str, LoadedModel[M]] = {}
        self._leaving: list[LoadedModel[M]] = []
        self._loads: dict[str, asyncio.Task[LoadedModel[M]]] = {}
        self._told: dict[str, ModelSource] = {}
        self._one_load = asyncio.Lock()

    @property
    def used_bytes(self) -> int:
        """What all models take that are in memory, those included that leave when their last request is answered."""
        return sum(entry.size_bytes for entry in (*self._loaded.values(), *self._leaving))

    def names(self) -> list[str]:
        """Return the names of the loaded models, in the order of the alphabet."""
        return sorted(self._loaded)

    def find(self, name: str) -> LoadedModel[M]:
        """Return a loaded model without using it. Raises NotLoadedError."""
        try:
            return self._loaded[name]
        except KeyError:
            raise NotLoadedError(name) from None

    def begin(self, name: str) -> LoadedModel[M]:
        """Begin a request to a loaded model: it stays in memory until `end`. Raises NotLoadedError."""
        entry = self.find(name)
        self._loaded[name] = self._loaded.pop(name)
        entry.in_flight += 1
        return entry

    def end(self, entry: LoadedModel[M]) -> None:
        """End a request; a model that was unloaded meanwhile goes with its last one."""
        entry.in_flight -= 1
        if entry.leaving and not entry.in_flight:
            self._leaving.remove(entry)
            entry.opened.close()

    async def load(self, name: str, *, source: ModelSource) -> LoadedModel[M]:
        """Load a model under a name that isn't taken. Raises AlreadyLoadedError, NoRoomError, LoadError."""
        if name in self._loaded or name in self._loads:
            raise AlreadyLoadedError(name)
        entry = await self._ensure(name, source=source)
        self._told[name] = source
        return entry

    def source_of(self, name: str) -> ModelSource:
        """Return where a model is that was told to be loaded, be it that it had to make room. Raises NotLoadedError."""
        entry = self._loaded.get(name)
        source = entry.source if entry is not None else self._told.get(name)
        if source is None:
            raise NotLoadedError(name)
        return source

    async def acquire(self, name: str, *, source: ModelSource) -> LoadedModel[M]:
        """Begin a request to a model that is loaded first where it isn't yet. Raises NoRoomError, LoadError.

        All who ask for it meanwhile wait for one load.
        """
        while True:
            entry = await self._ensure(name, source=source)
            # Before this goes on, the next load may have taken the room again.
            if self._loaded.get(name) is entry:
                return self.begin(name)

    async def _ensure(self, name: str, *, source: ModelSource) -> LoadedModel[M]:
        if name in self._loaded:
            return self._loaded[name]
        task = self._loads.get(name)
        if task is None:
            task = asyncio.create_task(self._load_one(name, source=source))
            self._loads[name] = task
            task.add_done_callback(lambda _: self._loads.pop(name, None))
        # A client that goes away takes nothing from the others who wait.
        return await asyncio.shield(task)

    async def unload(self, name: str) -> None:
        """Let a model go: no new request gets it, those in flight are finished. Raises NotLoadedError."""
        if name in self._loads:
            await asyncio.wait((self._loads[name],))
        self._told.pop(name, None)
        self._drop(self.find(name))

    async def _load_one(self, name: str, *, source: ModelSource) -> LoadedModel[M]:
        async with self._one_load:
            entry = await self._loaded_from(source, name=name)
            try:
                self._make_room(entry.size_bytes, name=name)
            except NoRoomError:
                entry.opened.close()
                raise
            self._loaded[name] = entry
            self._came(entry.model)
            return entry

    async def _loaded_from(self, source: ModelSource, *, name: str) -> LoadedModel[M]:
        loop = asyncio.get_running_loop()
        try:
            file_bytes = await loop.run_in_executor(None, source.file_bytes)
            self._make_room(file_bytes, name=name)
            before = self._measure()
            opened, model = await loop.run_in_executor(None, self._open_and_load, name, source)
        except NoRoomError:
            raise
        except MemoryError as problem:
            raise NoRoomError(f"model {name!r}: the process has no memory left to load it") from problem
        except Exception as problem:
            raise LoadError(f"model {name!r} can't be loaded: {problem}") from problem
        return LoadedModel(name, source, model, opened, max(file_bytes, self._measure() - before))

    def _open_and_load(self, name: str, source: ModelSource) -> tuple[OpenedSource, M]:
        opened = OpenedSource(source, limit_bytes=self._limits.unpacked_bytes)
        try:
            return opened, self._load(name, opened.folder)
        except BaseException:
            opened.close()
            raise

    def _make_room(self, size_bytes: int, *, name: str) -> None:
        """Let go of models that nobody uses, the one used longest ago first, until `size_bytes` more fit."""
        limits = self._limits
        idle = [entry for entry in self._loaded.values() if not entry.in_flight]
        room = len(self._loaded) - len(idle), self.used_bytes - sum(entry.size_bytes for entry in idle)
        if limits.count is not None and room[0] + 1 > limits.count:
            raise NoRoomError(f"model {name!r}: {room[0]} models are at work, at most {limits.count} may be loaded")
        if limits.bytes is not None and room[1] + size_bytes > limits.bytes:
            raise NoRoomError(
                f"model {name!r} takes {size_bytes} bytes beside {room[1]} bytes of models at work; "
                f"at most {limits.bytes} may be taken (SAGEBRUSH_MODEL_CACHE_MB)"
            )
        for entry in idle:
            fits_count = limits.count is None or len(self._loaded) + 1 <= limits.count
            fits_bytes = limits.bytes is None or self.used_bytes + size_bytes <= limits.bytes
            if fits_count and fits_bytes:
                return
            self._drop(entry)

    def _drop(self, entry: LoadedModel[M]) -> None:
        del self._loaded[entry.name]
        self._went(entry.model)
        if entry.in_flight:
            entry.leaving = True
            self._leaving.append(entry)
        else:
            entry.opened.close()
