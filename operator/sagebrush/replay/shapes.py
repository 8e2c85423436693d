"""Generated traffic: the article's shapes, and daily-shaped traces for those who have no recorded ones.

Every trace is the same for the same seed. The article's replicas carry 250 requests/s (its 15,000 per minute).
"""

from collections.abc import Callable

import numpy as np

from sagebrush.replay.files import windowed
from sagebrush.replay.queueing import Floats, Service
from sagebrush.replay.trace import DAY, Trace

ARTICLE = Service(capacity=250, wait_seconds=0.5)

BASE_RATE, SPIKE_RATE = 200.0, 1000.0
"""Requests/s of the article's spikes, outside and within."""

_QUIET_RATE, _RAMP_RATE = 25.0, 1000.0
_RAMP_SECONDS = _HOLD_SECONDS = 600
_SPIKES_APART_SECONDS = 1800
_RAMP_HOURS = (8, 13, 19)
_START_SPREAD_SECONDS = 90.0
_HEIGHT_SPREAD = 0.08


def article_ramp(*, seed: int = 1) -> Trace:
    """Ten quiet minutes, a ramp of ten minutes to 1000 requests/s, ten minutes of that; never seen before."""
    times = [0, 600, 600 + _RAMP_SECONDS, 600 + _RAMP_SECONDS + _HOLD_SECONDS]
    rate = np.interp(np.arange(times[-1]), times, [_QUIET_RATE, _QUIET_RATE, _RAMP_RATE, _RAMP_RATE])
    return Trace(name="article ramp", rate=rate, service=ARTICLE, seed=seed, kind="ramp")


def article_spikes(*, hours: int = 6, seed: int = 1) -> Trace:
    """200 requests/s, and every half hour (start drawn within ten minutes) 1000 for two to four minutes, at once."""
    generator = np.random.default_rng([seed, 11])
    rate = np.full(hours * 3600, BASE_RATE)
    for begin in range(0, len(rate), _SPIKES_APART_SECONDS):
        start = begin + 600 + int(generator.integers(0, 600))
        rate[start : start + int(generator.integers(120, 241))] = SPIKE_RATE
    return Trace(name="article spikes", rate=rate, service=ARTICLE, seed=seed, kind="spikes")


def daily_ramps(*, days: int = 9, judged_days: int = 2, seed: int = 1) -> Trace:
    """25 requests/s, and at 8, 13 and 19 o'clock ten minutes up to 1000, ten of that, ten down.

    Starts differ by 90 s and heights by 8 % (standard deviations) from day to day.
    """
    generator = np.random.default_rng([seed, 12])
    rate = np.full(days * DAY, _QUIET_RATE)
    seconds = np.arange(3 * _RAMP_SECONDS)
    corners = [0, _RAMP_SECONDS, _RAMP_SECONDS + _HOLD_SECONDS, 3 * _RAMP_SECONDS]
    for day in range(days):
        for hour in _RAMP_HOURS:
            start = day * DAY + hour * 3600 + round(generator.normal(0, _START_SPREAD_SECONDS))
            height = (_RAMP_RATE - _QUIET_RATE) * (1 + generator.normal(0, _HEIGHT_SPREAD))
            rate[start : start + len(seconds)] += np.interp(seconds, corners, [0, height, height, 0])
    trace = Trace(name="daily ramps", rate=rate, service=ARTICLE, start_unix=1_704_067_200, seed=seed, kind="ramps")
    return windowed(trace, days=judged_days)


def daily_web(*, days: int = 10, seed: int = 1) -> Trace:
    """A web site's days: quiet nights, busy evenings, and crowds that come within minutes, at hours that vary."""
    generator = np.random.default_rng([seed, 13])
    seconds = np.arange(days * DAY)
    hour = seconds / 3600 % 24
    shape = 0.45 + 0.3 * (1 - np.cos((hour - 5) / 24 * 2 * np.pi)) + 0.2 * np.exp(-(((hour - 20) / 2.5) ** 2))
    rate = 420 * shape * _wander(generator, len(seconds), spread=0.12, memory_seconds=3 * 3600)
    for day in range(days):
        for usual in (14.5, 20.0):
            if generator.random() < 0.25:
                continue
            start = day * DAY + usual * 3600 + generator.normal(0, 600)
            height = generator.uniform(300, 1300)
            since = seconds - start
            up = np.tanh(since / generator.uniform(360, 840))
            down = np.tanh((generator.uniform(5400, 7200) - since) / generator.uniform(600, 1800))
            rate += height * (1 + up) * (1 + down) / 4
    service = Service(capacity=100, wait_seconds=0.5)
    trace = Trace(name="daily web", rate=rate, service=service, start_unix=1_704_067_200, seed=seed, kind="worldcup")
    return windowed(trace)


def daily_models(*, days: int = 10, seed: int = 1) -> Trace:
    """Days of model serving: many clients whose requests come in bunches, with steps when one begins or ends."""
    generator = np.random.default_rng([seed, 14])
    seconds = np.arange(days * DAY)
    hour = seconds / 3600 % 24
    shape = 1.0 - 0.38 * np.cos((hour - 3) / 24 * 2 * np.pi)
    rate = 210 * shape * _wander(generator, len(seconds), spread=0.08, memory_seconds=1800)
    for _ in range(days * 8):
        start = int(generator.integers(0, len(seconds)))
        length = int(generator.uniform(600, 5400))
        rate[start : start + length] += generator.uniform(10, 90)
    bunched = np.clip(np.exp(generator.normal(2.2, 0.9, size=days * 144)), 1.7, 50)
    trace = Trace(
        name="daily models",
        rate=rate,
        service=Service(capacity=10, wait_seconds=1.0),
        start_unix=1_704_067_200,
        dispersion=np.repeat(bunched, 600),
        seed=seed,
        kind="servegen",
    )
    return windowed(trace)


GENERATED: dict[str, Callable[[], Trace]] = {
    "article ramp": article_ramp,
    "article spikes": article_spikes,
    "daily ramps": daily_ramps,
    "daily web": daily_web,
    "daily models": daily_models,
}
"""Every generated trace by its name."""


def _wander(generator: np.random.Generator, seconds: int, *, spread: float, memory_seconds: float) -> Floats:
    """A factor around 1 that goes up and down: lognormal, of a random walk that is pulled back, by the minute."""
    minutes = seconds // 60 + 2
    keep = float(np.exp(-60 / memory_seconds))
    steps = generator.normal(0, spread * np.sqrt(1 - keep**2), size=minutes)
    values = np.empty(minutes)
    values[0] = generator.normal(0, spread)
    for index in range(1, minutes):
        values[index] = keep * values[index - 1] + steps[index]
    return np.asarray(np.exp(np.interp(np.arange(seconds) / 60, np.arange(minutes), values)))
