"""What the demo reads from the objects' status."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from examples.demo import watch
from examples.demo.progress import DemoError

NOW = datetime(2026, 1, 1, 12, 0, 0, 500000, tzinfo=UTC)


def job(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "kdd"}, "status": status}


def ready(status: str, *, generation: int = 1, stalled: str = "False") -> dict[str, Any]:
    conditions = [
        {
            "type": "Ready",
            "status": status,
            "observedGeneration": generation,
            "reason": "Starting",
            "message": "0 of 1",
        },
        {
            "type": "Stalled",
            "status": stalled,
            "observedGeneration": generation,
            "reason": "CrashLoop",
            "message": "boom",
        },
    ]
    return {"metadata": {"name": "kdd", "generation": 1}, "status": {"conditions": conditions}}


def test_phase_reader_must_tell_every_phase_once() -> None:
    """A phase that passed between two looks is told, and none is told twice."""
    reader = watch.PhaseReader()
    phases = [{"phase": phase, "startTime": "2026-01-01T12:00:00Z"} for phase in ("Pending", "Downloading", "Training")]
    assert reader.read(job()) == []
    assert len(reader.read(job(transitions=phases[:2]))) == 2
    assert reader.read(job(transitions=phases[:2])) == []
    assert "Training" in reader.read(job(transitions=phases))[0]


def test_message_reader_must_tell_changes_only() -> None:
    """What the endpoint says is told when it says something new."""
    reader = watch.MessageReader()
    assert reader.read(None) == []
    assert reader.read(ready("False")) == ["ModelEndpoint kdd  Starting: 0 of 1"]
    assert reader.read(ready("False")) == []


def test_completed_must_raise_the_reason_of_a_failed_job() -> None:
    """Waiting for a job that can't complete any more is pointless, and its own words say why."""
    assert watch.completed(None) is None
    assert watch.completed(job(phase="Training")) is None
    done = job(phase="Completed")
    assert watch.completed(done) is done
    with pytest.raises(DemoError, match="label column"):
        watch.completed(job(phase="Failed", failure={"message": "ClientError: no label column"}))


def test_ready_must_be_of_the_present_generation() -> None:
    """Ready of an older spec is not ready."""
    assert watch.is_ready(None) is None
    assert watch.is_ready(ready("False")) is None
    assert watch.is_ready(ready("True", generation=0)) is None
    assert watch.is_ready(ready("True")) is not None
    with pytest.raises(DemoError, match="boom"):
        watch.is_ready(ready("False", stalled="True"))


def test_decisions_must_be_those_of_this_run() -> None:
    """Whole-second times in status don't push the first decision before the load."""
    entry = {"fromReplicas": 1, "toReplicas": 3, "reason": "busy"}
    times = ["2026-01-01T11:59:00Z", "2026-01-01T12:00:09Z", "2026-01-01T12:00:00Z"]
    endpoint = {"status": {"scaling": {"decisions": [{**entry, "time": time} for time in times]}}}
    found = watch.decisions_of(endpoint, since=NOW)
    assert [decision.time.second for decision in found] == [0, 9]


def test_sample_must_read_an_empty_status() -> None:
    """An endpoint that the operator has not seen yet is a sample too."""
    found = watch.sample_of({"metadata": {"name": "kdd"}}, now=NOW)
    assert (found.desired, found.replicas, found.ready) == (None, 0, 0)


def test_calm_must_end_at_the_newest_disturbance() -> None:
    """Only an unbroken stretch up to now counts."""

    def sample(second: int, *, ready: int) -> watch.Sample:
        return watch.sample_of(
            {"status": {"replicas": ready, "readyReplicas": ready, "scaling": {"desiredReplicas": ready}}},
            now=NOW + timedelta(seconds=second),
        )

    assert watch.calm_seconds([], replicas=1) == -1
    assert watch.calm_seconds([sample(0, ready=1), sample(1, ready=2)], replicas=1) == -1
    samples = [sample(0, ready=1), sample(1, ready=2), sample(2, ready=1), sample(5, ready=1)]
    assert watch.calm_seconds(samples, replicas=1) == 3


def test_metric_must_be_found_by_channel_and_name() -> None:
    """Accuracy on the training channel is not what is asked for."""
    metrics = [
        {"name": "train:binary_classification_accuracy", "value": 0.99},
        {"name": "validation:binary_classification_accuracy", "value": 0.95},
    ]
    assert watch.metric(job(metrics=metrics), prefix="validation:", containing="accuracy") == 0.95
    assert watch.metric(job(), prefix="validation:", containing="accuracy") is None
