"""The arithmetic of `make bench-sagemaker`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sagemaker import figures, workload
from benchmarks.sagemaker.figures import Call, Change, Sighting
from benchmarks.sagemaker.options import Options, parse
from sagebrush.config import Settings

TIMES = st.lists(st.floats(0, 1000), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([7.0], 0.95, 7.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([float(n) for n in range(1, 101)], 0.95, 95.0), ([1, 2], 1, 2)],
)
def test_percentile_must_be_a_value_that_was_measured(values: list[float], share: float, expected: float) -> None:
    """The nearest rank: the smallest value that the share of all values do not exceed."""
    assert expected == figures.percentile(values, share)


@given(values=TIMES, share=st.floats(0, 1))
def test_percentile_must_cover_its_share(values: list[float], share: float) -> None:
    """At least that share of the values is not above it."""
    found = figures.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_percentile_must_refuse_nothing() -> None:
    """No values have no percentile; their spread says only that there are none."""
    with pytest.raises(ValueError, match="no values"):
        figures.percentile([], 0.5)
    assert {"count": 0} == figures.spread([])


def test_calls_must_be_told_apart_by_their_object() -> None:
    """An endpoint's models and configurations count as the endpoint's, and what is about neither counts apart."""
    calls = [
        Call(0, "DescribeTrainingJob", "bench-job-short-001-aa"),
        Call(1, "DescribeEndpoint", "bench-endpoint-001-bb"),
        Call(2, "DescribeModel", "bench-endpoint-001-bb-cc"),
        Call(3, "ListObjectsV2", ""),
    ]
    expected = {
        "endpoint": {"DescribeEndpoint": 1, "DescribeModel": 1},
        "job": {"DescribeTrainingJob": 1},
        "other": {"ListObjectsV2": 1},
    }
    assert expected == figures.by_subject(calls)
    assert ["DescribeEndpoint", "DescribeModel"] == [call.operation for call in figures.between(calls, 1, 3)]


def test_rate_must_be_for_each_object_and_minute() -> None:
    """120 calls of 60 objects in two minutes are one each; without objects there is no rate."""
    assert 1.0 == figures.per_minute(120, objects=60, seconds=120)
    assert 0.0 == figures.per_minute(120, objects=0, seconds=120)


def test_mean_must_weigh_by_time() -> None:
    """Something that was there for half of the time counts half, and what lies outside does not count."""
    assert 1.5 == figures.mean_present([(0, 100), (15, 100), (50, 100), (0, 10)], 10, 20)


@pytest.mark.parametrize(
    ("times", "expected"), [([0, 0, 0], 3), ([0, 0.5, 0.99, 1.0], 3), ([0, 1, 2], 1), ([5, 4.2, 5.1], 3)]
)
def test_peak_must_be_the_most_within_a_window(times: list[float], expected: int) -> None:
    """The window is a second here, its end not in it; the order of the calls does not matter."""
    assert expected == figures.peak(times, window=1.0)


@pytest.mark.parametrize(
    ("times", "rate", "expected"), [([0] * 20, 10, 20), ([0, 0.1, 0.2], 10, 1), ([0, 0, 0.1, 10, 10], 10, 2)]
)
def test_burst_must_be_what_a_bucket_would_have_needed(times: list[float], rate: float, expected: float) -> None:
    """Calls at the bucket's rate need a burst of one, calls at once as many as they are."""
    assert expected == pytest.approx(figures.burst_needed(times, rate=rate))


@given(times=TIMES, rate=st.floats(0.1, 100))
def test_burst_must_let_the_same_calls_pass(times: list[float], rate: float) -> None:
    """A bucket of the size that is told never runs dry, and one call always fits."""
    burst = figures.burst_needed(times, rate=rate)
    tokens, before = burst, min(times)
    for now in sorted(times):
        tokens, before = min(burst, tokens + (now - before) * rate) - 1, now
        assert tokens >= -1e-6
    assert burst >= 1


def test_job_must_be_noticed_by_the_transitions_in_status() -> None:
    """A phase that passed between two looks was noticed when the list had it; what never came into it was not."""
    changes = [Change(0, "Starting"), Change(60, "Downloading"), Change(80, "Training"), Change(200, "Completed")]
    sightings = [Sighting(1, ""), Sighting(3, "Starting", 1), Sighting(90, "Training", 3)]
    assert [3, 30, 10, None] == figures.noticed_steps(changes, sightings)


def test_endpoint_must_be_noticed_by_its_state_or_a_later_one() -> None:
    """A status that still shows the state from before is no notice; a later state shows that the first was noticed too."""
    changes = [Change(100, "SystemUpdating"), Change(400, "InService"), Change(500, "SystemUpdating")]
    sightings = [Sighting(90, "InService"), Sighting(110, "InService"), Sighting(140, "SystemUpdating")]
    assert [40, None, None] == figures.noticed_states(changes, sightings)
    missed = [Sighting(110, "InService"), Sighting(415, "InService")]
    assert [315, 15, None] == figures.noticed_states(changes, missed)


def test_duplicates_must_be_successes() -> None:
    """A create that AWS refused made nothing."""
    calls = [
        Call(0, "CreateEndpoint", "a"),
        Call(1, "CreateEndpoint", "a", "ValidationException"),
        Call(2, "CreateEndpoint", "b"),
        Call(3, "CreateEndpoint", "b"),
    ]
    assert {"b": 2} == figures.duplicates(calls, "CreateEndpoint")


def test_workload_must_be_the_jobs_that_were_asked_for() -> None:
    """So many jobs with names of their own, each of a sort that its name tells; some take an hour, fail, or are interrupted."""
    names = workload.job_names(200, running=60)
    assert 200 == len(set(names))
    assert {"short", "medium", "long", "hour", "spot", "failing"} == {workload.sort_of(name).name for name in names}


def test_operator_must_get_the_defaults_of_the_product() -> None:
    """On the simulator's clock; only the period of resyncs, which is on the wall's, is shortened."""
    flags = dict(flag.removeprefix("--").split("=") for flag in Options(speed=5).flags(origin=1000.0))
    product = Settings()
    assert "5@1000.000" == flags["aws-clock"]
    assert product.sagemaker_poll_seconds == float(flags["sagemaker-poll-seconds"])
    assert product.sagemaker_steady_poll_seconds == float(flags["sagemaker-steady-poll-seconds"])
    assert product.aws_calls_per_second == float(flags["aws-calls-per-second"])
    assert product.aws_burst == int(flags["aws-burst"])
    assert product.resync_seconds == 5 * float(flags["resync-seconds"])


@pytest.mark.parametrize("wrong", [["--endpoints=4"], ["--storm=500"], ["--speed=1"]])
def test_options_must_refuse_what_makes_no_sense(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    with pytest.raises(SystemExit):
        parse(wrong)
    assert wrong[0].split("=")[0] in capsys.readouterr().err
