"""An endpoint's history, made ready to be replayed."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from sagebrush.core.scaling.calibration import DAY_SECONDS, SLOW_HORIZON_SECONDS
from sagebrush.core.scaling.rolling import Floats
from sagebrush.core.scaling.seasons import Days

LONGEST_DAYS = 14
_LONGEST_BINS = 80_000
_FAST_SECONDS, _SLOW_SECONDS = 5.0, 60.0
_MINUTE = 60
_BLOCK_SECONDS = 600.0
_MOST_DISPERSION = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class DemandHistory:
    """The rate of requests offered, in bins of equal length."""

    step_seconds: float
    start: datetime
    """Begin of the first bin."""
    rates: Floats
    """Requests per second in each bin; NaN where unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The history, prepared for one horizon."""

    step: float
    """Seconds of a bin."""
    rates: Floats
    """Requests/s in each bin; gaps are filled with what is beside them."""
    known: Floats
    """Whether a bin was known, 1 or 0."""
    dispersion: float
    """Variance of the arrivals in a second by their mean; 1 is Poisson."""
    minutes: Floats
    """Requests/s in each minute of at most 14 days; gaps filled."""
    first_minute: int
    """The first of them, counted since 1970."""
    days: Days

    @property
    def known_days(self) -> float:
        """Days of the bins that are known."""
        return float(self.known.sum()) * self.step / DAY_SECONDS

    @property
    def minute_of_bins(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The last whole minute at the end of each bin, as an index of :attr:`minutes`."""
        bins = np.arange(len(self.rates), 0, -1) - 1
        behind = (bins * self.step / _MINUTE).astype(np.int64)
        return np.clip(len(self.minutes) - 1 - behind, 0, len(self.minutes) - 1)


def prepared(history: DemandHistory, *, horizon_seconds: float) -> Past | None:
    """The newest part of the history, in bins short enough for the horizon; None where there is nothing in it."""
    step, most = history.step_seconds, round(LONGEST_DAYS * DAY_SECONDS / history.step_seconds)
    cut = max(0, len(history.rates) - most)
    rates, start = history.rates[cut:], history.start.timestamp() + cut * step
    minutes, first = _by_minute(rates, step=step, start=start)
    wanted = _SLOW_SECONDS if horizon_seconds >= SLOW_HORIZON_SECONDS else _FAST_SECONDS
    fold = max(1, round(wanted / step))
    bins = _folded(rates, fold=fold)[-_LONGEST_BINS:]
    known = np.isfinite(bins)
    if not known.any() or not np.isfinite(minutes).any():
        return None
    return Past(
        step=step * fold,
        rates=_filled(bins),
        known=known.astype(np.float64),
        dispersion=_dispersion(rates, step=step),
        minutes=_filled(minutes),
        first_minute=first,
        days=Days.of(minutes, first_minute=first),
    )


def _folded(rates: Floats, *, fold: int) -> Floats:
    """Means of *fold* bins each, the newest whole; NaN where one of them is unknown."""
    return np.asarray(rates[len(rates) % fold :].reshape(-1, fold).mean(axis=1))


def _filled(values: Floats) -> Floats:
    where, known = np.arange(len(values)), np.isfinite(values)
    return np.asarray(np.interp(where, where[known], values[known]))


def _by_minute(rates: Floats, *, step: float, start: float) -> tuple[Floats, int]:
    """The mean of each whole minute, as far as known, and the first one, since 1970."""
    if step >= _MINUTE:
        return np.repeat(rates, round(step / _MINUTE)), int(start // _MINUTE)
    fold = round(_MINUTE / step)
    skip = round((-start % _MINUTE) / step)
    whole = (len(rates) - skip) // fold * fold
    bins = rates[skip : skip + max(whole, 0)].reshape(-1, fold)
    known = np.isfinite(bins)
    count = known.sum(axis=1)
    mean = np.where(known, bins, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan), int((start + skip * step) // _MINUTE)


def _dispersion(rates: Floats, *, step: float) -> float:
    """By how much a bin differs from those beside it, against what Poisson arrivals would; the median of all ten minutes."""
    block = max(8, round(_BLOCK_SECONDS / step))
    blocks = rates[: len(rates) // block * block].reshape(-1, block)
    means = blocks.mean(axis=1)
    # Second differences: a steady rise or fall is no noise. Of independent values they have six times the variance.
    noise = (np.diff(blocks, n=2, axis=1) ** 2).mean(axis=1) / 6
    use = np.isfinite(noise) & (means > 0)
    if not use.any():
        return 1.0
    return float(np.clip(np.median(noise[use] * step / means[use]), 1.0, _MOST_DISPERSION))
