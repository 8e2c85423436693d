"""A Prometheus that has seen the pods, in a process of its own."""

import argparse
import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from benchmarks.many_endpoints.fleets import Fleets
from benchmarks.many_endpoints.population import Subject
from benchmarks.many_endpoints.traffic import Traffic


@dataclass
class Asked:
    """Queries that came, by kind."""

    counters: int = 0
    gauges: int = 0
    histories: int = 0
    answer_bytes: dict[str, int] = field(default_factory=dict)
    """Length of the longest answer, by kind."""


class World:
    """Prometheus' API for the operator, and beside it what the benchmark asks and sets."""

    def __init__(self, traffic: Traffic, fleets: Fleets) -> None:
        self._traffic, self._fleets = traffic, fleets
        self._asked = Asked()

    async def run(self) -> None:
        """Serve until cancelled; the first line on standard output is the address, as JSON."""
        app = web.Application()
        app.router.add_post("/api/v1/query", self._query)
        app.router.add_post("/api/v1/query_range", self._query_range)
        app.router.add_post("/load", self._load)
        app.router.add_get("/state", self._state)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fleets.run())
            group.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            self._traffic.tick(time.time())
            await asyncio.sleep(1.0 - time.time() % 1.0)

    async def _query(self, request: web.Request) -> web.Response:
        query = str((await request.post())["query"])
        if query.startswith("sagebrush_invocations_total"):
            self._asked.counters += 1
            return self._answer("counters", self._traffic.counters())
        self._asked.gauges += 1
        return self._answer("gauges", self._traffic.gauge(query, now=time.time()))

    async def _query_range(self, request: web.Request) -> web.Response:
        form = await request.post()
        self._asked.histories += 1
        start, end, step = (float(str(form[name])) for name in ("start", "end", "step"))
        return self._answer("histories", self._traffic.history(str(form["query"]), start=start, end=end, step=step))

    def _answer(self, kind: str, text: str) -> web.Response:
        self._asked.answer_bytes[kind] = max(len(text), self._asked.answer_bytes.get(kind, 0))
        return web.Response(text=text, content_type="application/json")

    async def _load(self, request: web.Request) -> web.Response:
        """Set the level of some endpoints, or the daily shape of all: its length and amplitude."""
        wanted = await request.json()
        if "day" in wanted:
            length, amplitude = wanted["day"]
            self._traffic.day = (time.time(), length, amplitude) if amplitude else None
            for demand in self._traffic.demands.values():
                demand.daily = 1.0
        for name in wanted.get("endpoints", ()):
            self._traffic.demands[name].level = wanted["level"]
        return web.json_response({})

    async def _state(self, _request: web.Request) -> web.Response:
        fleets = {
            fleet.name: {"wanted": fleet.wanted, "ready": fleet.ready, "settled": fleet.settled, "askedAt": fleet.asked_at}
            for fleet in self._fleets.fleets.values()
        }  # fmt: skip
        asked = self._asked
        queries = {"counters": asked.counters, "gauges": asked.gauges, "histories": asked.histories}
        return web.json_response({"fleets": fleets, "queries": queries, "bytes": asked.answer_bytes})


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--endpoints", type=int, required=True)
    parser.add_argument("--scrape-seconds", type=float, required=True)
    parser.add_argument("--history-endpoints", type=int, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    traffic = Traffic(
        [Subject(number) for number in range(given.endpoints)],
        scrape_seconds=given.scrape_seconds,
        history=given.history_endpoints,
    )

    async def run() -> None:
        await World(traffic, Fleets(given.kubeconfig, traffic, clock=time.time)).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
