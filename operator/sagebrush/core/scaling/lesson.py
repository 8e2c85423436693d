"""What the replay of the history found, in figures and words: a :class:`Calibration`."""

from dataclasses import replace
from datetime import datetime
from math import inf, sqrt

import numpy as np

from sagebrush.core.scaling.calibration import DAY_SECONDS, SLOW_HORIZON_SECONDS, Calibration
from sagebrush.core.scaling.compiled import Policy
from sagebrush.core.scaling.demand import default_headroom
from sagebrush.core.scaling.facts import Knowledge
from sagebrush.core.scaling.past import Past
from sagebrush.core.scaling.replayed import Arena
from sagebrush.core.scaling.rolling import Floats, trailing_max
from sagebrush.core.scaling.seasons import BIN_SECONDS, SeasonKind
from sagebrush.core.scaling.ways import Fit, Way, seasons_of
from sagebrush.core.scaling.words import length, number

_MARGIN_OF_A_DAY = 0.4
_LARGEST_BUNCH = 10.0
_RARE = 0.999
_LONG_START_SECONDS = 60.0


def unlearned(knowledge: Knowledge, *, now: datetime, words: str) -> Calibration:
    """What to go by without a history."""
    return Calibration(learned=words, learned_at=now, headroom=default_headroom(knowledge.horizon_seconds))


def lesson(fit: Fit, *, past: Past, arena: Arena, policy: Policy, knowledge: Knowledge, now: datetime) -> Calibration:
    """The way that was found, with a margin: days to come differ from those learned from, the more the fewer they were.

    Where requests come in bunches, so many fewer events were seen in them: as if there had been fewer days.
    """
    way, days = fit.way, past.known_days
    slow = knowledge.horizon_seconds >= SLOW_HORIZON_SECONDS
    bunches = min(past.dispersion, _LARGEST_BUNCH)
    margin = 1.0 + (_MARGIN_OF_A_DAY * sqrt(bunches / max(days, 1.0)) if slow else 0.0)
    headroom = fit.headroom * margin
    if days < 1:
        headroom = max(headroom, default_headroom(knowledge.horizon_seconds))
    # The season needs none: it was judged by days that it was not learned from.
    season, usual = _season(past, kind=way.season, factor=way.season_share)
    return Calibration(
        learned=_words(fit, days=days, headroom=headroom, horizon_seconds=knowledge.horizon_seconds),
        learned_at=now,
        error_percent=_error_percent(way, past=past, horizon_seconds=knowledge.horizon_seconds),
        unattainable=_unattainable(fit, arena=arena, past=past, policy=policy, knowledge=knowledge),
        newest=way.newest,
        rise=way.rise,
        hold_seconds=way.hold_seconds,
        headroom=headroom,
        season=season,
        usual=usual,
        season_step_seconds=BIN_SECONDS,
        dispersion=past.dispersion,
        late_share=fit.outcome.late,
        cost=fit.outcome.cost,
    )


def season_only(past: Past, *, policy: Policy, knowledge: Knowledge, now: datetime) -> Calibration:
    """The season, for targets whose headroom the owner has chosen, where one foretells better than the present rate does."""
    horizon = knowledge.horizon_seconds
    seasons = seasons_of(past, policy=policy, knowledge=knowledge)
    plain = Way(True, 0.0, 0.0, SeasonKind.NONE, 1.0, past.rates, None)
    errors = {
        kind: _error_percent(replace(plain, season=kind, foretold=foretold), past=past, horizon_seconds=horizon)
        for kind, foretold in seasons.items()
        if kind is not SeasonKind.MAX
    }
    told = f"{past.known_days:.1f} days of history"
    kind = min(errors, key=lambda each: inf if errors[each] is None else errors[each] or 0.0)
    error = errors[kind]
    if kind is SeasonKind.NONE or error is None:
        words = f"{told}: no season that foretells better than the present rate"
        error = errors[SeasonKind.NONE]
        return replace(unlearned(knowledge, now=now, words=words), error_percent=error, dispersion=past.dispersion)
    season, usual = _season(past, kind=kind, factor=1.0)
    words = f"{told}: {kind} foretells the most of the next {length(round(horizon))} to {number(error)} %"
    return replace(
        unlearned(knowledge, now=now, words=words),
        error_percent=error,
        season=season,
        usual=usual,
        season_step_seconds=BIN_SECONDS,
        dispersion=past.dispersion,
    )


def _season(past: Past, *, kind: SeasonKind, factor: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if kind is SeasonKind.WEEKDAY:
        found = past.days.week(kind=kind)
    else:
        found = None if kind is SeasonKind.NONE else past.days.season(len(past.days), kind=kind)
    if found is None:
        return (), ()
    return tuple((found[0] * factor).tolist()), tuple(found[1].tolist())


def _words(fit: Fit, *, days: float, headroom: float, horizon_seconds: float) -> str:
    way = fit.way
    rise = f", a present rise carried on {way.rise:g} times over {length(round(horizon_seconds))}" if way.rise else ""
    season = "no season" if way.season is SeasonKind.NONE else f"{way.season_share * 100:.0f} % of {way.season}"
    return (
        f"{days:.1f} days of history: demand is provided for {length(way.hold_seconds)}{rise}, with a headroom of "
        f"{(headroom - 1) * 100:.0f} %, and {season}; replayed over them {fit.outcome.late * 100:.2g} % of requests are "
        f"late, at {fit.outcome.cost:.2f} times the replicas that they would fill"
    )


def _error_percent(way: Way, *, past: Past, horizon_seconds: float) -> float | None:
    """Median difference, over the last day, of the most that was foretold for the horizon and the most that came."""
    steps = max(1, round(horizon_seconds / past.step))
    day = round(DAY_SECONDS / past.step)
    if len(past.rates) <= steps + 1:
        return None
    came = trailing_max(past.rates, steps=steps)[steps:]
    told = way.measured if way.foretold is None else np.maximum(way.measured, way.foretold / way.season_share)
    use = (past.known[steps:] > 0) & (came > 0)
    wrong = (np.abs(told[:-steps] - came) / np.maximum(came, 1e-9))[-day:][use[-day:]]
    return round(float(np.median(wrong)) * 100, 1) if len(wrong) else None


def _unattainable(fit: Fit, *, arena: Arena, past: Past, policy: Policy, knowledge: Knowledge) -> str:
    """What would hold the budget where even the best way does not."""
    if fit.outcome.late <= policy.late_share or past.known_days < 1:
        return ""
    start = knowledge.startup_seconds
    standing = arena.carried.replicas_for(_quantile(past.rates, share=policy.late_share))
    cost = standing * arena.carried.capacity * float(arena.judged.sum()) / float((arena.rates * arena.judged).sum())
    words = (
        f"{fit.outcome.late * 100:.2g} % of requests would be late, not {policy.late_share * 100:g} %: demand rises up "
        f"to {_rise(past, horizon_seconds=knowledge.horizon_seconds):.1f} times within "
        f"{length(round(knowledge.horizon_seconds))}, and replicas take {length(round(start))} to be Ready; minReplicas: "
        f"{standing} would hold it at {cost / max(fit.outcome.cost, 1e-9):.1f} times the cost"
    )
    if start > _LONG_START_SECONDS:
        quick = replace(arena, start_steps=1, serialised=False)
        late = quick.replayed(
            fit.way.provided(fit.headroom),
            unforeseen=fit.way.unforeseen(fit.headroom, rates=arena.rates),
            hold_steps=max(1, round(fit.way.hold_seconds / past.step)),
        )
        words += f"; replicas that are Ready within a minute would bring it to {late.late * 100:.2g} %"
    return words


def _quantile(rates: Floats, *, share: float) -> float:
    """The rate above which at most *share* of the requests come."""
    ordered = np.sort(rates)[::-1]
    above = np.cumsum(ordered) / max(float(ordered.sum()), 1e-9)
    return float(ordered[min(int(np.searchsorted(above, share, side="right")), len(ordered) - 1)])


def _rise(past: Past, *, horizon_seconds: float) -> float:
    """By how much the rate rises within the horizon, but for the rarest rises."""
    steps = max(1, round(horizon_seconds / past.step))
    later = trailing_max(past.rates, steps=steps)[steps:]
    return float(np.quantile(later / np.maximum(past.rates[:-steps], 1e-9), _RARE))
