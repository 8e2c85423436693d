"""Recorded traffic from Prometheus."""

import json
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from sagebrush.replay.files import TraceError
from sagebrush.replay.prometheus import Fetch, fetched_trace, query_of
from sagebrush.replay.queueing import Service
from sagebrush.replay.trace import DAY, Trace

SERVICE = Service(capacity=10)
END = 1_700_000_000 // 60 * 60


def answering(rate: float = 5.0, *, lost: range | None = None) -> tuple[Fetch, list[tuple[int, int]]]:
    """A Prometheus of a steady rate that lacks the points of *lost*, and the ranges it was asked for."""
    asked: list[tuple[int, int]] = []

    def fetch(address: str) -> bytes:
        given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert urlsplit(address).path == "/prometheus/api/v1/query_range"
        start, end, step = (int(given[name]) for name in ("start", "end", "step"))
        asked.append((start, end))
        points = [[at, str(rate)] for at in range(start, end + 1, step) if lost is None or at not in lost]
        result = [{"metric": {}, "values": points}] if points else []
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()

    return fetch, asked


def fetched(fetch: Fetch, *, seconds: int = 14 * DAY, step: int = 15, days: float = 3) -> tuple[Trace, float]:
    return fetched_trace(
        "http://prometheus:9090/prometheus/",
        query="rate",
        seconds=seconds,
        step_seconds=step,
        service=SERVICE,
        name="mine",
        days=days,
        end_unix=END + 7,
        fetch=fetch,
    )


def test_two_weeks_must_be_asked_for_in_chunks_that_prometheus_answers() -> None:
    """No chunk of more than 11,000 points; together every point once, up to the last full step."""
    fetch, asked = answering()
    trace, missing = fetched(fetch)
    counts = [(end - start) // 15 + 1 for start, end in asked]
    assert max(counts) <= 11_000
    assert 14 * DAY // 15 == sum(counts)
    assert all(start - end == 15 for (_, end), (start, _) in pairwise(asked))
    assert 0.0 == missing
    assert (11 * DAY, 3 * DAY) == (trace.evaluated_from, trace.seconds)
    assert trace.rate.tolist() == [5.0] * 14 * DAY


def test_points_that_are_missing_must_be_told_and_lie_between_their_neighbours() -> None:
    """A gap is no traffic of zero."""
    fetch, _ = answering(lost=range(END - DAY, END - DAY + 3600))
    trace, missing = fetched(fetch, seconds=2 * DAY)
    assert pytest.approx(3600 / (2 * DAY)) == missing
    assert (trace.rate == 5.0).all()


def test_time_before_the_first_point_must_not_be_part_of_the_trace() -> None:
    """An endpoint that is a day old has a history of a day."""
    fetch, _ = answering(lost=range(END - 14 * DAY, END - DAY))
    trace, missing = fetched(fetch)
    assert DAY == len(trace)
    assert 0.0 == missing


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "error", "error": "parse error"}, "parse error"),
        ({"status": "success", "data": {"result": []}}, "no points"),
        ({"status": "success", "data": {"result": [{"values": []}, {"values": []}]}}, r"put sum\(\) around it"),
        ({"hello": "world"}, "no reason given"),
        ([], "not Prometheus"),
        ({"status": "success", "data": {"result": [{"values": [[1, "NaN"], [2, "NaN"]]}]}}, "no points"),
    ],
)
def test_answer_without_traffic_must_be_refused_with_the_reason(answer: object, told: str) -> None:
    """The message says what to do."""
    with pytest.raises(TraceError, match=told):
        fetched(lambda address: json.dumps(answer).encode(), seconds=3600)


def test_server_that_is_not_there_must_be_told() -> None:
    """Nothing listens on port 9 here."""
    with pytest.raises(TraceError, match="can't be reached"):
        fetched_trace("http://127.0.0.1:9", query="x", seconds=60, step_seconds=15, service=SERVICE, name="x", days=1)


def test_address_must_be_http() -> None:
    """A file is not asked for."""
    with pytest.raises(TraceError, match="http://"):
        fetched_trace("file:///etc", query="x", seconds=60, step_seconds=15, service=SERVICE, name="x", days=1)


def test_query_must_ask_for_all_requests_that_were_offered() -> None:
    """The counter at admission, over all pods of the endpoint."""
    assert 'sum(rate(sagebrush_invocations_total{namespace="shop",endpoint_name="prices"}[60s]))' == query_of(
        namespace="shop", endpoint="prices", step_seconds=15
    )


def test_values_must_stand_for_the_time_before_them() -> None:
    """The value at the end of a step is its mean."""

    def fetch(address: str) -> bytes:
        times = range(END - 60, END, 15)
        values = [[at, str(index)] for index, at in enumerate(times)]
        return json.dumps({"status": "success", "data": {"result": [{"values": values}]}}).encode()

    trace, _ = fetched(fetch, seconds=60)
    assert 60 == len(trace)
    assert np.isfinite(trace.rate).all()
    assert (np.diff(trace.rate) >= 0).all()
