"""A Prometheus that answers as it is told, and a session to ask it with."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.unit.metrics.prometheus_server import PromServer


@pytest.fixture
def prom() -> PromServer:
    return PromServer()


@pytest.fixture
async def prom_url(prom: PromServer) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**22)
    app.router.add_route("*", "/{path:.*}", prom.handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
