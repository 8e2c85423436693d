"""A TrainingJob on SageMaker from its creation to its deletion: which calls are made, and what is reported."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.api.aws import Cost
from sagebrush.api.sagemaker_training import SageMakerJobStatus
from sagebrush.api.training_job import FailureClass, TrainingJobStatus, TrainingPhase
from sagebrush.core.plan import Apply, SpecError
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.calls import Account, Call, Problem, Resource, Service
from sagebrush.core.sagemaker.defaults import AwsDefaults
from sagebrush.core.sagemaker.training_case import Observed, account_for
from sagebrush.core.sagemaker.training_job import reconcile
from tests.unit.sagemaker.training_builders import (
    ARN,
    DEFAULTS,
    DYING,
    FINALS,
    IMAGE,
    MARK,
    META,
    MODEL,
    NAME,
    REGION,
    RELEASE,
    THEIRS,
    Story,
    at,
    calls,
    described,
    job,
    ready,
    spec_of,
)

POLLING = DEFAULTS.polling
STOP_FINE = frozenset({Problem.ENDED, Problem.ABSENT})


# ---- creation


def test_creation_must_mark_the_object_before_aws_is_called() -> None:
    """The finalizer is on the object before anything exists that would be orphaned without it."""
    plan = Story().look(None, seconds=0, marked=False)
    assert [MARK, "CreateTrainingJob"] == calls(plan)
    mark, create = plan.actions
    assert isinstance(mark, Apply)
    metadata = {"name": "kdd", "namespace": "demo", "uid": "uid-1", "finalizers": [identity.FINALIZER]}
    assert {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata} == mark.manifest
    assert isinstance(create, Call)
    assert (Account(REGION), Service.SAGEMAKER, frozenset()) == (create.account, create.service, create.fine)
    assert NAME == create.parameters["TrainingJobName"]
    assert POLLING.after_change == plan.requeue_after


def test_creation_must_be_reported_as_pending() -> None:
    """Name, image and start are told at once; the start freezes the spec."""
    story = Story()
    story.look(None, seconds=0, marked=False)
    status = story.status
    assert (NAME, IMAGE, at(0)) == (status.job_name, status.training_image, status.start_time)
    assert (TrainingPhase.PENDING, ("Reconciling", "Pending")) == (status.phase, ready(status))
    assert [("Pending", f"asked SageMaker in {REGION} for training job {NAME}")] == story.events


def test_creation_must_be_repeated_after_a_crash_that_left_no_trace() -> None:
    """The operator died after the mark: the name is the token, so asking (again) makes no second job."""
    assert ["CreateTrainingJob"] == calls(Story().look(None, seconds=0, marked=True))


def test_creation_whose_answer_was_lost_must_be_found_by_name() -> None:
    """The call had its effect and the operator died: the next look finds its own job, and asks for none."""
    story = Story()
    plan = story.look(job("InProgress", "Starting"), seconds=5)
    assert [] == calls(plan)
    assert (NAME, at(0)) == (story.status.job_name, story.status.start_time)


def test_creation_must_not_be_repeated_while_answers_may_be_behind() -> None:
    """For two minutes after the start, absent means wait; after that a job never seen is asked for again."""
    story = Story()
    story.look(None, seconds=0, marked=False)
    for seconds in (1, 119):
        plan = story.look(None, seconds=seconds)
        assert ([], POLLING.after_change) == (calls(plan), plan.requeue_after)
        assert TrainingPhase.PENDING is story.status.phase
    assert ["CreateTrainingJob"] == calls(story.look(None, seconds=120))


def test_creation_must_be_refused_before_the_object_is_marked() -> None:
    """A spec that can't work is told at once: no finalizer, no call."""
    with pytest.raises(SpecError, match="predictor_type"):
        Story(spec_of(algorithm={"name": "linear-learner"})).look(None, marked=False)


def test_missing_input_must_be_waited_for() -> None:
    """Nothing at an input's address: no job is paid for, the address is named, and it is looked at again."""
    story = Story()
    plan = story.look(None, marked=False, missing_inputs=("s3://bucket/train/ (channel train)",))
    assert ([], timedelta(seconds=30)) == (calls(plan), plan.requeue_after)
    assert ("Reconciling", "DownloadFailed") == ready(story.status)
    assert "s3://bucket/train/ (channel train)" in story.status.conditions[0].message
    assert story.status.start_time is None  # the spec may still be corrected
    assert [MARK, "CreateTrainingJob"] == calls(story.look(None, marked=False))


@pytest.mark.parametrize("tags", [THEIRS, {}])
@pytest.mark.parametrize("primary", ["InProgress", "Completed", "Failed", "Stopping"])
def test_anothers_job_must_be_left_alone(tags: dict[str, str], primary: str) -> None:
    """A job of our name without our mark is neither believed nor stopped: the conflict says whose it is."""
    for suspend in (False, True):
        story = Story(spec_of(suspend=suspend))
        plan = story.look(job(primary, primary, tags=tags), marked=False)
        assert ([], timedelta(seconds=30)) == (calls(plan), plan.requeue_after)
        assert ("Stalled", "NameConflict") == ready(story.status)
        assert TrainingPhase.PENDING is story.status.phase
        assert identity.owner_in_words(Resource({}, tags)) in story.status.conditions[0].message
        assert story.status.sage_maker is None


def test_job_whose_tags_are_not_shown_yet_must_not_be_taken_for_anothers() -> None:
    """Just after we asked for it a job may show without its tags: that is no conflict, for a minute."""
    story = Story(spec_of())
    story.look(None)
    story.look(None)
    plan = story.look(job("InProgress", "Starting", tags={}))
    assert [] == calls(plan)
    assert "NameConflict" != ready(story.status)[1]
    assert DEFAULTS.polling.after_change == plan.requeue_after


# ---- watching


def test_watching_must_report_all_that_aws_says() -> None:
    """A completed job: figures, artifact, metrics, times, money, and nothing left to do."""
    story = Story(spec_of(instanceCount=2, sage_maker={"spot": {"maxWait": "24h"}}))
    plan = story.look(
        job(
            "Completed", "Starting", "Training", "Uploading", "Completed",
            ModelArtifacts={"S3ModelArtifacts": MODEL}, EnableManagedSpotTraining=True, BillableTimeInSeconds=100,
            TrainingTimeInSeconds=200, TrainingEndTime=at(230),
            FinalMetricDataList=[{"MetricName": "auc", "Value": 0.9, "Timestamp": at(1)}],
        )
    )  # fmt: skip
    status = story.status
    assert ([], None) == (calls(plan), plan.requeue_after)
    assert (TrainingPhase.COMPLETED, ("Ready", "Completed")) == (status.phase, ready(status))
    assert status.model_artifact is not None
    assert MODEL == status.model_artifact.uri
    assert (200, at(230), at(0)) == (status.training_seconds, status.completion_time, status.start_time)
    assert status.sage_maker is not None
    assert (100, 50) == (status.sage_maker.billable_seconds, status.sage_maker.spot_saving_percent)
    assert [("auc", 0.9)] == [(metric.name, metric.value) for metric in status.metrics]
    assert status.cost is not None
    assert (0.0, 0.02) == (status.cost.hourly, status.cost.total)  # 2 instances × 100 s × 0.36/h
    assert ["Starting", "Training", "Uploading", "Completed"] == [reason for reason, _ in story.events]


def test_watching_must_look_again_as_long_as_the_job_runs() -> None:
    """While a job runs it is looked at every 15 seconds, and nothing is called."""
    story = Story()
    for primary in ("InProgress", "Stopping", "Deleting", "Paused"):
        plan = story.look(job(primary, "Training"))
        assert ([], POLLING.active) == (calls(plan), plan.requeue_after)


def test_watching_must_put_a_lost_mark_back() -> None:
    """Somebody took the finalizer off: without it a deletion would leave the job running."""
    assert [MARK] == calls(Story().look(job("InProgress", "Training"), marked=False))
    assert [] == calls(Story().look(job("Completed", "Completed"), marked=False))


def test_start_must_stay_what_it_was() -> None:
    """The start is when we asked; AWS' CreationTime only fills in for an answer that was lost."""
    story = Story()
    story.look(None, seconds=0, marked=False)
    story.look(job("InProgress", "Training", CreationTime=at(7)))
    assert at(0) == story.status.start_time
    lost = Story()
    lost.look(job("InProgress", "Training", CreationTime=at(7)))
    assert at(7) == lost.status.start_time


def test_each_transition_must_be_told_once() -> None:
    """Every secondary status is an Event, also those that passed between two looks, and none is told twice."""
    story = Story()
    story.look(None, seconds=0, marked=False)
    for path in (
        ["Starting: Launching requested ML instances"],
        ["Starting: Preparing the instances", "Downloading", "Training"],
        ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Training"],
        ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Training"],
    ):
        story.look(job("InProgress", *path))
    wanted = ["Pending", "Starting", "Downloading", "Training", "Interrupted", "Starting", "Training"]
    assert wanted == [reason for reason, _ in story.events]


def test_status_must_be_the_same_when_nothing_has_changed() -> None:
    """Two looks at the same description write nothing: no time of a last look is kept."""
    story = Story(spec_of(sage_maker={"instanceType": "ml.unheard.of"}))
    found = job("InProgress", "Starting", "Training")
    story.look(found, seconds=120)
    first = story.status
    plan = story.look(found, seconds=135)
    assert first.to_dict() == story.status.to_dict()
    assert () == plan.events


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ("AlgorithmError: no labels, exit code: 1", FailureClass.USER, "AlgorithmError"),
        ("ClientError: no such image", FailureClass.USER, "ClientError"),
        ("CapacityError: Unable to provision", FailureClass.CAPACITY, "CapacityError"),
        ("InternalServerError: sorry", FailureClass.PLATFORM, "InternalError"),
        ("what else", FailureClass.PLATFORM, "InternalError"),
    ],
)
def test_failed_job_must_say_who_can_mend_it(said: str, kind: FailureClass, reason: str) -> None:
    """Failed is Stalled with the failure's reason, a warning, and no model."""
    story = Story()
    plan = story.look(
        job("Failed", "Training", "Failed", FailureReason=said, ModelArtifacts={"S3ModelArtifacts": MODEL})
    )
    status = story.status
    assert (TrainingPhase.FAILED, ("Stalled", reason)) == (status.phase, ready(status))
    assert status.failure is not None
    assert (kind, said) == (status.failure.failure_class, status.failure.message)
    assert status.model_artifact is None
    assert plan.requeue_after is None
    assert [True, True] == [event.warning for event in plan.events[-2:]]
    assert ["Failed", reason] == [event.reason for event in plan.events[-2:]]


@pytest.mark.parametrize(
    ("secondary", "reason"),
    [
        ("Stopped", "Stopped"),
        ("MaxRuntimeExceeded", "MaxRuntimeExceeded"),
        ("MaxWaitTimeExceeded", "MaxWaitTimeExceeded"),
    ],
)
def test_stopped_job_must_show_why_and_what_was_saved(secondary: str, reason: str) -> None:
    """A stop by the user, by the time limit and by the wait limit are told apart; a partial model is shown."""
    story = Story()
    story.look(job("Stopped", "Training", "Uploading", secondary, ModelArtifacts={"S3ModelArtifacts": MODEL}))
    assert (TrainingPhase.STOPPED, ("Stalled", reason)) == (story.status.phase, ready(story.status))
    assert story.status.model_artifact is not None
    assert MODEL == story.status.model_artifact.uri
    assert story.status.failure is None


@pytest.mark.parametrize("phase", [phase for phase in TrainingPhase if phase.is_final])
def test_record_must_stay_as_it_is(phase: TrainingPhase) -> None:
    """What has ended is a record: whatever AWS shows later, also nothing, changes no word and calls nothing."""
    primary = phase.value
    story = Story()
    story.look(job(primary, "Training", primary))
    before = story.status
    assert phase is before.phase
    for found in (None, job("InProgress", "Training"), job(tags=THEIRS)):
        for suspend in (True, False):
            story.spec = spec_of(suspend=suspend)
            plan = story.look(found, seconds=90000)
            assert ([], None, ()) == (calls(plan), plan.requeue_after, plan.events)
            assert before == story.status


def test_lost_job_must_be_told_after_answers_had_time() -> None:
    """A job that was seen and is absent at two looks is lost; within two minutes of its start it is only unseen."""
    story = Story()
    story.look(None, seconds=0, marked=False)
    story.look(job("InProgress", "Training"), seconds=30)
    plan = story.look(None, seconds=119)
    assert (TrainingPhase.TRAINING, POLLING.after_change) == (story.status.phase, plan.requeue_after)
    plan = story.look(None, seconds=120)
    assert (TrainingPhase.TRAINING, POLLING.active) == (story.status.phase, plan.requeue_after)
    assert ("Reconciling", "JobLost") == ready(story.status)
    plan = story.look(None, seconds=135)
    status = story.status
    assert ([], None) == (calls(plan), plan.requeue_after)
    assert (TrainingPhase.FAILED, ("Stalled", "JobLost")) == (status.phase, ready(status))
    assert status.failure is not None
    assert FailureClass.PLATFORM is status.failure.failure_class
    assert at(135) == status.completion_time
    assert status.cost is not None
    assert 0.0 == status.cost.hourly


def test_job_that_shows_again_must_go_on() -> None:
    """One answer without the job is no verdict."""
    story = Story()
    story.look(job("InProgress", "Training"))
    story.look(None)
    story.look(job("InProgress", "Training"))
    assert (TrainingPhase.TRAINING, ("Reconciling", "Training")) == (story.status.phase, ready(story.status))
    story.look(None)
    assert TrainingPhase.TRAINING is story.status.phase


# ---- suspension


def test_suspended_before_its_start_must_make_nothing() -> None:
    """spec.suspend: nothing is asked of AWS, and the object gets no mark; false starts it."""
    story = Story(spec_of(suspend=True))
    plan = story.look(None, marked=False)
    assert ([], None) == (calls(plan), plan.requeue_after)
    assert (TrainingPhase.SUSPENDED, ("Ready", "Suspended")) == (story.status.phase, ready(story.status))
    assert story.status.start_time is None
    story.spec = spec_of()
    assert [MARK, "CreateTrainingJob"] == calls(story.look(None, marked=False))
    assert TrainingPhase.PENDING is story.status.phase


def test_suspended_with_our_mark_must_look_for_a_late_job() -> None:
    """The mark says that a job may have been asked for: it is stopped when it appears."""
    story = Story(spec_of(suspend=True))
    plan = story.look(None, marked=True)
    assert ([], POLLING.steady) == (calls(plan), plan.requeue_after)
    assert ["StopTrainingJob"] == calls(story.look(job("InProgress", "Starting")))


def test_suspended_while_running_must_stop_and_end_there() -> None:
    """StopTrainingJob once, waiting while it stops, and a final Stopped that says that nothing resumes."""
    story = Story()
    story.look(job("InProgress", "Training"))
    story.spec = spec_of(suspend=True)
    plan = story.look(job("InProgress", "Training"))
    (stop,) = plan.actions
    assert isinstance(stop, Call)
    assert ("StopTrainingJob", {"TrainingJobName": NAME}) == (stop.operation, stop.parameters)
    assert STOP_FINE == stop.fine
    assert (("Reconciling", "Stopping"), POLLING.after_change) == (ready(story.status), plan.requeue_after)
    plan = story.look(job("Stopping", "Training", "Stopping"))
    assert ([], POLLING.active, TrainingPhase.TRAINING) == (calls(plan), plan.requeue_after, story.status.phase)
    plan = story.look(job("Stopped", "Training", "Stopping", "Stopped", ModelArtifacts={"S3ModelArtifacts": MODEL}))
    assert ([], None, TrainingPhase.STOPPED) == (calls(plan), plan.requeue_after, story.status.phase)
    assert "does not resume" in story.status.conditions[0].message
    story.spec = spec_of(suspend=False)
    assert [] == calls(story.look(None))
    assert TrainingPhase.STOPPED is story.status.phase


def test_suspended_too_late_must_be_what_it_became() -> None:
    """The job completed before the stop reached it: Completed."""
    story = Story(spec_of(suspend=True))
    assert [] == calls(story.look(job("Completed", "Training", "Completed")))
    assert TrainingPhase.COMPLETED is story.status.phase


# ---- deletion


def gone(story: Story, found: Resource | None, *, seconds: float = 300, **more: Any) -> Any:
    return story.look(found, seconds=seconds, meta=DYING, **more)


def test_deletion_without_our_mark_must_do_nothing() -> None:
    """No finalizer: nothing was ever asked of AWS, or it is over."""
    for found in (None, job("InProgress", "Training")):
        plan = gone(Story(), found, marked=False)
        assert (None, ()) == (plan.status, plan.actions)


@pytest.mark.parametrize("found", [None, job("InProgress", "Training"), job("Completed", "Completed")])
def test_deletion_must_retain_what_is_to_be_kept(found: Resource | None) -> None:
    """deletionPolicy: Retain lets the object go, and AWS is as it was."""
    assert [RELEASE] == calls(gone(Story(spec_of(sage_maker={"deletionPolicy": "Retain"})), found, seconds=1))


@pytest.mark.parametrize(
    ("primary", "wanted", "look"),
    [
        ("InProgress", ["StopTrainingJob"], POLLING.after_change),
        ("Paused", ["StopTrainingJob"], POLLING.after_change),
        ("Stopping", [], POLLING.active),
        ("Deleting", [], POLLING.active),
        *((primary, ["DeleteTrainingJob", RELEASE], None) for primary in FINALS),
    ],
)
def test_deletion_must_do_what_the_jobs_state_allows(primary: str, wanted: list[str], look: timedelta | None) -> None:
    """A job that runs is stopped, one that stops is waited for, one that has ended is deleted, and then we let go."""
    story = Story()
    plan = gone(story, job(primary, "Training", primary))
    assert (wanted, look) == (calls(plan), plan.requeue_after)
    if look is None:
        assert plan.status is None
        assert frozenset({Problem.ABSENT}) == plan.actions[0].fine
    else:
        assert ("Reconciling", "Deleting") == ready(story.status)
        assert f"is {primary} in SageMaker" in story.status.conditions[0].message
        assert all(action.fine == STOP_FINE for action in plan.actions)


def test_deletion_must_tell_what_passes_meanwhile() -> None:
    """Transitions are told while a job that is to be deleted stops; the deletion itself once."""
    story = Story()
    story.look(job("InProgress", "Training"))
    gone(story, job("InProgress", "Training"))
    gone(story, job("Stopping", "Training", "Stopping"))
    gone(story, job("Stopping", "Training", "Stopping"))
    assert ["Training", "Deleting", "Stopping"] == [reason for reason, _ in story.events]


def test_deletion_must_not_change_the_record() -> None:
    """A job that is recorded as ended stays so, whatever AWS shows while it is removed."""
    story = Story()
    story.look(job("Stopped", "Training", "Stopped", ModelArtifacts={"S3ModelArtifacts": MODEL}))
    before = story.status
    gone(story, job("Deleting", "Training", "Stopped"))
    assert (before.phase, before.transitions, before.model_artifact, before.completion_time) == (
        story.status.phase,
        story.status.transitions,
        story.status.model_artifact,
        story.status.completion_time,
    )


@pytest.mark.parametrize("primary", ["InProgress", "Stopping", "Completed"])
def test_deletion_must_leave_anothers_job(primary: str) -> None:
    """A job that carries somebody else's mark is neither stopped nor deleted."""
    assert [RELEASE] == calls(gone(Story(), job(primary, primary, tags=THEIRS), seconds=1))
    assert [RELEASE] == calls(gone(Story(), job(primary, primary, tags={})))


@pytest.mark.parametrize("tags", [None, {}])
def test_deletion_just_after_the_start_must_wait_for_the_job_to_appear(tags: dict[str, str] | None) -> None:
    """AWS shows a new job, or its tags, late: for a minute after the start we look again before we let go."""
    found = None if tags is None else job("InProgress", "Starting", tags=tags)
    story = Story()
    story.look(None, seconds=0, marked=False)
    plan = gone(story, found, seconds=59)
    assert ([], POLLING.after_change) == (calls(plan), plan.requeue_after)
    assert ("Reconciling", "Deleting") == ready(story.status)
    assert ["StopTrainingJob"] == calls(gone(story, job("InProgress", "Starting"), seconds=59))
    assert [RELEASE] == calls(gone(story, found, seconds=60))


def test_deletion_after_an_unrecorded_attempt_must_look_a_while() -> None:
    """The operator died just after it had asked: no start is recorded, only the mark is there; a short look settles it."""
    plan = gone(Story(), None, seconds=114, deleted_at=at(100))
    assert ([], POLLING.after_change) == (calls(plan), plan.requeue_after)
    assert [RELEASE] == calls(gone(Story(), None, seconds=115, deleted_at=at(100)))
    assert [RELEASE] == calls(gone(Story(), None))


def test_deletion_of_a_record_must_not_wait() -> None:
    """A job that had ended and is absent will not appear any more."""
    story = Story(status=TrainingJobStatus(phase=TrainingPhase.COMPLETED, start_time=at(0)))
    assert [RELEASE] == calls(gone(story, None, seconds=1, deleted_at=at(1)))


# ---- where


def test_region_must_be_the_jobs_once_it_was_seen() -> None:
    """The operator may get another region of its own; a job that runs stays where its ARN says."""
    moved = AwsDefaults(cluster_id="cluster-1", region="us-east-1")
    seen = TrainingJobStatus(sage_maker=SageMakerJobStatus(arn=ARN))
    assert Account("us-east-1") == account_for(META, spec_of(), TrainingJobStatus(), defaults=moved)
    assert Account(REGION) == account_for(META, spec_of(), seen, defaults=moved)
    named = spec_of(sage_maker={"region": "eu-west-1"})
    assert Account("eu-west-1") == account_for(META, named, seen, defaults=moved)


# ---- money


def test_cost_must_grow_only_while_instances_are_held() -> None:
    """Waiting costs nothing; training is counted per hour; at the end AWS' billable seconds count."""
    story = Story()
    rates: list[tuple[float | None, float]] = []
    for found, seconds in (
        (job("InProgress", "Starting"), 60),
        (job("InProgress", "Starting", "Training"), 3660),
        (job("InProgress", "Starting", "Training", "Interrupted"), 7200),
        (job("Stopped", "Starting", "Training", "Stopped", BillableTimeInSeconds=50), 7300),
    ):
        story.look(found, seconds=seconds)
        cost: Cost | None = story.status.cost
        assert cost is not None
        rates.append((cost.hourly, round(cost.total, 6)))
    assert [(0.0, 0.0), (0.36, 0.36), (0.0, 0.006), (0.0, 0.005)] == rates


# ---- crashes


class Aws:
    """The smallest SageMaker: one name, jobs that become visible late, and every call that is ever made."""

    def __init__(self, *, unseen_for: int) -> None:
        self.unseen_for, self.jobs, self.log = unseen_for, 0, list[str]()
        self.state: str | None = None
        self.born = 0

    def show(self, now: int) -> Resource | None:
        if self.state is None or now - self.born < self.unseen_for:
            return None
        return Resource(described(self.state, self.state, CreationTime=at(self.born)), {identity.UID_TAG: META.uid})

    def act(self, call: Call, now: int) -> bool:
        """Whether the call succeeded."""
        self.log.append(call.operation)
        if call.operation == "CreateTrainingJob":
            if self.state is not None:
                return False
            self.state, self.born, self.jobs = "InProgress", now, self.jobs + 1
        elif call.operation == "StopTrainingJob" and self.state == "InProgress":
            self.state = "Stopped"
        elif call.operation == "DeleteTrainingJob":
            assert self.state in (*FINALS, None)
            self.state = None
        return True


@settings(max_examples=60, deadline=None)
@given(
    crashes=st.lists(st.integers(0, 4), max_size=12),
    unseen_for=st.integers(0, 12),
    delete_at=st.none() | st.integers(0, 20),
)
def test_crash_anywhere_must_leave_one_job_or_none(crashes: list[int], unseen_for: int, delete_at: int | None) -> None:
    """
    The operator is killed after any number of actions of any pass, before the status is written; answers are behind:
    there is never a second job, and after a deletion none is left.
    """
    aws, body, marked = Aws(unseen_for=unseen_for), TrainingJobStatus(), False
    alive, now = True, 0
    deaths = iter(crashes)
    for turn in range(60):
        now += 2
        deleting = delete_at is not None and turn >= delete_at
        if deleting and not marked:
            alive = False
        if not alive:
            break
        asked = at(2 + 2 * delete_at) if deleting and delete_at is not None else None
        observed = Observed(aws.show(now), has_finalizer=marked, deleted_at=asked)
        meta = replace(META, deleting=deleting)
        plan = reconcile(meta, spec_of(), body, observed, defaults=DEFAULTS, now=at(now))
        survive = next(deaths, 99)
        done = 0
        for action in plan.actions:
            if done == survive:
                break
            if isinstance(action, Call):
                if not aws.act(action, now):
                    break
            else:
                marked = bool(action.manifest["metadata"]["finalizers"])  # type: ignore[union-attr]
            done += 1
        if done == len(plan.actions) and done < survive and plan.status is not None:
            body = TrainingJobStatus.model_validate(plan.status.to_dict())
    assert aws.jobs <= 1
    if delete_at is None:
        assert (1, "InProgress", True) == (aws.jobs, aws.state, marked)
    else:
        assert (None, False) == (aws.state, alive)
