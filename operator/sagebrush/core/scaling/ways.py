"""Ways to provide for what comes, and how each does over the past."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from sagebrush.core.scaling.calibration import DAY_SECONDS, SLOW_HORIZON_SECONDS
from sagebrush.core.scaling.compiled import Policy
from sagebrush.core.scaling.demand import MOST_RISE, SLOW_SHARE
from sagebrush.core.scaling.facts import Capacity, Knowledge
from sagebrush.core.scaling.past import Past
from sagebrush.core.scaling.replayed import Arena, Replayed
from sagebrush.core.scaling.rolling import Floats, faded, trailing_mean
from sagebrush.core.scaling.seasons import SeasonKind, foreseen_by_minute
from sagebrush.core.scaling.targets import LATENCY_SCALE_IN_MARGIN, SERIALISED_TOLERANCE, pool_of

HEADROOMS = (
    0.9, 0.925, 0.95, 0.975, 1.0, 1.025, 1.05, 1.075, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0, 2.2, 2.5,
)  # fmt: skip
FAST_HEADROOMS = (
    0.9, 0.92, 0.94, 0.96, 0.98, 1.0, 1.015, 1.03, 1.045, 1.06, 1.075, 1.09, 1.105, 1.12, 1.14, 1.16, 1.17, 1.18, 1.19, 1.2, 1.225,
    1.25, 1.275, 1.3, 1.35, 1.4, 1.5, 1.6, 1.8, 2.0,
)  # fmt: skip
FAST_HOLDS = (60.0, 120.0, 300.0)
RISES = (0.0, 0.5, 1.0, 1.5)
SEASON_SHARES = (0.8, 0.95, 1.1, 1.3)
_LATE_WEIGHT = 10.0
_WORTH_OF_BUDGET = 0.06
_FURTHER = 5
_SHORT_SECONDS, _LONG_SECONDS, _WIGGLE_SECONDS = 6.0, 60.0, 600.0
_SIGMAS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way to provide, but for its headroom."""

    newest: bool
    rise: float
    hold_seconds: float
    season: SeasonKind
    season_share: float
    measured: Floats
    """Requests/s that are measured and carried on, by bin."""
    foretold: Floats | None
    """Requests/s that the season foretells, by bin."""

    def unforeseen(self, headroom: float, *, rates: Floats) -> Floats:
        """The same where the season foretells less than the *rates* (requests/s) themselves; 0 elsewhere."""
        measured = self.measured * headroom
        return measured if self.foretold is None else np.where(self.foretold >= rates, 0.0, measured)

    def provided(self, headroom: float) -> Floats:
        """Requests/s to provide for."""
        measured = self.measured * headroom
        return measured if self.foretold is None else np.maximum(measured, self.foretold)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A way with the least headroom that keeps the budget, and how it did."""

    way: Way
    headroom: float
    outcome: Replayed
    score: float


def is_slow(knowledge: Knowledge) -> bool:
    """Whether the horizon is one of minutes."""
    return knowledge.horizon_seconds >= SLOW_HORIZON_SECONDS


def arena_of(past: Past, *, policy: Policy, capacity: Capacity, knowledge: Knowledge) -> Arena:
    """What the ways are replayed against."""
    cadence = knowledge.cadence
    seconds = knowledge.startup_seconds + cadence.interval_seconds + cadence.scrape_seconds / 2 + cadence.lag_seconds
    judged = past.known.copy()
    if past.known_days > 2:
        judged[: _unseasoned(past) if is_slow(knowledge) else round(DAY_SECONDS / past.step)] = 0.0
    return Arena(
        rates=past.rates,
        step=past.step,
        judged=judged,
        carried=pool_of(policy, capacity=capacity, dispersion=past.dispersion),
        margin=LATENCY_SCALE_IN_MARGIN,
        start_steps=max(1, round(seconds / past.step)),
        serialised=knowledge.serialised,
        tolerance=SERIALISED_TOLERANCE,
        minimum=policy.minimum,
        maximum=policy.maximum,
    )


def _unseasoned(past: Past) -> int:
    """The bins before the first day that has a season to go by: they say nothing of the days that have one."""
    days = past.days
    known = (day for day in range(len(days)) if days.season(day, kind=SeasonKind.MEAN) is not None)
    minute = (days.first + next(known, 0)) * DAY_SECONDS // 60 - past.first_minute
    return int(np.searchsorted(past.minute_of_bins, minute))


def ways(past: Past, *, policy: Policy, knowledge: Knowledge) -> Iterator[Way]:
    """All ways to provide that are worth a try."""
    most = policy.in_cooldown.total_seconds()
    if not is_slow(knowledge):
        yield from _fast_ways(past, holds=sorted({min(hold, most) for hold in FAST_HOLDS}), knowledge=knowledge)
        return
    rise = slow_rise(past, horizon_seconds=knowledge.horizon_seconds)
    seasons = seasons_of(past, policy=policy, knowledge=knowledge)
    for share, (kind, foretold) in product(RISES, seasons.items()):
        measured = past.rates + share * rise
        for part in SEASON_SHARES if foretold is not None else (1.0,):
            scaled = None if foretold is None else foretold * part
            yield Way(True, share, min(300.0, most), kind, part, measured, scaled)


def _fast_ways(past: Past, *, holds: list[float], knowledge: Knowledge) -> Iterator[Way]:
    rates, step, horizon = past.rates, past.step, knowledge.horizon_seconds
    long = trailing_mean(rates, steps=max(1, round(_LONG_SECONDS / step)))
    short = trailing_mean(rates, steps=max(1, round(_SHORT_SECONDS / step)))
    span = max(_SHORT_SECONDS, step)
    both = np.maximum(short, long)
    wiggle = trailing_mean(np.abs(short - long), steps=max(1, round(_WIGGLE_SECONDS / step)))
    noise = np.maximum(_SIGMAS * np.sqrt(np.maximum(long * span, 1.0)) / span, 3 * wiggle)
    steep = (short - long) / max((_LONG_SECONDS - span) / 2, step) * horizon
    rise = np.where(short - long > noise, np.minimum(steep, both * min(1.0, horizon / 60)), 0.0)
    for hold in holds:
        for newest, share, measured in ((False, 0.0, long), (True, 0.0, both), (True, 1.0, both + rise)):
            yield Way(newest, share, hold, SeasonKind.NONE, 1.0, measured, None)


def slow_rise(past: Past, *, horizon_seconds: float) -> Floats:
    """As :mod:`sagebrush.core.scaling.demand` carries on a rise over a horizon of minutes."""
    rates, step, age = past.rates, past.step, SLOW_SHARE * horizon_seconds
    above = rates - faded(rates, share=1 - float(np.exp(-step / age)))
    noise = _SIGMAS * np.sqrt(np.maximum(rates * past.dispersion, 1.0) / _LONG_SECONDS)
    return np.minimum(np.maximum(above - noise, 0.0) / SLOW_SHARE, MOST_RISE * rates)


def seasons_of(past: Past, *, policy: Policy, knowledge: Knowledge) -> dict[SeasonKind, Floats | None]:
    """What each kind of season would have foretold at the end of each bin."""
    found: dict[SeasonKind, Floats | None] = {SeasonKind.NONE: None}
    if not policy.predicts or past.known_days < 2:
        return found
    weekly = past.days.follows_the_week()
    for kind in (SeasonKind.WEEKDAY,) if weekly else (SeasonKind.MEAN, SeasonKind.MAX):
        minutes = foreseen_by_minute(
            past.days,
            past.minutes,
            first_minute=past.first_minute,
            kind=kind,
            horizon_seconds=knowledge.horizon_seconds,
        )
        found[kind] = minutes[past.minute_of_bins]
    return found


def fitted(way: Way, *, arena: Arena, budget: float, step: float) -> Fit:
    """The least headroom that keeps the budget, or a little more where that spares many; the largest where none does."""
    steps = max(1, round(way.hold_seconds / step))
    grid = HEADROOMS if arena.serialised else FAST_HEADROOMS
    found: dict[int, Replayed] = {}

    def at(index: int) -> Replayed:
        if index not in found:
            found[index] = arena.replayed(
                way.provided(grid[index]), unforeseen=way.unforeseen(grid[index], rates=arena.rates), hold_steps=steps
            )
        return found[index]

    low, high = 0, len(grid) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle).late <= budget else (middle + 1, high)
    further = 1 if arena.serialised else _FURTHER
    tried = range(low, min(low + further, len(grid)))
    best = min(tried, key=lambda index: _score(at(index), budget=budget))
    return Fit(way, grid[best], at(best), _score(at(best), budget=budget))


def _score(outcome: Replayed, *, budget: float) -> float:
    """Cost; 1 % of requests late beyond the budget is worth 10 % of it, and the budget itself as much."""
    beyond = max(0.0, outcome.late - budget)
    return outcome.cost * (1 + _LATE_WEIGHT * beyond + _WORTH_OF_BUDGET * min(outcome.late / budget, 1.0))
