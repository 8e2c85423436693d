"""Which of two views of the same requests is believed."""

from datetime import timedelta

import pytest

from sagebrush.core.scaling.window import Problem, Reading, Readings
from sagebrush.metrics.combined import combined

LONG, MOMENT = timedelta(seconds=60), timedelta(seconds=3)


def whole(rate: float) -> Reading:
    return Reading(rate, None, complete=True, span=LONG)


def flawed(rate: float, problem: Problem = Problem.PARTIAL, *, span: timedelta = LONG) -> Reading:
    return Reading(rate, None, complete=False, problem=problem, message="a pod is missing", span=span)


def nothing(message: str = "nobody answers") -> Reading:
    return Reading(None, None, complete=False, problem=Problem.SOURCE, message=message)


@pytest.mark.parametrize(
    ("pods", "prometheus", "chosen"),
    [
        (whole(5), whole(9), "pods"),
        (whole(5), nothing(), "pods"),
        (flawed(5), nothing(), "pods"),
        (nothing(), whole(9), "prometheus"),
        (nothing(), flawed(9), "prometheus"),
        # The operator has begun to look a moment ago.
        (flawed(5, Problem.FILLING), whole(9), "prometheus"),
        (flawed(50, Problem.FILLING), whole(9), "prometheus"),
        (flawed(50, span=MOMENT), whole(9), "prometheus"),
        # A pod cannot be read: those that can are the least there is.
        (flawed(5), whole(9), "prometheus"),
        (flawed(50), whole(9), "pods"),
        (flawed(5), flawed(9), "prometheus"),
        (flawed(9), flawed(5), "pods"),
    ],
)
def test_combined_must_take_the_better_reading(pods: Reading, prometheus: Reading, chosen: str) -> None:
    """The complete one, the pods' first; what has been counted has arrived; a moment is no minute."""
    expected = pods if chosen == "pods" else prometheus
    found, seen, source = combined(Readings(pods, pods), Readings(prometheus, prometheus))
    assert (found.short, found.long) == (expected, expected)
    assert seen == (pods.requests_per_minute is not None)
    assert source.startswith("Pods" if chosen == "pods" else "Prometheus, as the pods are not enough: ")


def test_combined_must_tell_both_reasons_where_nothing_is_known() -> None:
    """Whoever mends it wants to know of either."""
    found, seen, source = combined(Readings(nothing(), nothing()), Readings(nothing("no url"), nothing("no url")))
    assert found.long.requests_per_minute is None
    assert found.long.message == "nobody answers; and in Prometheus: no url"
    assert (seen, source) == (False, "Pods")


def test_combined_must_choose_for_each_window() -> None:
    """After a restart of the operator the pods' short window is whole long before the long one."""
    found, _, source = combined(Readings(whole(50), flawed(50, Problem.FILLING)), Readings(whole(10), whole(11)))
    assert (found.short.requests_per_minute, found.long.requests_per_minute, source) == (50, 11, "Pods")
