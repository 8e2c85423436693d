"""What was offered to an endpoint over days, for the policy to learn from: few, long, patient questions to Prometheus."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import ceil, isfinite

import numpy as np

from sagebrush.core.scaling.calibrate import DemandHistory
from sagebrush.core.scaling.window import Sample
from sagebrush.metrics.answer import PrometheusError, parse_points
from sagebrush.metrics.prometheus import METRIC, NOT_CONFIGURED
from sagebrush.metrics.query_api import QueryApi

LONGEST_SPAN = timedelta(days=14)
POINTS_PER_QUERY = 11_000
"""Prometheus refuses more points of a series in one answer."""
_SCRAPES_OF_RATE = 4
_TIMEOUT_SECONDS = 30.0


class HistoryError(Exception):
    """The history could not be read; the text says which part and why."""


def history_expression(namespace: str, *, endpoint: str, variant: str, window_seconds: int) -> str:
    """Requests per second offered to all pods of a variant. Copies of one counter (two Prometheus replicas, two jobs)
    are one. Empty where no pod was scraped twice within the window, and 0 only where pods were scraped and idle.
    """
    labels = f'namespace="{namespace}",endpoint_name="{endpoint}",variant_name="{variant}"'
    return f"sum(max by (pod) (rate({METRIC}{{{labels}}}[{window_seconds}s])))"


def rate_window_seconds(*, step_seconds: float, scrape_seconds: float) -> int:
    """The window of the rate: one step, so that each request counts once, but four scrapes at least, so that two may be
    lost.
    """
    return ceil(max(step_seconds, _SCRAPES_OF_RATE * scrape_seconds))


class HistorySource:
    """Reads histories one at a time and piece by piece: learning can wait, Prometheus' other users cannot."""

    def __init__(self, api: QueryApi | None, *, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._turn = asyncio.Lock()

    async def fetch(
        self, namespace: str, *, endpoint: str, variant: str, span: timedelta, step: timedelta, scrape_seconds: float
    ) -> DemandHistory:
        """The requests per second offered over *span* up to now, a bin for each *step*; NaN where nobody knows.

        *span* is at most :data:`LONGEST_SPAN`, *step* whole seconds. A bin begins a step before its rate is evaluated.
        Raises :class:`HistoryError`.
        """
        if not timedelta(0) < span <= LONGEST_SPAN:
            raise ValueError(f"span must be more than 0 and at most {LONGEST_SPAN.days} days")
        seconds = int(step.total_seconds())
        if seconds < 1 or seconds != step.total_seconds():
            raise ValueError("step must be whole seconds, at least 1")
        if self._api is None:
            raise HistoryError(NOT_CONFIGURED)
        window = rate_window_seconds(step_seconds=seconds, scrape_seconds=scrape_seconds)
        query = history_expression(namespace, endpoint=endpoint, variant=variant, window_seconds=window)
        # On whole steps, so that the same questions are asked again, which caches in front of Prometheus answer.
        last = int(self._clock().timestamp()) // seconds * seconds
        count = int(span.total_seconds()) // seconds
        rates = np.full(count, np.nan)
        first = last - (count - 1) * seconds
        async with self._turn:
            for begin in range(0, count, POINTS_PER_QUERY):
                end = min(begin + POINTS_PER_QUERY, count) - 1
                points = await self._asked(self._api, query, first + begin * seconds, first + end * seconds, seconds)
                for time, value in points:
                    index = round((time - first) / seconds)
                    if begin <= index <= end and isfinite(value) and value >= 0:
                        rates[index] = value
        start = datetime.fromtimestamp(first - seconds, UTC)
        return DemandHistory(step_seconds=float(seconds), start=start, rates=rates)

    async def _asked(self, api: QueryApi, query: str, start: int, end: int, step: int) -> tuple[Sample, ...]:
        form = {"query": query, "start": str(start), "end": str(end), "step": str(step)}
        try:
            found = await api.ask("query_range", form=form, timeout_seconds=_TIMEOUT_SECONDS)
            return parse_points(found.body, http_status=found.status)
        except PrometheusError as error:
            begin = datetime.fromtimestamp(start, UTC)
            raise HistoryError(f"the history from {begin:%Y-%m-%d %H:%M} UTC on cannot be read: {error}") from error
