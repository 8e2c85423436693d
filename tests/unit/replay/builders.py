"""Small systems to replay."""

from collections.abc import Callable, Sequence

import numpy as np

from sagebrush.replay.autoscaler import Maker, Pipeline, Situation, View
from sagebrush.replay.queueing import Floats, Service
from sagebrush.replay.trace import Trace

SERVICE = Service(capacity=10, wait_seconds=0.5, workers=8)
EACH_SECOND = Pipeline(name="1 s", step=1, lag=0, pods=True)


def steady(*rates: tuple[float, int], service: Service = SERVICE, history: int = 0) -> Trace:
    """A trace of stretches of (requests/s, seconds), without noise; the first *history* seconds are not judged."""
    rate = np.concatenate([np.full(seconds, float(value)) for value, seconds in rates])
    return Trace(name="steady", rate=rate, service=service, noisy=False, evaluated_from=history)


class Scripted:
    """Asks for what a function of the view says."""

    def __init__(self, choose: Callable[[View], int], *, interval_seconds: int = 1) -> None:
        self.choose = choose
        self.interval_seconds = interval_seconds

    def look(self, view: View) -> int:
        return self.choose(view)


def scripted(choose: Callable[[View], int], *, interval_seconds: int = 1) -> Maker:
    """A maker of :class:`Scripted`."""

    def make(situation: Situation, history: Floats) -> Scripted:
        return Scripted(choose, interval_seconds=interval_seconds)

    return make


def sequence(numbers: Sequence[int], *, begin: int = 0) -> Maker:
    """Asks for one number after the other, by the second; the last one from then on."""
    return scripted(lambda view: numbers[min(view.now - begin, len(numbers) - 1)])
