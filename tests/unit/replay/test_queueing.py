"""Waiting in closed form."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.replay.queueing import Service, carried, late_probability, replicas_needed

SERVICE = Service(capacity=10, wait_seconds=0.5)


def erlang_c(servers: int, load: float) -> float:
    """The exact probability of waiting in M/M/servers, for *load* erlangs."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / factorial(k) for k in range(servers)) + last)


def late(rate: float, replicas: int, service: Service = SERVICE) -> float:
    return float(late_probability(np.asarray([rate]), np.asarray([replicas]), service)[0])


@pytest.mark.parametrize(("servers", "busy"), [(8, 0.7), (8, 0.9), (16, 0.8), (40, 0.95)])
def test_late_probability_must_be_close_to_the_exact_one(servers: int, busy: float) -> None:
    """Sakasegawa's approximation of the chance to wait stays within a tenth of Erlang's."""
    service = Service(capacity=10, wait_seconds=0.0, workers=servers)
    assert erlang_c(servers, busy * servers) == pytest.approx(late(10 * busy, 1, service), abs=0.1)


@given(rate=st.floats(0, 500), replicas=st.integers(1, 60))
def test_late_probability_must_fall_with_replicas_and_rise_with_load(rate: float, replicas: int) -> None:
    """More replicas are never later, more load is never earlier, and it is a probability."""
    here = late(rate, replicas)
    assert 0.0 <= here <= 1.0
    assert late(rate, replicas + 1) <= here + 1e-12
    assert late(rate + 1, replicas) >= here - 1e-12


@given(rate=st.floats(0, 2000), share=st.floats(0.0005, 0.2))
def test_replicas_needed_must_be_the_fewest_that_hold_the_share(rate: float, share: float) -> None:
    """With them the share is held, with one fewer it is not."""
    needed = int(replicas_needed(np.asarray([rate]), SERVICE, share=share)[0])
    assert late(rate, needed) <= share + 1e-9
    assert needed == 1 or late(rate, needed - 1) > share - 1e-9


def test_carried_must_use_more_of_a_larger_pool() -> None:
    """What is carried per replica grows with the pool, and stays below its capacity."""
    each = carried(SERVICE, most=50)[1:] / np.arange(1, 51)
    assert (np.diff(each) > 0).all()
    assert each[-1] < SERVICE.capacity
