"""Recorded traffic from Prometheus' range queries."""

import json
import math
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import numpy as np

from sagebrush.replay.files import TraceError, windowed
from sagebrush.replay.queueing import Floats, Service
from sagebrush.replay.trace import Trace

MOST_POINTS = 11_000
"""Points of one series that Prometheus answers at most in one range query."""

_TIMEOUT_SECONDS = 60

Fetch = Callable[[str], bytes]


def query_of(*, namespace: str, endpoint: str, step_seconds: int) -> str:
    """The requests per second that an endpoint was offered, refused ones included."""
    window = max(60, 2 * step_seconds)
    labels = f'namespace="{namespace}",endpoint_name="{endpoint}"'
    return f"sum(rate(sagebrush_invocations_total{{{labels}}}[{window}s]))"


def fetched_trace(
    url: str,
    *,
    query: str,
    seconds: int,
    step_seconds: int,
    service: Service,
    name: str,
    days: float,
    end_unix: int | None = None,
    fetch: Fetch | None = None,
) -> tuple[Trace, float]:
    """The trace, and the share of its points that Prometheus does not have (drawn as a line between their neighbours).

    *seconds* up to *end_unix* (now, if unset) are asked for, in chunks of at most :data:`MOST_POINTS`. Raises
    TraceError.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise TraceError(f"--prometheus {url}: give an http:// or https:// address")
    end = (int(time.time()) if end_unix is None else end_unix) // step_seconds * step_seconds
    times = np.arange(end - seconds // step_seconds * step_seconds, end, step_seconds)
    values = np.full(len(times), np.nan)
    for first in range(0, len(times), MOST_POINTS):
        chunk = times[first : first + MOST_POINTS]
        parameters = {"query": query, "start": int(chunk[0]), "end": int(chunk[-1]), "step": step_seconds}
        address = f"{url.rstrip('/')}/api/v1/query_range?{urlencode(parameters)}"
        for at, value in _points((fetch or _fetch)(address), query=query):
            index = round((at - times[0]) / step_seconds)
            if 0 <= index < len(values) and math.isfinite(value):
                values[index] = max(value, 0.0)
    known = np.isfinite(values)
    if known.sum() < 2:
        raise TraceError(f"Prometheus has no points of {query} in this range: check the query, or give --query")
    # What it does not have at either end is no part of the trace.
    first, last = np.flatnonzero(known)[[0, -1]]
    times, values, known = times[first : last + 1], values[first : last + 1], known[first : last + 1]
    trace = Trace(
        name=name,
        rate=_by_second(times, values, known=known, step=step_seconds),
        service=service,
        start_unix=int(times[0]),
        noisy=step_seconds > 1,
    )
    return windowed(trace, days=days), float(1 - known.mean())


def _by_second(times: np.ndarray[Any, Any], values: Floats, *, known: Any, step: int) -> Floats:
    """Linear between the points that are known; each stands for the time just before it."""
    seconds = np.arange(int(times[0]), int(times[-1]) + step)
    return np.asarray(np.interp(seconds + 0.5, times[known] - step / 2, values[known]))


def _points(answer: bytes, *, query: str) -> list[tuple[float, float]]:
    try:
        body = json.loads(answer)
        if body.get("status") != "success":
            raise TraceError(f"Prometheus refused {query}: {body.get('error', 'no reason given')}")
        series = body["data"]["result"]
        if len(series) > 1:
            raise TraceError(f"{query} gives {len(series)} series: put sum() around it")
        return [(float(at), float(value)) for one in series for at, value in one["values"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceError(f"what answers is not Prometheus: {error}; check the address") from error


def _fetch(address: str) -> bytes:
    request = Request(address, headers={"Accept": "application/json"})  # noqa: S310 - only http(s), checked before
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - only http(s), checked before
            return bytes(answer.read())
    except HTTPError as error:
        told = error.read(2048)
        if told.lstrip().startswith(b"{"):
            return told + error.read()
        raise TraceError(f"Prometheus answered {error.code} {error.reason}; check the address") from error
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise TraceError(f"Prometheus can't be reached ({reason}); check the address, or forward its port") from error
