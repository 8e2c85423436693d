"""What raw samples read as, to the number: the expected figures are worked out by hand."""

import math
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.core.scaling.window import PodSeries, Problem, Readings, Sample, read, short_window

T0 = 1_800_000_000.0


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


def counter(
    pod: str,
    *,
    begin: float = 0,
    end: float = 120,
    step: float = 2,
    per_second: float = 10,
    base: float = 0,
    phase: float = 0,
) -> PodSeries:
    """A pod scraped every *step* seconds that counts *per_second* from *base* at *begin*."""
    count = int((end - begin) / step) + 1
    return PodSeries(
        pod, tuple(Sample(T0 + begin + phase + i * step, base + i * step * per_second) for i in range(count))
    )


def values(pod: str, *pairs: tuple[float, float]) -> PodSeries:
    return PodSeries(pod, tuple(Sample(T0 + time, value) for time, value in pairs))


def reading(*series: PodSeries, ready: dict[str, datetime | None] | None = None, now: float = 120) -> Readings:
    pods = {one.pod: None for one in series} if ready is None else ready
    return read(series, ready_pods=pods, at=at(now))


@pytest.mark.parametrize(("interval", "expected"), [(1, 6), (2, 6), (3, 6), (5, 10), (15, 30), (30, 60), (60, 60)])
def test_short_window_must_be_two_intervals_within_6_and_60_seconds(interval: float, expected: float) -> None:
    """The window that scales out is two scrapes long: seconds in the demo, half a minute with usual scrapes."""
    assert short_window(interval) == timedelta(seconds=expected)


@pytest.mark.parametrize(("ready", "moments"), [({"new": None}, (114, 116, 118, 120)), (None, (116, 118, 120))])
def test_reading_must_not_count_a_load_twice_that_moves(
    ready: dict[str, datetime | None] | None, moments: tuple[int, ...]
) -> None:
    """
    A pod is replaced under 10 requests a second: its last seconds are not added to those of its successor. Where nobody
    knows the pods, it counts as gone once it has missed a scrape.
    """
    for now in moments:
        pair = [counter("old", end=112), counter("new", begin=112, end=now)]
        assert (read(pair, ready_pods=ready, at=at(now)).short.requests_per_minute or 0) <= 600


def test_reading_must_doubt_every_series_where_nobody_knows_the_pods() -> None:
    """Instances in SageMaker are known by their series alone: one that is not fresh may be one whose requests are lost."""
    both = [counter("a"), counter("b")]
    assert all(one.complete for one in read(both, ready_pods=None, at=at(120)))
    gone = [counter("a"), counter("b", end=90)]
    short, long = read(gone, ready_pods=None, at=at(120))
    assert (Problem.PARTIAL, Problem.PARTIAL) == (short.problem, long.problem)
    assert "pod b" in long.message
    assert read(gone, ready_pods={"a": None}, at=at(120)).long.problem is None


@pytest.mark.parametrize("step", [2, 5, 15, 30])
def test_reading_must_be_exact_for_steady_load_at_any_scrape_interval(step: float) -> None:
    """10 requests a second are 600 a minute, whatever the scrape interval, and the data are complete."""
    short, long = reading(counter("a", step=step))
    assert (short.requests_per_minute, long.requests_per_minute) == (600, 600)
    assert short.complete
    assert long.complete
    assert (short.newest, long.age, long.span) == (at(120), timedelta(0), timedelta(seconds=60))


def test_reading_must_add_pods_scraped_at_different_moments() -> None:
    """Each pod's window ends at its own newest sample, so no pod is diluted by another's later scrape."""
    series = [counter("a", step=15, per_second=10), counter("b", step=15, per_second=20, end=105, phase=11)]
    short, long = reading(*series)
    assert short.requests_per_minute == pytest.approx(1800)
    assert long.requests_per_minute == pytest.approx(1800)
    assert long.complete


def test_reading_must_show_a_step_in_the_short_window_first() -> None:
    """6 s after a step from 10 to 100 requests a second the short window shows all of it, the long one a tenth of it."""
    series = values("a", *[(t, t * 10) for t in range(0, 116, 2)], (116, 1340), (118, 1540), (120, 1740))
    short, long = reading(series)
    assert short.requests_per_minute == pytest.approx(6000)
    assert long.requests_per_minute == pytest.approx(54 * 10 + 6 * 100)


def test_reading_must_count_a_reset_counter_from_zero() -> None:
    """A restarted process counts from 0: the value after the restart is what came since, not a fall."""
    short, long = reading(values("a", *[(t, 1000 + t * 10) for t in range(0, 116, 2)], (116, 5), (118, 25), (120, 45)))
    assert short.requests_per_minute == pytest.approx((5 + 20 + 20) / 6 * 60)
    assert long.requests_per_minute == pytest.approx(54 * 10 + 5 + 40)
    assert long.complete


def test_reading_must_keep_requests_of_a_pod_that_is_gone() -> None:
    """What a deleted pod served in the window was demand, once: 30 s of 20/s and 30 s of 20/s elsewhere are 20/s."""
    gone = counter("old", end=90, per_second=20)
    new = counter("new", begin=90, end=120, per_second=20)
    _, long = reading(gone, new, ready={"new": None})
    assert long.requests_per_minute == pytest.approx(1200)
    assert long.complete


def test_reading_must_not_double_demand_that_moves_to_a_new_pod() -> None:
    """A replica added halfway takes half: the total stays what it was."""
    old = values("a", *[(t, t * 10) for t in range(0, 92, 2)], *[(90 + t, 900 + t * 5) for t in range(2, 32, 2)])
    new = counter("b", begin=90, end=120, per_second=5)
    _, long = reading(old, new)
    assert long.requests_per_minute == pytest.approx(600)


@pytest.mark.parametrize(
    ("started", "expected", "complete"),
    [
        (at(100), 600 + 300 + 50, True),  # known to be 10 s old: its first 50 requests came in those 10 s
        (at(112), 600 + 300 + 50, True),  # a birth after its first sample can only be a skewed clock
        (at(-3600), 600 + 300, False),  # an hour old: the 50 may be an hour's
        (at(116), 600 + 300, False),  # a process begun after the sample has not counted it
        (None, 600 + 300, False),
    ],
)
def test_reading_must_count_requests_before_the_first_scrape_only_of_a_pod_known_to_be_new(
    started: datetime | None, expected: float, complete: bool
) -> None:
    """A new pod's first sample is above 0 when it serves before it is scraped; an old pod's says nothing of this minute."""
    new = values("b", (110, 50), (112, 110), (114, 170), (116, 230), (118, 290), (120, 350))
    _, long = reading(counter("a"), new, ready={"a": None, "b": started})
    assert long.requests_per_minute == pytest.approx(expected)
    assert long.complete is complete


def test_reading_must_not_count_what_a_process_before_a_restart_counted() -> None:
    """First seen at 90000 just before a restart: the start that is known is not that of the process that counted them."""
    _, long = reading(
        counter("a"), values("b", (100, 90_000), (102, 90_020), (104, 10), (106, 30)), ready={"a": None, "b": at(103)}
    )
    assert long.requests_per_minute == pytest.approx(600 + 20 + 10 + 20)
    assert not long.complete


def test_reading_must_be_partial_when_a_ready_pod_has_no_samples() -> None:
    """Demand is at least what was seen: such a reading may scale out and never in."""
    short, long = reading(counter("a"), ready={"a": None, "b": None, "c": None})
    assert short.requests_per_minute == long.requests_per_minute == 600
    assert not short.complete
    assert not long.complete
    assert (long.problem, long.message) == (Problem.PARTIAL, "no fresh samples of 2 pods (b, c)")


def test_reading_must_be_partial_when_a_ready_pod_is_no_longer_scraped() -> None:
    """A ready pod whose samples stopped is still serving: its requests since are missing."""
    _, long = reading(counter("a"), counter("b", end=100))
    assert long.problem is Problem.PARTIAL
    assert long.requests_per_minute == pytest.approx(600 + 400)
    assert long.message == "no fresh samples of pod b"


@pytest.mark.parametrize(("step", "last_good"), [(2, 130), (5, 135), (15, 165)])
def test_reading_must_be_unknown_once_samples_are_three_scrapes_old(step: float, last_good: float) -> None:
    """Stale after three scrape intervals, at least 10 s; unknown, and the time of the newest sample is told."""
    fresh = reading(counter("a", step=step), now=last_good)
    stale = reading(counter("a", step=step), now=last_good + 0.5)
    assert fresh.long.problem is None
    assert (stale.long.requests_per_minute, stale.short.requests_per_minute) == (None, None)
    assert (stale.long.problem, stale.long.newest, stale.long.complete) == (Problem.STALE, at(120), False)


@pytest.mark.parametrize(
    "series",
    [
        [],
        [PodSeries("a", ())],
        [values("a", (100, math.nan), (110, math.inf), (120, -1))],
    ],
    ids=["nothing", "no samples", "no numbers"],
)
def test_reading_must_be_unknown_without_usable_samples(series: list[PodSeries]) -> None:
    """An empty answer is not a load of 0 (keda#3064: scaled to the minimum at peak hours)."""
    short, long = read(series, ready_pods={"a": None}, at=at(120))
    assert short.requests_per_minute is None
    assert long.requests_per_minute is None
    assert long.problem is Problem.NO_DATA


def test_reading_must_be_zero_when_counters_stand_still() -> None:
    """Zero is what scraped pods say: a counter that is seen and does not move."""
    short, long = reading(counter("a", per_second=0, base=1234))
    assert (short.requests_per_minute, long.requests_per_minute, long.complete) == (0, 0, True)


def test_reading_must_skip_values_that_are_no_numbers() -> None:
    """One NaN between two samples costs nothing: the counter goes on after it."""
    good = counter("a")
    broken = PodSeries(
        "a", tuple(Sample(s.unix_seconds, math.nan if i % 7 == 3 else s.value) for i, s in enumerate(good.samples))
    )
    assert reading(broken).long.requests_per_minute == pytest.approx(600)


def test_reading_must_not_double_a_pod_scraped_twice() -> None:
    """Two Prometheus replicas, or two scrape jobs, show the same counter with other labels: it counts once."""
    twice = [counter("a"), counter("a", phase=-0.7), counter("a", end=60)]
    assert reading(*twice).long.requests_per_minute == pytest.approx(600)
    assert reading(*reversed(twice)).short.requests_per_minute == pytest.approx(600)


def test_reading_must_believe_the_duplicate_that_is_up_to_date() -> None:
    """Of two Prometheus replicas one of which hangs, the living one is read, though it reaches back less far."""
    _, long = reading(counter("a", begin=-60, end=80), counter("a", begin=50, per_second=30))
    assert long.requests_per_minute == pytest.approx(1800)


def test_reading_must_take_samples_ahead_of_the_clock_as_fresh() -> None:
    """Between the answer and the last scrape clocks may differ: age is never negative, the rate unmoved."""
    _, long = reading(counter("a"), now=90)
    assert (long.requests_per_minute, long.age, long.complete) == (600, timedelta(0), True)


def test_reading_must_tell_a_rate_before_the_window_is_full() -> None:
    """20 s after the first scrape the rate is that of 20 s, good for scaling out and not for scaling in."""
    short, long = reading(counter("a", begin=100))
    assert short.requests_per_minute == long.requests_per_minute == 600
    assert short.complete
    assert (long.complete, long.problem, long.span) == (False, Problem.FILLING, timedelta(seconds=20))


def test_reading_must_be_unknown_from_one_interval_only() -> None:
    """Two scrapes two seconds apart make no rate; neither does one."""
    for series in (values("a", (118, 0), (120, 500)), values("a", (120, 500))):
        assert reading(series).short.problem is Problem.TOO_SHORT
        assert reading(series).long.requests_per_minute is None


def test_reading_must_be_partial_across_a_pause_of_prometheus() -> None:
    """Pods born and gone while nothing was scraped were never seen, so the minute is not known in full."""
    series = values("a", *[(t, t * 10) for t in range(0, 82, 2)], *[(t, t * 10) for t in range(100, 122, 2)])
    short, long = reading(series)
    assert long.requests_per_minute == pytest.approx(600)
    assert (long.problem, long.complete, short.complete) == (Problem.PARTIAL, False, True)
    assert "20 s" in long.message


def test_reading_must_survive_one_lost_scrape() -> None:
    """A lost scrape loses no request of a counter."""
    whole = counter("a")
    holed = PodSeries("a", tuple(s for i, s in enumerate(whole.samples) if i not in (30, 57)))
    assert reading(holed).long == reading(whole).long


@given(
    rates=st.lists(st.integers(0, 1000), min_size=1, max_size=5),
    step=st.sampled_from([1, 2, 5, 10, 15, 30]),
    resets=st.lists(st.integers(1, 100), max_size=3),
)
def test_reading_must_never_be_negative_nor_above_what_the_counters_counted(
    rates: list[int], step: int, resets: list[int]
) -> None:
    """However counters restart, the reading stays between nothing and the true load."""
    series = []
    for number, rate in enumerate(rates):
        value, samples = 0.0, []
        for i in range(120 // step + 1):
            value = 0.0 if i in resets else value + (rate * step if i else 0)
            samples.append(Sample(T0 + i * step, value))
        series.append(PodSeries(f"p{number}", tuple(samples)))
    short, long = reading(*series)
    for one in (short, long):
        assert one.requests_per_minute is not None
        assert -1e-6 <= one.requests_per_minute <= sum(rates) * 60 + 1e-6


@given(random=st.randoms(use_true_random=False))
def test_reading_must_not_depend_on_the_order_of_series_and_samples(random: Random) -> None:
    """Prometheus promises no order."""
    series = [counter("a"), counter("b", begin=40, phase=0.3), counter("a", phase=-0.5), counter("c", end=70)]
    shuffled = [PodSeries(one.pod, tuple(random.sample(one.samples, len(one.samples)))) for one in series]
    random.shuffle(shuffled)
    ready = {"a": None, "b": None}
    assert read(shuffled, ready_pods=ready, at=at(120)) == read(series, ready_pods=ready, at=at(120))
