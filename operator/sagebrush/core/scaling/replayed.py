"""One way to provide, replayed over the past: what it would have cost, and how many requests would have been late."""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagebrush.core.scaling.capacity import Carried, late_in_full_seconds, late_share
from sagebrush.core.scaling.rolling import Floats, delayed, trailing_max, trailing_min
from sagebrush.core.scaling.targets import SERIALISED_GROWTH

Ints = NDArray[np.int64]


class Replayed(NamedTuple):
    """What became of the past under one way to provide."""

    late: float
    """Share of the requests that were late."""
    cost: float
    """Replica-seconds by those that the requests would fill."""


@dataclass(frozen=True, slots=True, eq=False)
class Arena:
    """What all ways are replayed against."""

    rates: Floats
    """Requests/s by bin."""
    step: float
    """Seconds of a bin."""
    judged: Floats
    """1 for bins that count, 0 for others."""
    carried: Carried
    margin: float
    """Of scaling in: see :class:`sagebrush.core.scaling.targets.Sizing`."""
    start_steps: int
    """Bins until a replica is ready; where changes are not serialised, until one asked for helps."""
    serialised: bool
    tolerance: float
    """Of scaling out: see :data:`sagebrush.core.scaling.targets.SERIALISED_TOLERANCE`."""
    minimum: int
    maximum: int

    def replayed(self, provided: Floats, *, unforeseen: Floats, hold_steps: int) -> Replayed:
        """With *provided* requests/s provided for at the end of each bin, and held for a while.

        *unforeseen* is what the demand asks to provide for where no season foretells it.
        """
        need = self._replicas(provided)
        enough = trailing_max(self._replicas(provided / self.margin).astype(np.float64), steps=hold_steps)
        if self.serialised:
            asked, ready = serialised(
                need.tolist(),
                enough.tolist(),
                unforeseen=self._replicas(unforeseen).tolist(),
                start_steps=self.start_steps,
                tolerance=self.tolerance,
            )
            asked, ready = np.minimum(asked, self.maximum), np.minimum(ready, self.maximum)
        else:
            asked = np.maximum(trailing_max(need.astype(np.float64), steps=hold_steps), need)
            ready = trailing_min(asked, steps=self.start_steps + 1)
        serving, rates, judged = delayed(ready, steps=1), self.rates, self.judged
        late = self.late(rates, serving)
        total = float((rates * judged).sum()) or 1.0
        cost = float((asked * judged).sum()) * self.carried.capacity / total
        return Replayed(late=float((late * rates * judged).sum()) / total, cost=cost)

    def late(self, rates: Floats, replicas: Floats) -> Floats:
        """The share of requests that are late, by bin."""
        late = late_share(rates, replicas, self.carried)
        return np.minimum(late + late_in_full_seconds(rates, replicas, self.carried, seconds=self.step), 1.0)

    def _replicas(self, rates: Floats) -> Ints:
        return np.clip(np.searchsorted(self.carried.array, rates), self.minimum, self.maximum)


def serialised(
    need: list[int], enough: list[float], *, unforeseen: list[int], start_steps: int, tolerance: float
) -> tuple[Floats, Floats]:
    """Replicas asked for and ready at the end of each bin, where nothing can be changed during a start."""
    asked_by_bin, ready_by_bin = np.empty(len(need)), np.empty(len(need))
    asked = ready = float(need[0])
    until = 0
    for index, wanted in enumerate(need):
        if index >= until:
            ready = asked
            if wanted > asked * (1 + tolerance):
                rises = unforeseen[index] > asked * (1 + tolerance)
                grown = ceil(asked * (1 + SERIALISED_GROWTH)) if rises else 0
                asked, until = float(max(wanted, grown)), index + start_steps
            elif enough[index] < asked:
                asked = ready = enough[index]
        asked_by_bin[index] = asked
        ready_by_bin[index] = ready
    return asked_by_bin, ready_by_bin
