"""Traces from files, and generated ones."""

from pathlib import Path

import numpy as np
import pytest

from sagebrush.replay.files import MEAN_REPLICAS, MOST_DISPERSION, TraceError, kind_of, read_trace, windowed
from sagebrush.replay.shapes import GENERATED, article_spikes, daily_ramps
from sagebrush.replay.trace import DAY, Service, Trace


def written(folder: Path, text: str, *, name: str = "any.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_counts_by_the_minute_must_become_rates_between_their_middles(tmp_path: Path) -> None:
    """60 requests of a minute are 1/s in its middle; between two middles the rate is a line."""
    trace = read_trace(written(tmp_path, "minute,requests\n0,60\n1,180\n2,180\n"))
    assert len(trace) == 180
    assert trace.noisy
    assert trace.rate[:30].tolist() == [1.0] * 30
    assert trace.rate[59:61].mean() == pytest.approx(2.0)
    assert trace.rate[95] == pytest.approx(3.0)


def test_rates_with_dispersion_must_keep_both(tmp_path: Path) -> None:
    """A rate needs no division; the index of dispersion holds for its step, and is cut where it can't be noise."""
    text = "second,rate_rps,index_of_dispersion\n0,20,5\n600,20,200\n1200,20,1\n"
    trace = read_trace(written(tmp_path, text, name="servegen_x.csv"))
    assert trace.rate.tolist() == [20.0] * 1800
    assert trace.dispersion is not None
    assert [5.0, MOST_DISPERSION, 1.0] == trace.dispersion[[0, 600, 1200]].tolist()
    assert (10.0, 1.0) == (trace.service.capacity, trace.service.wait_seconds)


def test_counts_by_the_second_must_be_taken_as_they_are(tmp_path: Path) -> None:
    """Nothing is drawn where every second was counted; rates that were only targets are drawn from."""
    counted = read_trace(written(tmp_path, "second,requests\n0,3\n1,0\n2,7\n", name="azure_llm_x.csv"))
    assert [3.0, 0.0, 7.0] == counted.arrivals.tolist()
    targets = read_trace(written(tmp_path, "second,rps\n0,300\n1,300\n2,300\n", name="autothrottle_x.csv"))
    assert targets.noisy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at least two rows"),
        ("second,requests\n0,1\n", "at least two rows"),
        ("second,requests\n0,1\n1,many\n", "could not convert"),
        ("second,requests\n0,1\n1,-2\n", "not negative"),
        ("second,requests\n0,1\n1,nan\n", "finite"),
        ("second,requests\n0,1\n1,2\n5,2\n", "equally far apart"),
        ("when,requests\n0,1\n1,2\n", "call it second or minute"),
    ],
)
def test_file_that_is_no_trace_must_be_refused_with_the_reason(tmp_path: Path, text: str, told: str) -> None:
    """The message names the file and what is wrong."""
    path = written(tmp_path, text)
    with pytest.raises(TraceError, match=told) as raised:
        read_trace(path)
    assert str(path) in str(raised.value)


def test_missing_file_must_be_refused(tmp_path: Path) -> None:
    """As one that is no trace."""
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("days", "judged_days", "history_days"), [(0.5, 0.5, 0), (2, 1, 1), (10, 3, 7), (18, 3, 14), (40, 3, 14)]
)
def test_window_must_be_the_last_three_days_after_two_weeks_of_history(
    days: float, judged_days: float, history_days: float
) -> None:
    """Shorter traces: the second half; shorter than a day: all of it."""
    trace = windowed(Trace(name="any", rate=np.ones(int(days * DAY)), service=Service(capacity=1), start_unix=0))
    assert (judged_days * DAY, history_days * DAY) == (trace.seconds, trace.evaluated_from)
    assert trace.start_unix == (days - judged_days - history_days) * DAY


def test_start_must_be_the_day_in_the_name(tmp_path: Path) -> None:
    """8 June 1998, midnight UTC."""
    trace = read_trace(written(tmp_path, "minute,requests\n0,60\n1,180\n", name="worldcup98_19980608_1d.csv"))
    assert trace.start_unix == 897264000


def test_unknown_trace_must_keep_fifteen_replicas_busy() -> None:
    """The stated rule for traces of no known kind; the known ones go by the name's beginning."""
    assert pytest.approx(300 / MEAN_REPLICAS) == kind_of("mine", mean_rate=300).service.capacity
    assert 100 == kind_of("WorldCup98_july", mean_rate=1).service.capacity
    assert (1, 16, 5.0) == (
        (azure := kind_of("azure_llm2023_code", mean_rate=1).service).capacity,
        azure.workers,
        azure.wait_seconds,
    )


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_trace_must_be_the_same_every_time(name: str) -> None:
    """The same seed, the same bytes; whole finite requests."""
    first, second = GENERATED[name](), GENERATED[name]()
    assert first.arrivals.tobytes() == second.arrivals.tobytes()
    assert np.isfinite(first.rate).all()
    assert (first.rate >= 0).all()
    assert (first.arrivals == np.round(first.arrivals)).all()


def test_article_spikes_must_last_two_to_four_minutes() -> None:
    """200 requests/s, 1000 within spikes."""
    rate = article_spikes().rate
    assert {200.0, 1000.0} == set(rate.tolist())
    edges = np.flatnonzero(np.diff(rate))
    lengths = edges[1::2] - edges[::2]
    assert len(lengths) == 12
    assert lengths.min() >= 120
    assert lengths.max() <= 240


def test_daily_ramps_must_come_at_the_same_hours_with_some_jitter() -> None:
    """Three a day; the same hour differs between days by minutes, not by hours."""
    trace = daily_ramps()
    assert (7 * DAY, 2 * DAY) == (trace.evaluated_from, trace.seconds)
    starts = np.flatnonzero(np.diff((trace.rate > 500).astype(int)) == 1) % DAY / 3600
    assert len(starts) == 27
    assert sorted({round(hour) for hour in starts.tolist()}) == [8, 13, 19]
    assert 0.005 < np.std([hour for hour in starts if round(hour) == 8]) < 0.06
