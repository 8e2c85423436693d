"""How loaded the replicas of all endpoints are, from Prometheus: four small queries, whatever the number of endpoints.

Each is an instant query with one row for each pod. A query for each metric, and not one regular expression over
``__name__``: functions over a range drop the name, backends differ in which of them, and a metric that fails takes
no other with it. What is the same in all of them:

- ``max by (…, pod)`` makes one of the copies that two Prometheus replicas or two scrape jobs hold; a sum would double.
- The windows follow from the scrape interval: gauges must be younger than three scrapes, so that a pod that is gone
  does not count for the five minutes of Prometheus' look-back; rates take four, so that two may be lost.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, isfinite

from sagebrush.metrics.answer import PrometheusError, SeriesKey, parse_values
from sagebrush.metrics.query_api import QueryApi

_LABELS = "namespace, endpoint_name, variant_name, pod"
_SELECTED = 'endpoint_name!=""'
_SHORTEST_GAUGE_SECONDS = 10
_SCRAPES_OF_GAUGE = 3
_SHORTEST_RATE_SECONDS = 20
_SCRAPES_OF_RATE = 4

_logger = logging.getLogger(__name__)


class Measure(Enum):
    """One thing that is asked for; the value is its name in logs."""

    WAITING = "waiting requests"
    IN_FLIGHT = "requests in flight"
    BUSY = "busy share"
    REFUSED = "refused requests"

    def expression(self, scrape_seconds: float) -> str:
        """The PromQL for a scrape interval in seconds."""
        gauge = f"[{max(_SHORTEST_GAUGE_SECONDS, ceil(_SCRAPES_OF_GAUGE * scrape_seconds))}s]"
        rate = f"[{max(_SHORTEST_RATE_SECONDS, ceil(_SCRAPES_OF_RATE * scrape_seconds))}s]"
        match self:
            case Measure.WAITING:
                return _latest("sagebrush_requests_waiting", gauge)
            case Measure.IN_FLIGHT:
                return _latest("sagebrush_requests_in_flight", gauge)
            case Measure.BUSY:
                busy = f"max by ({_LABELS}) (rate(sagebrush_busy_seconds_total{{{_SELECTED}}}{rate}))"
                return f"{busy} / {_latest('sagebrush_workers', gauge)}"
            case Measure.REFUSED:
                refused = f'sagebrush_responses_total{{{_SELECTED},code=~"429|503"}}{rate}'
                return f"60 * sum by ({_LABELS}) (max by ({_LABELS}, code) (rate({refused})))"


def _latest(metric: str, window: str) -> str:
    return f"max by ({_LABELS}) (last_over_time({metric}{{{_SELECTED}}}{window}))"


@dataclass(frozen=True, slots=True)
class Load:
    """How loaded the replicas of one variant are, in :class:`sagebrush.core.scaling.facts.Signals`' terms.

    None: no replica tells it. A sum is over those that do, so it is that much or more.
    """

    waiting: float | None = None
    in_flight: float | None = None
    """Requests that wait or are being answered: a server's gauge has only the latter, so the two are added."""
    busy: float | None = None
    refused_per_minute: float | None = None
    silent: tuple[str, ...] = ()
    """The pods, of those asked about, that do not tell what they have in flight."""


Rows = Mapping[SeriesKey, Mapping[str, float]]
"""A number for each pod of each variant."""


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """The newest answer of each query, or why there is none."""

    rows: Mapping[Measure, Rows] = field(default_factory=dict)
    problems: Mapping[Measure, str] = field(default_factory=dict)

    def of(self, key: SeriesKey, *, pods: Collection[str], ready: Collection[str]) -> Load:
        """What it tells of one variant: sums over *pods*, the mean of the busy share over those that are *ready*."""
        found = {measure: rows.get(key, {}) for measure, rows in self.rows.items()}
        return load_of(
            waiting=found.get(Measure.WAITING, {}),
            in_flight=found.get(Measure.IN_FLIGHT, {}),
            busy=found.get(Measure.BUSY, {}),
            refused_per_minute=found.get(Measure.REFUSED, {}),
            pods=pods,
            ready=ready,
        )


def load_of(
    *,
    waiting: Mapping[str, float],
    in_flight: Mapping[str, float],
    busy: Mapping[str, float],
    refused_per_minute: Mapping[str, float],
    pods: Collection[str],
    ready: Collection[str],
) -> Load:
    """The load from numbers by pod; a pod that is missing in one of them tells nothing of it."""
    shares = [min(1.0, busy[pod]) for pod in ready if pod in busy]
    present = {pod: waiting.get(pod, 0.0) + in_flight[pod] for pod in pods if pod in in_flight}
    return Load(
        waiting=_sum(waiting, pods),
        in_flight=_sum(present, pods),
        busy=sum(shares) / len(shares) if shares else None,
        refused_per_minute=_sum(refused_per_minute, pods),
        silent=tuple(sorted(set(ready) - present.keys())),
    )


def _sum(values: Mapping[str, float], pods: Collection[str]) -> float | None:
    found = [values[pod] for pod in pods if pod in values]
    return sum(found) if found else None


class LoadSource:
    """Asks the queries together, and keeps their newest answers. One that fails is unknown, and touches no other."""

    def __init__(self, api: QueryApi | None, *, timeout_seconds: float) -> None:
        self._api = api
        self._timeout = timeout_seconds
        self._latest = LoadSnapshot()

    @property
    def latest(self) -> LoadSnapshot:
        """The newest answers; empty before the first."""
        return self._latest

    async def refresh(self, *, scrape_seconds: float) -> LoadSnapshot:
        """Asks once; *scrape_seconds* is the scrape interval. Raises nothing but cancellation."""
        if self._api is None:
            return self._latest
        rows: dict[Measure, Rows] = {}
        problems: dict[Measure, str] = {}
        answers = await asyncio.gather(*(self._asked(self._api, each, scrape_seconds) for each in Measure))
        for measure, found in zip(Measure, answers, strict=True):
            if isinstance(found, str):
                problems[measure] = found
            else:
                rows[measure] = found
        for measure, problem in problems.items():
            if self._latest.problems.get(measure) != problem:
                _logger.warning("no %s: %s", measure.value, problem)
        self._latest = LoadSnapshot(rows=rows, problems=problems)
        return self._latest

    def clear(self) -> None:
        """Forget the answers: they are too old by now."""
        self._latest = LoadSnapshot(problems=self._latest.problems)

    async def _asked(self, api: QueryApi, measure: Measure, scrape_seconds: float) -> Rows | str:
        form = {"query": measure.expression(scrape_seconds)}
        try:
            found = await api.ask("query", form=form, timeout_seconds=self._timeout)
            return _rows(found.body, http_status=found.status)
        except PrometheusError as error:
            return str(error)
        except Exception as error:
            _logger.exception("a query to Prometheus failed in a way not foreseen")
            return f"the query to Prometheus failed: {type(error).__name__}"


def _rows(body: bytes, *, http_status: int) -> Rows:
    rows: dict[SeriesKey, dict[str, float]] = {}
    for labels, value in parse_values(body, http_status=http_status).values:
        key = SeriesKey(labels.get("namespace", ""), labels.get("endpoint_name", ""), labels.get("variant_name", ""))
        pod = labels.get("pod", "")
        if pod and all(key) and isfinite(value) and value >= 0:
            rows.setdefault(key, {})[pod] = value
    return rows
