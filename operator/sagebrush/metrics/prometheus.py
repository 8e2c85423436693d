"""The request metrics of all endpoints, from Prometheus, in one query every few seconds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from sagebrush.core.scaling.counters import scrape_interval_seconds
from sagebrush.core.scaling.window import LONG_WINDOW, PodSeries, Problem, Readings, read, unknown
from sagebrush.metrics.answer import Answer, PrometheusError, SeriesKey, parse_answer
from sagebrush.metrics.combined import doubted
from sagebrush.metrics.query_api import QueryApi

DEFAULT_WINDOW = timedelta(seconds=120)
"""Samples asked for: the long window and a lost scrape more, for scrape intervals up to 30 s."""

METRIC = "sagebrush_invocations_total"
NOT_CONFIGURED = "no Prometheus configured: set --prometheus-url"
_SHORTEST_TIMEOUT_SECONDS = 2.0
_LONGEST_TIMEOUT_SECONDS = 10.0

_logger = logging.getLogger(__name__)

Callback = Callable[["Snapshot"], Awaitable[None] | None]


def timeout_seconds(interval: timedelta) -> float:
    """How long an answer is waited for, where it is asked for once an interval: two of them, within reason."""
    return min(max(2 * interval.total_seconds(), _SHORTEST_TIMEOUT_SECONDS), _LONGEST_TIMEOUT_SECONDS)


def _utcnow() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one query showed, or why it showed nothing. A failure has no series: it is never an empty success."""

    taken_at: datetime
    """When the answer came, by the operator's clock."""
    evaluated_at: datetime | None = None
    """That moment by Prometheus' clock; None for a failure."""
    series: Mapping[SeriesKey, tuple[PodSeries, ...]] = field(default_factory=dict)
    problem: str | None = None
    """Why there is no answer, in a sentence that stays the same for as long as the fault does."""
    failing_since: datetime | None = None
    """When the first failure of those in a row up to now was seen."""
    warnings: tuple[str, ...] = ()
    """Prometheus says that data may be missing: readings are not complete."""
    unlabelled: int = 0
    """Series left out because they lack ``namespace``, ``pod`` or a label of the endpoint."""
    _intervals: dict[SeriesKey, float] = field(default_factory=dict, init=False, compare=False, repr=False)

    def scrape_seconds(self, key: SeriesKey) -> float:
        """How often the pods of a variant are scraped, as their samples show; found once, and asked for by many."""
        found = self._intervals.get(key)
        if found is None:
            found = self._intervals[key] = scrape_interval_seconds(self.series.get(key, ()))
        return found

    def readings(
        self,
        namespace: str,
        *,
        endpoint: str,
        variant: str,
        ready_pods: Mapping[str, datetime | None] | None,
        now: datetime,
    ) -> Readings:
        """What the snapshot tells of one variant at *now* of the operator's clock: a snapshot grows old.

        *ready_pods*: the pods that serve, and when each began to run, where known; None where nobody knows the pods.
        """
        if self.problem is not None or self.evaluated_at is None:
            return unknown(Problem.SOURCE, message=self.problem or "no answer yet")
        # How much time has passed since is the only thing taken from the operator's clock, so it may be wrong.
        at = self.evaluated_at + max(now - self.taken_at, timedelta(0))
        key = SeriesKey(namespace, endpoint, variant)
        found, interval = self.series.get(key, ()), self.scrape_seconds(key)
        short, long = read(found, ready_pods=ready_pods, at=at, interval_seconds=interval)
        if long.problem is Problem.NO_DATA and self.unlabelled:
            lost = (
                f"{long.message}; {self.unlabelled} series lack the label namespace, pod, endpoint_name or variant_name"
            )
            return unknown(Problem.NO_DATA, message=lost)
        if self.warnings:
            warning = f"Prometheus warns: {self.warnings[0]}"
            return Readings(short=doubted(short, message=warning), long=doubted(long, message=warning))
        return Readings(short=short, long=long)


class PrometheusSource:
    """Asks Prometheus again and again, and keeps the latest snapshot.

    *url* is Prometheus' address, with a path prefix and credentials where it has them; None: there is none, and
    every snapshot says so. The session is the caller's to close, and carries what headers the server asks for.
    """

    def __init__(
        self,
        url: str | None,
        *,
        interval: timedelta,
        session: aiohttp.ClientSession,
        window: timedelta = DEFAULT_WINDOW,
        clock: Callable[[], datetime] = _utcnow,
    ) -> None:
        if window <= LONG_WINDOW:
            raise ValueError(f"the window must be longer than {LONG_WINDOW.total_seconds():.0f} s by a scrape interval")
        self._api = None if url is None else QueryApi(url, session=session)
        self._interval = interval
        self._clock = clock
        self._timeout = timeout_seconds(interval)
        self._query = f'{METRIC}{{endpoint_name!=""}}[{int(window.total_seconds())}s]'
        problem = NOT_CONFIGURED if self._api is None else "Prometheus has not been asked yet"
        self._latest = Snapshot(taken_at=clock(), problem=problem, failing_since=clock())

    @property
    def latest(self) -> Snapshot:
        """The newest snapshot; before the first answer one that says so."""
        return self._latest

    def readings(
        self,
        namespace: str,
        *,
        endpoint: str,
        variant: str,
        ready_pods: Mapping[str, datetime | None] | None,
        now: datetime,
    ) -> Readings:
        """:meth:`Snapshot.readings` of the latest snapshot."""
        return self._latest.readings(namespace, endpoint=endpoint, variant=variant, ready_pods=ready_pods, now=now)

    async def run(self, on_snapshot: Callback | None = None) -> None:
        """Takes a snapshot every interval until cancelled, and hands each to *on_snapshot*. No error ends it."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            snapshot = await self.refresh()
            if on_snapshot is not None:
                try:
                    told = on_snapshot(snapshot)
                    if told is not None:
                        await told
                except Exception:
                    _logger.exception("what follows a snapshot of the metrics failed")
            await asyncio.sleep(max(0.0, begun + self._interval.total_seconds() - loop.time()))

    async def refresh(self) -> Snapshot:
        """Asks once and keeps the answer, or the reason why there is none. Raises nothing but cancellation."""
        before = self._latest
        try:
            snapshot = await self._asked()
        except PrometheusError as error:
            snapshot = self._failed(str(error))
        except Exception as error:
            _logger.exception("the query to Prometheus failed in a way not foreseen")
            snapshot = self._failed(f"the query to Prometheus failed: {type(error).__name__}")
        self._latest = snapshot
        if snapshot.problem is not None and snapshot.problem != before.problem:
            _logger.warning("no request metrics: %s", snapshot.problem)
        elif snapshot.problem is None and before.problem is not None:
            _logger.info("request metrics of %d variants are read from Prometheus", len(snapshot.series))
        return snapshot

    def _failed(self, problem: str) -> Snapshot:
        now = self._clock()
        since = self._latest.failing_since or now
        return Snapshot(taken_at=now, problem=problem, failing_since=since)

    async def _asked(self) -> Snapshot:
        if self._api is None:
            return self._failed(NOT_CONFIGURED)
        found = await self._api.ask("query", form={"query": self._query}, timeout_seconds=self._timeout)
        answer = parse_answer(found.body, http_status=found.status)
        taken_at = self._clock()
        return Snapshot(
            taken_at=taken_at,
            evaluated_at=_evaluated_at(answer, date=found.date, otherwise=taken_at),
            series=answer.series,
            warnings=answer.warnings,
            unlabelled=answer.unlabelled,
        )


def _evaluated_at(answer: Answer, *, date: str | None, otherwise: datetime) -> datetime:
    """The time of the answer on Prometheus' clock.

    The answer to a range vector does not carry it. The HTTP ``Date`` header does, cut to seconds; and no sample is
    later than the evaluation, which mends the cut and a proxy's slow clock.
    """
    newest = max(
        (sample.unix_seconds for found in answer.series.values() for one in found for sample in one.samples[-1:]),
        default=0.0,
    )
    try:
        told = parsedate_to_datetime(date) if date else otherwise
    except ValueError:
        told = otherwise
    if told.tzinfo is None:
        told = told.replace(tzinfo=UTC)
    return max(told.astimezone(UTC), datetime.fromtimestamp(newest, UTC))
