"""The check of budgets: quiet about whoever keeps to one, and loud about a real burst."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sagemaker_simulator.audit import Entry
from tests.sagemaker_simulator.bursts import Budget, bursts

RATE, BURST, JITTER = 2.0, 5, 3.0
ROOM = BURST + int(RATE * JITTER)
CALL = Entry(0.0, 0.0, "sagemaker", "DescribeEndpoint", "kdd", "AKIDONE", "123456789012", "us-east-1", "OK")


def calls(*times: float, **other: str) -> list[Entry]:
    """A call at each of these virtual times."""
    return [replace(CALL, virtual_time=time, **other) for time in times]


def told(entries: list[Entry]) -> list[str]:
    """What the check says of callers that have one budget."""
    return bursts(entries, budget_of=lambda key: Budget(RATE, BURST) if key.startswith("AKID") else None, jitter=JITTER)


@pytest.mark.parametrize("begun", [0.0, 1e6])
def test_real_burst_must_be_found(begun: float) -> None:
    """One call more than burst and jitter give at once, also after a long pause; with one less nothing is said."""
    quiet, loud = calls(0.0, *[begun] * (ROOM - 1)), calls(0.0, *[begun] * (ROOM + 1))
    assert [] == told(quiet)
    (line,) = told(loud) if begun else told(loud)[-1:]
    assert "AKIDONE/123456789012/us-east-1: DescribeEndpoint" in line
    assert "2/s and 5 at once, with 3 s of jitter" in line


def test_rate_that_is_too_high_must_be_found() -> None:
    """A little too fast for long is too much, though no moment is conspicuous."""
    assert [] == told(calls(*(number / RATE for number in range(500))))
    assert told(calls(*(number / (RATE * 1.1) for number in range(500))))


@pytest.mark.parametrize("other", [{"access_key": "AKIDTWO"}, {"account": "210987654321"}, {"region": "eu-west-1"}])
def test_budgets_must_be_each_caller_accounts_and_regions_own(other: dict[str, str]) -> None:
    """Two processes, accounts or regions have a budget each; one that has two of them all has not."""
    assert [] == told(calls(*[0.0] * ROOM) + calls(*[0.0] * ROOM, **other))
    assert told(calls(*[0.0] * ROOM) + calls(*[0.0] * ROOM, operation="ListTags"))


@pytest.mark.parametrize("other", [{"service": "s3"}, {"service": "sts"}, {"access_key": "AKIATESTER"}])
def test_what_no_budget_counts_must_be_left_out(other: dict[str, str]) -> None:
    """S3, STS, and the calls of whoever has no budget."""
    assert [] == told(calls(*[0.0] * (ROOM + 9), **other))


@given(
    st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=60),
    st.lists(st.floats(0, JITTER), min_size=60, max_size=60),
)
def test_calls_of_a_token_bucket_must_be_quiet_however_late_they_come(gaps: list[float], late: list[float]) -> None:
    """Whatever is asked for when: what a bucket lets go, each call late by up to the jitter, is no burst."""
    tokens, now, times = float(BURST), 0.0, []
    for gap in gaps:
        tokens, now = min(float(BURST), tokens + gap * RATE), now + gap
        if tokens < 1:
            now, tokens = now + (1 - tokens) / RATE, 1.0
        tokens -= 1
        times.append(now)
    assert [] == told(calls(*(time + each * 0.999 for time, each in zip(times, late, strict=False))))
