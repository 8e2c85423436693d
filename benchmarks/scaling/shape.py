"""The article's load: a ramp that is held, and spikes of two and four minutes; as moments at which requests are due."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

_SEED = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the load whose rate (requests per second) goes evenly from *begin* to *end*."""

    name: str
    seconds: float
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Shape:
    """Parts one after another."""

    parts: tuple[Part, ...]

    @property
    def seconds(self) -> float:
        """Its length."""
        return sum(part.seconds for part in self.parts)

    def bounds(self) -> list[tuple[Part, float, float]]:
        """Each part with its begin and end, in seconds from the start."""
        found, at = [], 0.0
        for part in self.parts:
            found.append((part, at, at + part.seconds))
            at += part.seconds
        return found

    def rate(self, second: float) -> float:
        """Requests per second at a moment; 0 outside."""
        for part, begin, end in self.bounds():
            if begin <= second < end:
                return part.begin + (part.end - part.begin) * (second - begin) / part.seconds
        return 0.0

    def moments(self, *, seed: int = _SEED) -> Iterator[float]:
        """Seconds from the start at which requests are due: a Poisson process of this rate, by thinning (Lewis and Shedler, 1979)."""
        generator = random.Random(seed)  # the same load in each run
        highest = max(max(part.begin, part.end) for part in self.parts)
        at = 0.0
        while (at := at + generator.expovariate(highest)) < self.seconds:
            if generator.random() * highest < self.rate(at):
                yield at

    def steps(self) -> list[tuple[Part, float]]:
        """The parts that begin at least half again as high as the one before ended, and when."""
        bounds = self.bounds()
        return [
            (part, begin)
            for (before, _, _), (part, begin, _) in itertools.pairwise(bounds)
            if part.begin >= 1.5 * before.end
        ]


def article(base: float, factor: float, *, quick: bool) -> Shape:
    """
    Spikes of 2 and 4 min at *factor* times the base, then a ramp of 3 min held for 2; *quick*: one spike of 35 s.

    Six and a half minutes lie between the spikes, so that HPA too, which scales in after five, meets the second one small.
    """
    high = base * factor
    if quick:
        return Shape((Part("base", 15, base, base), Part("spike", 35, high, high), Part("after", 10, base, base)))
    return Shape(
        (
            Part("base", 60, base, base),
            Part("spike of 2 min", 120, high, high),
            Part("quiet", 390, base, base),
            Part("spike of 4 min", 240, high, high),
            Part("quiet", 150, base, base),
            Part("ramp", 180, base, high),
            Part("hold", 120, high, high),
            Part("after", 60, base, base),
        )
    )


def scheduled(base: float, factor: float, *, before: float, quick: bool) -> Shape:
    """Base load up to a moment that is known in advance, then a step."""
    return Shape(
        (Part("base", before, base, base), Part("known step", 20 if quick else 60, base * factor, base * factor))
    )
