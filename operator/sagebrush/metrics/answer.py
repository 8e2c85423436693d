"""What Prometheus answers to ``/api/v1/query`` and ``query_range``, and every way in which that can be no answer.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sagebrush.core.scaling.window import PodSeries, Sample

_QUOTED = 300

ParsedT = TypeVar("ParsedT")


class PrometheusError(Exception):
    """Prometheus gave no usable answer; the text is one for ``status.scaling``, and the same for the same fault."""


class UnreachableError(PrometheusError):
    """No connection, or it broke."""


class TimedOutError(PrometheusError):
    """No answer in time."""


class HttpStatusError(PrometheusError):
    """An HTTP status that is not Prometheus' own way to refuse: a proxy, a login page, a wrong path."""


class QueryRefusedError(PrometheusError):
    """``status: error`` with Prometheus' own words."""


class BadAnswerError(PrometheusError):
    """Success that is not what was asked for, or too much of it."""


class SeriesKey(NamedTuple):
    """Whose requests a counter counts."""

    namespace: str
    endpoint_name: str
    variant_name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The series of all endpoints."""

    series: Mapping[SeriesKey, tuple[PodSeries, ...]]
    warnings: tuple[str, ...] = ()
    """Prometheus' own: parts of the data could not be had (a remote store, a Thanos sidecar)."""
    unlabelled: int = 0
    """Series that lack a label which says whose they are, and were left out."""


class Value(NamedTuple):
    """One series of an instant vector, or a scalar, which has no labels."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Values:
    """What an expression is at one moment."""

    kind: str
    """Prometheus' word for it: ``vector`` or ``scalar``."""
    values: tuple[Value, ...]
    warnings: tuple[str, ...] = ()


def parse_answer(body: bytes, *, http_status: int) -> Answer:
    """The range vector in *body*. Raises :class:`PrometheusError` for anything that is not a success with a matrix."""
    return _parsed(
        body, http_status=http_status, kinds=("matrix",), read=lambda _, result, warnings: _answer(result, warnings)
    )


def parse_values(body: bytes, *, http_status: int) -> Values:
    """The instant vector or scalar in *body*. Raises :class:`PrometheusError` for anything else."""
    return _parsed(body, http_status=http_status, kinds=("vector", "scalar"), read=_values)


def parse_points(body: bytes, *, http_status: int) -> tuple[Sample, ...]:
    """The points of the one series in *body*, none where there is no series.

    Raises :class:`PrometheusError` for anything but a success with a matrix of at most one series.
    """
    return _parsed(body, http_status=http_status, kinds=("matrix",), read=lambda _, result, __: _points(result))


def _parsed(
    body: bytes,
    *,
    http_status: int,
    kinds: tuple[str, ...],
    read: Callable[[str, Any, Sequence[str]], ParsedT],
) -> ParsedT:
    document = _document(body, http_status=http_status)
    if document.get("status") == "error":
        kind, text = document.get("errorType", "error"), document.get("error", "no reason given")
        raise QueryRefusedError(f"Prometheus refused the query: {kind}: {_short(str(text))}")
    if http_status != 200:
        raise HttpStatusError(_unexpected(http_status, body=body))
    try:
        data = document["data"]
        found = data["resultType"]
        if document["status"] != "success" or found not in kinds:
            raise BadAnswerError(f"Prometheus answered with a {_short(str(found))} in place of a {' or '.join(kinds)}")
        return read(found, data["result"], document.get("warnings") or ())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadAnswerError(
            f"Prometheus' answer cannot be read: {type(error).__name__}: {_short(str(error))}"
        ) from error


def _document(body: bytes, *, http_status: int) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        if http_status != 200:
            raise HttpStatusError(_unexpected(http_status, body=body)) from error
        raise BadAnswerError(f"Prometheus' answer is not JSON: {_quoted(body)}") from error
    if not isinstance(document, dict):
        raise BadAnswerError(f"Prometheus' answer is not an object: {_quoted(body)}")
    return document


def _values(kind: str, result: Any, warnings: Sequence[str]) -> Values:
    if kind == "scalar":
        found: tuple[Value, ...] = (Value(labels={}, value=float(result[1])),)
    else:
        found = tuple(Value(labels=dict(one["metric"]), value=float(one["value"][1])) for one in result)
    return Values(kind=kind, values=found, warnings=tuple(str(warning) for warning in warnings))


def _points(result: Sequence[Mapping[str, Any]]) -> tuple[Sample, ...]:
    if len(result) > 1:
        raise BadAnswerError(f"Prometheus answered with {len(result)} series in place of one")
    return tuple(Sample(float(time), float(value)) for one in result for time, value in one["values"])


def _answer(result: Sequence[Mapping[str, Any]], warnings: Sequence[str]) -> Answer:
    series: dict[SeriesKey, list[PodSeries]] = {}
    unlabelled = 0
    for one in result:
        labels = one["metric"]
        key = SeriesKey(labels.get("namespace", ""), labels.get("endpoint_name", ""), labels.get("variant_name", ""))
        pod = labels.get("pod", "")
        samples = tuple(Sample(float(time), float(value)) for time, value in one.get("values", ()))
        if pod and all(key):
            series.setdefault(key, []).append(PodSeries(pod=pod, samples=samples))
        else:
            unlabelled += 1
    return Answer(
        series={key: tuple(found) for key, found in series.items()},
        warnings=tuple(str(warning) for warning in warnings),
        unlabelled=unlabelled,
    )


def _unexpected(http_status: int, *, body: bytes) -> str:
    text = _quoted(body)
    return f"Prometheus answered with HTTP status {http_status}{f': {text}' if text else ''}"


def _quoted(body: bytes) -> str:
    return _short(body[: 4 * _QUOTED].decode(errors="replace"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"
