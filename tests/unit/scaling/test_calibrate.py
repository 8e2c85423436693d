"""What is learned from a history: a season, headroom, accuracy, and that a budget can't be held."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from sagebrush.core.scaling.calibrate import DemandHistory, calibrate
from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.demand import Pace, foreseen
from sagebrush.core.scaling.facts import Knowledge
from sagebrush.core.scaling.past import prepared
from sagebrush.core.scaling.policy import compile_policy
from sagebrush.core.scaling.rolling import Floats, delayed, trailing_max, trailing_mean, trailing_min
from tests.unit.scaling.builders import NOON, QUICK, SLOW, Loop, after, scaling

DAY = 86_400
MIDNIGHT = datetime(2026, 7, 1, tzinfo=UTC)
POLICY = compile_policy(scaling())


def history(rates: Floats, *, step: float = 60.0) -> DemandHistory:
    return DemandHistory(step, MIDNIGHT, rates)


def days(count: int, *, step: float = 60.0, seed: int = 3, peak: float = 900.0) -> Floats:
    """100 requests/s, and from ten to twelve o'clock a hill up to *peak*; drawn."""
    generator = np.random.default_rng(seed)
    hour = np.arange(0, count * 24, step / 3600) % 24
    rate = 100 + (peak - 100) * np.clip(np.minimum(hour - 10, 12 - hour) * 3, 0, 1)
    return np.asarray(generator.poisson(rate * step) / step)


@cache
def hill() -> Calibration:
    """What six days with a hill teach."""
    return learn(days(6))


def learn(rates: Floats, *, knowledge: Knowledge = SLOW, step: float = 60.0) -> Calibration:
    now = MIDNIGHT + timedelta(seconds=len(rates) * step)
    return calibrate(history(rates, step=step), policy=POLICY, knowledge=knowledge, now=now)


def test_calibrate_must_foretell_a_hill_that_comes_every_day() -> None:
    """Replicas that take 6 minutes are asked for before ten o'clock, not after."""
    found = hill()
    bins = np.asarray(found.season)
    assert len(bins) == 288
    assert bins[:110].max() < 300 < 850 < bins[10 * 12 + 6]
    assert "day" in found.learned
    assert found.error_percent is not None
    assert found.error_percent < 20
    assert found.unattainable == ""


def test_prediction_must_have_replicas_ready_before_the_hill() -> None:
    """At 9:55 the rate is 100/s; replicas for what comes by 10:07 are asked for, and status says why."""
    loop = Loop(knowledge=Knowledge(startup=SLOW.startup, cadence=SLOW.cadence, serialised=True, calibration=hill()))
    loop.time = (datetime(2026, 8, 1, 9, 0, tzinfo=UTC) - NOON).total_seconds()
    loop.run(6_000, seconds=600, step=10)
    before = loop.replicas
    loop.time = (datetime(2026, 8, 1, 9, 55, tzinfo=UTC) - NOON).total_seconds()
    decision = loop.tick(6_000)
    assert decision.reason == "Predicted"
    assert decision.replicas > 2 * before
    assert decision.prediction is not None
    assert decision.prediction.until > after(loop.time + 360)


def office_days(count: int) -> Floats:
    """100 requests/s; from Monday to Friday 900 from ten to twelve o'clock. The first day is a Wednesday, as MIDNIGHT."""
    generator = np.random.default_rng(8)
    hours = np.arange(0, count * 24, 1 / 60)
    weekday = (hours // 24 + MIDNIGHT.weekday()) % 7
    hill = np.clip(np.minimum(hours % 24 - 10, 12 - hours % 24) * 3, 0, 1) * (weekday < 5)
    return np.asarray(generator.poisson((100 + 800 * hill) * 60) / 60)


def test_calibrate_must_tell_days_of_the_week_apart() -> None:
    """Two weeks of office hours: Friday's hill is foretold, and none for the days after it."""
    found = learn(office_days(16))
    assert "the same day of the week" in found.learned
    bins = np.asarray(found.season).reshape(7, 288)  # 1970 began on a Thursday
    at_eleven = dict(zip(("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"), bins[:, 11 * 12], strict=True))
    assert min(at_eleven[day] for day in ("Mon", "Tue", "Wed", "Thu", "Fri")) > 850
    assert max(at_eleven[day] for day in ("Sat", "Sun")) < 250
    friday = datetime(2026, 7, 17, 9, 55, tzinfo=UTC).timestamp()
    pace = Pace(0.0, 6000.0, 6000.0, 6000.0, 6000.0)
    told = [
        foreseen(found, pace=pace, time=friday + day * DAY, horizon_seconds=720) or 0.0 for day in range(4)
    ]  # Friday to Monday
    assert min(told[0], told[3]) > 3 * max(told[1], told[2])


def test_calibrate_must_not_tell_days_apart_that_it_saw_once() -> None:
    """A week has shown each day once: what it had may be chance."""
    assert "the same day of the week" not in learn(office_days(9)).learned


def test_season_alone_must_be_that_of_the_week_where_it_foretells_better() -> None:
    """requestsPerMinute: the last day is a Sunday without a hill, of which the mean day foretells one."""
    policy = compile_policy(scaling(target={"requestsPerMinute": 6000}))
    found = calibrate(history(office_days(19)), policy=policy, knowledge=SLOW, now=NOON)
    assert "the same day of the week foretells" in found.learned
    assert len(found.season) == 7 * 288


def test_prediction_must_only_raise() -> None:
    """The same moment with and without a season, whatever it says: never fewer."""
    found = hill()
    for hour in range(24):
        numbers = []
        for calibration in (found, Calibration(found.learned, NOON, headroom=found.headroom, rise=found.rise)):
            loop = Loop(knowledge=Knowledge(startup=SLOW.startup, serialised=True, calibration=calibration), replicas=3)
            loop.time = (hour - 12) * 3600.0
            numbers.append(loop.tick(12_000).replicas)
        assert numbers[0] >= numbers[1]


def test_quiet_season_must_not_lower_a_busy_day() -> None:
    """The season says 10 requests/s, 500 come: for as long as they do, the number is that of no season at all."""
    quiet = Calibration("", NOON, headroom=1.2, season=(10.0,) * 288, usual=(10.0,) * 288)
    numbers = []
    for calibration in (quiet, Calibration("", NOON, headroom=1.2)):
        loop = Loop(knowledge=Knowledge(startup=SLOW.startup, serialised=True, calibration=calibration))
        numbers.append([loop.tick(30_000, seconds=10).replicas for _ in range(80)])
    assert numbers[0] == numbers[1]
    assert numbers[0][-1] >= 6


def test_observed_prediction_must_not_act() -> None:
    """Observe shows what Auto would provide for."""
    policy = scaling(target={"latency": "500ms"}, capacity={"requestsPerSecond": 100}, prediction={"mode": "Observe"})
    loop = Loop(policy, knowledge=Knowledge(startup=SLOW.startup, serialised=True, calibration=hill()))
    loop.time = -2 * 3600 - 300.0
    decision = loop.tick(6_000)
    asked = {each.by: each.replicas for each in decision.proposals}
    assert asked["Prediction"] > decision.replicas == asked["Target"]


def test_prediction_must_stay_under_its_own_maximum() -> None:
    """prediction.maxReplicas: what a prediction alone may ask for."""
    policy = scaling(target={"latency": "500ms"}, capacity={"requestsPerSecond": 100}, prediction={"maxReplicas": 4})
    loop = Loop(policy, knowledge=Knowledge(startup=SLOW.startup, serialised=True, calibration=hill()))
    loop.time = -2 * 3600 - 300.0
    assert loop.tick(6_000).replicas <= 4


def test_prediction_must_raise_while_nothing_is_seen() -> None:
    """An outage over the begin of the hill: the season speaks."""
    loop = Loop(knowledge=Knowledge(startup=SLOW.startup, serialised=True, calibration=hill()))
    loop.time = -2.5 * 3600
    loop.run(6_000, seconds=600, step=10)
    before = loop.replicas
    loop.run(None, seconds=1800, step=10)
    assert loop.replicas > 2 * before


def test_calibrate_must_learn_more_headroom_from_restless_traffic() -> None:
    """Headroom follows what the history did within a start-up time."""
    generator = np.random.default_rng(5)
    calm = generator.poisson(np.full(2 * 17_280, 500 * 5)) / 5
    level = np.repeat(500 * np.exp(generator.normal(0, 0.3, size=2 * 17_280 // 6)), 6)
    restless = generator.poisson(level * 5) / 5
    found = [learn(rates, knowledge=QUICK, step=5.0) for rates in (calm, restless)]
    assert found[0].headroom < found[1].headroom
    assert found[0].dispersion == pytest.approx(1, abs=0.2)


def test_calibrate_must_keep_less_than_the_budget_where_samples_are_coarse() -> None:
    """What happens within fifteen seconds the replay can't show: a third of the budget is what it may show."""
    generator = np.random.default_rng(7)
    level = np.repeat(500 * np.exp(generator.normal(0, 0.1, size=2 * 480)), 12)
    coarse = learn(generator.poisson(level * 15) / 15, knowledge=QUICK, step=15.0)
    fine = learn(generator.poisson(np.repeat(level, 3) * 5) / 5, knowledge=QUICK, step=5.0)
    assert coarse.late_share <= 0.0003
    assert 0.0003 < fine.late_share <= 0.001


def test_calibrate_must_say_in_numbers_when_nothing_can_hold_the_budget() -> None:
    """Spikes of three minutes with six minutes to start: only standing capacity helps, and it says how much."""
    generator = np.random.default_rng(6)
    rates = np.full(6 * 1440, 200.0)
    for start in generator.integers(0, len(rates) - 3, size=150):
        rates[start : start + 3] = 1500.0
    found = learn(rates)
    assert "demand rises up to 7.5 times within 12 min" in found.unattainable.replace("724 s", "12 min")
    assert "minReplicas: 16 would hold it" in found.unattainable
    assert "Ready within a minute" in found.unattainable


@pytest.mark.parametrize("rates", [np.zeros(0), np.full(100, np.nan), np.full(30, 5.0)])
def test_calibrate_must_do_with_little_history(rates: Floats) -> None:
    """Less than an hour teaches nothing: what holds without any history is kept."""
    found = learn(rates)
    assert (found.learned, found.season) == ("less than an hour of history yet", ())
    assert found.headroom == pytest.approx(1.25)


def test_calibrate_must_bridge_gaps_and_not_count_them() -> None:
    """Prometheus was away for a day and for single minutes: no NaN comes through, and the days are those known."""
    rates = days(6)
    rates[2 * 1440 : 3 * 1440] = np.nan
    rates[::7] = np.nan
    found = learn(rates)
    assert np.isfinite(found.season).all()
    assert np.isfinite([found.headroom, found.late_share, found.cost]).all()


def test_calibrate_must_teach_the_season_alone_where_the_owner_chose_the_target() -> None:
    """requestsPerMinute has its headroom in it."""
    policy = compile_policy(scaling(target={"requestsPerMinute": 6000}))
    found = calibrate(history(days(6)), policy=policy, knowledge=SLOW, now=NOON)
    assert len(found.season) == 288
    assert "the mean day foretells" in found.learned
    flat = calibrate(history(np.full(6 * 1440, 100.0)), policy=policy, knowledge=SLOW, now=NOON)
    assert flat.season == ()


def test_calibrate_must_give_the_same_answer_to_the_same_history() -> None:
    """No clock and no chance in it."""
    assert learn(days(3)) == learn(days(3))


def test_prepared_must_keep_the_newest_whole() -> None:
    """Bins are folded from the newest backwards, so that the present is never half a bin."""
    past = prepared(history(np.arange(1.0, 30.0), step=20.0), horizon_seconds=600)
    assert past is not None
    assert past.step == 60
    assert past.rates[-1] == pytest.approx((27 + 28 + 29) / 3)
    assert len(past.rates) == 9


def test_windows_must_look_back_only() -> None:
    """Mean, largest and smallest of the last values, fewer at the begin."""
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    assert trailing_mean(values, steps=2).tolist() == [3, 2, 2.5, 2.5, 3, 7, 5.5]
    assert trailing_max(values, steps=3).tolist() == [3, 3, 4, 4, 5, 9, 9]
    assert trailing_min(values, steps=3).tolist() == [3, 1, 1, 1, 1, 1, 2]
    assert delayed(values, steps=2).tolist() == [3, 3, 3, 1, 4, 1, 5]
