"""``--frontier``: what no policy without foresight can do better, on daily-shaped traces with SageMaker's slow starts.

Beside the policy's own line stand two that look at the past only. *So many times the demand*: replicas for a multiple of
the last minute's requests, at all times. *The most ever seen*: replicas for the fullest minute so far, history included.

And a bound that holds for all policies: until a start-up after a rise began, whoever did not foresee it has no more
than what stood when it began. So for the minutes before the steepest rises: how many replicas must stand there so that
the requests of the next start-up alone keep the budget of the whole trace, though from there on everything is known.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.replay.goals import by_minute
from sagebrush.replay.autoscaler import Situation, View
from sagebrush.replay.contenders import Contender, ours
from sagebrush.replay.queueing import Floats, carried
from sagebrush.replay.run import Row, replay
from sagebrush.replay.system import System, simulate
from sagebrush.replay.trace import Trace

BUDGET = 0.001
"""Share of requests that may be late, as the goals have it."""

MULTIPLES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5)
_MINUTE = 60
_HOLD_SECONDS = 300
_STEEPEST = 20


class Standing:
    """Replicas for *times* the demand of the last minute, held for five; None: for the fullest minute so far."""

    interval_seconds = 5

    def __init__(self, situation: Situation, history: Floats, *, times: float | None) -> None:
        self._rates = carried(situation.service, most=situation.maximum)
        self._times = times
        self._most = float(by_minute(history).max(initial=0.0))
        self._held: deque[tuple[int, float]] = deque()

    def look(self, view: View) -> int:
        """The number wanted."""
        rate = view.rate_to_newest(_MINUTE) or 0.0
        self._most = max(self._most, rate)
        if self._times is None:
            return self._replicas(self._most)
        while self._held and self._held[0][0] <= view.now - _HOLD_SECONDS:
            self._held.popleft()
        while self._held and self._held[-1][1] <= rate:
            self._held.pop()
        self._held.append((view.now, rate))
        return self._replicas(self._times * self._held[0][1])

    def _replicas(self, rate: float) -> int:
        return max(1, int(np.searchsorted(self._rates, rate)))


@dataclass(frozen=True, slots=True)
class Bound:
    """The minute that needs the most headroom."""

    trace: str
    hours: float
    """Its end, from the first second that is judged."""
    rise: float
    """The fullest minute of the next start-up, by this one."""
    serve: int
    """Replicas that its requests need."""
    stand: int
    """Replicas without which the next start-up alone breaks the budget."""
    late: float
    """Share of all requests that this start-up alone makes late where 1.25 times as many stand as are needed."""

    @property
    def times(self) -> float:
        """The headroom, as a factor."""
        return self.stand / self.serve

    def __str__(self) -> str:
        """As a sentence."""
        return (
            f"{self.trace}: after {self.hours:.1f} h demand rises {self.rise:.1f} times within one start-up. Who does not "
            f"foresee it needs {self.stand} replicas standing, {self.times:.2f} times the {self.serve} in use, or more than "
            f"{100 * BUDGET:g} % of all requests are late; with 1.25 times, {100 * self.late:.3f} %"
        )


def frontier(load: Callable[[], Trace], *, system: System) -> tuple[list[Row], Bound]:
    """The rows of our policy and of standing headroom on one trace, and the bound for all."""
    trace = load()
    bound = bound_of(trace, system=system)
    times = sorted({*MULTIPLES, round(bound.times, 2)})
    standing = [Contender(f"{each:g} times the demand", partial(Standing, times=each)) for each in times]
    contenders = [ours(), *standing, Contender("the most ever seen", partial(Standing, times=None))]
    return [replay(trace, each, system, goal="frontier")[0] for each in contenders], bound


def bound_of(trace: Trace, *, system: System) -> Bound:
    """The minute before one of the steepest rises for which the most headroom must stand. ValueError: a trace without any."""
    minutes = by_minute(trace.judged)
    ahead = system.startup_seconds // _MINUTE
    if len(minutes) <= ahead:
        raise ValueError(f"{trace.name} is no longer than a start-up")
    fullest = np.lib.stride_tricks.sliding_window_view(minutes[1:], ahead).max(axis=1)
    rises = fullest / np.maximum(minutes[: len(fullest)], 1e-9)
    rates = carried(trace.service, most=system.maximum)
    found: list[Bound] = []
    for minute in np.argsort(-rises, kind="stable")[:_STEEPEST].tolist():
        serve = max(1, int(np.searchsorted(rates, minutes[minute])))
        start = (minute + 1) * _MINUTE
        late = partial(_late, trace, start=start, system=system)
        low, high = serve, system.maximum
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if late(middle) <= BUDGET else (middle + 1, high)
        quarter = late(int(np.ceil(1.25 * serve)))
        found.append(Bound(trace.name, start / 3600, float(rises[minute]), serve, low, quarter))
    return max(found, key=lambda each: (each.times, each.late))


def _late(trace: Trace, replicas: int, *, start: int, system: System) -> float:
    """Requests of the start-up from *start* on that are late with so many replicas, by all that are judged."""
    piece = trace.judged[start : start + system.startup_seconds]
    alone = Trace(name=trace.name, rate=piece, service=trace.service, noisy=False)
    at_once = replace(system, startup_seconds=0, serialised=False, outages=())
    outcome = simulate(alone, lambda *_: _Fixed(replicas), at_once)
    return float(outcome.late.sum() / max(trace.judged.sum(), 1.0))


class _Fixed:
    """So many replicas."""

    interval_seconds = 3600

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def look(self, _: View) -> int:
        return self._replicas
