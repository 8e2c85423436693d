"""How much demand to provide for: what was measured, what it rises to, and what the season foretells.

What a short window adds to a long one counts only where it is beyond the chance of Poisson arrivals (3 sigma): a
steady load near the target does not flap, and a step is still seen within seconds, however little it ends above the
target.
"""

from math import exp, sqrt
from typing import NamedTuple

from sagebrush.core.scaling.calibration import SLOW_HORIZON_SECONDS, Calibration
from sagebrush.core.scaling.window import Reading

_SIGMAS = 3.0
_LONGEST_TREND_SECONDS = 60.0
LEVEL_SECONDS = 1800.0
_WIGGLE_SECONDS = 600.0
_WIGGLES = 3.0
LEAST_RATIO, MOST_RATIO = 0.5, 2.0


SLOW_SHARE = 0.5
"""Age, by the horizon, of the mean that a slow rise is measured against."""

MOST_RISE = 1.5
"""Most of a rate that a slow rise adds to it."""

_RECENT_SECONDS = 60.0
_STEEP_SIGMAS = 4.0
_STEEPER = 1.5
_MOST_STEEP = 2.0


class Pace(NamedTuple):
    """The memory of the rate's usual course, in requests/min; see :class:`sagebrush.core.scaling.history.History`."""

    wiggle: float
    level: float | None
    usual_level: float | None
    slow: float | None
    recent: float | None


def demand_of(*, short: Reading, long: Reading) -> float | None:
    """Requests per minute to provide for; None: unknown.

    The long window's, or the short window's where that is higher by more than chance: its count exceeds what the
    long window lets expect by over three standard deviations of a Poisson process.
    """
    if short.requests_per_minute is None or long.requests_per_minute is None:
        return long.requests_per_minute if short.requests_per_minute is None else short.requests_per_minute
    return beyond_chance(
        short.requests_per_minute, usual=long.requests_per_minute, minutes=short.span.total_seconds() / 60
    )


def beyond_chance(newest: float, *, usual: float, minutes: float) -> float:
    """*newest* where its count over *minutes* is above the *usual* rate's by more than chance; else *usual*."""
    expected = usual * minutes
    # A count of less than one request has no distribution to speak of: three requests from nothing are a sign.
    return newest if newest * minutes - expected > _SIGMAS * sqrt(max(expected, 1.0)) else usual


def expected(
    *, short: Reading, long: Reading, pace: Pace, horizon_seconds: float, calibration: Calibration | None
) -> float | None:
    """Requests per minute to have replicas for by the time that they could be Ready; None: unknown.

    The rate with the present rise carried on over the horizon, and with headroom. Over a horizon of seconds the rise
    is that of the short window over the long one; over one of minutes that of the long window over the mean of about
    the last horizon. What is within chance, or the usual wiggle, is no rise.
    """
    newest, usual = short.requests_per_minute, long.requests_per_minute
    if newest is None or usual is None:
        rate = usual if newest is None else newest
        return None if rate is None else rate * _headroom(calibration, horizon_seconds)
    share, dispersion = (1.0, 1.0) if calibration is None else (calibration.rise, calibration.dispersion)
    if horizon_seconds >= SLOW_HORIZON_SECONDS:
        rate = usual + share * _slow_rise(usual, slow=pace.slow, long=long, dispersion=dispersion)
    elif newest <= usual or (calibration is not None and not calibration.newest):
        rate = usual
    else:
        fast = _fast_rise(newest, usual=usual, short=short, long=long, wiggle=pace.wiggle, horizon=horizon_seconds)
        rate = newest + share * fast
    return rate * _headroom(calibration, horizon_seconds)


def _headroom(calibration: Calibration | None, horizon_seconds: float) -> float:
    return default_headroom(horizon_seconds) if calibration is None else calibration.headroom


def default_headroom(horizon_seconds: float) -> float:
    """Factor on the demand where no history says what it should be: demand goes farther in more time."""
    return 1.0 + min(0.25, 0.02 * sqrt(horizon_seconds))


def _fast_rise(newest: float, *, usual: float, short: Reading, long: Reading, wiggle: float, horizon: float) -> float:
    short_seconds, long_seconds = short.span.total_seconds(), long.span.total_seconds()
    minutes = short_seconds / 60
    if minutes <= 0 or long_seconds <= short_seconds:
        return 0.0
    noise = max(_SIGMAS * sqrt(max(usual * minutes, 1.0)) / minutes, _WIGGLES * wiggle)
    if newest - usual <= noise:
        return 0.0
    rise = (newest - usual) / ((long_seconds - short_seconds) / 2) * horizon
    return min(rise, newest * min(1.0, horizon / _LONGEST_TREND_SECONDS))


def _slow_rise(rate: float, *, slow: float | None, long: Reading, dispersion: float) -> float:
    """The rise of the last half horizon or so over the next whole one."""
    minutes = long.span.total_seconds() / 60
    if slow is None or minutes <= 0:
        return 0.0
    noise = _SIGMAS * sqrt(max(rate * minutes * dispersion, 1.0)) / minutes
    return min(max(rate - slow - noise, 0.0) / SLOW_SHARE, MOST_RISE * rate)


def steep_rise(*, long: Reading, pace: Pace, usual_rise: float, dispersion: float, horizon_seconds: float) -> float:
    """What the rise of about the last minute adds over the horizon, in requests/min; 0 where it may be chance.

    The *usual_rise* (requests/min and second) is no part of it: the season says how far that goes. Of a rise that began within that minute its mean shows a part only: it is taken to be half as large again. It at
    most trebles the demand.
    """
    rate, minutes = long.requests_per_minute, long.span.total_seconds() / 60
    if rate is None or pace.recent is None or minutes <= 0:
        return 0.0
    rise = rate - pace.recent - usual_rise * _RECENT_SECONDS
    if rise <= _STEEP_SIGMAS * sqrt(max(rate * minutes * dispersion, 1.0)) / minutes:
        return 0.0
    return min(_STEEPER * rise / _RECENT_SECONDS * horizon_seconds, _MOST_STEEP * rate)


def usual_rise_at(calibration: Calibration | None, *, time: float) -> float:
    """The steepest rise, in requests/min and second, that the season has about *time* (Unix seconds); at least 0."""
    if calibration is None or not calibration.usual:
        return 0.0
    step = calibration.season_step_seconds
    before, now, then = (usual_at(calibration, time=time + bins * step) or 0.0 for bins in (-1, 0, 1))
    return max(now - before, then - now, 0.0) / step


def remembered(
    before: Pace, *, short: Reading, long: Reading, usual: float | None, seconds: float, horizon_seconds: float
) -> Pace:
    """The memory with the present moment, *seconds* after the last."""
    newest, rate = short.requests_per_minute, long.requests_per_minute
    wiggle, level, usual_level, slow, recent = before
    if rate is None:
        return before
    if newest is not None:
        wiggle += min(1.0, seconds / _WIGGLE_SECONDS) * (abs(newest - rate) - wiggle)
    slow = rate if slow is None else slow + (1 - exp(-seconds / (SLOW_SHARE * horizon_seconds))) * (rate - slow)
    recent = rate if recent is None else recent + (1 - exp(-seconds / _RECENT_SECONDS)) * (rate - recent)
    share = min(1.0, seconds / LEVEL_SECONDS)
    level = rate if level is None else level + share * (rate - level)
    if usual is None:
        return Pace(wiggle, level, None, slow, recent)
    if usual_level is None:
        # One moment says little of a day: until some have passed it is taken to be like the others.
        return Pace(wiggle, usual, usual, slow, recent)
    usual_level += share * (usual - usual_level)
    return Pace(wiggle, level, usual_level, slow, recent)


def foreseen(calibration: Calibration, *, pace: Pace, time: float, horizon_seconds: float) -> float | None:
    """The most requests per minute that the season has between *time* (Unix seconds) and the horizon; None: no season.

    The season is that of other days: it is brought to the level of this one, by at most a factor of two.
    """
    season = calibration.season
    if not season:
        return None
    step = calibration.season_step_seconds
    first, last = int(time // step), int((time + horizon_seconds) // step)
    most = max(season[index % len(season)] for index in range(first, min(last, first + len(season)) + 1))
    if pace.level is None or not pace.usual_level:
        return most * 60
    ratio = pace.level / pace.usual_level
    return most * 60 * min(max(ratio, LEAST_RATIO), MOST_RATIO)


def usual_at(calibration: Calibration | None, *, time: float) -> float | None:
    """Requests per minute that the season has at *time* (Unix seconds); None: no season."""
    if calibration is None or not calibration.usual:
        return None
    return calibration.usual[int(time // calibration.season_step_seconds) % len(calibration.usual)] * 60
