"""What Prometheus answers to ``/api/v1/query`` with a range vector, and every way in which that can be no answer.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sagebrush.core.scaling.window import PodSeries, Sample

_QUOTED = 300


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


def parse_answer(body: bytes, *, http_status: int) -> Answer:
    """The answer in *body*. Raises :class:`PrometheusError` for anything that is not a success with a matrix."""
    document = _document(body, http_status=http_status)
    if document.get("status") == "error":
        kind, text = document.get("errorType", "error"), document.get("error", "no reason given")
        raise QueryRefusedError(f"Prometheus refused the query: {kind}: {_short(str(text))}")
    if http_status != 200:
        raise HttpStatusError(_unexpected(http_status, body=body))
    try:
        data = document["data"]
        if document["status"] != "success" or data["resultType"] != "matrix":
            raise BadAnswerError(f"Prometheus answered with a {data['resultType']} in place of a matrix")
        return _answer(data["result"], warnings=document.get("warnings") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
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


def _answer(result: Sequence[Mapping[str, Any]], *, warnings: Sequence[str]) -> Answer:
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
