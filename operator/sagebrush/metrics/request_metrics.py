"""All that is measured of the requests to endpoints, from one door: Prometheus, the pods themselves, users' own PromQL."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice

import aiohttp

from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.calibrate import DemandHistory
from sagebrush.core.scaling.counters import UNKNOWN_INTERVAL_SECONDS, PodSeries, scrape_interval_seconds
from sagebrush.core.scaling.facts import Cadence, Signals
from sagebrush.core.scaling.window import Readings, short_window, stale_after_seconds
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.combined import combined, doubted
from sagebrush.metrics.expressions import ExpressionSource
from sagebrush.metrics.history import HistorySource
from sagebrush.metrics.load import Load, LoadSource
from sagebrush.metrics.pods import INTERVAL, Callback, PodsSource
from sagebrush.metrics.prometheus import PrometheusSource, Snapshot, timeout_seconds
from sagebrush.metrics.query_api import QueryApi
from sagebrush.metrics.targets import FindTargets

_MOST_FOR_SILENT = 2.0
_PATIENCE_SECONDS = 1.0
_LOAD_TIMEOUT_SECONDS = 2.0
_LONGEST_SCRAPE_SECONDS = 60.0
_VARIANTS_LOOKED_AT = 100

SnapshotCallback = Callable[[Snapshot], Awaitable[None] | None]


def _utcnow() -> datetime:
    return datetime.now(UTC)


class RequestMetrics:
    """What backends ask for the signals of an endpoint.

    *url* is Prometheus' address, or None: then endpoints with ``source: Pods`` are still seen, and the others are told
    that there is none. *targets* finds the pods to be read directly. The session, for Prometheus alone, is the
    caller's to close.
    """

    def __init__(
        self,
        url: str | None,
        *,
        interval: timedelta,
        session: aiohttp.ClientSession,
        targets: FindTargets = dict,
        pods_interval: timedelta = INTERVAL,
        clock: Callable[[], datetime] = _utcnow,
    ) -> None:
        api = None if url is None else QueryApi(url, session=session)
        timeout = timeout_seconds(interval)
        self._interval = interval
        self.prometheus = PrometheusSource(url, interval=interval, session=session, clock=clock)
        self._load = LoadSource(api, timeout_seconds=min(timeout, _LOAD_TIMEOUT_SECONDS))
        self._expressions = ExpressionSource(
            api, interval_seconds=interval.total_seconds(), timeout_seconds=timeout, clock=time.monotonic
        )
        self._history = HistorySource(api, clock=clock)
        self.pods = PodsSource(targets, interval=pods_interval)
        self._pods_interval = pods_interval

    def signals(
        self,
        namespace: str,
        *,
        endpoint: str,
        variant: str,
        scaling: Scaling,
        ready_pods: Mapping[str, datetime | None] | None,
        now: datetime,
    ) -> Signals:
        """What is known of one variant at *now* of the wall clock.

        *ready_pods*: the pods that serve, and when each began to run, where known; None where nobody knows the pods
        (instances in SageMaker). What cannot be had is None, and the readings say why.
        """
        key = SeriesKey(namespace, endpoint, variant)
        readings = self.prometheus.readings(
            namespace, endpoint=endpoint, variant=variant, ready_pods=ready_pods, now=now
        )
        load, source = self._load_in_prometheus(key, ready_pods=ready_pods), "Prometheus"
        if scaling.source == "Pods" and ready_pods is not None:
            readings, seen, source = combined(self.pods.readings(key, ready_pods=ready_pods), readings)
            if seen:
                load = self.pods.load(key, ready_pods=ready_pods)
        if scaling.target.in_flight is not None:
            readings = _with_silent(readings, load)
        query = scaling.target.query
        value, problem = self._expressions.value(query.expression) if query is not None else (None, "")
        return Signals(
            short=readings.short,
            long=readings.long,
            waiting=load.waiting,
            in_flight=in_flight_of(load, ready=len(ready_pods or ())),
            refused_per_minute=load.refused_per_minute,
            busy=load.busy,
            value=value,
            value_problem=problem,
            source=source,
        )

    def readings(
        self,
        namespace: str,
        *,
        endpoint: str,
        variant: str,
        ready_pods: Mapping[str, datetime | None] | None,
        now: datetime,
    ) -> Readings:
        """Prometheus' readings alone: :meth:`PrometheusSource.readings`."""
        return self.prometheus.readings(namespace, endpoint=endpoint, variant=variant, ready_pods=ready_pods, now=now)

    def cadence(self, namespace: str, *, endpoint: str, variant: str, scaling: Scaling) -> Cadence:
        """How old what is seen may be: for the horizon of decisions.

        The lag is half the short window, which is how far the rate of a window is behind one that has just changed.
        """
        if scaling.source == "Pods":
            interval = scrape = self._pods_interval.total_seconds()
        else:
            interval, scrape = self._interval.total_seconds(), self.scrape_seconds(namespace, endpoint, variant)
        lag = short_window(scrape).total_seconds() / 2
        return Cadence(interval_seconds=interval, scrape_seconds=scrape, lag_seconds=lag)

    def scrape_seconds(self, namespace: str, endpoint: str, variant: str) -> float:
        """How often Prometheus scrapes the pods of a variant, as its samples show."""
        return self.prometheus.latest.scrape_seconds(SeriesKey(namespace, endpoint, variant))

    async def fetch_history(
        self, namespace: str, *, endpoint: str, variant: str, span: timedelta, step: timedelta
    ) -> DemandHistory:
        """:meth:`HistorySource.fetch`, with the scrape interval as measured. Raises ``HistoryError``."""
        return await self._history.fetch(
            namespace,
            endpoint=endpoint,
            variant=variant,
            span=span,
            step=step,
            scrape_seconds=self.scrape_seconds(namespace, endpoint, variant),
        )

    async def run(self, on_snapshot: SnapshotCallback | None = None, *, on_pods: Callback | None = None) -> None:
        """Looks every interval, and more often at the pods, until cancelled. No error ends it.

        *on_snapshot* follows each answer of Prometheus, *on_pods* each round over the pods, with the variants read.
        """

        async def arrived(snapshot: Snapshot) -> None:
            await self._follow(snapshot)
            told = on_snapshot(snapshot) if on_snapshot is not None else None
            if told is not None:
                await told

        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._expressions.close)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.prometheus.run(arrived), name="Prometheus")
                group.create_task(self.pods.run(on_pods), name="pods' metrics")

    async def refresh(self) -> Snapshot:
        """One look at Prometheus, with all that follows from it; for tests and tools."""
        snapshot = await self.prometheus.refresh()
        await self._follow(snapshot)
        return snapshot

    async def _follow(self, snapshot: Snapshot) -> None:
        """The further queries of a round, once the first has shown the scrape interval and that somebody is there."""
        if snapshot.problem is not None:
            self._load.clear()
            # Its own failure is told to whoever wants the value, so it is asked all the same.
            await self._expressions.refresh(patience_seconds=0.0)
            return
        await asyncio.gather(
            self._load.refresh(scrape_seconds=_scrape_seconds(snapshot)),
            self._expressions.refresh(patience_seconds=_PATIENCE_SECONDS),
        )

    def _load_in_prometheus(self, key: SeriesKey, *, ready_pods: Mapping[str, datetime | None] | None) -> Load:
        snapshot = self.prometheus.latest
        if snapshot.evaluated_at is None:
            return Load()
        series = snapshot.series.get(key, ())
        oldest = snapshot.evaluated_at.timestamp() - stale_after_seconds(snapshot.scrape_seconds(key))
        fresh = {one.pod for one in series if one.samples and one.samples[-1].unix_seconds >= oldest}
        return self._load.latest.of(key, pods=fresh, ready=fresh if ready_pods is None else ready_pods.keys())


def _scrape_seconds(snapshot: Snapshot) -> float:
    """The longest of the scrape intervals that some of the variants show, in seconds."""
    some: list[tuple[PodSeries, ...]] = [found[:1] for found in islice(snapshot.series.values(), _VARIANTS_LOOKED_AT)]
    longest = max((scrape_interval_seconds(found) for found in some), default=UNKNOWN_INTERVAL_SECONDS)
    return min(longest, _LONGEST_SCRAPE_SECONDS)


def in_flight_of(load: Load, *, ready: int) -> float | None:
    """What all ready pods have in flight, where some do not tell it yet.

    Those that do tell it stand for the others, for at most as many again: clients that keep their connections leave new
    pods idle. Where requests wait, they wait at those pods, and new ones are there to relieve them: no more is assumed.
    """
    told = ready - len(load.silent)
    if load.in_flight is None or told < 1 or load.waiting:
        return load.in_flight
    return load.in_flight * min(ready / told, _MOST_FOR_SILENT)


def _with_silent(readings: Readings, load: Load) -> Readings:
    """Where the target is what is in flight, pods that do not tell it leave as much in the dark as pods not scraped."""
    if not load.silent or load.in_flight is None:
        return readings
    rest = f" and {len(load.silent) - 1} more" if len(load.silent) > 1 else ""
    message = f"pod {load.silent[0]}{rest} does not tell its requests in flight"
    return Readings(*(doubted(each, message=message) for each in readings))
