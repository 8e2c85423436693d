"""Asks Prometheus, after the run, how the endpoint was used: what the replicas themselves counted and measured."""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from examples.demo.progress import DemoError

WINDOW = "10s"
STEP_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a series."""

    time: float
    """Unix time in seconds."""
    value: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """How the endpoint was used over time, without the moments at which nothing is known."""

    requests_per_second: list[Point]
    p50_ms: list[Point]
    p99_ms: list[Point]


def queries(*, namespace: str, endpoint: str) -> dict[str, str]:
    """Return the PromQL of each series; people may paste it into Prometheus."""
    chosen = f'{{namespace="{namespace}",endpoint_name="{endpoint}"}}'
    buckets = f"sum by (le) (rate(sagebrush_request_duration_seconds_bucket{chosen}[{WINDOW}]))"
    return {
        "requests_per_second": f"sum(rate(sagebrush_invocations_total{chosen}[{WINDOW}]))",
        "p50_ms": f"1000 * histogram_quantile(0.5, {buckets})",
        "p99_ms": f"1000 * histogram_quantile(0.99, {buckets})",
    }


def collect(url: str, *, namespace: str, endpoint: str, start: datetime, end: datetime) -> Series:
    """Run the range queries against the Prometheus at `url`. Raises DemoError where it doesn't answer."""
    found = {
        name: parse_matrix(query_range(url, query=query, start=start, end=end))
        for name, query in queries(namespace=namespace, endpoint=endpoint).items()
    }
    if not found["requests_per_second"]:
        raise DemoError(
            f"Prometheus at {url} has no samples of sagebrush_invocations_total for {namespace}/{endpoint}: "
            "see its targets page, and whether the pods carry the prometheus.io annotations"
        )
    return Series(**found)


def query_range(url: str, *, query: str, start: datetime, end: datetime) -> Mapping[str, Any]:
    """Run one range query, and return Prometheus' answer."""
    parameters = urllib.parse.urlencode(
        {"query": query, "start": start.timestamp(), "end": end.timestamp(), "step": STEP_SECONDS}
    )
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{parameters}", timeout=30) as answer:
            content: Mapping[str, Any] = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise DemoError(f"Prometheus at {url} did not answer {query}: {error}") from error
    return content


def parse_matrix(answer: Mapping[str, Any]) -> list[Point]:
    """Read the only series of an answer; NaN (no request in the window) is left out."""
    series = answer.get("data", {}).get("result", [])
    values = series[0]["values"] if series else []
    points = [Point(time=float(time), value=float(value)) for time, value in values]
    return [point for point in points if math.isfinite(point.value)]


def ping_checksum(url: str) -> str | None:
    """Return the checksum of the model behind a /ping, None where there is no healthy endpoint that tells it."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: str | None = answer.headers.get("x-sagebrush-model-sha256")
            return found
    except (OSError, ValueError):
        return None


def version(url: str) -> str:
    """Return the version of Prometheus, or `unknown`."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/status/buildinfo", timeout=10) as answer:
            return str(json.load(answer)["data"]["version"])
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError):
        return "unknown"
