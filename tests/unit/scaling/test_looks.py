"""Looks that follow each other closely: pods are read at slightly different moments, and other news may call for a look."""

import pytest

from tests.unit.scaling.builders import LATENCY, Loop, scaling

STEADY = 100 * 60.0 * 1.6
"""Requests per minute: what 1.6 replicas can do."""


@pytest.mark.parametrize("milliseconds", [1, 10, 300, 900])
def test_requests_between_two_pods_of_a_round_must_be_no_flood(milliseconds: float) -> None:
    """What comes in between the reads of two pods is not divided by the milliseconds between them."""
    loop = Loop(scaling(1000, **LATENCY), replicas=3)
    loop.run(STEADY, seconds=20)
    before = loop.replicas
    loop.tick(STEADY, short=STEADY * 1.5, seconds=milliseconds / 1000)
    assert loop.replicas <= 2 * before


def test_jump_seen_in_small_looks_must_still_be_seen() -> None:
    """Many looks within a scrape interval do not hide a jump from the one after it."""
    loop = Loop(scaling(1000, **LATENCY), replicas=3)
    loop.run(STEADY, seconds=20)
    for part in range(1, 21):
        loop.tick(STEADY * (1 + part * 0.02), short=STEADY * (1 + part * 0.2), seconds=0.1)
    assert loop.replicas >= 8
