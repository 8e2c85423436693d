"""The course of a day, or of a week, learned from the days before it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sagebrush.core.scaling.calibration import DAY_SECONDS
from sagebrush.core.scaling.demand import LEAST_RATIO, LEVEL_SECONDS, MOST_RATIO
from sagebrush.core.scaling.rolling import Floats, faded

BIN_SECONDS = 300
BINS = DAY_SECONDS // BIN_SECONDS
_MINUTE = 60
_DAYS_LEARNED = 7
_WEEK = 7
_WEEKS_LEARNED = 2
_MUCH_LIKER = 0.8


class SeasonKind(StrEnum):
    """How days are made into one."""

    NONE = "no season"
    MEAN = "the mean day"
    MAX = "the fullest of the days"
    WEEKDAY = "the same day of the week"


@dataclass(frozen=True, slots=True)
class Days:
    """The history by days of UTC: of each bin of each day the mean and the fullest minute, in requests/s.

    Shape (days, bins); NaN where nothing is known.
    """

    first: int
    """The first day, counted since 1970."""
    mean: Floats
    fullest: Floats

    @classmethod
    def of(cls, minutes: Floats, *, first_minute: int) -> "Days":
        """From the rate of each minute, the first being *first_minute* since 1970; NaN where unknown."""
        day = first_minute * _MINUTE // DAY_SECONDS
        before = first_minute - day * DAY_SECONDS // _MINUTE
        per_day = DAY_SECONDS // _MINUTE
        count = -(-(before + len(minutes)) // per_day)
        padded = np.full(count * per_day, np.nan)
        padded[before : before + len(minutes)] = minutes
        bins = padded.reshape(count, BINS, BIN_SECONDS // _MINUTE)
        known = np.isfinite(bins)
        filled = np.where(known, bins, 0.0)
        some = known.any(axis=2)
        mean = np.where(some, filled.sum(axis=2) / np.maximum(known.sum(axis=2), 1), np.nan)
        return cls(first=day, mean=mean, fullest=np.where(some, filled.max(axis=2), np.nan))

    def __len__(self) -> int:
        return len(self.mean)

    def season(self, day: int, *, kind: SeasonKind) -> tuple[Floats, Floats] | None:
        """What the days before *day* (an index) let expect of each bin: the most, and the mean; None without a whole day.

        Days are brought to one level first: how busy this one is shows in its own last half hour. Of a day of the week
        not seen yet the days before it tell.
        """
        before = self._learned_from(day, kind=kind)
        if not before:
            return None
        mean, fullest = self.mean[before], self.fullest[before]
        levels = np.nanmean(mean, axis=1)
        factor = (levels.mean() / np.maximum(levels, 1e-9))[:, None]
        usual = _over_days(mean * factor, largest=False)
        most = _over_days(fullest * factor, largest=kind is SeasonKind.MAX)
        usual = np.where(np.isfinite(usual), usual, usual[np.isfinite(usual)].mean())
        return np.where(np.isfinite(most), most, usual), usual

    def week(self, *, kind: SeasonKind) -> tuple[Floats, Floats] | None:
        """What the seven days after the last one let expect: :meth:`season` of each, from a Thursday on, as 1970 began."""
        days = [self.season(len(self) + ahead, kind=kind) for ahead in range(_WEEK)]
        found = [each for each in days if each is not None]
        if len(found) < _WEEK:
            return None
        turn = -((self.first + len(self)) % _WEEK)
        ordered = [found[(turn + weekday) % _WEEK] for weekday in range(_WEEK)]
        return np.concatenate([each[0] for each in ordered]), np.concatenate([each[1] for each in ordered])

    def follows_the_week(self) -> bool:
        """Whether all days of the week were seen twice, and days are by a fifth more like those a week before than like the mean."""
        whole = [day for day in range(len(self)) if self._is_whole(day)]
        if len(whole) < _WEEKS_LEARNED * _WEEK - 1:
            return False
        last = whole[-_WEEK:]
        week, mean = (
            sum(self._distance(day, kind=kind) for day in last) for kind in (SeasonKind.WEEKDAY, SeasonKind.MEAN)
        )
        return week < _MUCH_LIKER * mean

    def _distance(self, day: int, *, kind: SeasonKind) -> float:
        """How far a day is from its season, brought to its level; a mean of requests/s."""
        found, came = self.season(day, kind=kind), self.mean[day]
        if found is None:
            return 0.0
        level = float(np.nanmean(came)) / max(float(found[1].mean()), 1e-9)
        return float(np.nanmean(np.abs(came - found[1] * level)))

    def _learned_from(self, day: int, *, kind: SeasonKind) -> list[int]:
        """The days before *day* that its season is learned from."""
        if kind is SeasonKind.WEEKDAY:
            same = [day - _WEEK * weeks for weeks in range(1, _WEEKS_LEARNED + 1)]
            found = [each for each in same if 0 <= each < len(self) and self._is_whole(each)]
            if found:
                return found
        last = min(day, len(self))
        return [each for each in range(max(0, last - _DAYS_LEARNED), last) if self._is_whole(each)]

    def _is_whole(self, day: int) -> bool:
        return bool(np.isfinite(self.mean[day]).mean() > 0.9)


def _over_days(values: Floats, *, largest: bool) -> Floats:
    """The mean or the largest of each bin over the days that know it; NaN where none does."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    if largest:
        return np.where(count > 0, np.where(known, values, -np.inf).max(axis=0), np.nan)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def foreseen_by_minute(
    days: Days, minutes: Floats, *, first_minute: int, kind: SeasonKind, horizon_seconds: float
) -> Floats:
    """What :func:`sagebrush.core.scaling.demand.foreseen` would have said in each minute, from the days before; 0 without any."""
    out = np.zeros(len(minutes))
    per_day = DAY_SECONDS // _MINUTE
    usual = np.full(len(minutes), np.nan)
    most = np.zeros(len(minutes))
    ahead = int(horizon_seconds // BIN_SECONDS) + 2
    for day in range(len(days)):
        begin = max(0, (days.first + day) * per_day - first_minute)
        end = min(len(minutes), (days.first + day + 1) * per_day - first_minute)
        found = days.season(day, kind=kind)
        if found is None or end <= begin:
            continue
        at = (first_minute + np.arange(begin, end)) % per_day
        last = ((at * _MINUTE + horizon_seconds) // BIN_SECONDS).astype(int)
        first = at * _MINUTE // BIN_SECONDS
        fullest = found[0][first % BINS]
        for step in range(1, ahead):
            fullest = np.maximum(fullest, found[0][np.minimum(first + step, last) % BINS])
        most[begin:end] = fullest
        usual[begin:end] = found[1][first % BINS]
    known = np.isfinite(usual)
    if not known.any():
        return out
    begin = int(np.argmax(known))
    share = _MINUTE / LEVEL_SECONDS
    level = faded(minutes[begin:], share=share)
    normal = faded(np.where(known[begin:], usual[begin:], 0.0), share=share)
    ratio = np.clip(np.divide(level, normal, out=np.ones_like(level), where=normal > 0), LEAST_RATIO, MOST_RATIO)
    out[begin:] = most[begin:] * ratio
    return out
