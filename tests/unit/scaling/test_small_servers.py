"""The policy over small servers whose requests queue one by one: what a fluid model of them can't show."""

from heapq import heappop, heappush

import numpy as np
import pytest

from tests.unit.scaling.builders import Loop, scaling

WORKERS, SERVICE_SECONDS = 2, 0.04
CAPACITY = WORKERS / SERVICE_SECONDS  # requests/s of a replica
SMALL = scaling(
    maximum=20, target={"latency": "500ms"}, capacity={"requestsPerSecond": CAPACITY, "concurrency": WORKERS}
)


def waiting_each_second(moments: list[float], *, replicas: int, seconds: int, seed: int) -> list[int]:
    """Requests that wait at the end of each second, where each goes to a replica drawn at random, as kube-proxy does."""
    chosen = np.random.default_rng(seed).integers(0, replicas, size=len(moments)).tolist()
    free = [[0.0] * WORKERS for _ in range(replicas)]
    starts = []
    for moment, replica in zip(moments, chosen, strict=True):
        start = max(moment, heappop(free[replica]))
        heappush(free[replica], start + SERVICE_SECONDS)
        starts.append(start)
    came, begun = np.asarray(moments), np.sort(starts)
    ends = np.arange(1, seconds + 1)
    return [int(each) for each in np.searchsorted(came, ends) - np.searchsorted(begun, ends)]


@pytest.mark.parametrize("seed", range(5))
def test_steady_load_must_not_count_as_a_burst_because_requests_wait(seed: int) -> None:
    """200 requests/s over five replicas of 50, each with its own queue: some wait at most moments, and five stay.

    Who took them all to be saturated because some requests wait would learn too low a capacity, add replicas, and learn
    an even lower one from those: nine or ten were asked for.
    """
    seconds, rate = 180, 200
    generator = np.random.default_rng([seed, 1])
    moments = np.sort(generator.uniform(0, seconds, size=int(generator.poisson(rate * seconds)))).tolist()
    waiting = waiting_each_second(moments, replicas=5, seconds=seconds, seed=seed)
    assert sum(each >= 5 for each in waiting) > 10  # else this shows nothing
    counted = np.searchsorted(moments, np.arange(seconds + 1))
    loop = Loop(SMALL, replicas=5)
    for second in range(61, seconds):
        short, long = ((counted[second] - counted[second - span]) * 60 / span for span in (6, 60))
        loop.tick(float(long), short=float(short), seconds=1, waiting=float(waiting[second - 1]))
    assert max(decision.replicas for decision in loop.decisions) <= 6
    assert loop.last.capacity is not None
    assert loop.last.capacity.requests_per_second == CAPACITY  # a waiting request here or there saturates nothing
