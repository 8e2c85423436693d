"""What the SageMaker demo reads from the simulator's log."""

import pytest

from examples.sagemaker_demo import audit

KEY = "AKIAOPERATOR"


def call(time, operation="DescribeEndpoint", *, key=KEY, code="OK"):
    return {"wall_time": time, "service": "sagemaker", "operation": operation, "access_key": key, "code": code}


def read(calls, *, violations=(), state=None, orphans=()):
    log = {"calls": calls, "violations": list(violations)}
    return audit.audit_of(log, key=KEY, state=state or {}, orphans=orphans, rate=10, burst=20)


def test_only_the_operators_calls_must_count():
    """The demo calls the same account with a key of its own."""
    found = read([call(1), call(1.1, "CreateModel", code="ValidationException"), call(1.2, key="AKIADEMO"), call(5)])
    assert {"sagemaker.DescribeEndpoint": 2, "sagemaker.CreateModel": 1} == found.operations
    assert {"OK": 2, "ValidationException": 1} == found.answers
    assert (3, 2) == (found.calls, found.peak_per_second)


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([1.0], 1), ([1.0, 1.5, 1.99], 3), ([1.0, 2.0, 3.0], 1), ([1.0, 1.5, 2.2, 2.3], 3)],
)
def test_peak_must_be_the_fullest_second(times, most):
    """Any second counts, not only those that begin with a whole number."""
    assert most == audit.peak(times)


@pytest.mark.parametrize(
    ("times", "level"),
    [
        ([], 20.0),
        ([0.0] * 20, 0.0),
        ([0.0] * 25, -5.0),
        ([0.0] * 20 + [1.0] * 10, 0.0),
        ([0.0, 100.0], 19.0),
    ],
)
def test_lowest_level_must_be_that_of_a_bucket(times, level):
    """A burst is what the bucket holds, and it fills up at the rate, never beyond its size."""
    assert level == audit.lowest_level(times, rate=10, burst=20)


def test_what_is_left_must_be_named():
    """Leftovers of all accounts and regions, violations and orphans are kept in words."""
    state = {
        "1/us-east-1": {"endpoints": {"kdd": {}}, "models": {}, "alarms": []},
        "2/us-east-1": {"endpoints": {"b": {}, "a": {}}, "alarms": ["x"]},
    }
    violation = {"rule": "in use", "operation": "DeleteModel", "resource": "m", "detail": "kdd serves it"}
    found = read([], violations=[violation], state=state, orphans=["arn:x"])
    assert {"endpoints": ["kdd", "a", "b"], "alarms": ["x"]} == found.leftovers
    assert ["in use: DeleteModel m: kdd serves it"] == found.violations
    assert ["arn:x"] == found.orphans
