"""Which models are in memory, and which must go: the cache by itself, with models of known sizes."""

import asyncio
import threading
from pathlib import Path

import pytest

from sagebrush_server.protocols.multi_model.cache import (
    AlreadyLoadedError,
    LoadError,
    ModelCache,
    NoRoomError,
    NotLoadedError,
    resident_bytes,
)
from sagebrush_server.protocols.multi_model.settings import CacheLimits
from sagebrush_server.protocols.multi_model.sources import ModelSource

MIB = 2**20


class Loader:
    """Loads a model's folder name; counts, waits and fails as told. Memory grows by the sizes given."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.loads: list[str] = []
        self.failing: set[str] = set()
        self.resident = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str, folder: Path) -> str:
        self.loads.append(folder.name)
        assert self.gate.wait(10)
        if folder.name in self.failing:
            raise ValueError(f"{folder.name} is broken")
        self.resident += self.sizes.get(folder.name, 0) * MIB
        return folder.name

    def cache(self, **limits: int) -> ModelCache[str]:
        return ModelCache(self, limits=CacheLimits(**limits), measure=lambda: self.resident)


@pytest.fixture
def source(tmp_path):
    def make(name: str) -> ModelSource:
        (tmp_path / name).mkdir(exist_ok=True)
        return ModelSource(str(tmp_path / name), path=tmp_path / name)

    return make


async def test_least_recently_used_model_must_go_first(source):
    """Where a model doesn't fit, the one that was used longest ago makes room, and no other."""
    cache = Loader(a=4, b=4, c=4).cache(bytes=10 * MIB)
    for name in ("a", "b"):
        await cache.load(name, source=source(name))
    cache.end(cache.begin("a"))
    await cache.load("c", source=source("c"))
    assert cache.names() == ["a", "c"]
    assert cache.used_bytes == 8 * MIB


async def test_number_of_models_must_be_bounded(source):
    """A bound on the number works as that on memory does."""
    cache = Loader().cache(count=2)
    for name in ("a", "b", "c"):
        await cache.load(name, source=source(name))
    assert cache.names() == ["b", "c"]


async def test_model_in_flight_must_not_make_room(source):
    """A model at work stays, though it is the least recently used; where all are at work the new one finds no room."""
    cache = Loader(a=4, b=4, c=4).cache(bytes=10 * MIB)
    for name in ("a", "b"):
        await cache.load(name, source=source(name))
    first, second = cache.begin("a"), cache.begin("b")
    with pytest.raises(NoRoomError, match="8388608 bytes of models at work"):
        await cache.load("c", source=source("c"))
    cache.end(first)
    await cache.load("c", source=source("c"))
    assert cache.names() == ["b", "c"]
    cache.end(second)


async def test_nothing_must_go_for_a_model_that_does_not_fit_anyway(source):
    """A model over the whole limit is refused, and those that are loaded stay."""
    loader = Loader(a=4)
    cache = loader.cache(bytes=10 * MIB)
    await cache.load("a", source=source("a"))
    (source("huge").path / "weights").write_bytes(b"\0" * 11 * MIB)
    with pytest.raises(NoRoomError, match="SAGEBRUSH_MODEL_CACHE_MB"):
        await cache.load("huge", source=source("huge"))
    assert loader.loads == ["a"]
    assert cache.names() == ["a"]


async def test_size_must_be_at_least_that_of_the_files(source):
    """Memory that is used again doesn't make a model free of charge."""
    cache = Loader().cache()
    (source("a").path / "weights").write_bytes(b"\0" * MIB)
    entry = await cache.load("a", source=source("a"))
    assert entry.size_bytes == MIB


async def test_first_requests_must_share_one_load(source):
    """Whoever asks while a model is being loaded waits for that load; one who goes away takes nothing from others."""
    loader = Loader()
    loader.gate.clear()
    cache = loader.cache()
    waiting = [asyncio.create_task(cache.acquire("a", source=source("a"))) for _ in range(5)]
    while not loader.loads:
        await asyncio.sleep(0.001)
    waiting[0].cancel()
    loader.gate.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert loader.loads == ["a"]
    assert cache.find("a").in_flight == 4


async def test_failed_load_must_say_why_and_leave_nothing(source):
    """All who waited get the reason; the next try loads anew."""
    loader = Loader()
    loader.failing.add("a")
    cache = loader.cache()
    tries = [cache.acquire("a", source=source("a")) for _ in range(2)]
    failed = await asyncio.gather(*tries, return_exceptions=True)
    assert [str(problem) for problem in failed] == ["model 'a' can't be loaded: a is broken"] * 2
    assert isinstance(failed[0], LoadError)
    assert loader.loads == ["a"]
    loader.failing.clear()
    cache.end(await cache.acquire("a", source=source("a")))
    assert cache.names() == ["a"]


async def test_memory_error_must_count_as_no_room(source):
    """Where the process itself has no memory left, that is what is said."""

    def load(_: str, __: Path) -> str:
        raise MemoryError

    cache: ModelCache[str] = ModelCache(load, limits=CacheLimits())
    with pytest.raises(NoRoomError, match="no memory left"):
        await cache.load("a", source=source("a"))


async def test_name_must_be_taken_once(source):
    """A name that is loaded, or being loaded, isn't loaded again."""
    loader = Loader()
    loader.gate.clear()
    cache = loader.cache()
    first = asyncio.create_task(cache.load("a", source=source("a")))
    while not loader.loads:
        await asyncio.sleep(0.001)
    with pytest.raises(AlreadyLoadedError):
        await cache.load("a", source=source("a"))
    loader.gate.set()
    await first
    with pytest.raises(AlreadyLoadedError):
        await cache.load("a", source=source("b"))


async def test_unloaded_model_must_finish_what_is_in_flight(source):
    """New requests don't get it; its memory counts until the last one is answered."""
    cache = Loader(a=4).cache()
    await cache.load("a", source=source("a"))
    entry = cache.begin("a")
    await cache.unload("a")
    with pytest.raises(NotLoadedError):
        cache.begin("a")
    assert cache.used_bytes == 4 * MIB
    cache.end(entry)
    assert cache.used_bytes == 0


async def test_unload_must_wait_for_a_load_of_the_name(source):
    """What is being loaded is unloaded once it is there, and not left behind."""
    loader = Loader()
    loader.gate.clear()
    cache = loader.cache()
    load = asyncio.create_task(cache.load("a", source=source("a")))
    while not loader.loads:
        await asyncio.sleep(0.001)
    unload = asyncio.create_task(cache.unload("a"))
    loader.gate.set()
    await asyncio.gather(load, unload)
    assert cache.names() == []


async def test_model_that_made_room_must_be_known_until_it_is_unloaded(source):
    """A model that was told to be loaded can be asked for after it had to go; after its unloading it can't."""
    cache = Loader().cache(count=1)
    for name in ("a", "b"):
        await cache.load(name, source=source(name))
    cache.end(await cache.acquire("a", source=cache.source_of("a")))
    assert cache.names() == ["a"]
    await cache.unload("a")
    with pytest.raises(NotLoadedError):
        cache.source_of("a")


def test_resident_bytes_must_see_memory_that_is_taken():
    """The measure is the process's own memory."""
    before = resident_bytes()
    taken = bytearray(b"x") * (64 * MIB)
    assert resident_bytes() - before > 32 * MIB
    assert len(taken) == 64 * MIB


async def test_size_must_be_what_the_process_grew_by(source):
    """A model that unpacks a small file into much memory counts with what it takes."""
    cache: ModelCache[bytearray] = ModelCache(lambda *_: bytearray(b"x") * (64 * MIB), limits=CacheLimits())
    entry = await cache.load("a", source=source("a"))
    assert 48 * MIB < entry.size_bytes < 128 * MIB
