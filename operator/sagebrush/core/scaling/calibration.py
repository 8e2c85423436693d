"""What an endpoint's own history taught, in plain numbers; :mod:`sagebrush.core.scaling.calibrate` makes it."""

from dataclasses import dataclass
from datetime import datetime

DAY_SECONDS = 86_400

SLOW_HORIZON_SECONDS = 120.0
"""Horizon from which on seconds don't matter: a rise is that of minutes, not of the short window over the long one."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How to provide for what comes, as the replay of the history over the policy's own rules found best.

    To others than the policy only the words and figures are of interest: :attr:`learned`, :attr:`learned_at`,
    :attr:`error_percent` and :attr:`unattainable`.
    """

    learned: str
    """What was learned and how it did, for ``status.scaling.prediction.learned``."""
    learned_at: datetime
    error_percent: float | None = None
    """Median error of the predictions of the last day, in percent of what came; None without a day to compare."""
    unattainable: str = ""
    """Why no policy can hold the budget, and what would, in numbers; empty where it can be held."""
    newest: bool = True
    """Whether the short window's rate counts where it is above the long one's."""
    rise: float = 1.0
    """How much of a present rise is carried on over the horizon."""
    hold_seconds: float = 300.0
    """How long a demand is provided for after it was seen."""
    headroom: float = 1.2
    """Factor on the demand measured and carried on."""
    season: tuple[float, ...] = ()
    """The most requests per second to provide for in each bin, by the time of day, or of the week from Thursday on; empty: no season."""
    usual: tuple[float, ...] = ()
    """The mean of the same bins, which says how the present day compares with those learned from."""
    season_step_seconds: float = 300.0
    """Length of the bins, the first of which begins at midnight UTC, as 1970 did."""
    dispersion: float = 1.0
    """Variance of the arrivals in a second by their mean, as far as bins of the history show it; 1 is Poisson."""
    late_share: float = 0.0
    """Requests over the latency bound in the replay of the days kept apart, by all."""
    cost: float = 0.0
    """Replica-seconds of that replay by those of the requests themselves at full load."""
