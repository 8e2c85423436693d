"""An HTTP server that answers PromQL as a test tells it, and remembers what it was asked."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

T0 = 1_800_000_000
NOW = datetime.fromtimestamp(T0, UTC)
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
Body = bytes | Callable[[dict[str, str]], Awaitable[bytes] | bytes]


def labels(*, namespace: str = "shop", pod: str = "kdd-1", endpoint: str = "kdd") -> dict[str, str]:
    return {"namespace": namespace, "pod": pod, "endpoint_name": endpoint, "variant_name": "AllTraffic"}


def matrix(*series: tuple[dict[str, str], list[tuple[float, float | str]]], **extra: Any) -> bytes:
    result = [{"metric": metric, "values": [[t, str(v)] for t, v in values]} for metric, values in series]
    return _success("matrix", result, **extra)


def vector(*rows: tuple[dict[str, str], float | str], **extra: Any) -> bytes:
    return _success("vector", [{"metric": metric, "value": [T0, str(value)]} for metric, value in rows], **extra)


def scalar(value: float | str) -> bytes:
    return _success("scalar", [T0, str(value)])


def refused(text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": "bad_data", "error": text}).encode()


def counter(
    *, pod: str = "kdd-1", per_second: float = 10, end: float = T0, step: float = 2, **of: str
) -> tuple[dict[str, str], list[tuple[float, float | str]]]:
    """A pod that has counted evenly for 90 s."""
    count = int(90 / step)
    return labels(pod=pod, **of), [(end - 90 + i * step, i * step * per_second) for i in range(count + 1)]


def _success(kind: str, result: Any, **extra: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **extra}).encode()


class PromServer:
    """Answers a query with the body of the first of `answers` whose key is part of it; else with an empty vector."""

    def __init__(self) -> None:
        self.answers: dict[str, Body] = {"sagebrush_invocations_total": matrix(counter())}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.at_once = self.most_at_once = 0

    @property
    def queries(self) -> Counter[str]:
        return Counter(form["query"] for _, form in self.asked)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((request.path, form))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            found: Any = next((body for part, body in self.answers.items() if part in form["query"]), vector())
            if callable(found):
                found = found(form)
                if not isinstance(found, bytes):
                    found = await found
        finally:
            self.at_once -= 1
        status = 400 if b'"status": "error"' in found else 200
        return web.Response(body=found, status=status, headers={"Date": DATE})
