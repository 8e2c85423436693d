"""How many requests replicas carry within a bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.core.scaling.capacity import Carried, carried, late_in_full_seconds, late_share, wait_bound
from sagebrush.core.scaling.facts import Capacity, Knowledge, Startup
from sagebrush.core.scaling.learning import capacity_in_force
from sagebrush.core.scaling.policy import compile_policy
from tests.unit.scaling.builders import scaling

ONE = {"capacity": 100.0, "workers": 8, "latency_seconds": 0.58, "share": 0.01}


def test_carried_must_grow_with_replicas_faster_than_they_do() -> None:
    """Replicas that share a queue even out chance: ten carry more than ten times what one does, and less than they can."""
    table = carried(most=200, **ONE)
    per_replica = table.array[1:] / np.arange(1, 201)
    assert np.all(np.diff(per_replica) > 0)
    assert 85 < per_replica[0] < per_replica[-1] < 100


def test_late_share_must_be_that_of_a_queue_with_one_server() -> None:
    """Of M/M/1 the formula is exact: P(wait > w) = ρ·exp(-μ(1-ρ)w)."""
    service = Carried(capacity=10.0, workers=1, wait_seconds=0.3, dispersion=1.0)
    shares = late_share(np.array([5.0, 9.0, 10.0, 20.0]), np.ones(4), service)
    expected = [0.5 * np.exp(-10 * 0.5 * 0.3), 0.9 * np.exp(-10 * 0.1 * 0.3), 1.0, 1.0]
    assert shares == pytest.approx(expected)


def test_full_seconds_must_be_late_as_drawn_seconds_are() -> None:
    """By 200,000 seconds drawn about the same mean: those within a wait of what five replicas can do, and no others."""
    service = Carried(capacity=100.0, workers=8, wait_seconds=0.5, dispersion=1.0)
    generator = np.random.default_rng(4)
    for rate in (440.0, 455.0, 470.0):
        drawn = generator.poisson(rate, size=200_000).astype(np.float64)
        calm = drawn[drawn < 500]
        expected = float((late_share(calm, np.full(len(calm), 5.0), service) * calm).sum()) / float(drawn.sum())
        found = late_in_full_seconds(np.array([rate]), np.array([5.0]), service, seconds=1e6)
        assert float(found[0]) == pytest.approx(expected, rel=0.35)


def test_full_seconds_must_matter_less_the_shorter_the_bins() -> None:
    """Bins of a second show all there is; and more replicas are late no more often."""
    service = Carried(capacity=10.0, workers=8, wait_seconds=1.0, dispersion=6.0)
    rates, replicas = np.full(40, 200.0), np.arange(20.0, 60.0)
    shares = [late_in_full_seconds(rates, replicas, service, seconds=seconds) for seconds in (1, 5, 60)]
    assert float(shares[0][2:].max()) < 1e-9
    assert np.all(shares[1][6:] <= shares[2][6:])
    assert np.all(np.diff(shares[2]) <= 0)


def test_bunched_arrivals_must_need_more_replicas() -> None:
    """The same rate in bunches waits longer."""
    even, bunched = carried(most=100, **ONE), carried(most=100, dispersion=10.0, **ONE)
    assert bunched.replicas_for(185.0) > even.replicas_for(185.0)


@pytest.mark.parametrize(("latency", "expected"), [(0.58, 0.5), (0.1, 0.02), (0.05, 0.005)])
def test_wait_bound_must_leave_the_time_of_the_answer(latency: float, expected: float) -> None:
    """Eight workers that do 100 requests/s take 80 ms each; of a bound no replica can meet a tenth is left."""
    assert wait_bound(latency, capacity=100, workers=8) == pytest.approx(expected)


@given(rate=st.floats(0, 50_000), more=st.floats(0, 1000))
def test_replicas_must_carry_the_rate_and_never_be_fewer_for_more(rate: float, more: float) -> None:
    """The fewest that carry it, within the table and beyond."""
    table = carried(most=50, **ONE)
    replicas = table.replicas_for(rate)
    assert table.replicas_for(rate + more) >= replicas
    if 0 < replicas <= 50:
        assert table.rates[replicas - 1] < rate <= table.rates[replicas]


def test_tested_concurrency_must_be_believed_where_none_is_stated() -> None:
    """What the owner says of the workers counts, else what the test found."""
    tested = Knowledge(capacity=Capacity(50, 2, source="Tested"), startup=Startup.of((3.0,)))
    found = capacity_in_force(compile_policy(scaling(target={"latency": "500ms"})), tested)
    assert found is not None
    assert (50, 2) == (found.requests_per_second, found.concurrency)
    said = {"target": {"latency": "500ms"}, "capacity": {"concurrency": 4}}
    found = capacity_in_force(compile_policy(scaling(**said)), tested)
    assert found is not None
    assert (50, 4) == (found.requests_per_second, found.concurrency)
