"""HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics."""

from collections.abc import Callable

from aiohttp import web

from sagebrush.metrics.exporter import CONTENT_TYPE, OperatorMetrics


class HealthServer:
    """Answers from two questions that the composition root supplies."""

    def __init__(
        self,
        *,
        port: int,
        metrics: OperatorMetrics,
        is_alive: Callable[[], str | None],
        is_ready: Callable[[], str | None],
    ) -> None:
        self._port, self._metrics = port, metrics
        self._is_alive, self._is_ready = is_alive, is_ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", lambda _: _answer(self._is_alive()))
        app.router.add_get("/readyz", lambda _: _answer(self._is_ready()))
        app.router.add_get("/metrics", self._render)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _render(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


async def _answer(problem: str | None) -> web.Response:
    return web.Response(status=503 if problem else 200, text=problem or "ok")
