"""Traffic as the simulator takes it: the rate that was expected in every second, and the arrivals drawn from it."""

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

from sagebrush.replay.queueing import Floats, Service

__all__ = ["DAY", "Service", "Trace"]

DAY = 86_400
"""Seconds of a day."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A series of seconds: first those a policy may know as history, then those it is judged on."""

    name: str
    rate: Floats
    """Expected requests per second, one value per second."""
    service: Service
    """The service that the traffic is sent to."""
    start_unix: int = 0
    """Time of the first second, since 1970; matters for the time of day only."""
    evaluated_from: int = 0
    """Index of the first second that is judged."""
    dispersion: Floats | None = None
    """Variance of a second's arrivals by their mean, one value per second; None: see :attr:`noisy`."""
    noisy: bool = True
    """Whether arrivals are drawn (Poisson where no dispersion is given), or are the rate itself, as recorded."""
    seed: int = 1
    """Of the noise. Traces of other names have other noise."""
    kind: str = ""
    """What the trace is a sample of, such as "worldcup"."""

    def __len__(self) -> int:
        """All seconds, history included."""
        return len(self.rate)

    @property
    def seconds(self) -> int:
        """The seconds that are judged."""
        return len(self.rate) - self.evaluated_from

    @cached_property
    def arrivals(self) -> Floats:
        """Requests that arrive in each second: whole numbers where they are drawn. The same for the same trace."""
        if not self.noisy:
            return self.rate
        generator = np.random.default_rng([self.seed, crc32(self.name.encode())])
        mean = np.maximum(self.rate, 0.0)
        if self.dispersion is None:
            return generator.poisson(mean).astype(np.float64)
        # A Poisson process whose rate is itself gamma distributed: mean m, variance m·dispersion.
        excess = np.maximum(self.dispersion - 1.0, 0.0)
        spread = excess > 1e-9
        scale = np.where(spread, excess, 1.0)
        drawn = generator.gamma(np.where(mean > 0, mean / scale, 1.0), scale)
        level = np.where(mean > 0, np.where(spread, drawn, mean), 0.0)
        return generator.poisson(level).astype(np.float64)

    @property
    def judged(self) -> Floats:
        """The arrivals of the seconds that are judged."""
        return self.arrivals[self.evaluated_from :]
