"""TrainingJob: pods and Job to phase, reason, message; plans that come to rest."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.api.training_job import FailureClass, TrainingJobStatus, TrainingPhase
from sagebrush.core.conditions import Outlook, Reason, find
from sagebrush.core.plan import Apply, Delete, Plan
from sagebrush.core.resource import Manifest
from sagebrush.core.training_job import reconcile
from sagebrush.core.training_phase import Finding, Observed, find_phase
from tests.unit.operator.builders import (
    ARTIFACT,
    DEFAULTS,
    DISRUPTED,
    META,
    NOON,
    SHA,
    at,
    crashed,
    ended,
    job_finished,
    job_spec,
    our_job,
    pod,
    running,
    uploaded,
    waiting,
)

FETCHED = ended("fetch", start=0, end=5)
TRAINED = ended("train", start=6, end=60)
AGENT = ended("agent", message=uploaded(), start=5, end=65)


def found(*pods: Manifest, job: Manifest | None = None, **spec: Any) -> Finding:
    return find_phase(job_spec(**spec), Observed(job=job or our_job(), pods=pods))


def plan(
    observed: Observed, *, status: TrainingJobStatus | None = None, now: float = 100, **spec: Any
) -> Plan[TrainingJobStatus]:
    return reconcile(META, job_spec(**spec), status or TrainingJobStatus(), observed, defaults=DEFAULTS, now=at(now))


def status_of(made: Plan[TrainingJobStatus]) -> TrainingJobStatus:
    assert made.status is not None
    return made.status


P, R = TrainingPhase, Reason
RUNNING = [
    ("no pod yet", (), {}, P.PENDING, R.PENDING, "waiting for the pod"),
    ("image pulled", (pod(waiting("fetch", "PodInitializing")),), {}, P.PENDING, R.PENDING, "waiting"),
    ("fetching", (pod(running("fetch")),), {}, P.DOWNLOADING, R.DOWNLOADING, "s3://bucket/train"),
    ("training", (pod(FETCHED, running("train")),), {}, P.TRAINING, R.TRAINING, "linear-learner is training"),
    ("uploading", (pod(FETCHED, TRAINED, running("agent")),), {}, P.UPLOADING, R.UPLOADING, "s3://bucket/output"),
    (
        "uploading what a failed algorithm left",
        (pod(FETCHED, ended("train", 1, "boom"), running("agent")),), {}, P.UPLOADING, R.UPLOADING, "uploading",
    ),
    ("pull", (pod(waiting("train", "ErrImagePull", "no such image")),), {}, P.PENDING, R.IMAGE_PULL_FAILED, "no such image"),
    ("agent crashes", (pod(FETCHED, crashed("agent", 1, "x"), running("train")),), {}, P.TRAINING, R.CRASH_LOOP, "agent"),
    ("evicted", (pod(phase="Failed", conditions=DISRUPTED),), {}, P.INTERRUPTED, R.INTERRUPTED, "a new one follows"),
    (
        "started over",
        (pod(phase="Failed", conditions=DISRUPTED), pod(running("fetch"), name="pod-1")), {}, P.DOWNLOADING, R.DOWNLOADING, "fetching",
    ),
    (
        "the slowest host counts",
        (pod(FETCHED, running("train")), pod(running("fetch"), name="pod-1")), {"instanceCount": 2}, P.DOWNLOADING, R.DOWNLOADING, "",
    ),
    ("suspending", (pod(FETCHED, running("train")),), {"suspend": True}, P.SUSPENDED, R.SUSPENDED, "stopping"),
    ("suspended", (), {"suspend": True}, P.SUSPENDED, R.SUSPENDED, "suspend: false"),
    (
        "stopped by the suspension",
        (pod(ended("train", 143), phase="Failed", deleting=True),), {"suspend": True}, P.SUSPENDED, R.SUSPENDED, "",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pods", "spec", "phase", "reason", "words"), [case[1:] for case in RUNNING], ids=[c[0] for c in RUNNING]
)
def test_phase_must_be_read_off_the_pods(
    pods: Any, spec: Any, phase: TrainingPhase, reason: Reason, words: str
) -> None:
    """While nothing has ended, the pods' containers tell where the job is."""
    finding = found(*pods, **spec)
    assert (phase, reason) == (finding.phase, finding.reason)
    assert words in finding.message


def failed_pod(*containers: Manifest, **more: Any) -> Manifest:
    return pod(*containers, phase="Failed", **more)


FAILED = [
    ("data missing", failed_pod(ended("fetch", 2, "channel train: nothing under s3://x")), R.DOWNLOAD_FAILED, FailureClass.USER, "channel train: nothing under s3://x", 2),
    ("store away", failed_pod(ended("fetch", 1, "no answer")), R.DOWNLOAD_FAILED, FailureClass.PLATFORM, "no answer", 1),
    ("failure file", failed_pod(FETCHED, ended("train", 1, "ClientError: bad k")), R.ALGORITHM_ERROR, FailureClass.USER, "ClientError: bad k", 1),
    ("silent", failed_pod(FETCHED, ended("train", 3)), R.ALGORITHM_ERROR, FailureClass.USER, "container train ended with exit code 3 and said nothing", 3),
    ("pod lost", failed_pod(message="node gone"), R.POD_LOST, FailureClass.PLATFORM, "the pod was lost before it finished: node gone", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("failed", "reason", "blame", "message", "code"), [case[1:] for case in FAILED], ids=[c[0] for c in FAILED]
)
def test_failure_must_say_why_and_who_can_mend_it(
    failed: Manifest, reason: Reason, blame: FailureClass, message: str, code: int | None
) -> None:
    """The container's own words become the message; fetch's exit code tells the user's faults from the platform's."""
    finding = found(failed)
    assert (P.FAILED, reason, Outlook.STALLED) == (finding.phase, finding.reason, finding.outlook)
    assert finding.failure is not None
    assert (blame, message, code) == (finding.failure.failure_class, finding.failure.message, finding.failure.exit_code)


def test_failure_must_name_the_memory_limit() -> None:
    """An OOM is the user's to mend, by a number."""
    failed = failed_pod(ended("train", 137, reason="OOMKilled"))
    failed["spec"]["containers"] = [{"name": "train", "resources": {"limits": {"memory": "2Gi"}}}]
    finding = found(failed)
    assert R.OUT_OF_MEMORY == finding.reason
    assert "2Gi" in finding.message


def test_failure_must_be_the_jobs_where_no_pod_is_left() -> None:
    """A Job that failed without a pod still says why."""
    finding = found(job=job_finished("Failed", "BackoffLimitExceeded"))
    assert R.POD_LOST == finding.reason
    assert "BackoffLimitExceeded" in finding.message


def test_first_failure_must_count_with_several_hosts() -> None:
    """The other hosts fail because the first one did."""
    first = failed_pod(ended("train", 1, "cause", end=10), name="pod-1")
    second = failed_pod(ended("train", 143, "effect", end=20), name="pod-0")
    assert "cause" == found(second, first, instanceCount=2).message


def test_max_runtime_must_stop_the_job() -> None:
    """A deadline is no failure: Stopped, with what had been saved by then."""
    finding = found(failed_pod(ended("train", 143), AGENT, reason="DeadlineExceeded"))
    assert (P.STOPPED, R.MAX_RUNTIME_EXCEEDED) == (finding.phase, finding.reason)
    assert ARTIFACT in finding.message


def test_completed_must_take_the_artifact_from_the_agent() -> None:
    """URI, checksum and size are what the agent reported."""
    finding = found(pod(FETCHED, TRAINED, AGENT, phase="Succeeded"), job=job_finished("Complete"))
    assert (P.COMPLETED, Outlook.DONE) == (finding.phase, finding.outlook)
    assert finding.artifact is not None
    assert (ARTIFACT, SHA, 1234) == (finding.artifact.uri, finding.artifact.sha256, finding.artifact.size_bytes)


@pytest.mark.parametrize(
    ("said", "phase", "words"),
    [
        ('{"artifact": null}', P.COMPLETED, "left nothing"),
        ('{"error": "the upload did not finish"}', P.FAILED, "the upload did not finish"),
        ("Traceback", P.FAILED, "Traceback"),
        ('{"artifact": {"uri": "s3://b/x"}}', P.FAILED, "can't be read"),
        ("7", P.FAILED, "went away"),
    ],
)
def test_completed_must_doubt_the_agent(said: str, phase: TrainingPhase, words: str) -> None:
    """A Job that says Complete has failed where its model was not uploaded; an empty model is told as such."""
    finding = found(pod(TRAINED, ended("agent", message=said), phase="Succeeded"), job=job_finished("Complete"))
    assert phase == finding.phase
    assert words in finding.message


def test_transitions_must_be_filled_in() -> None:
    """A job too quick for us to look still shows every phase, with the kubelet's times."""
    made = plan(Observed(job=job_finished("Complete"), pods=(pod(FETCHED, TRAINED, AGENT, phase="Succeeded"),)))
    expected = [
        (P.DOWNLOADING, at(0), at(6)),
        (P.TRAINING, at(6), at(60)),
        (P.UPLOADING, at(60), at(100)),
        (P.COMPLETED, at(100), at(100)),
    ]
    assert expected == [(t.phase, t.start_time, t.end_time) for t in status_of(made).transitions]
    assert (54, at(100)) == (status_of(made).training_seconds, status_of(made).completion_time)


def test_transitions_must_not_show_what_only_one_host_has_reached() -> None:
    """One host that has ended does not end the phase of all, and no phase ends before it begins."""
    pods = (pod(FETCHED, ended("train", start=6, end=20)), pod(FETCHED, running("train", since=7), name="pod-1"))
    made = plan(Observed(job=our_job(), pods=pods), instanceCount=2)
    assert [P.DOWNLOADING, P.TRAINING] == [t.phase for t in status_of(made).transitions]


def test_training_seconds_must_be_zero_for_a_quick_run() -> None:
    """Less than a second is 0, not unknown."""
    made = plan(Observed(job=our_job(), pods=(pod(ended("train", start=5, end=5), running("agent")),)))
    assert 0 == status_of(made).training_seconds


def test_long_messages_must_fit_the_status() -> None:
    """A message longer than a field takes is cut; it must not make the job's status invalid."""
    made = plan(Observed(job=our_job(), pods=(pod(waiting("train", "ErrImagePull", "x" * 4000)),)))
    assert status_of(made) == TrainingJobStatus.model_validate(status_of(made).to_dict())


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.STOPPED])
def test_final_phase_must_stay(phase: TrainingPhase) -> None:
    """A finished job is a record: it renders nothing, whatever becomes of its children."""
    before = TrainingJobStatus(phase=phase)
    made = plan(Observed(), status=before)
    assert (before.model_copy(update={"observed_generation": 1}), (), ()) == (made.status, made.actions, made.events)


def test_deleting_must_do_nothing() -> None:
    """What is being deleted gets no children back."""
    made = reconcile(
        replace(META, deleting=True), job_spec(), TrainingJobStatus(), Observed(), defaults=DEFAULTS, now=NOON
    )
    assert (None, ()) == (made.status, made.actions)


def test_namesakes_job_must_be_waited_for() -> None:
    """A Job of a deleted TrainingJob of this name is no conflict: the garbage collector is at it."""
    old = our_job()
    old["metadata"]["ownerReferences"] = [{"kind": "TrainingJob", "name": META.name, "uid": "before"}]
    made = plan(Observed(job=old))
    assert ((), "Replacing") == (made.actions, find(status_of(made).conditions, "Reconciling").reason)  # type: ignore[union-attr]
    assert made.requeue_after is not None
    assert [False] == [event.warning for event in made.events]


def test_foreign_job_must_not_be_taken_over() -> None:
    """A Job of the same name that is not ours is a conflict, and stays untouched."""
    foreign = our_job()
    foreign["metadata"]["ownerReferences"] = [{"uid": "somebody"}]
    made = plan(Observed(job=foreign))
    assert ((), "NameConflict") == (made.actions, find(status_of(made).conditions, "Stalled").reason)  # type: ignore[union-attr]
    assert made.requeue_after is not None, "a foreign object is not watched"


def world_after(made: Plan[Any], observed: Observed) -> Observed:
    """The world once the plan has been carried out."""
    applied = {action.manifest["kind"]: stored(action.manifest) for action in made.actions if isinstance(action, Apply)}
    return replace(
        observed,
        job=applied.get("Job", observed.job),
        service=applied.get("Service", observed.service),
        endpoint_slice=applied.get("EndpointSlice", observed.endpoint_slice),
    )


def stored(manifest: Manifest) -> Manifest:
    return json.loads(json.dumps(manifest)) | {"status": {}}


PODS = st.lists(st.sampled_from([case[1] for case in RUNNING]).filter(bool).map(lambda pods: pods[0]), max_size=2)


@settings(max_examples=40, deadline=None)
@given(PODS, st.integers(1, 3), st.booleans())
def test_reconcile_must_come_to_rest(pods: list[Manifest], instances: int, suspend: bool) -> None:
    """Carried out once, a plan leaves nothing to do, to change or to tell; and its status survives JSON."""
    observed = Observed(pods=tuple(pods))
    first = plan(observed, instanceCount=instances, suspend=suspend)
    after = world_after(first, observed)
    again = status_of(plan(after, status=status_of(first), instanceCount=instances, suspend=suspend))
    last = plan(after, status=again, now=200, instanceCount=instances, suspend=suspend)
    assert ((), (), again) == (last.actions, last.events, last.status)
    assert again == TrainingJobStatus.model_validate(json.loads(json.dumps(again.to_dict())))


SUCCEEDED = pod(FETCHED, TRAINED, AGENT, phase="Succeeded")
STOPPED = pod(FETCHED, TRAINED, AGENT, phase="Succeeded", deleting=True)


def deletes(made: Plan[TrainingJobStatus]) -> list[str]:
    return [action.name for action in made.actions if isinstance(action, Delete)]


@pytest.mark.parametrize("pods", [(STOPPED,), ()])
def test_suspended_run_must_not_count_as_done(pods: tuple[Manifest, ...]) -> None:
    """An algorithm that ends with 0 on SIGTERM makes its Job Complete: the Job goes, and the next one starts over."""
    made = plan(Observed(job=job_finished("Complete"), pods=pods), suspend=True)
    assert (P.SUSPENDED, None, ["kdd"]) == (status_of(made).phase, status_of(made).model_artifact, deletes(made))


def test_resumed_run_must_not_inherit_the_stopped_ones_end() -> None:
    """Resumed while the old pod was on its way out, a Job that is Complete without any pod starts over."""
    made = plan(Observed(job=job_finished("Complete")), status=TrainingJobStatus(phase=P.SUSPENDED))
    assert (P.INTERRUPTED, ["kdd"]) == (status_of(made).phase, deletes(made))


def test_completed_run_must_stay_done_though_suspended_afterwards() -> None:
    """A run that had ended by itself is done, whatever was asked for meanwhile."""
    made = plan(Observed(job=job_finished("Complete"), pods=(SUCCEEDED,)), suspend=True)
    assert (P.COMPLETED, []) == (status_of(made).phase, deletes(made))


def test_drained_run_must_not_count_as_done() -> None:
    """A pod that the cluster ended, and that ended with 0, has not trained to the end."""
    drained = pod(FETCHED, TRAINED, AGENT, phase="Succeeded", conditions=DISRUPTED)
    made = plan(Observed(job=job_finished("Complete"), pods=(drained,)))
    assert (P.INTERRUPTED, ["kdd"]) == (status_of(made).phase, deletes(made))


@pytest.mark.parametrize(("verdict", "phase"), [("Complete", P.UPLOADING), ("Failed", P.TRAINING)])
def test_verdict_must_wait_for_the_pods_last_word(verdict: str, phase: TrainingPhase) -> None:
    """The Job's event may overtake its pods': no final phase before they have ended, and another look soon."""
    part = (FETCHED, TRAINED, running("agent")) if verdict == "Complete" else (FETCHED, running("train"))
    made = plan(Observed(job=job_finished(verdict), pods=(pod(*part),)))
    assert phase is status_of(made).phase
    assert made.requeue_after is not None


def test_evicted_pods_remains_must_not_count() -> None:
    """The killed agent of an evicted pod says nothing about the replacement that completed."""
    evicted = pod(FETCHED, ended("agent", 137), phase="Failed", conditions=DISRUPTED, name="pod-9")
    made = plan(Observed(job=job_finished("Complete"), pods=(evicted, SUCCEEDED)))
    assert P.COMPLETED is status_of(made).phase


def test_new_job_must_wait_for_the_old_pods() -> None:
    """Pods of an earlier Job of this name may yet upload, and must have ended before another one starts."""
    made = plan(Observed(leftovers=True))
    assert ((), "Replacing") == (made.actions, find(status_of(made).conditions, "Ready").reason)  # type: ignore[union-attr]


def test_figures_of_a_broken_off_run_must_not_stay() -> None:
    """Suspended, the metrics and seconds of the run before are gone."""
    before = TrainingJobStatus.model_validate({"metrics": [{"name": "a", "value": 1.0}], "trainingSeconds": 5})
    made = plan(Observed(job=our_job()), status=before, suspend=True)
    assert ([], None) == (status_of(made).metrics, status_of(made).training_seconds)


def test_final_conditions_must_carry_the_generation() -> None:
    """A change that a finished job can't follow is still seen: its conditions are of the newest generation."""
    done = status_of(plan(Observed(job=job_finished("Complete"), pods=(SUCCEEDED,))))
    newer = reconcile(replace(META, generation=7), job_spec(), done, Observed(), defaults=DEFAULTS, now=NOON)
    assert {7} == {condition.observed_generation for condition in status_of(newer).conditions}


def test_hand_edited_job_must_be_repaired() -> None:
    """What somebody changed on our Job is put back."""
    made = plan(Observed())
    job = world_after(made, Observed()).job
    assert job is not None
    job["spec"]["parallelism"] = 0
    repaired = plan(Observed(job=job), status=status_of(made))
    assert [1] == [action.manifest["spec"]["parallelism"] for action in repaired.actions if isinstance(action, Apply)]


def test_running_job_must_keep_its_image_and_template() -> None:
    """An upgrade of the operator changes nothing about a job that runs: a Job's template can't change."""
    made = plan(Observed())
    observed = world_after(made, Observed())
    newer = reconcile(
        META,
        job_spec(),
        status_of(made),
        observed,
        defaults=replace(DEFAULTS, server_image="server:2", version="2.0"),
        now=at(100),
    )
    assert ((), "server:1") == (newer.actions, status_of(newer).agent_image)


def test_suspend_must_reach_the_job() -> None:
    """Suspended before it starts, nothing is made, since the spec may still change; afterwards it is the Job's own suspend."""
    before = plan(Observed(), suspend=True)
    assert ((), None) == (before.actions, status_of(before).start_time)
    started = plan(Observed())
    made = plan(world_after(started, Observed()), status=status_of(started), suspend=True)
    assert [True] == [action.manifest["spec"]["suspend"] for action in made.actions if isinstance(action, Apply)]


def test_endpoint_slice_must_wait_for_an_address() -> None:
    """Before the first pod has an address its type is unknown, and it could not be changed later."""
    made = plan(Observed(), instanceCount=2)
    assert ["Service", "Job"] == [action.manifest["kind"] for action in made.actions if isinstance(action, Apply)]
    with_address = plan(Observed(pods=(pod(running("fetch"), podIP="fd00::1"),)), instanceCount=2)
    slices = [
        a.manifest for a in with_address.actions if isinstance(a, Apply) and a.manifest["kind"] == "EndpointSlice"
    ]
    assert ["IPv6"] == [manifest["addressType"] for manifest in slices]


def test_events_must_tell_transitions_only() -> None:
    """One Event when the reason changes, none when only time passes; what went wrong is a warning."""
    first = plan(Observed(job=our_job(), pods=(pod(running("fetch")),)))
    second = plan(Observed(job=our_job(), pods=(pod(running("fetch")),)), status=status_of(first), now=160)
    failed = plan(Observed(job=our_job(), pods=(failed_pod(ended("fetch", 2, "no data")),)), status=status_of(second))
    assert [("Downloading", False)] == [(e.reason, e.warning) for e in first.events]
    assert () == second.events
    assert [("DownloadFailed", "no data", True)] == [(e.reason, e.message, e.warning) for e in failed.events]
