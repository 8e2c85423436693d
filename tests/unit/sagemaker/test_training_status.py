"""DescribeTrainingJob's words as phase, reason, failure, transitions and figures."""

import math
from datetime import timedelta
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.api.training_job import FailureClass, Metric, PhaseTransition, TrainingPhase
from sagebrush.core.conditions import Outlook, Reason
from sagebrush.core.sagemaker import training_status, training_transitions
from sagebrush.core.sagemaker.training_status import find_phase
from tests.unit.sagemaker.training_builders import ARN, FINALS, MODEL, NAME, NOON, REGION, at, described, steps

ROWS: list[tuple[str, str, TrainingPhase, Reason]] = [
    ("InProgress", "Starting", TrainingPhase.PENDING, Reason.PENDING),
    ("InProgress", "Pending", TrainingPhase.PENDING, Reason.PENDING),
    ("InProgress", "LaunchingMLInstances", TrainingPhase.PENDING, Reason.PENDING),
    ("InProgress", "PreparingTrainingStack", TrainingPhase.PENDING, Reason.PENDING),
    ("InProgress", "PreparingTraining", TrainingPhase.PENDING, Reason.PENDING),
    ("InProgress", "DownloadingTrainingImage", TrainingPhase.DOWNLOADING, Reason.DOWNLOADING),
    ("InProgress", "Downloading", TrainingPhase.DOWNLOADING, Reason.DOWNLOADING),
    ("InProgress", "Training", TrainingPhase.TRAINING, Reason.TRAINING),
    ("InProgress", "Updating", TrainingPhase.TRAINING, Reason.TRAINING),
    ("InProgress", "Uploading", TrainingPhase.UPLOADING, Reason.UPLOADING),
    ("InProgress", "Interrupted", TrainingPhase.INTERRUPTED, Reason.INTERRUPTED),
    ("InProgress", "Restarting", TrainingPhase.INTERRUPTED, Reason.RESTARTING),
    ("Stopping", "Stopping", TrainingPhase.TRAINING, Reason.STOPPING),
    ("Deleting", "Deleting", TrainingPhase.TRAINING, Reason.DELETING),
    ("Stopped", "Stopped", TrainingPhase.STOPPED, Reason.STOPPED),
    ("Stopped", "MaxRuntimeExceeded", TrainingPhase.STOPPED, Reason.MAX_RUNTIME_EXCEEDED),
    ("Stopped", "MaxWaitTimeExceeded", TrainingPhase.STOPPED, Reason.MAX_WAIT_TIME_EXCEEDED),
    ("Completed", "Completed", TrainingPhase.COMPLETED, Reason.COMPLETED),
    ("Failed", "Failed", TrainingPhase.FAILED, Reason.INTERNAL_ERROR),
    # not in the model of today
    ("InProgress", "Juggling", TrainingPhase.TRAINING, Reason.TRAINING),
    ("Paused", "Napping", TrainingPhase.TRAINING, Reason.TRAINING),
    ("Completed", "Polished", TrainingPhase.COMPLETED, Reason.COMPLETED),
    ("Stopped", "Halted", TrainingPhase.STOPPED, Reason.STOPPED),
]


@pytest.mark.parametrize(("primary", "secondary", "phase", "reason"), ROWS)
def test_phase_must_follow_both_statuses(primary: str, secondary: str, phase: TrainingPhase, reason: Reason) -> None:
    """Each status of AWS has its phase and reason; one that names no phase leaves the one that was reached."""
    body = described(primary, "Starting", "Downloading", "Training", secondary)
    finding = find_phase(body, before=None, suspend=False)
    assert (phase, reason) == (finding.phase, finding.reason)
    outlook = {"Completed": Outlook.DONE, "Failed": Outlook.STALLED, "Stopped": Outlook.STALLED}
    assert outlook.get(primary, Outlook.PROGRESSING) == finding.outlook


def test_phase_must_know_all_of_botocores_statuses() -> None:
    """A status that a newer botocore brings is noticed here, and gets its row."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    assert set(model.shape_for("SecondaryStatus").enum) <= {row[1] for row in ROWS}
    assert set(model.shape_for("TrainingJobStatus").enum) <= {row[0] for row in ROWS}


@given(
    primary=st.sampled_from(["InProgress", "Stopping", "Deleting", "Paused", *FINALS, ""]),
    path=st.lists(st.text(max_size=12) | st.sampled_from([row[1] for row in ROWS]), max_size=6),
    before=st.none() | st.sampled_from(TrainingPhase),
    suspend=st.booleans(),
)
def test_phase_must_never_crash_and_end_only_where_the_job_does(
    primary: str, path: list[str], before: TrainingPhase | None, suspend: bool
) -> None:
    """Whatever AWS calls its statuses, the phase is final if and only if the primary status is."""
    body = described(primary, "Starting")
    body.update(
        SecondaryStatus=path[-1] if path else None,
        SecondaryStatusTransitions=[{"Status": raw, "StartTime": at(number)} for number, raw in enumerate(path)],
    )
    finding = find_phase(body, before=before, suspend=suspend)
    assert (primary in FINALS) == finding.phase.is_final
    entries = training_transitions.transitions(body, before=[])
    assert len(path) == len(entries)
    assert len(path) == len(training_transitions.untold(entries, before=[]))


def test_message_must_carry_what_sagemaker_says() -> None:
    """StatusMessage is for people: it stands in the message, with what the status means where that is not plain."""
    finding = find_phase(
        described("InProgress", "Starting", "Pending: Insufficient capacity, retrying!"), before=None, suspend=False
    )
    assert "SageMaker says Pending: Insufficient capacity, retrying! (waiting for capacity)" == finding.message


FAILURES: list[tuple[str, FailureClass, Reason, int | None]] = [
    ("AlgorithmError: bad labels, exit code: 1", FailureClass.USER, Reason.ALGORITHM_ERROR, 1),
    ("AlgorithmError: ExecuteUserScriptError:\nExitCode 139", FailureClass.USER, Reason.ALGORITHM_ERROR, 139),
    ("AlgorithmError: nothing more", FailureClass.USER, Reason.ALGORITHM_ERROR, None),
    ("The container ended. ExitCode: 2", FailureClass.USER, Reason.ALGORITHM_ERROR, 2),
    ("ClientError: No S3 objects found under s3://b/p", FailureClass.USER, Reason.CLIENT_ERROR, None),
    (
        "CapacityError: Unable to provision requested ML compute capacity. Please retry",
        FailureClass.CAPACITY,
        Reason.CAPACITY_ERROR,
        None,
    ),
    ("InternalServerError: We encountered an internal error", FailureClass.PLATFORM, Reason.INTERNAL_ERROR, None),
    ("InternalServerError: exit code: 1 of our agent", FailureClass.PLATFORM, Reason.INTERNAL_ERROR, None),
    ("Something nobody has seen before", FailureClass.PLATFORM, Reason.INTERNAL_ERROR, None),
]


@pytest.mark.parametrize(("said", "kind", "reason", "exit_code"), FAILURES)
def test_failure_must_be_sorted_by_who_can_mend_it(
    said: str, kind: FailureClass, reason: Reason, exit_code: int | None
) -> None:
    """The prefix of FailureReason tells user, capacity and platform apart; the sentence is kept whole."""
    finding = find_phase(described("Failed", "Training", "Failed", FailureReason=said), before=None, suspend=False)
    assert finding.failure is not None
    assert (kind, reason, exit_code) == (finding.failure.failure_class, finding.reason, finding.failure.exit_code)
    assert said == finding.failure.message
    assert said in finding.message
    assert "create another TrainingJob" in finding.message


def test_failure_must_say_where_to_look_when_aws_gives_no_reason() -> None:
    """No FailureReason: Platform, and the log is named."""
    finding = find_phase(described("Failed", "Failed"), before=None, suspend=False)
    assert finding.failure is not None
    assert FailureClass.PLATFORM is finding.failure.failure_class
    assert "status.sageMaker.logUrl" in finding.failure.message


@pytest.mark.parametrize(
    ("primary", "path", "shown"),
    [
        ("Completed", ["Training", "Uploading", "Completed"], True),
        ("Completed", ["Completed"], True),
        ("Stopped", ["Training", "Stopping", "Stopped"], True),
        ("Stopped", ["Training", "Uploading", "MaxRuntimeExceeded"], True),
        ("Stopped", ["Starting", "Stopping", "Stopped"], False),
        ("Stopped", ["Starting", "MaxWaitTimeExceeded"], False),
        ("Failed", ["Training", "Failed"], False),
        ("InProgress", ["Training"], False),
    ],
)
def test_artifact_must_be_aws_word_where_there_can_be_one(primary: str, path: list[str], shown: bool) -> None:
    """The address is AWS', with neither checksum nor size; a job stopped before it trained has left nothing."""
    body = described(primary, *path, ModelArtifacts={"S3ModelArtifacts": MODEL})
    found = find_phase(body, before=None, suspend=False).artifact
    assert (MODEL if shown else None) == (found.uri if found else None)
    assert found is None or (found.sha256, found.size_bytes) == (None, None)


def test_artifact_must_be_absent_where_aws_names_none() -> None:
    """An empty address is no address."""
    body = described("Completed", "Completed", ModelArtifacts={"S3ModelArtifacts": ""})
    finding = find_phase(body, before=None, suspend=False)
    assert finding.artifact is None
    assert "names no model" in finding.message


def test_stop_must_be_told_by_whom() -> None:
    """A stop by spec.suspend says that the job does not resume; another says so."""
    body = described("Stopped", "Training", "Stopped", ModelArtifacts={"S3ModelArtifacts": MODEL})
    ours, theirs = (find_phase(body, before=None, suspend=suspend).message for suspend in (True, False))
    assert "does not resume" in ours
    assert "by somebody else" in theirs
    assert MODEL in ours


def test_metrics_must_be_the_newest_of_each_name_and_numbers() -> None:
    """status.metrics is a map by name, and JSON has no NaN."""
    rows = [
        {"MetricName": "auc", "Value": 0.9, "Timestamp": at(9)},
        {"MetricName": "auc", "Value": 0.5, "Timestamp": at(1)},
        {"MetricName": "loss", "Value": math.nan, "Timestamp": at(1)},
    ]
    assert [Metric(name="auc", value=0.9)] == training_status.metrics({"FinalMetricDataList": rows})
    assert [] == training_status.metrics({})


@pytest.mark.parametrize(
    ("spot", "billable", "trained", "saving"),
    [
        (True, 100, 500, 80),
        (True, 500, 500, 0),
        (True, 510, 500, 0),
        (False, 100, 500, None),
        (True, None, 5, None),
        (True, 0, 0, None),
    ],
)
def test_saving_must_be_that_of_spot(spot: bool, billable: int | None, trained: int, saving: int | None) -> None:
    """(1 - BillableTimeInSeconds / TrainingTimeInSeconds) * 100, as DescribeTrainingJob's page has it."""
    body = described(
        "Completed",
        "Completed",
        EnableManagedSpotTraining=spot,
        BillableTimeInSeconds=billable,
        TrainingTimeInSeconds=trained,
    )
    found = training_status.sage_maker_status(body, region=REGION, name=NAME)
    assert (saving, billable) == (found.spot_saving_percent, found.billable_seconds)
    assert (ARN, "Completed", "Completed") == (found.arn, found.status, found.secondary_status)


@pytest.mark.parametrize(
    ("partition", "host"),
    [
        ("aws", "eu-central-1.console.aws.amazon.com"),
        ("aws-cn", "eu-central-1.console.amazonaws.cn"),
        ("aws-us-gov", "eu-central-1.console.amazonaws-us-gov.com"),
        ("aws-new", "eu-central-1.console.aws.amazon.com"),
    ],
)
def test_log_url_must_lead_to_the_jobs_streams(partition: str, host: str) -> None:
    """The console of the job's region and partition, the training jobs' log group, the job's streams only."""
    url = training_status.log_url(region=REGION, name=NAME, arn=ARN.replace("arn:aws:", f"arn:{partition}:"))
    assert url.startswith(f"https://{host}/cloudwatch/home?region=eu-central-1#")
    assert "$252Faws$252Fsagemaker$252FTrainingJobs" in url
    assert NAME in url


SEQUENCES: dict[str, tuple[str, list[str], list[TrainingPhase]]] = {
    "plain": (
        "Completed",
        ["Starting", "Downloading", "Training", "Uploading", "Completed"],
        [
            TrainingPhase.PENDING,
            TrainingPhase.DOWNLOADING,
            TrainingPhase.TRAINING,
            TrainingPhase.UPLOADING,
            TrainingPhase.COMPLETED,
        ],
    ),
    "spot interruption": (
        "InProgress",
        ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training"],
        [
            TrainingPhase.PENDING,
            TrainingPhase.DOWNLOADING,
            TrainingPhase.TRAINING,
            TrainingPhase.INTERRUPTED,
            TrainingPhase.PENDING,
            TrainingPhase.DOWNLOADING,
            TrainingPhase.TRAINING,
        ],
    ),
    "restart": (
        "InProgress",
        ["Starting", "Training", "Restarting", "Starting"],
        [TrainingPhase.PENDING, TrainingPhase.TRAINING, TrainingPhase.INTERRUPTED, TrainingPhase.PENDING],
    ),
    "max runtime": (
        "Stopped",
        ["Starting", "Training", "Stopping", "Uploading", "MaxRuntimeExceeded"],
        [
            TrainingPhase.PENDING,
            TrainingPhase.TRAINING,
            TrainingPhase.TRAINING,
            TrainingPhase.UPLOADING,
            TrainingPhase.STOPPED,
        ],
    ),
    "max wait": (
        "Stopped",
        ["Starting", "Pending", "MaxWaitTimeExceeded"],
        [TrainingPhase.PENDING, TrainingPhase.PENDING, TrainingPhase.STOPPED],
    ),
    "stop with artifact": (
        "Stopped",
        ["Starting", "Training", "Stopping", "Stopped"],
        [TrainingPhase.PENDING, TrainingPhase.TRAINING, TrainingPhase.TRAINING, TrainingPhase.STOPPED],
    ),
    "failure": ("Failed", ["Starting", "Failed"], [TrainingPhase.PENDING, TrainingPhase.FAILED]),
    "unknown": (
        "InProgress",
        ["Training", "Juggling"],
        [TrainingPhase.TRAINING, TrainingPhase.TRAINING],
    ),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_transitions_must_be_recorded_as_phases_with_aws_words(case: str) -> None:
    """Each of SecondaryStatusTransitions is one entry: the phase, its times, and the secondary status in the message."""
    primary, path, phases = SEQUENCES[case]
    body = described(primary, *(f"{raw}: words of {raw}" for raw in path))
    entries = training_transitions.transitions(body, before=[])
    assert phases == [entry.phase for entry in entries]
    assert [f"{raw}: words of {raw}" for raw in path] == [entry.message for entry in entries]
    assert [at(60 * number) for number in range(len(path))] == [entry.start_time for entry in entries]
    told = training_transitions.untold(entries, before=[])
    said = [f"words of {raw} (since {at(60 * number):%H:%M:%S} UTC)" for number, raw in enumerate(path)]
    assert list(zip(path, said, strict=True)) == [(event.reason, event.message) for event in told]
    bad = {"Interrupted", "Restarting", "Failed", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"}
    assert [raw in bad for raw in path] == [event.warning for event in told]


@given(
    path=st.lists(st.sampled_from(["Starting", "Training", "Interrupted", "Juggling"]), min_size=1, max_size=300),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    every=st.sampled_from([0.0, 0.4, 60.0]),
    data=st.data(),
)
def test_transition_must_be_told_once_however_often_one_looks(
    path: list[str], cuts: list[int], every: float, data: Any
) -> None:
    """Looks fall anywhere, AWS' answers may be older than the last, its words may change: each step is one Event."""
    whole = steps(*path, every=every)
    recorded: list[PhaseTransition] = []
    told = 0
    seen = 0
    for cut in [*cuts, len(path)]:
        seen = max(seen, min(cut, len(path)))
        answer = [dict(step, StatusMessage=data.draw(st.sampled_from(["a", "b: c"]))) for step in whole[:cut]]
        after = training_transitions.transitions({"SecondaryStatusTransitions": answer}, before=recorded)
        told += len(training_transitions.untold(after, before=recorded))
        recorded = [PhaseTransition.model_validate(entry.to_dict()) for entry in after]
        assert min(seen, 100) == len(recorded)
    assert told <= len(path)
    assert len(path) > 100 or told == len(path)


def test_transitions_must_stay_few_enough_for_an_object() -> None:
    """A spot job that is interrupted for weeks fills no object: the newest hundred are kept, and none is told again."""
    many = {"SecondaryStatusTransitions": steps(*["Training", "Interrupted"] * 400)}
    kept = training_transitions.transitions(many, before=[])
    assert 100 == len(kept)
    assert kept[-1].start_time == at(60 * 799)
    again = training_transitions.transitions(many, before=kept)
    assert (kept, ()) == (again, training_transitions.untold(again, before=kept))


def test_event_reason_must_be_camel_case() -> None:
    """A secondary status that is no word for programs gives way to the phase."""
    entries = training_transitions.transitions({"SecondaryStatusTransitions": steps("odd one")}, before=[])
    (event,) = training_transitions.untold(entries, before=[])
    assert ("Pending", "SageMaker says odd one (since 12:00:00 UTC)") == (event.reason, event.message)


@pytest.mark.parametrize(
    ("path", "seconds", "on"),
    [
        (["Starting"], 0, False),
        (["Starting", "Downloading"], 540, True),
        (["Starting", "Training", "Interrupted"], 60, False),
        (["Starting", "Training", "Interrupted", "Starting", "Training"], 60 + 360, True),
        (["Starting", "Training", "Stopping"], 60 + 480, True),
        (["Starting", "Stopping"], 0, False),
    ],
)
def test_instance_seconds_must_leave_out_waiting(path: list[str], seconds: int, on: bool) -> None:
    """AWS bills from the download on; waiting for capacity and between two attempts costs nothing."""
    body = described("InProgress", *path)
    assert (seconds, on) == training_transitions.instance_seconds(body, now=at(600))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"TrainingEndTime": at(99) + timedelta(milliseconds=7)}, at(99)),
        ({}, at(120)),
        ({"SecondaryStatusTransitions": []}, at(500)),
    ],
)
def test_completion_time_must_be_the_best_known(more: dict[str, Any], expected: Any) -> None:
    """TrainingEndTime; else the end of the last transition; else now."""
    body = described("Completed", "Training", "Completed", **more)
    entries = training_transitions.transitions(body, before=[])
    assert expected == training_status.completion_time(body, entries, now=at(500))
    assert NOON < expected
